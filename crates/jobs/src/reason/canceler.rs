//! Who asked for a job to stop.

use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// Characters that are kept of what a client calls itself.
const MAX_CLIENT: usize = 200;

/// Who may stop jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CanceledBy {
    /// Somebody with a token of the control plane's API.
    #[default]
    Api,
    /// The control plane, as its executor was told: only that one knows for whom.
    ControlPlane,
}

impl CanceledBy {
    /// Its name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::ControlPlane => "control_plane",
        }
    }

    pub(super) fn of(name: &str) -> Self {
        if name == Self::Api.name() { Self::Api } else { Self::ControlPlane }
    }
}

/// Who asked for a job to stop, as far as that is known.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Canceler {
    /// By what right.
    pub by: CanceledBy,
    /// The name of the token that was shown; none for the one that may everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The address that the request came from: behind a proxy that the server was not told of, the proxy's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// What the client called itself. It may call itself anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
}

impl Canceler {
    /// Somebody with the API's token.
    pub fn api(from: IpAddr, client: Option<&str>) -> Self {
        Self {
            by: CanceledBy::Api,
            name: None,
            from: Some(from.to_canonical().to_string()),
            client: client.map(printable).filter(|client| !client.is_empty()),
        }
    }

    /// The same, by the token's name.
    #[must_use]
    pub fn named(self, name: &str) -> Self {
        Self { name: Some(name.to_owned()).filter(|name| name != crate::name::ROOT), ..self }
    }

    /// Somebody whom the control plane knows.
    pub const fn control_plane() -> Self {
        Self { by: CanceledBy::ControlPlane, name: None, from: None, client: None }
    }

    /// In words.
    pub(super) fn evidence(&self) -> String {
        let mut told = match (self.by, &self.name) {
            (CanceledBy::Api, Some(name)) => format!("by whoever has the token {name}"),
            (CanceledBy::Api, None) => "by whoever has the API's token".to_owned(),
            (CanceledBy::ControlPlane, _) => "by the control plane".to_owned(),
        };
        for (how, what) in [("from", &self.from), ("with", &self.client)] {
            if let Some(what) = what {
                told = format!("{told}, {how} {what}");
            }
        }
        told
    }
}

/// The beginning of `text`, on one line.
fn printable(text: &str) -> String {
    let shown = |character: char| if character.is_control() { ' ' } else { character };
    text.trim().chars().map(shown).take(MAX_CLIENT).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_client_calls_itself_is_short_and_on_one_line() {
        let canceler = |client| Canceler::api("::ffff:10.0.0.7".parse().unwrap(), Some(client));
        let told = canceler(" executor/0.1.0\n\u{1b}[2J ").evidence();
        assert_eq!(told, "by whoever has the API's token, from 10.0.0.7, with executor/0.1.0  [2J");
        assert_eq!(canceler("\t").client, None);
        assert_eq!(canceler(&"ä".repeat(1_000)).client.unwrap().chars().count(), MAX_CLIENT);
    }
}
