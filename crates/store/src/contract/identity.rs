//! What every store does about who may do what, and who did.

use crate::error::StoreError;
use crate::identity::{
    ActFilter, ActRow, IdentityRow, NewAct, NewRegistration, NewToken, RegistrationRow, TokenRow,
};
use async_trait::async_trait;
use jiff::Timestamp;
use jobs::Namespace;

type Result<T> = std::result::Result<T, StoreError>;

/// Who may do what. Of whatever proves somebody's word only a hash is kept.
#[async_trait]
pub trait Identities: Send + Sync {
    /// Makes a token of the public API; returns with it what is to be shown, once. A name that is taken is
    /// [`StoreError::TokenExists`].
    async fn create_token(&self, new: NewToken) -> Result<(TokenRow, String)>;

    /// The token that `shown` is, if it is good now. Notes that it was used.
    async fn token(&self, shown: &str) -> Result<Option<TokenRow>>;

    /// Whether a token is good now, by its id.
    async fn token_is_good(&self, id: i64) -> Result<bool>;

    /// Tokens that are not revoked, by namespace and name: all of them, or one namespace's.
    async fn tokens(&self, of: Option<&Namespace>) -> Result<Vec<TokenRow>>;

    /// Makes a token good for nothing. `None` when there is none, or it is revoked already.
    async fn revoke_token(&self, id: i64) -> Result<Option<TokenRow>>;

    /// Makes a registration token; returns with it what is to be shown, once.
    async fn create_registration(&self, new: NewRegistration) -> Result<(RegistrationRow, String)>;

    /// Registration tokens that are not revoked, newest first.
    async fn registrations(&self) -> Result<Vec<RegistrationRow>>;

    /// Makes a registration token good for nothing. `None` when there is none, or it is revoked already.
    async fn revoke_registration(&self, id: i64) -> Result<Option<RegistrationRow>>;

    /// Gives the executor `name` an identity, which is `identity` from now on, for a use of the registration token that
    /// `shown` is; says whether it had none before. The same again is the same, whatever `shown` is then, and takes no further
    /// use.
    ///
    /// A token that is good for nothing is [`StoreError::BadRegistration`], a name that is somebody's
    /// [`StoreError::IdentityExists`], [`StoreError::IdentityRevoked`], [`StoreError::IdentityTaken`].
    async fn register(&self, shown: &str, name: &str, identity: &str) -> Result<(IdentityRow, bool)>;

    /// The executor whose identity `shown` is, be it revoked or not. Notes that it was used, unless it is revoked.
    async fn identity(&self, shown: &str) -> Result<Option<IdentityRow>>;

    /// The identity that an executor's name belongs to.
    async fn identity_of(&self, executor: &str) -> Result<Option<IdentityRow>>;

    /// All identities, by name.
    async fn identities(&self) -> Result<Vec<IdentityRow>>;

    /// Makes an executor's identity good for nothing, and the tokens of the jobs it has as well. `None` when there is none, or it is
    /// revoked already.
    async fn revoke_identity(&self, executor: &str) -> Result<Option<IdentityRow>>;

    /// Forgets tokens of both kinds that were good for nothing already at `cutoff`, and identities that were not used
    /// since; says how many.
    async fn forget_identities(&self, cutoff: Timestamp) -> Result<u64>;
}

/// Who did what.
#[async_trait]
pub trait AuditLog: Send + Sync {
    /// Notes what somebody did. Durable when this returns.
    async fn note_act(&self, act: NewAct) -> Result<()>;

    /// What was done, newest first; a few hundred at most, whatever the limit.
    async fn acts(&self, filter: ActFilter) -> Result<Vec<ActRow>>;

    /// Forgets what was done before `cutoff`, and of more than about `most` the oldest, those that executors registered and
    /// that somebody signed in before all others; says how many. A call may leave some to the next one: it is done when
    /// it says 0.
    async fn forget_acts(&self, cutoff: Timestamp, most: u64) -> Result<u64>;
}
