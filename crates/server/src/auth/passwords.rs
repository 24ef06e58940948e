//! Passwords of people: slow hashes, a few at a time.

use crate::peer::Peer;
use crate::slots::Slots;
use argon2::{Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version};
use secrecy::{ExposeSecret, SecretString};
use std::time::Duration;
use tokio::sync::OnceCell;

/// Characters that a password has at least, and bytes at most.
const MIN_CHARACTERS: usize = 10;
const MAX_BYTES: usize = 1_000;
/// Hashes that are made at one time, each of which takes 19 MiB and a processor, and those of one address.
const AT_ONCE: usize = 4;
const AT_ONCE_EACH: usize = 2;
/// How long to wait for one's turn.
const TURN: Duration = Duration::from_secs(10);
/// What OWASP asks for of argon2id: KiB of memory, and how often they are gone through.
const MEMORY_KIB: u32 = 19_456;
const PASSES: u32 = 2;

/// A password that can't be one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a password must have at least {MIN_CHARACTERS} characters, and at most {MAX_BYTES} bytes")]
pub(crate) struct BadPassword;

/// Why nothing is known of a password.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PasswordFault {
    /// Too many are looked at.
    #[error("too many passwords are being looked at: try again")]
    Busy,
    /// The hash could not be made.
    #[error("the password could not be hashed: {0}")]
    Hash(String),
}

/// Hashes passwords.
pub(crate) struct Passwords {
    turns: Slots,
    /// The hash of nobody's password, which one is compared with that is shown for a name that nobody has.
    nobodys: OnceCell<String>,
}

impl Default for Passwords {
    fn default() -> Self {
        Self { turns: Slots::new(AT_ONCE, AT_ONCE_EACH), nobodys: OnceCell::new() }
    }
}

/// Whether it can be a password.
pub(crate) fn check(password: &SecretString) -> Result<(), BadPassword> {
    let password = password.expose_secret();
    let fits = password.chars().count() >= MIN_CHARACTERS && password.len() <= MAX_BYTES;
    if fits { Ok(()) } else { Err(BadPassword) }
}

impl Passwords {
    /// A password's hash, with a salt of its own.
    pub(crate) async fn hash(&self, client: Peer, password: SecretString) -> Result<String, PasswordFault> {
        let _turn = self.turns.take(client, TURN).await.ok_or(PasswordFault::Busy)?;
        make(password).await
    }

    /// Whether it is the one with that hash. Without a hash it is not, and that takes as long.
    pub(crate) async fn verify(
        &self,
        client: Peer,
        password: SecretString,
        hash: Option<String>,
    ) -> Result<bool, PasswordFault> {
        let _turn = self.turns.take(client, TURN).await.ok_or(PasswordFault::Busy)?;
        let is_somebodys = hash.is_some();
        let hash = match hash {
            Some(hash) => hash,
            None => self.nobodys.get_or_try_init(|| make("nobody has this password".into())).await?.clone(),
        };
        let verified = tokio::task::spawn_blocking(move || {
            let password = password.expose_secret();
            let shortened = &password.as_bytes()[..password.len().min(MAX_BYTES + 1)];
            argon2().verify_password(shortened, hash.as_str()).is_ok()
        });
        let same = verified.await.map_err(|fault| PasswordFault::Hash(fault.to_string()))?;
        Ok(same && is_somebodys)
    }
}

async fn make(password: SecretString) -> Result<String, PasswordFault> {
    let made = tokio::task::spawn_blocking(move || {
        let hash = argon2().hash_password(password.expose_secret().as_bytes());
        hash.map(|hash| hash.to_string()).map_err(|fault| PasswordFault::Hash(fault.to_string()))
    });
    made.await.map_err(|fault| PasswordFault::Hash(fault.to_string()))?
}

fn argon2() -> Argon2<'static> {
    let params = Params::new(MEMORY_KIB, PASSES, 1, None).unwrap_or_default();
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    fn client() -> Peer {
        Peer::of([10, 0, 0, 1].into())
    }

    #[test]
    fn a_password_has_ten_characters() {
        assert_eq!(check(&"nine char".into()), Err(BadPassword));
        assert_eq!(check(&"ten chars!".into()), Ok(()));
        assert_eq!(check(&"ääääääääää".into()), Ok(()));
        assert_eq!(check(&"x".repeat(1_001).into()), Err(BadPassword));
    }

    #[tokio::test]
    async fn only_the_password_itself_is_good_and_each_hash_has_its_salt() {
        let passwords = Passwords::default();
        let hash = passwords.hash(client(), "correct horse".into()).await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert_ne!(hash, passwords.hash(client(), "correct horse".into()).await.unwrap());
        for (shown, good) in [("correct horse", true), ("correct horsf", false), ("", false)] {
            let verified = passwords.verify(client(), shown.into(), Some(hash.clone())).await.unwrap();
            assert_eq!(verified, good, "{shown:?}");
        }
        let nobodys = passwords.verify(client(), "nobody has this password".into(), None).await.unwrap();
        assert!(!nobodys, "a name that nobody has can't sign in");
    }

    #[tokio::test]
    async fn a_name_that_nobody_has_takes_as_long() {
        let passwords = Passwords::default();
        let hash = passwords.hash(client(), "correct horse".into()).await.unwrap();
        passwords.verify(client(), "x".into(), None).await.unwrap();
        let mut shortest = [Duration::MAX; 2];
        // On a busy machine some take longer than others, whichever they are.
        for _ in 0..20 {
            for (shortest, hash) in shortest.iter_mut().zip([None, Some(hash.clone())]) {
                let begun = Instant::now();
                passwords.verify(client(), "wrong".into(), hash).await.unwrap();
                *shortest = begun.elapsed().min(*shortest);
            }
            let [nobodys, somebodys] = shortest.map(|time| time.as_secs_f64());
            if nobodys > somebodys * 0.8 && somebodys > nobodys * 0.8 {
                return;
            }
        }
        panic!("{shortest:?}");
    }
}
