//! Whether the process that runs a job still moves. One that stands still, stopped or on a disk that hangs,
//! ends no job: neither when it is told to nor when the time is over.

use crate::boot_time::BootTime;
use crate::job::JobStop;
use crate::monitor::Monitor;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use wire::JobId;

/// How many looks in a row may find no answer, of all and of those at which the job was about to end.
pub(super) const MOST_UNANSWERED: u32 = 6;
/// How long after its time is over a job is about to end: its supervisor's own limit comes first.
const DEADLINE_GRACE: Duration = Duration::from_secs(10);
/// How long a supervisor may take to answer once the job's lease counts as lost, ...
const LAST_CHANCE: Duration = Duration::from_secs(1);
/// ... and at most this part of the lease's term: that is half of what is left of it, and in the other half the
/// sandbox has to go.
const LAST_CHANCE_PART: u32 = 10;

/// Looks at one supervisor every few seconds.
pub(super) struct Vigil {
    job: JobId,
    monitor: Monitor,
    /// The pause between two looks; `None` for a supervisor that answers nothing.
    pause: Option<Duration>,
    next: Instant,
    /// It was asked on this connection, and has not answered.
    waits: bool,
    /// Looks without an answer, and those of them at which the job was about to end.
    unanswered: u32,
    due: u32,
    /// It stands still, which was told.
    still: bool,
    /// Nothing renewed the job's lease in time.
    lost: bool,
    deadline: Option<BootTime>,
}

/// What a look comes to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// It is to be asked.
    Ask,
    Wait,
    /// It won't end the job any more.
    StandsStill,
}

impl Vigil {
    pub(super) fn new(
        job: JobId,
        monitor: Monitor,
        pause: Option<Duration>,
        deadline: Option<BootTime>,
    ) -> Self {
        let next = Instant::now() + pause.unwrap_or_default();
        let deadline = deadline.map(|deadline| deadline + DEADLINE_GRACE);
        let (waits, still, lost) = (false, false, false);
        Self { job, monitor, pause, next, waits, unanswered: 0, due: 0, still, lost, deadline }
    }

    /// Waits until it is time for a look.
    pub(super) async fn next_look(&self) {
        match self.pause {
            Some(_) => sleep_until(self.next).await,
            None => std::future::pending().await,
        }
    }

    /// Looks.
    pub(super) fn look(&mut self, stop: &JobStop, hurry: &CancellationToken) -> Look {
        self.next = Instant::now() + self.pause.unwrap_or_default();
        if !std::mem::replace(&mut self.waits, true) {
            return Look::Ask;
        }
        let ends = stop.cause().is_some() || hurry.is_cancelled() || self.is_late();
        self.unanswered += 1;
        self.due = if ends { self.due + 1 } else { 0 };
        if self.unanswered == MOST_UNANSWERED {
            self.stands_still();
        }
        if self.due < MOST_UNANSWERED && !self.lost {
            return Look::Wait;
        }
        (self.due, self.lost) = (0, false);
        Look::StandsStill
    }

    /// It said something.
    pub(super) fn heard(&mut self) {
        (self.waits, self.unanswered, self.due) = (false, 0, 0);
        if self.lost {
            // It ends the job by itself.
            self.renewed();
        }
        if std::mem::take(&mut self.still) {
            self.monitor.metrics().silent.fetch_sub(1, Ordering::Relaxed);
            info!(job = %self.job, "the supervisor of a job moves again");
        }
    }

    /// There is another connection to it.
    pub(super) fn connected(&mut self) {
        self.waits = false;
    }

    /// The job's lease, of that term, counts as lost: whoever does not answer at once is late.
    pub(super) fn lost(&mut self, term: Option<Duration>) -> Look {
        if self.pause.is_none() {
            return Look::Wait;
        }
        self.lost = true;
        self.next = Instant::now() + last_chance(term);
        if std::mem::replace(&mut self.waits, true) { Look::Wait } else { Look::Ask }
    }

    /// It does not any more.
    pub(super) fn renewed(&mut self) {
        if std::mem::take(&mut self.lost) {
            self.next = Instant::now() + self.pause.unwrap_or_default();
        }
    }

    /// Whether the job should have ended by itself.
    pub(super) fn is_late(&self) -> bool {
        self.deadline.is_some_and(|deadline| deadline < BootTime::now())
    }

    fn stands_still(&mut self) {
        self.still = true;
        self.monitor.metrics().silent.fetch_add(1, Ordering::Relaxed);
        let seconds = self.pause.unwrap_or_default().as_secs() * u64::from(self.unanswered);
        warn!(
            job = %self.job, seconds,
            "the supervisor of a job does not answer, so the job may stand still; it is killed once the job is to end"
        );
    }
}

fn last_chance(term: Option<Duration>) -> Duration {
    term.map_or(LAST_CHANCE, |term| LAST_CHANCE.min(term / LAST_CHANCE_PART))
}

