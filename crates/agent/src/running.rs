//! The jobs that run right now, and how to stop each.

use crate::job::{JobStop, StopCause};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use wire::{IdText, JobId};

/// One running job, as heartbeats see it.
#[derive(Debug, Clone)]
pub(crate) struct RunningJob {
    pub(crate) id: JobId,
    /// The queue its payload named.
    pub(crate) queue: Option<String>,
    pub(crate) stop: Arc<JobStop>,
}

/// All of them, by the id that heartbeats use. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct RunningSet(Arc<Mutex<BTreeMap<IdText, RunningJob>>>);

/// While this lives, the job is in the set.
#[derive(Debug)]
pub(crate) struct Registered {
    set: RunningSet,
    key: IdText,
}

impl RunningSet {
    /// Adds a job; `None` when one with this id runs already.
    pub(crate) fn register(&self, job: RunningJob) -> Option<Registered> {
        let key = IdText::new(job.id, job.queue.as_deref());
        let mut jobs = self.lock();
        if jobs.contains_key(&key) {
            return None;
        }
        jobs.insert(key.clone(), job);
        Some(Registered { set: self.clone(), key })
    }

    /// The jobs as they are now.
    pub(crate) fn snapshot(&self) -> Vec<(IdText, RunningJob)> {
        self.lock().iter().map(|(key, job)| (key.clone(), job.clone())).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<IdText, RunningJob>> {
        // The map is whole between any two statements, so a panic elsewhere leaves nothing half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.set.lock().remove(&self.key);
    }
}

impl RunningJob {
    /// Whether `id`, out of a heartbeat's answer, means this job. A peer may name a job with or
    /// without its queue, whichever way the agent works.
    pub(crate) fn is_meant_by(&self, id: &IdText) -> bool {
        id.split().is_some_and(|(number, queue)| {
            number == self.id && (queue.is_none() || self.queue.is_none() || queue == self.queue.as_deref())
        })
    }

    /// Stops the job.
    pub(crate) fn stop(&self, cause: StopCause) -> bool {
        self.stop.fire(cause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(id: i64, queue: Option<&str>) -> RunningJob {
        RunningJob { id: JobId(id), queue: queue.map(str::to_owned), stop: Arc::default() }
    }

    #[test]
    fn an_id_runs_once_and_leaves_when_it_is_dropped() {
        let set = RunningSet::default();
        let first = set.register(job(1, None)).expect("nothing runs yet");
        assert!(set.register(job(1, None)).is_none());
        assert!(set.register(job(1, Some("batches"))).is_some());
        drop(first);
        assert!(set.register(job(1, None)).is_some());
    }

    #[test]
    fn an_answer_may_name_a_job_with_or_without_its_queue() {
        let text = |id: &str| IdText(id.to_owned());
        assert!(job(3, Some("batches")).is_meant_by(&text("3-batches")));
        assert!(job(3, Some("batches")).is_meant_by(&text("3")));
        assert!(job(3, None).is_meant_by(&text("3-batches")));
        assert!(!job(3, Some("batches")).is_meant_by(&text("3-codeintel")));
        assert!(!job(3, None).is_meant_by(&text("33")));
        assert!(!job(3, None).is_meant_by(&text("x")));
    }
}
