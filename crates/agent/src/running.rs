//! The jobs that run right now, and how to stop each.

use crate::job::{JobStop, StopCause};
use crate::lease::Lease;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio_util::sync::CancellationToken;
use wire::{IdText, JobId};

/// One running job, as heartbeats see it.
#[derive(Debug, Clone)]
pub(crate) struct RunningJob {
    pub(crate) id: JobId,
    /// The queue its payload named.
    pub(crate) queue: Option<String>,
    pub(crate) stop: Arc<JobStop>,
    pub(crate) lease: Arc<Lease>,
    /// Fires when nothing of the job runs here any more.
    ended: CancellationToken,
}

/// All of them, by the id that heartbeats use. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct RunningSet(Arc<Mutex<BTreeMap<IdText, RunningJob>>>);

/// While this lives, the job is in the set, or was replaced there.
#[derive(Debug)]
pub(crate) struct Registered {
    set: RunningSet,
    key: IdText,
    stop: Arc<JobStop>,
    ended: CancellationToken,
}

impl RunningSet {
    /// Adds a job. One with the same id takes the place of the other at once, so that heartbeats
    /// never miss the id; the other is given back and may run on.
    pub(crate) fn register(&self, job: RunningJob) -> (Registered, Option<RunningJob>) {
        let key = IdText::new(job.id, job.queue.as_deref());
        let (stop, ended) = (Arc::clone(&job.stop), job.ended.clone());
        let replaced = self.lock().insert(key.clone(), job);
        (Registered { set: self.clone(), key, stop, ended }, replaced)
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
        let mut jobs = self.set.lock();
        if jobs.get(&self.key).is_some_and(|job| Arc::ptr_eq(&job.stop, &self.stop)) {
            jobs.remove(&self.key);
        }
        self.ended.cancel();
    }
}

impl RunningJob {
    pub(crate) fn new(id: JobId, queue: Option<String>, stop: Arc<JobStop>, lease: Arc<Lease>) -> Self {
        Self { id, queue, stop, lease, ended: CancellationToken::new() }
    }

    /// Waits until nothing of it runs here any more.
    pub(crate) async fn ended(&self) {
        self.ended.cancelled().await;
    }

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
    use crate::boot_time::BootTime;

    fn job(id: i64, queue: Option<&str>) -> RunningJob {
        let lease = Arc::new(Lease::new(BootTime::now(), None));
        RunningJob::new(JobId(id), queue.map(str::to_owned), Arc::default(), lease)
    }

    #[test]
    fn a_job_leaves_when_it_is_dropped() {
        let set = RunningSet::default();
        let (first, replaced) = set.register(job(1, None));
        assert!(replaced.is_none());
        let (_other, replaced) = set.register(job(1, Some("batches")));
        assert!(replaced.is_none());
        drop(first);
        assert_eq!(set.snapshot().len(), 1);
    }

    #[tokio::test]
    async fn a_job_that_comes_again_takes_the_place_of_its_old_copy() {
        let set = RunningSet::default();
        let (old, _) = set.register(job(1, None));
        let (new, replaced) = set.register(job(1, None));
        let replaced = replaced.expect("it runs");
        assert!(Arc::ptr_eq(&replaced.stop, &old.stop));
        drop(old);
        replaced.ended().await;
        let there = set.snapshot();
        assert!(there.len() == 1 && Arc::ptr_eq(&there[0].1.stop, &new.stop), "{there:?}");
        drop(new);
        assert!(set.snapshot().is_empty());
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
