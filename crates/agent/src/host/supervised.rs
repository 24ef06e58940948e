//! Jobs under supervisors: processes of their own that outlive this one.

use super::births::Births;
use super::charge::{Charge, Terms};
use super::conversation::give;
use super::process::Process;
use super::{Adopted, JobHost, Ran};
use crate::account::Ledger;
use crate::api::{Final, Patience};
use crate::boot_time::BootTime;
use crate::config::SupervisorCommand;
use crate::host_disk::HostDisks;
use crate::job::{self, Assigned, JobStop, Surroundings};
use crate::lease::Lease;
use crate::running::RunningJob;
use crate::start::Start;
use crate::supervisor::{Assignment, JobDir, Link, Order, Record, Standing, millis};
use crate::watched::{self, Watched};
use async_trait::async_trait;
use jobs::EndReason;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::net::UnixStream;
use tokio::sync::{Mutex, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tracing::{debug, info, warn};

/// Another spare is made so much later than one was taken: the job that took it is just starting, and
/// needs the processor more.
const SPARE_PAUSE: Duration = Duration::from_millis(100);
/// How long a supervisor may take to get ready and to write down a job.
const START_LIMIT: Duration = Duration::from_mins(1);
/// The same for one that was made ahead, and so is ready: one that stands still must not cost the job's lease.
const SPARE_LIMIT: Duration = Duration::from_secs(3);
/// How many supervisors are tried before a job is given up.
const ATTEMPTS: u32 = 3;
/// How often it is looked whether a spare of an earlier agent has left.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// How long supervisors that are done may take to leave, or a predecessor's spares to see that it is gone.
const LEAVE_LIMIT: Duration = Duration::from_secs(5);

/// Starts supervisors, and stays in touch with them.
#[derive(Clone)]
pub(crate) struct Supervised(Arc<Inner>);

struct Inner {
    around: Surroundings,
    births: Births,
    jobs: PathBuf,
    /// Which start of the agent this is.
    incarnation: String,
    spare: Mutex<Option<Spare>>,
    making_spare: AtomicBool,
    /// The agent leaves: nobody would be there for a spare. Changed by who has the lock of `spare`.
    closed: AtomicBool,
    /// Supervisors that have to leave by themselves.
    leaving: Mutex<JoinSet<()>>,
    /// Jobs that are being handed over right now.
    in_hand: watch::Sender<usize>,
}

/// A supervisor that waits for a job.
struct Spare {
    dir: JobDir,
    process: Process,
    link: Link,
}

impl Supervised {
    pub(crate) fn new(
        around: Surroundings,
        command: SupervisorCommand,
        jobs: PathBuf,
        incarnation: String,
    ) -> Self {
        Self(Arc::new(Inner {
            around,
            births: Births::by(command),
            jobs,
            incarnation,
            spare: Mutex::default(),
            making_spare: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            leaving: Mutex::default(),
            in_hand: watch::Sender::new(0),
        }))
    }
}

#[async_trait]
impl JobHost for Supervised {
    async fn warm(&self) {
        let inner = &self.0;
        if inner.making_spare.swap(true, Ordering::AcqRel) {
            return;
        }
        let mut spare = inner.spare.lock().await;
        if spare.is_none() && !inner.closed.load(Ordering::Acquire) {
            match inner.start_spare().await {
                Ok(made) => *spare = Some(made),
                Err(fault) => warn!(%fault, "failed to start a supervisor ahead"),
            }
        }
        inner.making_spare.store(false, Ordering::Release);
    }

    async fn run(&self, assigned: Assigned) -> Ran {
        let inner = &self.0;
        inner.in_hand.send_modify(|count| *count += 1);
        let handed = inner.hand_over(&assigned).await;
        inner.in_hand.send_modify(|count| *count -= 1);
        let later = self.clone();
        tokio::spawn(async move {
            sleep(SPARE_PAUSE).await;
            later.warm().await;
        });
        if handed.is_err() {
            watched::write_begin(inner.around.api.config(), &assigned);
        }
        let Assigned { job, auth, stop, lease, timeline, at, .. } = assigned;
        let ledger = timeline.ledger();
        match handed {
            Ok(Spare { dir, process, link }) => {
                let terms = Terms::of_ours(BootTime::of(at), inner.around.api.config());
                // Its files are with the supervisor now.
                drop(job);
                let charge = Charge {
                    around: &inner.around,
                    dir: &dir,
                    job: auth.id,
                    record: dir.record(),
                    terms,
                    stop: &stop,
                    lease: &lease,
                    ledger,
                    unsettled: None,
                };
                let ran = charge.see_to_its_end(Some(link)).await;
                let mut leaving = inner.leaving.lock().await;
                while leaving.try_join_next().is_some() {}
                leaving.spawn(gone(process, dir));
                drop(leaving);
                ran
            }
            Err(fault) => {
                let message = format!("the executor could not start the supervisor of the job: {fault}");
                warn!(job = %auth.id, message);
                let end = inner.why_none_started().await.detail();
                let last = Final::Errored { message, end: end.clone() };
                ledger.ended(end);
                stop.note_end_told();
                job::mark(&inner.around.api, &auth, &last, &inner.patience()).await;
                Ran { completed: false, written: false }
            }
        }
    }

    async fn adopt(&self) -> Vec<Adopted> {
        let inner = &self.0;
        let dirs = match JobDir::all(&inner.jobs) {
            Ok(dirs) => dirs,
            Err(fault) => {
                warn!(%fault, path = %inner.jobs.display(), "failed to look for jobs of an earlier agent");
                inner.spoil();
                return Vec::new();
            }
        };
        let looking = dirs.into_iter().map(|dir| self.adopt_one(dir));
        futures_util::future::join_all(looking).await.into_iter().flatten().collect()
    }

    fn outlives(&self) -> bool {
        true
    }

    async fn settle(&self) {
        let mut in_hand = self.0.in_hand.subscribe();
        if timeout(LEAVE_LIMIT, in_hand.wait_for(|count| *count == 0)).await.is_err() {
            warn!("a job is still being handed over to its supervisor");
        }
    }

    async fn close(&self) {
        // A spare leaves when it hears that nobody is there, and no other is made.
        let spare = {
            let mut spare = self.0.spare.lock().await;
            self.0.closed.store(true, Ordering::Release);
            spare.take()
        };
        let mut leaving = std::mem::take(&mut *self.0.leaving.lock().await);
        if let Some(Spare { dir, process, link }) = spare {
            drop(link);
            leaving.spawn(gone(process, dir));
        }
        let all = async {
            while leaving.join_next().await.is_some() {}
            self.0.births.close().await;
        };
        if timeout(LEAVE_LIMIT, all).await.is_err() {
            warn!("a supervisor without a job takes long to leave");
        }
    }
}

impl Supervised {
    async fn adopt_one(&self, dir: JobDir) -> Option<Adopted> {
        let (record, lives) = match settled(&dir).await {
            Settled::Job(record, lives) => (record, lives),
            Settled::Nobodys => return None,
            Settled::Unsure => {
                self.0.spoil();
                return None;
            }
        };
        if !record.is_of(&self.0.around.api.config().frontend_url) {
            // Its token is a secret between it and the other one.
            warn!(
                job = %record.job, of = record.control_plane, lives,
                "a job of another control plane is here: it gets no heartbeats, so that its lease ends it"
            );
            if !lives {
                dir.remove();
            }
            return None;
        }
        if lives {
            info!(job = %record.job, supervisor = record.pid, "a job of an earlier agent goes on here");
        }
        let (stop, lease) = (Arc::new(JobStop::default()), Arc::new(Lease::of_others()));
        let running =
            RunningJob::new(record.job, record.named_queue.clone(), Arc::clone(&stop), Arc::clone(&lease));
        let inner = Arc::clone(&self.0);
        // Its lease is needed for as long as its end is not told.
        let unsettled = self.0.start().filter(|_| !lives).map(Start::unsettled);
        let goes_on = lives || dir.kept_end().is_some();
        let ledger = Ledger::default();
        let watched = Watched::adopt(inner.around.api.config(), &record, &ledger);
        let end = async move {
            let charge = Charge {
                around: &inner.around,
                dir: &dir,
                job: record.job,
                terms: Terms::noted(&record),
                record: Some(record),
                stop: &stop,
                lease: &lease,
                ledger: &ledger,
                unsettled,
            };
            watched.end(charge.see_to_its_end(None).await);
        };
        Some(Adopted { running: goes_on.then_some(running), end: Box::pin(end) })
    }
}

/// Waits until a supervisor without a job has left. One that was killed has left its directory behind.
async fn gone(process: Process, dir: JobDir) {
    process.wait().await;
    dir.remove();
}

/// What a directory turned out to be.
enum Settled {
    /// Of a job; whether its supervisor lives.
    Job(Record, bool),
    /// Nobody's: it is removed.
    Nobodys,
    /// A job may begin there.
    Unsure,
}

/// Waits until it is clear what `dir` is.
async fn settled(dir: &JobDir) -> Settled {
    let deadline = BootTime::now() + LEAVE_LIMIT;
    loop {
        match dir.standing() {
            Standing::Lives(Some(record)) => return Settled::Job(record, true),
            Standing::Died(record) => return Settled::Job(record, false),
            // Held while it is removed: a spare that only begins to live finds that it is not for it.
            Standing::Over if dir.remove_unheld() => return Settled::Nobodys,
            // A spare of an agent that is gone, which leaves, or was just given a job.
            Standing::Over | Standing::Lives(None) if BootTime::now() < deadline => sleep(LOOK_AGAIN).await,
            Standing::Over => {
                warn!(dir = %dir.path().display(), "what was kept of a job can't be read");
                dir.remove();
                return Settled::Unsure;
            }
            Standing::Lives(None) => {
                warn!(dir = %dir.path().display(), "a supervisor of an earlier agent has no job and does not leave");
                return Settled::Unsure;
            }
        }
    }
}

impl Inner {
    fn start(&self) -> Option<&Start> {
        self.around.api.config().start.as_ref()
    }

    /// A job of an earlier agent may go on here without being known.
    fn spoil(&self) {
        if let Some(start) = self.start() {
            start.spoil();
        }
    }

    async fn start_spare(&self) -> io::Result<Spare> {
        let dir = JobDir::create(&self.jobs)?;
        let started = self.start_in(&dir).await;
        if started.is_err() {
            dir.remove();
        }
        let (process, link) = started?;
        debug!(pid = process.pid(), "started a supervisor");
        Ok(Spare { dir, process, link })
    }

    async fn start_in(&self, dir: &JobDir) -> io::Result<(Process, Link)> {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let process = self.births.make(dir.path(), theirs.into()).await?;
        Ok((process, Link::new(UnixStream::from_std(ours)?)))
    }

    /// Gives the job to a supervisor. When this returns without a fault, the job is written down and
    /// needs us no more; with one, nothing of it has begun.
    async fn hand_over(&self, assigned: &Assigned) -> io::Result<Spare> {
        let mut last = io::Error::other("none was tried");
        for _ in 0..ATTEMPTS {
            let spare = self.spare.lock().await.take();
            let limit = if spare.is_some() { SPARE_LIMIT } else { START_LIMIT };
            let started = match spare {
                Some(spare) => Ok(spare),
                None => self.start_spare().await,
            };
            let mut spare = match started {
                Ok(spare) => spare,
                Err(fault) => {
                    last = fault;
                    continue;
                }
            };
            match give(&mut spare.link, &self.order(assigned), limit).await {
                Ok(()) => return Ok(spare),
                Err(fault) => {
                    warn!(job = %assigned.job.id, %fault, "a supervisor did not take a job; another is tried");
                    // One that is only late must not begin it after all.
                    spare.process.kill().await;
                    spare.dir.remove();
                    last = fault;
                }
            }
        }
        Err(last)
    }

    /// The job as it is given away now, with its lease as it stands now.
    fn order(&self, assigned: &Assigned) -> Order {
        let Assigned { job, auth, at, lease, .. } = assigned;
        let state = *lease.subscribe().borrow();
        Order::Job(Box::new(Assignment {
            job: job.clone(),
            queue: auth.queue.clone(),
            at: BootTime::of(*at),
            renewed: Some(state.renewed),
            term_ms: millis(state.term),
            append: self.around.api.can_append(),
            incarnation: self.incarnation.clone(),
        }))
    }

    /// Supervisors that die before they have begun tell nobody what they lacked.
    async fn why_none_started(&self) -> EndReason {
        let disks = HostDisks::of(&self.jobs, self.around.runtime.fills().await);
        if disks.is_full() { disks.full() } else { EndReason::Sandbox }
    }

    fn patience(&self) -> Patience {
        Patience { limit: self.around.api.config().patience, hurry: self.around.hurry.clone() }
    }
}
