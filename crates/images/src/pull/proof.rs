//! Proving that a job may use an image that somebody else's login fetched.

use super::Registries;
use super::source::Source;
use crate::digest::Digest;
use crate::{ImageError, Reference, RegistryCredentials};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a proof is good: long enough for a job's steps, and not much longer than whoever takes a
/// login away would expect.
const LIFE: Duration = Duration::from_mins(5);
/// Proofs to remember.
const PROOFS: usize = 10_000;
/// How long the registry may take to say.
const TIMEOUT: Duration = Duration::from_secs(30);

/// What a registry says of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Proof {
    /// It gives it to anyone.
    Everyone,
    /// It gives it for the login that was shown.
    ThisLogin,
    /// It does not have it.
    NotThere,
}

/// What was proved lately, by login, repository and manifest.
#[derive(Debug, Default)]
pub(crate) struct Proofs(Mutex<HashMap<Digest, Instant>>);

impl Proofs {
    fn has(&self, key: &Digest) -> bool {
        let proofs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        proofs.get(key).is_some_and(|at| at.elapsed() < LIFE)
    }

    fn add(&self, key: Digest) {
        let mut proofs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if proofs.len() >= PROOFS {
            proofs.retain(|_, at| at.elapsed() < LIFE);
        }
        if proofs.len() < PROOFS {
            proofs.insert(key, Instant::now());
        }
    }
}

impl Registries {
    /// Asks for whom the manifest `digest` is. Anything but a clear answer is an error.
    pub(crate) async fn prove(
        &self,
        reference: &Reference,
        digest: &Digest,
        credentials: &RegistryCredentials,
    ) -> Result<Proof, ImageError> {
        // What is shown without a login is no login's, and whose it would be after a failed look-up may
        // be another's a moment later: neither is remembered.
        let login = credentials.login(reference).await.ok().flatten();
        let key = login.map(|login| {
            let (login, repository) = (login.fingerprint(), reference.whole_repository());
            Digest::of(format!("{login} {repository} {digest}").as_bytes())
        });
        if key.as_ref().is_some_and(|key| self.proofs.has(key)) {
            return Ok(Proof::ThisLogin);
        }
        let asked = tokio::time::timeout(TIMEOUT, self.ask(reference, digest, credentials)).await;
        let asked = asked.unwrap_or_else(|_| {
            let answer = format!("nothing within {} s", TIMEOUT.as_secs());
            Err(ImageError::BadRegistry { registry: reference.registry().to_owned(), answer })
        });
        match asked {
            Ok(Proof::ThisLogin) => key.into_iter().for_each(|key| self.proofs.add(key)),
            // What came from there once had a name: it is DNS that has changed.
            Err(error) if error.is_temporary() || matches!(error, ImageError::UnknownHost { .. }) => {
                return Err(ImageError::Unproved { image: reference.to_string(), source: Box::new(error) });
            }
            Ok(Proof::Everyone | Proof::NotThere) | Err(_) => {}
        }
        asked
    }

    /// Whether anyone may have the manifest. Only a clear yes is one.
    pub(super) async fn is_for_everyone(&self, reference: &Reference, digest: &Digest) -> bool {
        let nobody = RegistryCredentials::default();
        let asked = tokio::time::timeout(TIMEOUT, self.ask(reference, digest, &nobody)).await;
        matches!(asked, Ok(Ok(Proof::Everyone)))
    }

    async fn ask(
        &self,
        reference: &Reference,
        digest: &Digest,
        credentials: &RegistryCredentials,
    ) -> Result<Proof, ImageError> {
        let source = Source::new(self, reference, credentials);
        let digest = digest.to_string();
        for place in source.places() {
            match place.has_manifest(&digest).await {
                Ok(()) if place.used_login() => return Ok(Proof::ThisLogin),
                Ok(()) => return Ok(Proof::Everyone),
                // Mirrors seldom have what is not for everyone.
                Err(error) if place.is_mirror() => {
                    tracing::debug!(mirror = place.name(), why = error.told(), "a mirror proves nothing");
                }
                Err(ImageError::NotFound { .. }) => return Ok(Proof::NotThere),
                Err(error) => return Err(error),
            }
        }
        Err(source.nowhere())
    }
}
