//! What a job may pull with.
//!
//! A job's own credentials and those of the executor are plain logins. Only the Docker configuration
//! of the executor's own user may name programs to ask: a job never chooses what runs here.

mod docker_config;
mod helper;
mod keys;
mod login;

pub use docker_config::DockerConfig;
pub use login::Login;

use crate::Reference;
use docker_config::Found;
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Mutex;

/// How long a helper's answer is good: long enough for a job's steps, shorter than tokens live.
const ANSWER_LIFE: Duration = Duration::from_mins(5);
/// Answers of helpers to remember. Jobs choose the registries.
const ANSWERS: usize = 1000;

/// Where logins come from. Clones share what was found out.
#[derive(Debug, Clone, Default)]
pub struct RegistryCredentials(Source);

#[derive(Debug, Clone, Default)]
enum Source {
    #[default]
    Nobody,
    Logins(Arc<BTreeMap<String, Login>>),
    User(Arc<User>),
}

/// The executor's own user.
#[derive(Debug)]
struct User {
    config: DockerConfig,
    /// By helper and what it was asked for.
    answers: Mutex<HashMap<(String, String), Answer>>,
}

#[derive(Debug)]
struct Answer {
    login: Option<Login>,
    at: Instant,
}

/// Credentials could not be looked up. Nobody's job is at fault.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// The configuration can't be used.
    #[error("the Docker configuration {path} can't be used: {fault}; correct it, or remove it")]
    Config {
        /// The file.
        path: PathBuf,
        /// The rule it breaks, without any of its values.
        fault: String,
    },
    /// A helper did not do as it should.
    #[error("{program}, which {path} names for {registry}, {fault}")]
    Helper {
        /// Its name.
        program: String,
        /// The configuration.
        path: PathBuf,
        /// The registry it was asked for.
        registry: String,
        /// What it did, and what to do.
        fault: String,
    },
}

impl RegistryCredentials {
    /// Logins by what a Docker configuration would call the registry: a host, `host:port`, an address.
    pub fn of_logins(logins: impl IntoIterator<Item = (String, Login)>) -> Self {
        Self(Source::Logins(Arc::new(logins.into_iter().collect())))
    }

    /// Whatever the executor's own user has, read anew for every pull.
    pub fn of_user(config: DockerConfig) -> Self {
        Self(Source::User(Arc::new(User { config, answers: Mutex::default() })))
    }

    /// The registries with a login of their own here, as they were called.
    pub fn registries(&self) -> Vec<String> {
        match &self.0 {
            Source::Logins(logins) => logins.keys().cloned().collect(),
            Source::Nobody | Source::User(_) => Vec::new(),
        }
    }

    /// The login to pull `reference` with.
    pub async fn login(&self, reference: &Reference) -> Result<Option<Login>, CredentialsError> {
        self.login_at(reference.registry(), reference.repository()).await
    }

    /// The login for a repository of a registry, `host` or `host:port`.
    pub async fn login_at(
        &self,
        registry: &str,
        repository: &str,
    ) -> Result<Option<Login>, CredentialsError> {
        match &self.0 {
            Source::Nobody => Ok(None),
            Source::Logins(logins) => Ok(keys::find(logins, registry, repository).cloned()),
            Source::User(user) => user.login(registry, repository).await,
        }
    }
}

impl User {
    async fn login(&self, registry: &str, repository: &str) -> Result<Option<Login>, CredentialsError> {
        let Found { helper, login } = self.config.look_up(registry, repository)?;
        let Some(helper) = helper else { return Ok(login) };
        // A helper that has nothing leaves the file's own, if there is one.
        Ok(self.ask(&helper, registry).await?.or(login))
    }

    async fn ask(&self, helper: &str, registry: &str) -> Result<Option<Login>, CredentialsError> {
        let key = (helper.to_owned(), registry.to_owned());
        // Held while it is asked: others wait for the answer rather than ask as well.
        let mut answers = self.answers.lock().await;
        answers.retain(|_, answer| answer.at.elapsed() < ANSWER_LIFE);
        if let Some(answer) = answers.get(&key) {
            return Ok(answer.login.clone());
        }
        let login = helper::get(&self.config, helper, registry).await?;
        if answers.len() < ANSWERS {
            answers.insert(key, Answer { login: login.clone(), at: Instant::now() });
        }
        Ok(login)
    }
}
