//! One login.

use super::keys;
use crate::digest::Digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use std::fmt;

/// How to log in at a registry.
#[derive(Clone)]
pub enum Login {
    /// User and password.
    Password {
        /// The user.
        user: String,
        /// The password, or what a registry calls a token and takes for one.
        password: SecretString,
    },
    /// What a token server takes in exchange for a token.
    IdentityToken(SecretString),
    /// A token that the registry itself takes.
    RegistryToken(SecretString),
}

impl fmt::Debug for Login {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Login(…)")
    }
}

impl Login {
    /// User and password. A line's end after the password is none of it: it is what `echo` adds when
    /// credentials are encoded by hand.
    pub fn password(user: impl Into<String>, password: &str) -> Self {
        let password = password.trim_end_matches(['\r', '\n', '\0']);
        Self::Password { user: user.into(), password: password.into() }
    }

    /// Base64 of `user:password`.
    pub(super) fn of_auth(auth: &str) -> Option<Self> {
        let text = String::from_utf8(STANDARD.decode(auth.trim()).ok()?).ok()?;
        let (user, password) = text.split_once(':')?;
        Some(Self::password(user, password))
    }

    /// What a container engine is told to pull from `registry` with, as JSON.
    pub fn for_engine(&self, registry: &str) -> SecretString {
        let address = keys::key_of(registry);
        let text = match self {
            Self::Password { user, password } => {
                json!({"username": user, "password": password.expose_secret(), "serveraddress": address})
            }
            Self::IdentityToken(token) => {
                json!({"identitytoken": token.expose_secret(), "serveraddress": address})
            }
            Self::RegistryToken(token) => {
                json!({"registrytoken": token.expose_secret(), "serveraddress": address})
            }
        };
        text.to_string().into()
    }

    /// The same for the same login, and tells nothing about it. Not for disks: it can be guessed at.
    pub(crate) fn fingerprint(&self) -> Digest {
        let (kind, user, secret) = match self {
            Self::Password { user, password } => ("password", user.as_str(), password),
            Self::IdentityToken(token) => ("identity", "", token),
            Self::RegistryToken(token) => ("registry", "", token),
        };
        Digest::of(format!("{kind}\0{user}\0{}", secret.expose_secret()).as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(login: &Login) -> (&str, &str) {
        match login {
            Login::Password { user, password } => (user, password.expose_secret()),
            _ => panic!("no password"),
        }
    }

    #[test]
    fn an_auth_is_base64_of_user_and_password() {
        for (text, expected) in [
            ("jane:secret", Some(("jane", "secret"))),
            ("jane:a:b", Some(("jane", "a:b"))),
            ("jane:secret\n", Some(("jane", "secret"))),
            ("jane:secret\r\n", Some(("jane", "secret"))),
            ("jane: secret ", Some(("jane", " secret "))),
            ("jane", None),
        ] {
            let login = Login::of_auth(&format!(" {}\n", STANDARD.encode(text)));
            assert_eq!(login.as_ref().map(shown), expected, "{text:?}");
        }
        for bad in ["%", "jane:secret", "/w=="] {
            assert!(Login::of_auth(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn fingerprints_tell_logins_apart_and_nothing_shows_them() {
        let same = || Login::password("jane", "secret");
        assert_eq!(same().fingerprint(), same().fingerprint());
        for other in [
            Login::password("jane", "other"),
            Login::password("john", "secret"),
            Login::IdentityToken("secret".into()),
            Login::RegistryToken("secret".into()),
        ] {
            assert_ne!(same().fingerprint(), other.fingerprint());
            assert_eq!(format!("{other:?}"), "Login(…)");
        }
    }
}
