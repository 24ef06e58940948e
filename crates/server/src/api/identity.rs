//! Who may do what, and who did.

use jiff::Timestamp;
use jobs::{Namespace, Role};
use schemars::JsonSchema;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};

/// `GET /api/v1/whoami`: whose the token is that the call was made with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WhoamiView {
    /// The token's name; `root` is the one in the file `api-token`.
    pub name: String,
    /// What its holder may.
    pub role: Role,
    /// Whose things its holder works with.
    pub namespace: Namespace,
}

/// `POST /api/v1/tokens`: makes a token of this API; the answer is a [`CreatedToken`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CreateToken {
    /// What people know it by.
    pub name: String,
    /// What its holder may: no more than whoever makes it.
    pub role: Role,
    /// Whose things its holder works with; those of whoever makes it unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<Namespace>,
    /// Until when it is good; until it is revoked unless said.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "a_time")]
    pub expires_at: Option<Timestamp>,
}

/// A token of this API, without what is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TokenView {
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
    /// Until when it is good; `null`: until it is revoked.
    pub expires_at: Option<Timestamp>,
    /// When it was last used, or up to ten minutes earlier.
    pub last_used_at: Option<Timestamp>,
}

/// A token that was just made.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CreatedToken {
    /// What is known of it.
    #[serde(flatten)]
    pub about: TokenView,
    /// What its holder shows. Nobody is ever told again.
    pub token: String,
}

/// `POST /api/v1/registration-tokens`: makes one; the answer is a [`CreatedRegistration`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CreateRegistration {
    /// What people know it by.
    pub name: String,
    /// For how many executors it is good: 1 unless said.
    #[serde(default = "once")]
    pub uses: u32,
    /// Until when it is good; a day from now unless said.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "a_time")]
    pub expires_at: Option<Timestamp>,
}

const fn once() -> u32 {
    1
}

/// A registration token, without what is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RegistrationView {
    /// Its id.
    pub id: i64,
    /// What people know it by.
    pub name: String,
    /// For how many executors it is good.
    pub max_uses: u32,
    /// How many have used it.
    pub uses: u32,
    /// Who made it.
    pub created_by: String,
    /// When.
    pub created_at: Timestamp,
    /// Until when it is good.
    pub expires_at: Timestamp,
}

/// A registration token that was just made.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CreatedRegistration {
    /// What is known of it.
    #[serde(flatten)]
    pub about: RegistrationView,
    /// What an executor shows. Nobody is ever told again.
    pub token: String,
}

/// An executor that registered, in `GET /api/v1/identities`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct IdentityView {
    /// Its name: it can act under no other, and nobody else under it.
    pub name: String,
    /// The name of the registration token that it used.
    pub registration: String,
    /// When.
    pub created_at: Timestamp,
    /// When it last called, or up to ten minutes earlier.
    pub last_used_at: Timestamp,
    /// Since when it is refused; `null`: it is not.
    pub revoked_at: Option<Timestamp>,
}

/// Something that somebody did, in `GET /api/v1/audit`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ActView {
    /// Its number: the later, the larger. Those of `secret.read` are numbered by themselves.
    pub id: i64,
    /// When.
    pub at: Timestamp,
    /// The name of who did it; of `secret.read` the executor's.
    pub actor: String,
    /// That one's namespace; of `secret.read` the job's.
    pub actor_namespace: Namespace,
    /// What: a name out of a closed set, such as `token.create`.
    pub action: String,
    /// To what.
    pub subject: String,
    /// Whose that is.
    pub namespace: Namespace,
    /// From which address: behind a proxy that the server was not told of, the proxy's. Empty where it was not
    /// noted, as with `secret.read`.
    pub from: String,
    /// What else there is to tell.
    pub detail: String,
    /// The id of what it was done to, where that is asked for by one: of secrets, which are told by it who was handed them when
    /// they are there no more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
}

/// When something is over. The rule is told in words: the parser tells of seconds since 1970.
fn a_time<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Timestamp>, D::Error> {
    let Some(text) = Option::<String>::deserialize(from)? else { return Ok(None) };
    let bad = |_| {
        let shown: String = text.chars().take(60).collect();
        D::Error::custom(format!(
            "expiresAt is {shown:?}, but must be a time with its zone such as 2030-12-31T23:59:59Z, before the last day of the \
             year 9999"
        ))
    };
    text.parse().map(Some).map_err(bad)
}
