//! Where jobs run: the boundary between who takes jobs and who runs them.

mod adoptions;
mod births;
mod charge;
mod conversation;
mod hand_back;
mod in_process;
mod kill;
mod last_word;
mod process;
mod supervised;
mod told;
mod vigil;

pub(crate) use adoptions::Adoptions;
pub(crate) use in_process::InProcess;
pub(crate) use supervised::Supervised;

use crate::job::Assigned;
use crate::running::RunningJob;
use async_trait::async_trait;
use futures_util::future::BoxFuture;

/// A job that an earlier agent on this host took.
pub(crate) struct Adopted {
    /// What runs of it; `None` when its supervisor died over it, and it is only to be handed back.
    pub(crate) running: Option<RunningJob>,
    /// Sees to its end.
    pub(crate) end: BoxFuture<'static, ()>,
}

/// A job that was run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ran {
    pub(crate) completed: bool,
    /// Who ran it has written its end into the audit log.
    pub(crate) written: bool,
}

/// Runs jobs that were assigned to this agent. Object safe.
#[async_trait]
pub(crate) trait JobHost: Send + Sync {
    /// Gets ready for the next job. Failing costs only time later.
    async fn warm(&self);

    /// Runs a job, and sees to it that its begin is written into the audit log and that its end is told. The
    /// job's stop and its lease reach it wherever it runs.
    async fn run(&self, assigned: Assigned) -> Ran;

    /// Finds the jobs that an earlier agent left here. Call it once, before jobs are taken.
    async fn adopt(&self) -> Vec<Adopted> {
        Vec::new()
    }

    /// Whether jobs go on when this process leaves.
    fn outlives(&self) -> bool {
        false
    }

    /// Waits until every job that was assigned would go on without this process.
    async fn settle(&self) {}

    /// Lets go of what was made ahead.
    async fn close(&self) {}
}
