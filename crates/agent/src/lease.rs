//! How long a job is ours, by our own clock.
//!
//! A control plane of ours tells the term of its leases. A job whose lease was not renewed for that
//! long is about to be given to somebody else, so its sandbox has to be gone by then. A stock one
//! tells no term: there a job goes on while heartbeats fail, but not once nobody is left to send any.

use crate::boot_time::BootTime;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;

/// How long before its term a lease counts as lost: a step is asked to end, and killed when it does
/// not, within that time.
const MARGIN: Duration = Duration::from_secs(5);
/// The margin is at most this part of the term.
const MARGIN_PART: u32 = 5;
/// Without a known term: how long after its last renewal a job goes on that nobody sends heartbeats
/// for. Stock control planes give it away after 25 s.
const ALONE: Duration = Duration::from_secs(20);
/// It goes on for at least this long after it was left alone, so that an agent that is started again
/// at once finds it even if heartbeats had failed.
const LEAST_ALONE: Duration = Duration::from_secs(5);
/// How long reading what has come may take.
const READ_LIMIT: Duration = Duration::from_secs(1);
/// Timers stand still while the host sleeps, so the clock is looked at this often.
const LOOK: Duration = Duration::from_secs(1);

/// The lease of one job.
#[derive(Debug)]
pub(crate) struct Lease {
    state: watch::Sender<State>,
    /// Who has to read what may have come, before it counts as lost.
    reader: Option<mpsc::Sender<oneshot::Sender<()>>>,
}

/// Hears that a lease is about to count as lost, and lets that go on by dropping what it gets.
pub(crate) type AboutToBeLost = mpsc::Receiver<oneshot::Sender<()>>;

/// What is known of a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct State {
    /// When the call was sent that renewed it last, or the job was assigned.
    pub(crate) renewed: BootTime,
    /// How long it lasts from then on, if the control plane has told.
    pub(crate) term: Option<Duration>,
    /// Since when there is no agent that could renew it.
    alone: Option<BootTime>,
}

impl Lease {
    pub(crate) fn new(renewed: BootTime, term: Option<Duration>) -> Self {
        Self { state: watch::Sender::new(State { renewed, term, alone: None }), reader: None }
    }

    /// One whose renewals come by way of somebody who can be behind.
    pub(crate) fn with_reader(renewed: BootTime, term: Option<Duration>) -> (Self, AboutToBeLost) {
        let (reader, about_to_be_lost) = mpsc::channel(1);
        (Self { reader: Some(reader), ..Self::new(renewed, term) }, about_to_be_lost)
    }

    /// That of a job whose renewals only others know so far: passing it on renews nothing.
    pub(crate) fn of_others() -> Self {
        Self::new(BootTime::default(), None)
    }

    /// A call that was sent at `sent` renewed it.
    pub(crate) fn renew(&self, sent: BootTime, term: Option<Duration>) {
        self.change(|state| State { renewed: state.renewed.max(sent), term: term.or(state.term), ..state });
    }

    /// Whether there is an agent that can renew it.
    pub(crate) fn accompany(&self, by_an_agent: bool) {
        self.change(|state| State {
            alone: (!by_an_agent).then(|| state.alone.unwrap_or_else(BootTime::now)),
            ..state
        });
    }

    fn change(&self, change: impl FnOnce(State) -> State) {
        self.state.send_if_modified(|state| {
            let before = std::mem::replace(state, change(*state));
            before != *state
        });
    }

    /// Hears of every change.
    pub(crate) fn subscribe(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }

    /// Waits until it counts as lost.
    pub(crate) async fn lost(&self) {
        let mut changes = self.subscribe();
        loop {
            let state = *changes.borrow_and_update();
            // The sender is ours, so there is no end of changes.
            let Some(end) = state.end() else {
                let _ = changes.changed().await;
                continue;
            };
            let left = end.since(BootTime::now());
            if left.is_zero() {
                self.read_all().await;
                // A process that stood still finds its renewals only now.
                if *changes.borrow() == state {
                    return;
                }
                continue;
            }
            let _ = timeout(left.min(LOOK), changes.changed()).await;
        }
    }

