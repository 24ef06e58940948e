//! Secrets that the control plane keeps, and gives to jobs that ask for them.
//!
//! One has a scope, which is the queue whose jobs may have it, and a namespace. A job finds those of its own namespace
//! and the global ones; of two with one key its own wins.

mod asked;
mod docker;

pub use asked::BadAsked;
pub use docker::{BadDockerAuth, DOCKER_AUTH_CONFIG, docker_auth};

use crate::Namespace;
use crate::name::BadName;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Bytes of the value of one at most, as of all secrets of a job together.
pub const MAX_VALUE_BYTES: usize = crate::spec::MAX_SECRET_BYTES;
/// Secrets in one namespace at most.
pub const MAX_SECRETS: u64 = 500;

/// Jobs of which queue may have a secret.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Those of `batches`.
    #[default]
    Batches,
    /// Those of `codeintel`. These secrets are global.
    Codeintel,
}

impl Scope {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Batches, Self::Codeintel];

    /// Its name, which is the queue's.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Batches => "batches",
            Self::Codeintel => "codeintel",
        }
    }

    /// Where a job of a namespace finds secrets besides the global ones.
    pub fn of_job(self, namespace: &Namespace) -> Namespace {
        match self {
            Self::Batches => namespace.clone(),
            Self::Codeintel => Namespace::Global,
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Scope {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        let found = Self::ALL.into_iter().find(|scope| scope.name() == text);
        found.ok_or_else(|| BadName::new("scope", text, "it must be one of batches, codeintel"))
    }
}

/// What is wrong with a secret that is to be kept. Nothing of its value is told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadSecret {
    /// The key breaks its rule.
    #[error(transparent)]
    Key(#[from] BadName),
    /// Secrets of this scope belong to nobody.
    #[error("secrets of the scope codeintel are global: {0} can have none; leave the namespace out")]
    Namespace(Namespace),
    /// There is nothing to keep.
    #[error("the value of {0} is empty: an empty value can't be kept out of a log")]
    Empty(String),
    /// No environment could carry it.
    #[error(
        "the value of {0} holds a NUL byte, which no environment can carry: encode it, as base64 for instance"
    )]
    Nul(String),
    /// It is looked for in every log of a job in many forms.
    #[error("the value of {key} takes {size} bytes: at most {MAX_VALUE_BYTES} are allowed")]
    Large {
        /// The key.
        key: String,
        /// Its bytes.
        size: usize,
    },
    /// It is no configuration of logins.
    #[error(transparent)]
    DockerAuth(#[from] BadDockerAuth),
}

/// A key: the variable that steps find the value in.
pub fn check_key(key: &str) -> Result<(), BadName> {
    const RULE: &str = "use up to 200 capital letters, digits and '_', beginning with a letter";
    let ok = (1..=200).contains(&key.len())
        && key.starts_with(|c: char| c.is_ascii_uppercase())
        && key.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_');
    if ok { Ok(()) } else { Err(BadName::new("secret key", key, RULE)) }
}

/// Checks a secret that is to be kept.
pub fn check(scope: Scope, namespace: &Namespace, key: &str, value: &str) -> Result<(), BadSecret> {
    check_key(key)?;
    if scope.of_job(namespace) != *namespace {
        return Err(BadSecret::Namespace(namespace.clone()));
    }
    if value.is_empty() {
        return Err(BadSecret::Empty(key.to_owned()));
    }
    if value.contains('\0') {
        return Err(BadSecret::Nul(key.to_owned()));
    }
    if value.len() > MAX_VALUE_BYTES {
        return Err(BadSecret::Large { key: key.to_owned(), size: value.len() });
    }
    if key == DOCKER_AUTH_CONFIG {
        docker_auth(value)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_variables_in_capital_letters() {
        for good in ["A", "NPM_TOKEN", "A1_", DOCKER_AUTH_CONFIG] {
            assert_eq!(check_key(good), Ok(()), "{good}");
        }
        for bad in ["", "a", "_A", "1A", "A-B", "A B", "Ä", "Ab", &"A".repeat(201)] {
            let told = check_key(bad).unwrap_err().to_string();
            assert!(told.contains("capital letters, digits and '_'"), "{told}");
        }
    }

    #[test]
    fn what_can_not_be_kept_is_told_without_its_value() {
        let alice: Namespace = "user:alice".parse().unwrap();
        let told = |scope, key: &str, value: &str| check(scope, &alice, key, value).unwrap_err().to_string();
        assert!(check(Scope::Batches, &alice, "KEY", "value").is_ok());
        assert!(check(Scope::Codeintel, &Namespace::Global, "KEY", "value").is_ok());
        assert!(told(Scope::Codeintel, "KEY", "hunter2").contains("user:alice can have none"));
        assert!(told(Scope::Batches, "KEY", "").contains("empty"));
        assert!(told(Scope::Batches, "KEY", "hunter2\0").contains("NUL byte"));
        let large = "hunter2".repeat(10_000);
        assert!(told(Scope::Batches, "KEY", &large).contains("70000 bytes: at most 65536"));
        for value in ["hunter2\0", &large] {
            assert!(!told(Scope::Batches, "KEY", value).contains("hunter2"));
        }
    }

    #[test]
    fn a_scope_is_named_like_its_queue() {
        for scope in Scope::ALL {
            assert_eq!(scope.name().parse(), Ok(scope));
            assert!(wire::paths::QUEUES.contains(&scope.name()));
        }
        assert!("bulk".parse::<Scope>().unwrap_err().to_string().contains("batches, codeintel"));
    }
}
