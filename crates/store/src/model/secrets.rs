//! Secrets that are kept, and who was given them.

use jiff::Timestamp;
use jobs::secrets::Scope;
use jobs::{JobId, Namespace};
use secrecy::SecretString;

/// A secret to keep. Key and value have been checked.
#[derive(Debug, Clone)]
pub struct NewSecret {
    /// Jobs of which queue may have it.
    pub scope: Scope,
    /// Whose it is.
    pub namespace: Namespace,
    /// Its key.
    pub key: String,
    /// Its value, which is given to jobs alone.
    pub value: SecretString,
    /// Who made it, for people.
    pub creator: String,
}

/// A secret, without its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretRow {
    /// Its id: 32 hexadecimal digits. It stays when its value changes.
    pub id: String,
    /// Jobs of which queue may have it.
    pub scope: Scope,
    /// Whose it is.
    pub namespace: Namespace,
    /// Its key.
    pub key: String,
    /// Whether it stands in for a global one.
    pub overwrites_global: bool,
    /// Who made it, for people.
    pub creator: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When its value was set.
    pub updated_at: Timestamp,
}

/// Which secrets to list, by key, scope and namespace.
#[derive(Debug, Clone, Default)]
pub struct SecretFilter {
    /// Only those of this namespace, and the global ones.
    pub namespace: Option<Namespace>,
    /// Only of this scope.
    pub scope: Option<Scope>,
    /// Only with this key.
    pub key: Option<String>,
    /// Only those after this one: the cursor of the next page.
    pub after: Option<SecretCursor>,
    /// How many at most.
    pub limit: u32,
}

/// A place in a list of secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretCursor {
    /// The key there.
    pub key: String,
    /// The scope there.
    pub scope: Scope,
    /// The namespace there.
    pub namespace: Namespace,
}

/// A secret for a job that was noted as having been given it.
#[derive(Debug)]
pub struct OpenedSecret {
    /// Its id.
    pub id: String,
    /// Its key.
    pub key: String,
    /// Its value.
    pub value: SecretString,
}

/// That a secret was given to a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretAccessRow {
    /// Later ones have larger ids.
    pub id: i64,
    /// The secret's id. It may be gone.
    pub secret: String,
    /// Its scope.
    pub scope: Scope,
    /// Whose it is.
    pub namespace: Namespace,
    /// Its key.
    pub key: String,
    /// The job.
    pub job: JobId,
    /// Which try of it.
    pub attempt: u32,
    /// Whose the job is.
    pub owner: Namespace,
    /// The executor that the value was handed to.
    pub executor: String,
    /// When.
    pub at: Timestamp,
}

/// Which accesses to list, newest first.
#[derive(Debug, Clone, Default)]
pub struct AccessFilter {
    /// Only those to this secret.
    pub secret: Option<String>,
    /// Only those to secrets of this namespace.
    pub namespace: Option<Namespace>,
    /// Only those of jobs of this namespace.
    pub owner: Option<Namespace>,
    /// Only with a smaller id: the cursor of the next page.
    pub before: Option<i64>,
    /// How many at most.
    pub limit: u32,
}
