//! What an agent and the supervisor of a job say to each other, from the agent's side.

use super::told::Told;
use super::vigil::{Look, Vigil};
use crate::account::Account;
use crate::error::chain;
use crate::job::JobStop;
use crate::lease::Lease;
use crate::supervisor::{Cause, LINE, Link, Order, Report, line_of, millis};
use std::io;
use std::time::Duration;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::debug;

/// How many bytes of a job a supervisor takes in a second at least.
const SLOWEST: usize = 16 << 20;

/// How long what a supervisor has already said may take to be read.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// What came of a connection to a supervisor.
pub(super) enum Followed {
    Ended {
        completed: bool,
        account: Account,
    },
    /// The connection broke.
    Lost,
    /// It does not move, and its job is to end.
    StandsStill,
}

/// Gives a job, and waits until it is written down: for `limit`, and as long as its size takes.
pub(super) async fn give(link: &mut Link, order: &Order, limit: Duration) -> io::Result<()> {
    let line = line_of(order)?;
    let limit = limit + Duration::from_secs((line.len() / SLOWEST) as u64);
    let given = async {
        link.send_line(&line).await?;
        loop {
            match link.next::<Report>(LINE).await? {
                Some(Report::Taken) => return Ok(()),
                Some(_) => {}
                None => {
                    return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it ended before it had begun"));
                }
            }
        }
    };
    timeout(limit, given).await.unwrap_or_else(|late| Err(late.into()))
}

/// A job that runs under a supervisor, as an agent has it.
pub(super) struct Ward<'a> {
    pub(super) stop: &'a JobStop,
    pub(super) lease: &'a Lease,
    /// The agent has to leave at once.
    pub(super) hurry: &'a CancellationToken,
    pub(super) vigil: Vigil,
    pub(super) told: Told,
}

/// Passes on what there is to say while the connection lasts.
pub(super) async fn follow(mut link: Link, ward: &mut Ward<'_>) -> Followed {
    let (stop, hurry) = (ward.stop, ward.hurry);
    let mut renewals = ward.lease.subscribe();
    // What was renewed while nobody was connected has to be told as well.
    renewals.mark_changed();
    ward.vigil.connected();
    let (mut stopped, mut abandoned, mut hurried, mut lost) = (false, false, false, false);
    loop {
        let order = tokio::select! {
            heard = link.next::<Report>(LINE) => match heard {
                Ok(Some(report)) => match ward.take(report) {
                    Taken::Ended(ended) => return ended,
                    Taken::Ending => Order::Heard,
                    Taken::Nothing => continue,
                },
                Ok(None) => return Followed::Lost,
                Err(fault) => {
                    debug!(fault = chain(&fault), "lost a supervisor");
                    return Followed::Lost;
                }
            },
            () = stop.token().cancelled(), if !stopped => {
                stopped = true;
                match stop.cause().and_then(Cause::of) {
                    Some(cause) => Order::Stop { cause },
                    None => continue,
                }
            }
            () = stop.abandoned().cancelled(), if !abandoned => {
                abandoned = true;
                Order::Stop { cause: Cause::Abandoned }
            }
            () = hurry.cancelled(), if !hurried => {
                hurried = true;
                Order::Hurry
            }
            Ok(()) = renewals.changed() => {
                let state = *renewals.borrow_and_update();
                lost = false;
                ward.vigil.renewed();
                Order::Renewed { sent: state.renewed, term_ms: millis(state.term) }
            }
            () = ward.lease.lost(), if !lost => {
                lost = true;
                let term = renewals.borrow().term;
                match ward.vigil.lost(term) {
                    Look::Ask => Order::Ask,
                    Look::Wait | Look::StandsStill => continue,
                }
            }
            () = ward.vigil.next_look() => match ward.vigil.look(stop, hurry) {
                Look::Ask => Order::Ask,
                Look::Wait => continue,
                Look::StandsStill => return Followed::StandsStill,
            }
        };
        if let Err(fault) = link.send(&order).await {
            debug!(fault = chain(&fault), "a supervisor does not listen");
            return last_words(&mut link, ward).await;
        }
    }
}

/// What a report comes to.
enum Taken {
    Ended(Followed),
    Ending,
    Nothing,
}

impl Ward<'_> {
    fn take(&mut self, report: Report) -> Taken {
        self.vigil.heard();
        match report {
            Report::Ended { completed, account } => {
                return Taken::Ended(Followed::Ended { completed, account });
            }
            Report::Ending => {
                self.stop.note_end_told();
                return Taken::Ending;
            }
            Report::Here { counts, log_pending } => self.told.add(*counts, log_pending),
            Report::Taken | Report::Unknown => {}
        }
        Taken::Nothing
    }
}

