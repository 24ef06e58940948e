//! Waiting for the end of the time for which a job is ours. How long that is, is reckoned by [`jobs::tenure`].

use crate::boot_time::BootTime;
use jobs::tenure::Tenure;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;

/// How long reading what has come may take.
const READ_LIMIT: Duration = Duration::from_secs(1);
/// It is at most this part of the lease's term, which is a quarter of what is left to end the job.
const READ_PART: u32 = 20;
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

/// What is known of a lease, by the clock that all processes of this host share.
pub(crate) type State = Tenure<BootTime>;

impl Lease {
    pub(crate) fn new(renewed: BootTime, term: Option<Duration>) -> Self {
        Self { state: watch::Sender::new(State::new(renewed, term)), reader: None }
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
        self.change(|state| state.renewed(sent, term));
    }

    /// Whether there is an agent that can renew it.
    pub(crate) fn accompany(&self, by_an_agent: bool) {
        self.change(|state| state.accompanied(by_an_agent, BootTime::now()));
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

    /// Whether it counts as lost, as far as is known now.
    pub(crate) fn is_lost(&self) -> bool {
        self.state.borrow().end().is_some_and(|end| end <= BootTime::now())
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
                let limit = state.term.map_or(READ_LIMIT, |term| READ_LIMIT.min(term / READ_PART));
                self.read_all(limit).await;
                // A process that stood still finds its renewals only now.
                if *changes.borrow() == state {
                    return;
                }
                continue;
            }
            let _ = timeout(left.min(LOOK), changes.changed()).await;
        }
    }

    async fn read_all(&self, limit: Duration) {
        if let Some(reader) = &self.reader {
            let (reading, read) = oneshot::channel();
            let all = async {
                if reader.send(reading).await.is_ok() {
                    let _ = read.await;
                }
            };
            let _ = timeout(limit, all).await;
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
