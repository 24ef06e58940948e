//! What an agent and the supervisor of a job say to each other, from the agent's side.

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

/// Passes on what there is to say while the connection lasts.
pub(super) async fn follow(
    mut link: Link,
    stop: &JobStop,
    lease: &Lease,
    hurry: &CancellationToken,
) -> Followed {
    let mut renewals = lease.subscribe();
    // What was renewed while nobody was connected has to be told as well.
    renewals.mark_changed();
    let (mut stopped, mut abandoned, mut hurried) = (false, false, false);
    loop {
        let order = tokio::select! {
            heard = link.next::<Report>(LINE) => match heard {
                Ok(Some(Report::Ended { completed, account })) => {
                    return Followed::Ended { completed, account };
                }
                Ok(Some(Report::Ending)) => {
                    stop.note_end_told();
                    Order::Heard
                }
                Ok(Some(Report::Taken | Report::Unknown)) => continue,
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
                Order::Renewed { sent: state.renewed, term_ms: millis(state.term) }
            }
        };
        if let Err(fault) = link.send(&order).await {
            debug!(fault = chain(&fault), "a supervisor does not listen");
            return last_words(&mut link, stop).await;
        }
    }
}

/// What a supervisor that does not listen any more still had to say: it may have ended its job. Else another
/// connection is tried, on which everything is said again.
async fn last_words(link: &mut Link, stop: &JobStop) -> Followed {
    let heard = async {
        while let Ok(Some(report)) = link.next::<Report>(LINE).await {
            match report {
                Report::Ended { completed, account } => return Followed::Ended { completed, account },
                Report::Ending => stop.note_end_told(),
                Report::Taken | Report::Unknown => {}
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
    use tokio::net::UnixStream;

    const TERM: Option<Duration> = Some(Duration::from_secs(25));

    #[tokio::test]
    async fn a_renewal_from_before_the_connection_is_told_first_of_all() {
        let lease = Lease::new(BootTime::default(), TERM);
        let (at, stop, hurry) = (BootTime::now(), JobStop::default(), CancellationToken::new());
        lease.renew(at, TERM);
        let (ours, theirs) = UnixStream::pair().unwrap();
        let mut supervisor = Link::new(theirs);
        let hears = async {
            let Some(Order::Renewed { sent, term_ms }) = supervisor.next::<Order>(LINE).await.unwrap() else {
                panic!("something else came first")
            };
            assert_eq!((sent, term_ms), (at, Some(25_000)));
            drop(supervisor);
        };
        let (followed, ()) = tokio::join!(follow(Link::new(ours), &stop, &lease, &hurry), hears);
        assert!(matches!(followed, Followed::Lost));
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_does_not_listen_is_lost_and_not_waited_for() {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        theirs.shutdown(std::net::Shutdown::Read).unwrap();
        ours.set_nonblocking(true).unwrap();
        let link = Link::new(UnixStream::from_std(ours).unwrap());
        let (lease, stop) = (Lease::new(BootTime::now(), TERM), JobStop::default());
        let followed = timeout(LAST_WORDS * 5, follow(link, &stop, &lease, &CancellationToken::new())).await;
        assert!(matches!(followed, Ok(Followed::Lost)));
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
