//! Secrets that are kept, and who was given them.

use jiff::Timestamp;
use jobs::Namespace;
use jobs::secrets::Scope;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// `POST /api/v1/secrets` keeps a secret, `PUT` one in place of another; the answer is a [`SecretView`].
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SetSecret {
    /// Jobs of which queue may have it; `batches` unless said otherwise.
    #[serde(default)]
    pub scope: Scope,
    /// Whose it is; the caller's unless said otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<Namespace>,
    /// The variable that steps find it in.
    pub key: String,
    /// Its value. No call gives it back.
    pub value: String,
}

/// The value stays out of `Debug`.
impl fmt::Debug for SetSecret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scope, namespace, key, value: _ } = self;
        let mut shown = out.debug_struct("SetSecret");
        shown.field("scope", scope).field("namespace", namespace).field("key", key).finish_non_exhaustive()
    }
}

/// A secret that is kept, without its value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretView {
    /// Its id. It stays when its value changes.
    pub id: String,
    /// The variable that steps find it in.
    pub key: String,
    /// Jobs of which queue may have it.
    pub scope: Scope,
    /// Whose it is.
    pub namespace: Namespace,
    /// Whether jobs of its namespace get it in place of a global one with its key.
    pub overwrites_global: bool,
    /// Who made it: the name of a token.
    pub creator: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When its value was set.
    pub updated_at: Timestamp,
}

/// That a secret was handed to an executor, in `GET /api/v1/secrets/{id}/access`, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretAccessView {
    /// The secret's id. It may be gone.
    pub secret: String,
    /// Its key.
    pub key: String,
    /// Its scope.
    pub scope: Scope,
    /// Whose it is.
    pub namespace: Namespace,
    /// The job that got it.
    pub job: i64,
    /// Which try of that.
    pub attempt: u32,
    /// Whose the job is.
    pub owner: Namespace,
    /// The executor.
    pub executor: String,
    /// When.
    pub at: Timestamp,
}
