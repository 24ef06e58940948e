//! Takes jobs while there is room for them and starts each in the background.

use crate::api::{Answer, ApiError, Backoff, Dequeued, Final, JobAuth, Patience, Undecodable};
use crate::boot_time::BootTime;
use crate::config::AgentConfig;
use crate::error::Summary;
use crate::host::{Adoptions, JobHost};
use crate::host_disk::{Floor, HostDisks};
use crate::job::{self, Assigned, JobStop, StopCause, Surroundings};
use crate::lease::Lease;
use crate::monitor::Monitor;
use crate::random;
use crate::running::{RunningJob, RunningSet};
use crate::timeline::Timeline;
use crate::trouble::Call;
use crate::watched::Watched;
use jobs::EndReason;
use secrecy::SecretString;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::{error, info, warn};
use wire::additions::MOST_AT_ONCE;
use wire::{IdText, Job, JobId};

/// A dequeue that was sent before the agent was told to leave may have been given a job: its answer
/// is waited for this long.
const LAST_ANSWER: Duration = Duration::from_secs(1);
/// The longest pause after a dequeue that failed.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// How often a disk with too little room is looked at again.
const LOOK_FOR_ROOM: Duration = Duration::from_secs(1);

/// What a turn of the loop says about the next one.
enum Turn {
    AtOnce,
    After(Duration),
}

/// Takes jobs into free `places` until it is told to leave or has taken enough, then waits for those that run.
pub(crate) async fn take_jobs(
    around: Surroundings,
    host: Arc<dyn JobHost>,
    running: RunningSet,
    places: Arc<Semaphore>,
    adopted: Adoptions,
    leaving: Leaving,
) -> Summary {
    let closing = close_in_time(around.api.config(), &leaving.drain);
    let mut taker = Taker::new(around, host, running, places);
    taker.adopt(adopted);
    taker.take_until(&closing.token).await;
    taker.monitor().health().drains();
    info!(running = taker.running.snapshot().len(), "no more jobs are taken");
    taker.finish(&leaving.leave).await
}

/// How the loop is told to end.
pub(crate) struct Leaving {
    /// Take no more jobs.
    pub(crate) drain: CancellationToken,
    /// Wait for none that goes on without us.
    pub(crate) leave: CancellationToken,
}

/// Fires when no more jobs are to be taken.
struct Closing {
    token: CancellationToken,
    _timer: AbortOnDropHandle<()>,
}

fn close_in_time(config: &AgentConfig, drain: &CancellationToken) -> Closing {
    let token = drain.child_token();
    let (limit, fire) = (config.max_active_time, token.clone());
    let timer = tokio::spawn(async move {
        if let Some(limit) = limit {
            sleep(limit).await;
            info!("the agent's active time is over");
            fire.cancel();
        }
    });
    Closing { token, _timer: AbortOnDropHandle::new(timer) }
}

struct Taker {
    around: Surroundings,
    host: Arc<dyn JobHost>,
    running: RunningSet,
    slots: Arc<Semaphore>,
    jobs: JoinSet<bool>,
    backoff: Backoff,
    /// Pauses while it is refused.
    refused: Backoff,
    floor: Floor,
    summary: Summary,
}

impl Taker {
    fn new(around: Surroundings, host: Arc<dyn JobHost>, running: RunningSet, slots: Arc<Semaphore>) -> Self {
        let config = around.api.config();
        let backoff = Backoff::new(config.poll_interval, LONGEST_PAUSE);
        let floor = Floor::new(config.disk_floor);
        let (jobs, summary, refused) = (JoinSet::new(), Summary::default(), Backoff::of_refusals());
        Self { around, host, running, slots, jobs, backoff, refused, floor, summary }
    }

    /// Takes care of the jobs of an earlier agent; those that run take the place of new ones.
    fn adopt(&mut self, adopted: Adoptions) {
        for adoption in adopted {
            let place = adoption.registered.as_ref().map(|_| Arc::clone(&self.slots).try_acquire_owned());
            self.jobs.spawn(async move {
                // There may have been more places then.
                let _place = place.and_then(Result::ok);
                adoption.end.await;
                drop(adoption.registered);
                // It was taken by somebody else.
                false
            });
        }
    }

