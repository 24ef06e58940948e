//! The jobs of an earlier agent, from the moment this one knows of them.

use super::Adopted;
use crate::running::{Registered, RunningSet};
use futures_util::future::BoxFuture;

/// All of them. Those that run are known to heartbeats for as long as this lives.
#[derive(Default)]
pub(crate) struct Adoptions(Vec<Adoption>);

/// One of them.
pub(crate) struct Adoption {
    /// `None` when nothing of it runs.
    pub(crate) registered: Option<Registered>,
    /// Sees to its end.
    pub(crate) end: BoxFuture<'static, ()>,
}

impl Adoptions {
    pub(crate) fn register(found: Vec<Adopted>, running: &RunningSet) -> Self {
        let register = |Adopted { running: job, end }: Adopted| {
            // No two supervisors of one job find each other here: the second was started once the first had ended.
            let registered = job.map(|job| running.register(job).0);
            Adoption { registered, end }
        };
        Self(found.into_iter().map(register).collect())
    }

    /// Whether nothing runs.
    pub(crate) fn none_runs(&self) -> bool {
        self.0.iter().all(|adoption| adoption.registered.is_none())
    }
}

impl IntoIterator for Adoptions {
    type Item = Adoption;
    type IntoIter = std::vec::IntoIter<Adoption>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}
