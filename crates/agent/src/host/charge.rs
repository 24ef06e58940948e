//! One job under a supervisor, from the moment that an agent knows of it to its end.

use super::conversation::{Followed, Ward, follow};
use super::kill::kill;
use super::told::Told;
use super::vigil::Vigil;
use super::{Ran, hand_back, last_word};
use crate::account::Ledger;
use crate::boot_time::BootTime;
use crate::config::AgentConfig;
use crate::job::{JobStop, StopCause, Surroundings};
use crate::lease::Lease;
use crate::start::Unsettled;
use crate::supervisor::{JobDir, Link, Record, Standing};
use std::time::Duration;
use tokio::time::sleep;
use tracing::{debug, warn};
use wire::JobId;

/// How often a supervisor is looked for that was lost sight of.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
const LOOK_AGAIN_LATER: Duration = Duration::from_millis(500);

/// The job.
pub(super) struct Charge<'a> {
    pub(super) around: &'a Surroundings,
    pub(super) dir: &'a JobDir,
    pub(super) job: JobId,
    /// What its supervisor noted, if that was read.
    pub(super) record: Option<Record>,
    pub(super) terms: Terms,
    pub(super) stop: &'a JobStop,
    pub(super) lease: &'a Lease,
    pub(super) ledger: &'a Ledger,
    /// It runs no more; it is only cleared up.
    pub(super) unsettled: Option<Unsettled>,
}

/// What is expected of it and of its supervisor.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms {
    /// When it began, and how long it may take.
    begun: Option<BootTime>,
    limit: Option<Duration>,
    answers: bool,
    audits: bool,
}

impl Terms {
    /// Of a job that began at `begun` under a supervisor of our own.
    pub(super) fn of_ours(begun: BootTime, config: &AgentConfig) -> Self {
        Self { begun: Some(begun), limit: config.max_runtime, answers: true, audits: true }
    }

    /// Of one that a supervisor, perhaps of another release, has noted.
    pub(super) fn noted(record: &Record) -> Self {
        let Record { begun, answers, audits, .. } = *record;
        Self { begun, limit: record.limit(), answers, audits }
    }

    fn deadline(&self) -> Option<BootTime> {
        Some(self.begun? + self.limit?)
    }
}

impl Charge<'_> {
    /// Stays in touch with its supervisor until it has ended; if the supervisor dies over it, hands it back, or tells
    /// its end where that is known.
    pub(super) async fn see_to_its_end(mut self, link: Option<Link>) -> Ran {
        let unsettled = self.unsettled.take();
        let ran = self.end_of(link).await;
        if let Some(unsettled) = unsettled {
            unsettled.done();
        }
        ran
    }

    async fn end_of(self, link: Option<Link>) -> Ran {
        if let Some(ended) = self.follow_to_its_end(link).await {
            return ended;
        }
        if let (Some(record), Some(kept)) = (self.dir.record(), self.dir.kept_end()) {
            let completed =
                last_word::tell(self.around, self.dir, &record, self.stop, self.ledger, kept).await;
            self.dir.remove();
            return Ran { completed, written: false };
        }
        let last = hand_back::last_call(self.stop, self.terms.limit);
        self.ledger.ended(last.end());
        if let Some(record) = self.record.or_else(|| self.dir.record()) {
            hand_back::hand_back(self.around, self.dir, &record, self.stop, &last).await;
        }
        self.dir.remove();
        Ran { completed: false, written: false }
    }

    /// Follows it wherever its supervisor is found; `None` when that died over it.
    async fn follow_to_its_end(&self, mut link: Option<Link>) -> Option<Ran> {
        let config = self.around.api.config();
        let pause = self.terms.answers.then_some(config.heartbeat_interval);
        let mut ward = Ward {
            stop: self.stop,
            lease: self.lease,
            hurry: &self.around.hurry,
            vigil: Vigil::new(self.job, config.monitor.clone(), pause, self.terms.deadline()),
            told: Told::new(config.monitor.clone()),
        };
        let written = self.terms.audits;
        let mut pause = LOOK_AGAIN;
        loop {
            if let Some(link) = link.take() {
                match follow(link, &mut ward).await {
                    Followed::Ended { completed, account } => {
                        self.ledger.take_over(account);
                        return Some(Ran { completed, written });
                    }
                    Followed::Lost => {}
                    Followed::StandsStill => self.end_by_force(&ward.vigil).await,
                }
            }
            match self.dir.standing() {
                Standing::Lives(_) => match self.dir.connect().await {
                    Ok(stream) => {
                        link = Some(Link::new(stream));
                        pause = LOOK_AGAIN;
                    }
                    Err(fault) => {
                        debug!(%fault, "failed to connect to the supervisor of a job");
                        sleep(pause).await;
                        pause = (pause * 2).min(LOOK_AGAIN_LATER);
                    }
                },
                Standing::Died(_) => return None,
                // It has ended while nobody looked.
                Standing::Over => {
                    self.dir.remove();
                    return Some(Ran { completed: false, written });
                }
            }
        }
    }

    /// Its supervisor does not move, and the job is to end.
    async fn end_by_force(&self, vigil: &Vigil) {
        if vigil.is_late() {
            self.stop.fire(StopCause::Timeout);
        }
        if self.lease.is_lost() {
            // Somebody else may have it by the time it is gone.
            self.stop.fire(StopCause::Abandoned);
        }
        let (job, cause) = (self.job, self.stop.cause());
        warn!(%job, ?cause, "the supervisor of a job stands still, and the job is to end: it is killed");
        if let Err(fault) = kill(self.dir).await {
            warn!(%job, %fault, "failed to kill a supervisor that stands still; it is tried again");
        }
    }
}