    async fn take_until(&mut self, closing: &CancellationToken) {
        let limit = self.around.api.config().num_total_jobs.unwrap_or(u64::MAX);
        while self.summary.taken < limit {
            self.collect();
            let slot = tokio::select! {
                biased;
                () = closing.cancelled() => return,
                slot = Arc::clone(&self.slots).acquire_owned() => slot,
            };
            // The semaphore is never closed.
            let Ok(slot) = slot else { return };
            let places = self.places(slot, limit - self.summary.taken);
            match self.turn(places, closing).await {
                Turn::AtOnce => {}
                Turn::After(pause) => {
                    let _ = closing.run_until_cancelled(sleep(pause)).await;
                }
            }
        }
    }

    /// The first free place with some of the others, of which jobs for as many may come at once: half of them, so that what
    /// waits is not all taken by whoever asks first.
    fn places(&self, first: OwnedSemaphorePermit, left: u64) -> Vec<OwnedSemaphorePermit> {
        let half = self.slots.available_permits().div_ceil(2).min(MOST_AT_ONCE as usize - 1);
        let more = half.min(usize::try_from(left).unwrap_or(usize::MAX).saturating_sub(1));
        let more = (0..more).map_while(|_| Arc::clone(&self.slots).try_acquire_owned().ok());
        [first].into_iter().chain(more).collect()
    }

    /// Asks once, and starts what comes.
    async fn turn(&mut self, mut places: Vec<OwnedSemaphorePermit>, closing: &CancellationToken) -> Turn {
        let work_dir = &self.around.api.config().work_dir;
        let disks = HostDisks::of(work_dir, self.around.runtime.fills().await);
        let room = self.floor.lets_in(&disks);
        self.monitor().health().has_room(room);
        if !room {
            return Turn::After(LOOK_FOR_ROOM);
        }
        let asked = Instant::now();
        let Some(answer) = self.ask(places.len(), closing).await else { return Turn::AtOnce };
        self.note_answer(&answer);
        let config = self.around.api.config();
        match answer {
            Ok(Answer { dequeued: Dequeued::Nothing, held, at, .. }) => {
                self.backoff.reset();
                let rest = if held { at.duration_since(asked) } else { Duration::ZERO };
                // Also paces a control plane that says it waited and did not.
                match config.poll_interval.saturating_sub(rest) {
                    Duration::ZERO => Turn::AtOnce,
                    pause => Turn::After(random::about(pause)),
                }
            }
            Ok(Answer { dequeued, more, at, claimed, .. }) => {
                let mut turn = Turn::AtOnce;
                for (dequeued, place) in [dequeued].into_iter().chain(more).zip(places.drain(..)) {
                    match dequeued {
                        Dequeued::Job(job) => self.start(*job, at, claimed, place),
                        Dequeued::Undecodable(payload) => {
                            self.refuse(payload, place);
                            turn = Turn::After(self.backoff.pause());
                        }
                        Dequeued::Nothing => {}
                    }
                }
                if matches!(turn, Turn::AtOnce) {
                    self.backoff.reset();
                }
                turn
            }
            Err(error) => {
                // Never sent again at once: if it was the answer that got lost, a job may have been
                // assigned to us, and the control plane takes it back when its lease runs out.
                let asked = error.retry_after().unwrap_or_default();
                // Who is refused is not let in a moment later.
                let refused = if error.is_refusal() { self.refused.pause() } else { Duration::ZERO };
                let pause = self.backoff.pause().max(asked).max(refused);
                // All others failed as well, if the control plane went away.
                Turn::After(pause + self.around.api.spread().mul_f64(random::fraction()))
            }
        }
    }

    /// Sends a dequeue; `None` when it was given up because the agent has to leave.
    async fn ask(&self, most: usize, closing: &CancellationToken) -> Option<Result<Answer, ApiError>> {
        let mut answer = std::pin::pin!(self.around.api.dequeue(most));
        tokio::select! {
            answer = &mut answer => Some(answer),
            () = closing.cancelled() => {
                let brief = timeout(LAST_ANSWER, answer);
                self.around.hurry.run_until_cancelled(brief).await.and_then(Result::ok)
            }
        }
    }

