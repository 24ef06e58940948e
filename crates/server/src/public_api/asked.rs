//! A job that somebody asks for, and what it names: files, secrets, a revision of a repository.

use super::problem::Refusal;
use super::{files, secrets};
use crate::app::App;
use ::jobs::{JobSpec, Namespace};
use http::StatusCode;
use std::collections::HashMap;
use std::time::Duration;
use store::NewJob;
use tokio::time::Instant;

/// The revision of a job that names a repository only.
const DEFAULT_REV: &str = "HEAD";

/// A job that could be run.
pub(super) struct Asked {
    pub(super) spec: JobSpec,
    pub(super) idempotency_key: Option<String>,
}

impl Asked {
    /// The job with what it names, which its namespace must hold.
    pub(super) async fn look_up(
        self,
        app: &App,
        namespace: &Namespace,
        commits: &mut Commits,
    ) -> Result<NewJob, Refusal> {
        let Self { mut spec, idempotency_key } = self;
        files::look_up(app, namespace, &mut spec).await?;
        secrets::look_up(app, &spec, namespace).await?;
        let commit = commits.of(app, namespace, &spec).await?;
        Ok(NewJob { spec, commit, owner: namespace.key(), idempotency_key })
    }
}

/// What revisions of repositories name: each is looked up once, and no repository fetched twice.
pub(super) struct Commits {
    came: Instant,
    /// How long all of it may take.
    within: Duration,
    known: HashMap<(String, String), Result<String, Refusal>>,
}

impl Commits {
    /// For a call that came then.
    pub(super) fn asked_for(app: &App, came: Instant) -> Self {
        Self { came, within: app.limits.git_fetch, known: HashMap::new() }
    }

    async fn of(&mut self, app: &App, namespace: &Namespace, spec: &JobSpec) -> Result<String, Refusal> {
        let Some(repo) = &spec.repo else { return Ok(String::new()) };
        let rev = spec.rev.as_deref().unwrap_or(DEFAULT_REV);
        let name = (repo.clone(), rev.to_owned());
        if let Some(known) = self.known.get(&name) {
            return known.clone();
        }
        if self.came.elapsed() > self.within {
            let detail = format!(
                "fetching the repositories of these jobs took longer than {} s: submit fewer with one call",
                self.within.as_secs()
            );
            let status = StatusCode::SERVICE_UNAVAILABLE;
            return Err(Refusal::new(status, "too_many_fetches", "The server is busy", detail));
        }
        let found = app.repositories.resolve(namespace, repo, rev, self.came).await;
        let found = found.map_err(Refusal::from);
        self.known.insert(name, found.clone());
        found
    }
}