/// What a supervisor that does not listen any more still had to say: it may have ended its job. Else another
/// connection is tried, on which everything is said again.
async fn last_words(link: &mut Link, ward: &mut Ward<'_>) -> Followed {
    let heard = async {
        while let Ok(Some(report)) = link.next::<Report>(LINE).await {
            if let Taken::Ended(ended) = ward.take(report) {
                return ended;
            }
        }
        Followed::Lost
    };
    timeout(LAST_WORDS, heard).await.unwrap_or(Followed::Lost)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boot_time::BootTime;
    use crate::job::StopCause;
    use crate::monitor::Monitor;
    use std::sync::atomic::Ordering;
    use tokio::net::UnixStream;
    use wire::JobId;

    const TERM: Option<Duration> = Some(Duration::from_secs(25));
    const PAUSE: Duration = Duration::from_secs(5);

    /// What the control plane and the agent decide about a job.
    struct Decided {
        stop: JobStop,
        lease: Lease,
        hurry: CancellationToken,
        monitor: Monitor,
    }

    impl Decided {
        fn new(lease: Lease) -> Self {
            let (stop, hurry, monitor) = <(JobStop, CancellationToken, Monitor)>::default();
            Self { stop, lease, hurry, monitor }
        }

        fn ward(&self, deadline: Option<BootTime>) -> Ward<'_> {
            let vigil = Vigil::new(JobId(1), self.monitor.clone(), Some(PAUSE), deadline);
            let told = Told::new(self.monitor.clone());
            Ward { stop: &self.stop, lease: &self.lease, hurry: &self.hurry, vigil, told }
        }
    }

    fn pair() -> (Link, Link) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        (Link::new(ours), Link::new(theirs))
    }

    #[tokio::test]
    async fn a_renewal_from_before_the_connection_is_told_first_of_all() {
        let lease = Lease::new(BootTime::default(), TERM);
        let at = BootTime::now();
        lease.renew(at, TERM);
        let decided = Decided::new(lease);
        let (ours, mut supervisor) = pair();
        let hears = async {
            let Some(Order::Renewed { sent, term_ms }) = supervisor.next::<Order>(LINE).await.unwrap() else {
                panic!("something else came first")
            };
            assert_eq!((sent, term_ms), (at, Some(25_000)));
            drop(supervisor);
        };
        let mut ward = decided.ward(None);
        let (followed, ()) = tokio::join!(follow(ours, &mut ward), hears);
        assert!(matches!(followed, Followed::Lost));
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_does_not_listen_is_lost_and_not_waited_for() {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        theirs.shutdown(std::net::Shutdown::Read).unwrap();
        ours.set_nonblocking(true).unwrap();
        let link = Link::new(UnixStream::from_std(ours).unwrap());
        let decided = Decided::new(Lease::new(BootTime::now(), TERM));
        let followed = timeout(LAST_WORDS * 5, follow(link, &mut decided.ward(None))).await;
        assert!(matches!(followed, Ok(Followed::Lost)));
    }

    /// For how many seconds one that reads and says nothing is followed.
    async fn followed_for(decided: &Decided, deadline: Option<BootTime>) -> u64 {
        let (ours, _theirs) = pair();
        let began = tokio::time::Instant::now();
        let followed = follow(ours, &mut decided.ward(deadline)).await;
        assert!(matches!(followed, Followed::StandsStill));
        began.elapsed().as_secs()
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_stands_still_is_followed_no_longer_than_its_job_may_last() {
        let renewed = || Decided::new(Lease::new(BootTime::now(), None));
        let canceled = renewed();
        canceled.stop.fire(StopCause::Canceled);
        assert_eq!(followed_for(&canceled, None).await, 35);
        let hurried = renewed();
        hurried.hurry.cancel();
        assert_eq!(followed_for(&hurried, None).await, 35);
        assert_eq!(followed_for(&renewed(), Some(BootTime::default())).await, 35);
        let given_away = Decided::new(Lease::new(BootTime::default(), TERM));
        assert!(followed_for(&given_away, None).await <= 2);
        let of_short_lease = Decided::new(Lease::new(BootTime::default(), Some(Duration::from_secs(3))));
        assert_eq!(followed_for(&of_short_lease, None).await, 0, "there is less than a second to kill it");
        let forever = renewed();
        let (ours, _theirs) = pair();
        let mut ward = forever.ward(None);
        assert!(timeout(PAUSE * 1_000, follow(ours, &mut ward)).await.is_err(), "nothing is to end it");
        assert_eq!(forever.monitor.metrics().silent.load(Ordering::Relaxed), 1);
        drop(ward);
        assert_eq!(forever.monitor.metrics().silent.load(Ordering::Relaxed), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn what_it_counts_is_told_while_it_runs_and_it_may_take_its_time_to_end() {
        let decided = Decided::new(Lease::new(BootTime::now(), None));
        decided.stop.fire(StopCause::Canceled);
        let (ours, mut supervisor) = pair();
        let counts = |delivered: u64| {
            let counted = Monitor::default();
            counted.metrics().log_delivered.fetch_add(delivered, Ordering::Relaxed);
            Box::new(counted.metrics().take())
        };
        let answers = async {
            let mut asked = 0;
            while asked < 100 {
                if let Order::Ask = supervisor.next::<Order>(LINE).await.unwrap().unwrap() {
                    asked += 1;
                    let log_pending = asked;
                    supervisor.send(&Report::Here { counts: counts(3), log_pending }).await.unwrap();
                }
            }
            let account = Account { counts: counts(1), ..Account::default() };
            supervisor.send(&Report::Ended { completed: true, account }).await.unwrap();
        };
        let mut ward = decided.ward(None);
        let (followed, ()) = tokio::join!(follow(ours, &mut ward), answers);
        let Followed::Ended { completed: true, account } = followed else { panic!("it ended") };
        assert_eq!(account.counts, counts(1), "the rest is added when the job has ended");
        let metrics = decided.monitor.metrics();
        let seen =
            || (metrics.log_delivered.load(Ordering::Relaxed), metrics.log_pending.load(Ordering::Relaxed));
        assert_eq!(seen(), (300, 100));
        drop(ward);
        assert_eq!(seen(), (300, 0), "nothing waits of a job that is over");
    }

    #[tokio::test(start_paused = true)]
    async fn a_supervisor_that_stands_still_is_given_up_after_its_limit() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let began = tokio::time::Instant::now();
        let limit = Duration::from_secs(3);
        let fault = give(&mut Link::new(ours), &Order::Unknown, limit).await.unwrap_err();
        assert_eq!(fault.kind(), io::ErrorKind::TimedOut);
        assert!(began.elapsed() < limit * 2, "{:?}", began.elapsed());
    }
}
