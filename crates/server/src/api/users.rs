//! People who sign in to the pages.

use jiff::Timestamp;
use jobs::{Namespace, Role};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// `POST /api/v1/users`: lets somebody sign in; the answer is a [`UserView`].
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CreateUser {
    /// What they are known by: one of its own in the whole installation.
    pub name: String,
    /// Their password: at least 10 characters.
    pub password: String,
    /// What they may: no more than whoever lets them in.
    pub role: Role,
    /// Whose things they work with; those of whoever lets them in unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<Namespace>,
}

/// The password stays out of `Debug`.
impl fmt::Debug for CreateUser {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, password: _, role, namespace } = self;
        let mut shown = out.debug_struct("CreateUser");
        shown.field("name", name).field("role", role).field("namespace", namespace).finish_non_exhaustive()
    }
}

/// `PUT /api/v1/users/{name}/password`: sets somebody's password, and ends their sessions.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SetPassword {
    /// The new one: at least 10 characters.
    pub password: String,
}

/// The password stays out of `Debug`.
impl fmt::Debug for SetPassword {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("SetPassword").finish_non_exhaustive()
    }
}

/// Somebody who signs in, in `GET /api/v1/users`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UserView {
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
    pub password_set_at: Timestamp,
    /// When they were last here, or up to ten minutes earlier.
    pub last_used_at: Option<Timestamp>,
}