    fn start(&mut self, job: Job, at: Instant, claimed: BootTime, slot: OwnedSemaphorePermit) {
        let Some(auth) = self.auth(job.id, &job.token, job.queue.as_deref()) else { return };
        let stop = Arc::new(JobStop::default());
        let lease = Arc::new(Lease::new(claimed, self.around.api.lease_term()));
        let running = RunningJob::new(job.id, job.queue.clone(), Arc::clone(&stop), Arc::clone(&lease));
        let (registered, old) = self.running.register(running);
        if let Some(old) = &old {
            warn!(job = %job.id, "the control plane gave us a job that runs here: its lease ran out, and it begins anew");
            old.stop(StopCause::Abandoned);
        }
        self.summary.taken += 1;
        let timeline = Timeline::begin(IdText::new(job.id, job.queue.as_deref()), at);
        let watched = Watched::begin(self.around.api.config(), &job, &auth, timeline.ledger());
        let host = Arc::clone(&self.host);
        self.jobs.spawn(async move {
            if let Some(old) = old {
                // Two copies of a job never run beside each other.
                old.ended().await;
            }
            let ran = host.run(Assigned { job, auth, stop, lease, at, timeline, kept: None }).await;
            drop((registered, slot));
            watched.end(ran);
            host.warm().await;
            ran.completed
        });
    }

    /// Reports a job that was assigned to us but can't be read: it won't be any better next time.
    fn refuse(&mut self, payload: Undecodable, slot: OwnedSemaphorePermit) {
        let fault = payload.fault;
        let Some((id, token, queue)) = payload.job else {
            error!(%fault, "a job was assigned that can't be read, not even its id");
            return;
        };
        error!(job = %id, %fault, "a job was assigned that can't be read");
        let Some(auth) = self.auth(id, &token, queue.as_deref()) else { return };
        let message = format!("the executor could not read the job: {fault}");
        let last = Final::Failed { message, end: EndReason::BadJob.detail() };
        let around = self.around.clone();
        self.jobs.spawn(async move {
            let patience = Patience { limit: around.api.config().patience, hurry: around.hurry.clone() };
            job::mark(&around.api, &auth, &last, &patience).await;
            drop(slot);
            false
        });
    }

    /// Who a job's calls are made as; `None`, and a word in the log, when nobody knows where to.
    fn auth(&self, id: JobId, token: &str, named: Option<&str>) -> Option<JobAuth> {
        let queue = self.around.api.config().queue_of(named).filter(|queue| crate::api::valid_segment(queue));
        let Some(queue) = queue else {
            error!(job = %id, ?named, "a job was assigned without a queue that calls about it could go to");
            return None;
        };
        Some(JobAuth { id, queue: queue.to_owned(), token: SecretString::from(token) })
    }

    fn monitor(&self) -> &Monitor {
        &self.around.api.config().monitor
    }

    fn note_answer(&mut self, answer: &Result<Answer, ApiError>) {
        let what = match answer {
            Ok(Answer { dequeued: Dequeued::Nothing, .. }) => "nothing",
            Ok(Answer { dequeued: Dequeued::Job(_), .. }) => "job",
            Ok(Answer { dequeued: Dequeued::Undecodable(_), .. }) => "unreadable",
            Err(_) => "failed",
        };
        self.monitor().metrics().dequeues.count(&[what]);
        self.monitor().health().dequeued(answer.is_ok());
        match answer {
            Ok(_) => {
                self.refused.reset();
                self.monitor().troubles().worked(Call::Dequeue);
            }
            Err(error) => self.monitor().troubles().failed(Call::Dequeue, error),
        }
    }

    /// Takes note of jobs that have ended.
    fn collect(&mut self) {
        while let Some(ended) = self.jobs.try_join_next() {
            self.note(ended);
        }
    }

    async fn finish(mut self, leave: &CancellationToken) -> Summary {
        loop {
            let ended = tokio::select! {
                ended = self.jobs.join_next() => ended,
                () = leave.cancelled(), if self.host.outlives() => {
                    self.host.settle().await;
                    info!(running = self.running.snapshot().len(), "the agent leaves; jobs that run go on without it");
                    return self.summary;
                }
            };
            match ended {
                Some(ended) => self.note(ended),
                None => return self.summary,
            }
        }
    }

    fn note(&mut self, ended: Result<bool, tokio::task::JoinError>) {
        match ended {
            Ok(completed) => self.summary.completed += u64::from(completed),
            Err(panic) => error!(%panic, "a job's task panicked"),
        }
    }
}
