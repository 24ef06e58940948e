//! Plain data about people who sign in, and their sessions.

use jiff::{SignedDuration, Timestamp};
use jobs::{Namespace, Principal, Role};
use std::fmt;

/// Somebody who is to sign in. The name has been checked.
#[derive(Clone)]
pub struct NewPerson {
    /// What they are known by; one of its own in the whole installation.
    pub name: String,
    /// An argon2id hash of their password, as a PHC string.
    pub password: String,
    /// What they may.
    pub role: Role,
    /// Whose things they work with.
    pub namespace: Namespace,
    /// Who lets them in.
    pub created_by: String,
}

/// The hash stays out of `Debug`.
impl fmt::Debug for NewPerson {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, password: _, role, namespace, created_by } = self;
        let mut shown = out.debug_struct("NewPerson");
        shown.field("name", name).field("role", role).field("namespace", namespace);
        shown.field("created_by", created_by).finish_non_exhaustive()
    }
}

/// Somebody who signs in, without what proves it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PersonRow {
    /// Their id.
    pub id: i64,
    /// What they are known by.
    pub name: String,
    /// What they may.
    pub role: Role,
    /// Whose things they work with.
    pub namespace: Namespace,
    /// Who let them in.
    pub created_by: String,
    /// When.
    pub created_at: Timestamp,
    /// When their password was set.
    pub password_at: Timestamp,
    /// When they were last here, or up to ten minutes earlier.
    pub last_used_at: Option<Timestamp>,
}

/// Whose a session is to be, and what was proved.
#[derive(Clone)]
pub enum NewSession {
    /// A person's, whose password has this hash.
    Person {
        /// Their id.
        id: i64,
        /// The hash that was compared with: it must still be theirs.
        password: String,
    },
    /// That of whoever showed this token.
    Token(i64),
    /// That of whoever showed the file `api-token`, which has this SHA-256.
    Root(Vec<u8>),
}

/// Whose a session is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SessionOf {
    /// A person.
    Person(Principal),
    /// Whoever showed a token.
    Token(Principal),
    /// Whoever showed the file `api-token`, which had this SHA-256.
    Root(Vec<u8>),
}

/// A session that is good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionRow {
    /// Its id.
    pub id: i64,
    /// Whose it is.
    pub of: SessionOf,
    /// When it began.
    pub created_at: Timestamp,
}

/// How long sessions last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionTerms {
    /// Without being used; up to ten minutes less.
    pub idle: SignedDuration,
    /// At all.
    pub longest: SignedDuration,
}
