//! Who somebody is: what one may, and whose things one works with.
//!
//! Everything that is submitted or added belongs to one namespace. Who is of a namespace works with what is in it, and
//! can't tell whether anything else is there; admins and operators of the global one work with everything.

use crate::name::BadName;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// What one may do: each may all that those before it may.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Look.
    Reader,
    /// Submit jobs, with files, and cancel them.
    Submitter,
    /// Say how jobs are given out, look after executors and repositories.
    Operator,
    /// Say who may what.
    Admin,
}

impl Role {
    /// All of them, the one that may least first.
    pub const ALL: [Self; 4] = [Self::Reader, Self::Submitter, Self::Operator, Self::Admin];

    /// Its name: lower case.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Reader => "reader",
            Self::Submitter => "submitter",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Role {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        let found = Self::ALL.into_iter().find(|role| role.name() == text);
        found
            .ok_or_else(|| BadName::new("role", text, "it must be one of reader, submitter, operator, admin"))
    }
}

/// Whose something is. As text, in JSON too: `global`, `user:NAME` or `org:NAME`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Namespace {
    /// The installation's own.
    #[default]
    Global,
    /// A person's or a program's.
    User(String),
    /// That of several together.
    Organisation(String),
}

const USER: &str = "user:";
const ORGANISATION: &str = "org:";
const RULE: &str = "write global, user:NAME or org:NAME; a name has 1 to 60 letters, digits, '.', '_' and '-', and begins \
                    with a letter or digit";

impl Namespace {
    /// What tells it from others where it is stored, such as a job's owner: empty for the global one.
    pub fn key(&self) -> String {
        match self {
            Self::Global => String::new(),
            named => named.to_string(),
        }
    }

    /// The namespace that this is the [key](Self::key) of; [`BadName`] where it is that of none.
    pub fn from_key(key: &str) -> Result<Self, BadName> {
        if key.is_empty() { Ok(Self::Global) } else { key.parse() }
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Global => f.write_str("global"),
            Self::User(name) => write!(f, "{USER}{name}"),
            Self::Organisation(name) => write!(f, "{ORGANISATION}{name}"),
        }
    }
}

impl FromStr for Namespace {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        let named = |name: &str| {
            let ok = (1..=60).contains(&name.len())
                && name.starts_with(|first: char| first.is_ascii_alphanumeric())
                && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
            if ok { Ok(name.to_owned()) } else { Err(BadName::new("namespace", text, RULE)) }
        };
        if text == "global" {
            Ok(Self::Global)
        } else if let Some(name) = text.strip_prefix(USER) {
            named(name).map(Self::User)
        } else if let Some(name) = text.strip_prefix(ORGANISATION) {
            named(name).map(Self::Organisation)
        } else {
            Err(BadName::new("namespace", text, RULE))
        }
    }
}

impl schemars::JsonSchema for Namespace {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Namespace".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "pattern": "^(global|user:.+|org:.+)$",
            "description": "Whose something is: `global`, `user:NAME` or `org:NAME`.",
        })
    }
}

impl Serialize for Namespace {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Namespace {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Somebody whose word was proved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// Who: the name of the token that was shown.
    pub name: String,
    /// What one may.
    pub role: Role,
    /// Whose things one works with.
    pub namespace: Namespace,
}

impl Principal {
    /// Whether one works with all namespaces.
    pub fn is_everywhere(&self) -> bool {
        self.namespace == Namespace::Global && self.role >= Role::Operator
    }

    /// Whether one may know of what belongs to `namespace`.
    pub fn sees(&self, namespace: &Namespace) -> bool {
        self.is_everywhere() || self.namespace == *namespace
    }

    /// The same, by [`Namespace::key`].
    pub fn sees_key(&self, key: &str) -> bool {
        self.is_everywhere() || self.namespace.key() == key
    }

    /// Whether one may give somebody else this much: never more than one has.
    pub fn may_grant(&self, role: Role, namespace: &Namespace) -> bool {
        role <= self.role && self.sees(namespace)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn principal(role: Role, namespace: &str) -> Principal {
        Principal { name: "x".to_owned(), role, namespace: namespace.parse().unwrap() }
    }

    #[test]
    fn a_namespace_is_the_same_as_text_as_key_and_in_json() {
        for text in ["global", "user:alice", "org:acme-corp.example_1"] {
            let namespace: Namespace = text.parse().unwrap();
            assert_eq!(namespace.to_string(), text);
            assert_eq!(Namespace::from_key(&namespace.key()).unwrap(), namespace);
            let json = serde_json::to_string(&namespace).unwrap();
            assert_eq!(json, format!("{text:?}"));
            assert_eq!(serde_json::from_str::<Namespace>(&json).unwrap(), namespace);
        }
        assert_eq!(Namespace::Global.key(), "");
        let long = format!("user:{}", "a".repeat(61));
        for bad in
            ["", "Global", "user:", "user:-a", "user:a b", "user:a:b", "org:ä", "team:x", "alice", &long]
        {
            assert!(bad.parse::<Namespace>().unwrap_err().to_string().contains("user:NAME"), "{bad}");
        }
    }

    #[test]
    fn roles_are_ordered_by_what_they_may() {
        assert!(Role::ALL.is_sorted());
        for role in Role::ALL {
            assert_eq!(role.to_string().parse(), Ok(role));
        }
        assert!("root".parse::<Role>().is_err());
    }

    #[test]
    fn only_those_who_look_after_everything_see_other_namespaces() {
        let (alice, bob) = (Namespace::User("alice".to_owned()), Namespace::User("bob".to_owned()));
        for role in Role::ALL {
            let one = principal(role, "user:alice");
            assert!(one.sees(&alice) && one.sees_key("user:alice"));
            assert!(!one.sees(&bob) && !one.sees(&Namespace::Global) && !one.sees_key(""), "{role}");
            assert_eq!(principal(role, "global").sees(&alice), role >= Role::Operator, "{role}");
        }
        let organisation = Namespace::Organisation("alice".to_owned());
        assert!(!principal(Role::Admin, "user:alice").sees(&organisation));
    }

    #[test]
    fn nobody_gives_more_than_one_has() {
        let alice = Namespace::User("alice".to_owned());
        assert!(principal(Role::Admin, "global").may_grant(Role::Admin, &alice));
        assert!(principal(Role::Admin, "user:alice").may_grant(Role::Admin, &alice));
        assert!(!principal(Role::Admin, "user:alice").may_grant(Role::Reader, &Namespace::Global));
        assert!(!principal(Role::Operator, "global").may_grant(Role::Admin, &alice));
        assert!(!principal(Role::Submitter, "global").may_grant(Role::Reader, &alice));
    }
}