impl Drop for Vigil {
    fn drop(&mut self) {
        if self.still {
            self.monitor.metrics().silent.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::StopCause;
    use jobs::tenure::Tenure;

    const LONG: Option<Duration> = Some(Duration::from_secs(25));
    const PAUSE: Duration = Duration::from_secs(5);

    struct Case {
        vigil: Vigil,
        stop: JobStop,
        hurry: CancellationToken,
        began: Instant,
    }

    fn case(deadline: Option<BootTime>) -> Case {
        let vigil = Vigil::new(JobId(1), Monitor::default(), Some(PAUSE), deadline);
        Case { vigil, stop: JobStop::default(), hurry: CancellationToken::new(), began: Instant::now() }
    }

    impl Case {
        async fn look(&mut self) -> Look {
            self.vigil.next_look().await;
            self.vigil.look(&self.stop, &self.hurry)
        }

        async fn looks(&mut self, count: u32) -> Vec<Look> {
            let mut looks = Vec::new();
            for _ in 0..count {
                looks.push(self.look().await);
            }
            looks
        }

        /// Looks until it counts as standing still; says how many seconds after the begin that was.
        async fn stands_still_after(&mut self) -> u64 {
            while self.look().await != Look::StandsStill {
                assert!(self.began.elapsed() < PAUSE * 100, "it never does");
            }
            self.began.elapsed().as_secs()
        }

        fn silent(&self) -> u64 {
            self.vigil.monitor.metrics().silent.load(Ordering::Relaxed)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_answers_is_asked_again_and_again() {
        let mut case = case(None);
        case.stop.fire(StopCause::Canceled);
        for _ in 0..50 {
            assert_eq!(case.look().await, Look::Ask);
            case.vigil.heard();
        }
        assert_eq!(case.began.elapsed(), PAUSE * 50);
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_stands_still_is_told_of_and_left_alone_until_its_job_is_to_end() {
        let mut case = case(None);
        assert_eq!(case.look().await, Look::Ask);
        assert!(case.looks(5).await.iter().all(|look| *look == Look::Wait));
        assert_eq!(case.silent(), 0);
        assert!(case.looks(100).await.iter().all(|look| *look == Look::Wait));
        assert_eq!(case.silent(), 1);
        case.stop.fire(StopCause::Canceled);
        assert!(case.looks(MOST_UNANSWERED - 1).await.iter().all(|look| *look == Look::Wait));
        assert_eq!(case.look().await, Look::StandsStill);
        case.vigil.heard();
        assert_eq!(case.silent(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stop_a_hurry_and_a_deadline_count_from_when_they_are_due() {
        let mut stopped = case(None);
        stopped.stop.fire(StopCause::Canceled);
        assert_eq!(stopped.stands_still_after().await, 35);
        assert_eq!(stopped.stands_still_after().await, 65, "and again should it live on");
        let mut hurried = case(None);
        hurried.hurry.cancel();
        assert_eq!(hurried.stands_still_after().await, 35);
        let mut late = case(Some(BootTime::default()));
        assert!(late.vigil.is_late());
        assert_eq!(late.stands_still_after().await, 35);
        let mut in_time = case(Some(BootTime::now()));
        assert!(!in_time.vigil.is_late(), "its supervisor's own limit comes first");
        assert!(in_time.looks(20).await.iter().all(|look| *look != Look::StandsStill));
    }

    #[tokio::test(start_paused = true)]
    async fn another_connection_is_asked_anew_and_costs_no_look_twice() {
        let mut case = case(None);
        case.stop.fire(StopCause::Canceled);
        assert_eq!(case.looks(3).await, [Look::Ask, Look::Wait, Look::Wait]);
        case.vigil.connected();
        assert_eq!(case.looks(2).await, [Look::Ask, Look::Wait]);
        assert_eq!(case.stands_still_after().await, 40);
    }

    #[tokio::test(start_paused = true)]
    async fn a_lost_lease_leaves_a_moment_for_an_answer() {
        let mut silent = case(None);
        assert_eq!(silent.vigil.lost(LONG), Look::Ask);
        assert_eq!(silent.look().await, Look::StandsStill);
        assert_eq!(silent.began.elapsed(), LAST_CHANCE);
        let mut asked = case(None);
        assert_eq!((asked.look().await, asked.vigil.lost(LONG)), (Look::Ask, Look::Wait));
        assert_eq!(asked.look().await, Look::StandsStill);
        assert_eq!(asked.began.elapsed(), PAUSE + LAST_CHANCE);
        let (mut answers, mut renewed) = (case(None), case(None));
        assert_eq!((answers.vigil.lost(LONG), renewed.vigil.lost(LONG)), (Look::Ask, Look::Ask));
        answers.vigil.heard();
        renewed.vigil.renewed();
        assert_eq!((answers.look().await, renewed.look().await), (Look::Ask, Look::Wait));
        assert_eq!(renewed.began.elapsed(), PAUSE);
    }

    /// A stopped supervisor's step goes on until that is killed, and somebody else gets the job when the lease is over.
    #[tokio::test(start_paused = true)]
    async fn the_moment_fits_into_what_is_left_of_a_lease() {
        for (seconds, chance) in [(3, 300), (5, 500), (10, 1_000), (3_600, 1_000)] {
            let term = Duration::from_secs(seconds);
            let lost = Tenure::new(Duration::ZERO, Some(term)).end().unwrap();
            let mut silent = case(None);
            assert_eq!(silent.vigil.lost(Some(term)), Look::Ask);
            assert_eq!(silent.look().await, Look::StandsStill);
            assert_eq!(silent.began.elapsed(), Duration::from_millis(chance), "{term:?}");
            assert!(lost + silent.began.elapsed() * 2 <= term, "{term:?}: as long again to kill it");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_of_an_earlier_release_is_not_judged() {
        let mut vigil = Vigil::new(JobId(1), Monitor::default(), None, Some(BootTime::default()));
        assert_eq!(vigil.lost(LONG), Look::Wait);
        assert!(tokio::time::timeout(PAUSE * 100, vigil.next_look()).await.is_err());
    }
}
