//! What every store does about people who sign in, and their sessions.

use crate::error::StoreError;
use crate::people::{NewPerson, NewSession, PersonRow, SessionRow, SessionTerms};
use async_trait::async_trait;
use jobs::Namespace;

type Result<T> = std::result::Result<T, StoreError>;

/// Who signs in. Of passwords only slow hashes are kept, of sessions quick ones: they are random.
#[async_trait]
pub trait People: Send + Sync {
    /// Lets somebody in; a name that is taken is [`StoreError::PersonExists`].
    async fn add_person(&self, new: NewPerson) -> Result<PersonRow>;

    /// People by namespace and name: all of them, or one namespace's.
    async fn people(&self, of: Option<&Namespace>) -> Result<Vec<PersonRow>>;

    /// Somebody by name, with the hash of their password.
    async fn person(&self, name: &str) -> Result<Option<(PersonRow, String)>>;

    /// Sets the hash of somebody's password, and ends their sessions.
    async fn set_password(&self, name: &str, password: &str) -> Result<Option<PersonRow>>;

    /// Lets somebody in no longer, and ends their sessions.
    async fn remove_person(&self, name: &str) -> Result<Option<PersonRow>>;

    /// Begins a session, and ends the holder's oldest ones of more than 20; returns what is to be shown. `None` when what was
    /// proved is so no longer.
    async fn begin_session(&self, of: NewSession) -> Result<Option<String>>;

    /// The session that `shown` is, if it is good now. Notes that it was used.
    async fn session(&self, shown: &str, terms: SessionTerms) -> Result<Option<SessionRow>>;

    /// Whether a session is good now, by its id.
    async fn session_is_good(&self, id: i64, terms: SessionTerms) -> Result<bool>;

    /// Ends a session.
    async fn end_session(&self, id: i64) -> Result<()>;

    /// Forgets sessions that are over; says how many.
    async fn forget_sessions(&self, terms: SessionTerms) -> Result<u64>;
}