    async fn read_all(&self) {
        if let Some(reader) = &self.reader {
            let (reading, read) = oneshot::channel();
            let all = async {
                if reader.send(reading).await.is_ok() {
                    let _ = read.await;
                }
            };
            let _ = timeout(READ_LIMIT, all).await;
        }
    }
}

impl State {
    /// When it counts as lost, as far as is known now.
    fn end(&self) -> Option<BootTime> {
        match (self.term, self.alone) {
            (Some(term), _) => Some(self.renewed + term.saturating_sub(MARGIN.min(term / MARGIN_PART))),
            (None, Some(alone)) => Some((self.renewed + ALONE).max(alone + LEAST_ALONE)),
            (None, None) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TERM: Option<Duration> = Some(Duration::from_secs(25));

    fn ago(duration: Duration) -> BootTime {
        BootTime::of(std::time::Instant::now().checked_sub(duration).unwrap())
    }

    fn state(lease: &Lease) -> State {
        *lease.subscribe().borrow()
    }

    #[test]
    fn a_known_term_ends_a_margin_early_whoever_is_there() {
        let now = BootTime::now();
        let lease = Lease::new(now, TERM);
        assert_eq!(state(&lease).end(), Some(now + Duration::from_secs(20)));
        lease.accompany(false);
        assert_eq!(state(&lease).end(), Some(now + Duration::from_secs(20)));
        let short = Lease::new(now, Some(Duration::from_secs(5)));
        assert_eq!(state(&short).end(), Some(now + Duration::from_secs(4)));
    }

    #[test]
    fn without_a_term_a_job_ends_only_when_it_is_left_alone() {
        let now = BootTime::now();
        let lease = Lease::new(now, None);
        assert_eq!(state(&lease).end(), None);
        lease.accompany(false);
        assert_eq!(state(&lease).end(), Some(now + ALONE));
        lease.accompany(true);
        assert_eq!(state(&lease).end(), None);
    }

    #[test]
    fn an_agent_that_returns_at_once_finds_a_job_whose_heartbeats_had_failed() {
        let long_ago = ago(Duration::from_mins(1));
        let lease = Lease::new(long_ago, None);
        lease.accompany(false);
        let left = state(&lease).end().unwrap().since(BootTime::now());
        assert!(left > Duration::from_secs(3) && left <= LEAST_ALONE, "{left:?}");
    }

    #[test]
    fn renewals_that_come_late_change_nothing_and_a_term_is_remembered() {
        let now = BootTime::now();
        let lease = Lease::new(now, TERM);
        lease.renew(ago(Duration::from_secs(9)), None);
        assert_eq!((state(&lease).renewed, state(&lease).term), (now, TERM));
        let later = now + Duration::from_secs(5);
        lease.renew(later, None);
        assert_eq!(state(&lease).end(), Some(later + Duration::from_secs(20)));
    }

    #[tokio::test]
    async fn what_has_come_is_read_before_it_is_lost() {
        let (lease, mut about_to_be_lost) = Lease::with_reader(ago(Duration::from_mins(1)), TERM);
        let reads = async {
            let reading = about_to_be_lost.recv().await.expect("its reader is asked");
            lease.renew(ago(Duration::from_millis(19_700)), TERM);
            drop(reading);
            drop(about_to_be_lost.recv().await.expect("it is asked again once that is over"));
        };
        tokio::join!(lease.lost(), reads);
        assert!(BootTime::now() >= state(&lease).end().unwrap());
    }

    #[tokio::test]
    async fn it_is_lost_once_its_time_is_over_and_not_while_it_is_renewed() {
        let term = Duration::from_millis(250);
        let lease = Lease::new(BootTime::now(), Some(term));
        let sent = BootTime::now() + Duration::from_millis(500);
        lease.renew(sent, None);
        lease.lost().await;
        assert!(BootTime::now() >= sent + term.mul_f64(0.8));
    }
}
