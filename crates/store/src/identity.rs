//! Plain data about who may do what, and who did.

use jiff::Timestamp;
use jobs::{Namespace, Role};

/// A token of the public API to make. Names have been checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewToken {
    /// What people know it by; one that is not revoked has a name of its own in its namespace.
    pub name: String,
    /// What its holder may.
    pub role: Role,
    /// Whose things its holder works with.
    pub namespace: Namespace,
    /// Who makes it.
    pub created_by: String,
    /// Until when it is good; `None`: until it is revoked.
    pub expires_at: Option<Timestamp>,
}

/// A token of the public API, without what is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRow {
    /// Its id.
    pub id: i64,
    /// What people know it by.
    pub name: String,
    /// What its holder may.
    pub role: Role,
    /// Whose things its holder works with.
    pub namespace: Namespace,
    /// Who made it.
    pub created_by: String,
    /// When.
    pub created_at: Timestamp,
    /// Until when it is good.
    pub expires_at: Option<Timestamp>,
    /// When it was last used, or up to ten minutes earlier.
    pub last_used_at: Option<Timestamp>,
}

/// A registration token to make, which executors get an identity of their own for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRegistration {
    /// What people know it by.
    pub name: String,
    /// For how many identities it is good.
    pub max_uses: u32,
    /// Who makes it.
    pub created_by: String,
    /// Until when it is good.
    pub expires_at: Timestamp,
}

/// A registration token, without what is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistrationRow {
    /// Its id.
    pub id: i64,
    /// What people know it by.
    pub name: String,
    /// For how many identities it is good.
    pub max_uses: u32,
    /// How many came of it.
    pub uses: u32,
    /// Who made it.
    pub created_by: String,
    /// When.
    pub created_at: Timestamp,
    /// Until when it is good.
    pub expires_at: Timestamp,
}

/// An executor that is known by a token of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdentityRow {
    /// The executor's name: it can act under no other, and nobody else under it.
    pub name: String,
    /// The name of the registration token that it came of.
    pub registration: String,
    /// When.
    pub created_at: Timestamp,
    /// When it was last used, or up to ten minutes earlier.
    pub last_used_at: Timestamp,
    /// Since when it is refused.
    pub revoked_at: Option<Timestamp>,
}

/// Something that somebody did. Holds no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewAct {
    /// The name of who did it.
    pub actor: String,
    /// That one's namespace.
    pub actor_of: Namespace,
    /// What: a name out of a closed set, such as `token.create`.
    pub action: String,
    /// To what. Of one that is too long the beginning is kept.
    pub subject: String,
    /// Whose that is.
    pub namespace: Namespace,
    /// From which address.
    pub origin: String,
    /// What else there is to tell. Of one that is too long the beginning is kept.
    pub detail: String,
    /// The id of what it was done to, where it has one by which it is asked for.
    pub reference: Option<String>,
}

/// Something that somebody did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActRow {
    /// Its number: the later, the larger.
    pub id: i64,
    /// When.
    pub at: Timestamp,
    /// The rest.
    pub act: NewAct,
}

/// Which acts to list, newest first.
#[derive(Debug, Clone, Default)]
pub struct ActFilter {
    /// Only those on things of this namespace.
    pub namespace: Option<Namespace>,
    /// Only these.
    pub action: Option<String>,
    /// Only with a smaller number: the cursor of the next page.
    pub before: Option<i64>,
    /// How many at most.
    pub limit: u32,
}
