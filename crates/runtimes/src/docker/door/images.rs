//! Which images a job's programs may use: those that its steps might.

use super::super::error::EngineError;
use super::super::pull::Silent;
use super::super::shared::Shared;
use super::super::stored;
use crate::RuntimeError;
use images::{ImageError, RegistryCredentials};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What an image's id begins with.
const ID: &str = "sha256:";

pub(super) struct Images {
    shared: Arc<Shared>,
    credentials: RegistryCredentials,
    known: Mutex<Known>,
}

/// What this job has shown that it may use.
#[derive(Default)]
struct Known {
    /// Repositories that its credentials were good for.
    repositories: BTreeSet<String>,
    ids: BTreeSet<String>,
}

impl Images {
    pub(super) fn new(shared: Arc<Shared>, credentials: RegistryCredentials) -> Self {
        Self { shared, credentials, known: Mutex::default() }
    }

    /// The id of the image that `name` means, which the job may use. It is pulled if it is not there.
    pub(super) async fn resolve(&self, name: &str) -> Result<String, RuntimeError> {
        if self.known().ids.contains(name) {
            return Ok(name.to_owned());
        }
        if name.starts_with(ID) {
            // Whose it is can't be asked of anybody.
            let place = "what this job has asked for by name".to_owned();
            return Err(ImageError::NotFound { image: name.to_owned(), place }.into());
        }
        let engine = self.shared.engine_name().await?;
        // Whoever asks about an image that is here does not wait for another's pull.
        let mut repositories = self.known().repositories.clone();
        let mut source = self.shared.source(&engine, &self.credentials, &mut repositories);
        let id = source.resolve(name, &Silent).await?;
        let mut known = self.known();
        known.repositories.append(&mut repositories);
        known.ids.insert(id.clone());
        Ok(id)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The same of one that is there; `None` if it is not, so that whoever asks pulls it and sees how that goes.
    pub(super) async fn find(&self, name: &str) -> Result<Option<String>, RuntimeError> {
        if !name.starts_with(ID) && !self.is_there(name).await? {
            return Ok(None);
        }
        self.resolve(name).await.map(Some)
    }

    async fn is_there(&self, name: &str) -> Result<bool, EngineError> {
        Ok(stored::find(&self.shared.client, name).await?.is_some())
    }
}
