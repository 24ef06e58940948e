//! Claims that nobody has named yet, so that those which came to nothing needn't wait for their leases' end. What is
//! concluded from which word, and why that is safe, is told at [`jobs::claims`].
//!
//! They are remembered by this process alone: one that was started again knows of none, and leaves these to their leases.

use super::given;
use crate::app::App;
use http::HeaderMap;
use jobs::claims::{OpenClaim, OpenClaims, Start, Void, Word};
use jobs::{EndReason, JobId};
use std::sync::{Mutex, MutexGuard, PoisonError};
use store::{Claimed, Finish, StoreError};
use wire::additions::{DEQUEUE, INCARNATION, Incarnation, LOST_DEQUEUES, LostDequeues};

/// What people are told of such a job.
const DIED: &str = "the agent that was given the job died before it had begun it";

/// Those of all executors that say which start of theirs speaks.
#[derive(Default)]
pub(crate) struct Claims(Mutex<OpenClaims>);

impl Claims {
    /// A job was claimed for `dequeue`.
    pub(super) fn note(&self, claimed: &Claimed, dequeue: Option<(Start, u64)>) {
        let Some((start, dequeue)) = dequeue else { return };
        let lease = given::lease(claimed);
        self.lock().note(OpenClaim { job: claimed.job.id, lease, start, dequeue });
    }

    fn lock(&self) -> MutexGuard<'_, OpenClaims> {
        // A hint; whatever is missing waits for its lease's end.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Which dequeue these are the headers of.
pub(super) fn dequeue_of(headers: &HeaderMap) -> Option<(Start, u64)> {
    let number = text(headers, DEQUEUE)?.trim().parse().ok()?;
    Some((start(incarnation(headers)?), number))
}

/// What the agent says of itself whose heartbeat these are the headers of.
pub(super) fn word_of(headers: &HeaderMap) -> Option<Word> {
    let incarnation = incarnation(headers)?;
    let lost = text(headers, LOST_DEQUEUES).map(LostDequeues::parse).unwrap_or_default().0;
    Some(Word { settled: incarnation.settled, start: start(incarnation), lost })
}

/// A heartbeat of `executor` named these jobs. Claims that came to nothing are given to others, in the background.
pub(super) fn heard(app: &App, executor: &str, named: &[JobId], word: Option<&Word>) {
    for void in app.claims.lock().heard(executor, named, word) {
        app.tasks.spawn(take_back(app.clone(), void));
    }
}

async fn take_back(app: App, void: Void) {
    let OpenClaim { job, lease, start, .. } = match void {
        Void::Undelivered(claim) => return given::release(app, claim.job, claim.lease).await,
        Void::Dead(claim) => claim,
    };
    let finish = Finish::Error { reason: EndReason::ExecutorLost { lease: None }, message: DIED.to_owned() };
    match app.store.finish(job, &lease, finish).await {
        Ok(row) => tracing::info!(
            %job,
            executor = lease.executor,
            start = start.number,
            state = %row.record.state,
            "an agent died before it had begun a job, and a later one says so"
        ),
        // It has ended meanwhile, or is another one's.
        Err(StoreError::UnknownJob(_) | StoreError::Rejected(_)) => {}
        Err(fault) => tracing::error!(
            %job,
            error = &fault as &dyn std::error::Error,
            "can't take back a job whose agent died: it waits for its lease's end"
        ),
    }
}

fn start(Incarnation { place, start, .. }: Incarnation) -> Start {
    Start { place, number: start }
}

fn incarnation(headers: &HeaderMap) -> Option<Incarnation> {
    Incarnation::parse(text(headers, INCARNATION)?)
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}
