//! How a supervisor hears of agents while its job runs: of the one that started it, and of those
//! that come later. The latest counts.

use super::protocol::{LINE, Link, Order, Report, is_readable};
use crate::account::Account;
use crate::job::{EndTold, JobStop};
use crate::lease::{AboutToBeLost, Lease};
use crate::monitor::Monitor;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::oneshot;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

/// The pause after a connection could not be accepted, as when there are no descriptors left.
const PAUSE: Duration = Duration::from_millis(100);

/// The most messages and agents that may wait: more than any time of standing still can gather.
const MOST_READ: usize = 10_000;
/// How long a message that has begun may take to end.
const READ_LIMIT: Duration = Duration::from_millis(250);

/// What waited.
enum Ready {
    Heard(io::Result<Option<Order>>),
    Connected(io::Result<(UnixStream, tokio::net::unix::SocketAddr)>),
}

pub(super) struct Hub {
    agent: Option<Link>,
    listener: UnixListener,
    stop: Arc<JobStop>,
    lease: Arc<Lease>,
    hurry: CancellationToken,
    end_told: EndTold,
    about_to_be_lost: AboutToBeLost,
    /// What is counted here, for agents.
    monitor: Monitor,
    /// Who waits for the agent to hear that the end is about to be told.
    waiting: Option<oneshot::Sender<()>>,
}

impl Hub {
    pub(super) fn new(
        agent: Link,
        listener: UnixListener,
        stop: Arc<JobStop>,
        (lease, about_to_be_lost): (Arc<Lease>, AboutToBeLost),
        hurry: CancellationToken,
        end_told: EndTold,
        monitor: Monitor,
    ) -> Self {
        let (agent, waiting) = (Some(agent), None);
        Self { agent, listener, stop, lease, hurry, end_told, about_to_be_lost, monitor, waiting }
    }

    /// Listens to agents until `job` has ended, and tells them so.
    pub(super) async fn serve_during(mut self, job: impl Future<Output = (bool, Account)>) {
        let mut job = std::pin::pin!(job);
        let (completed, account) = loop {
            tokio::select! {
                ended = &mut job => break ended,
                heard = hear(&mut self.agent) => self.take(heard).await,
                connected = self.listener.accept() => match connected {
                    Ok((stream, _)) => self.welcome(stream).await,
                    Err(fault) => {
                        warn!(%fault, "failed to accept an agent's connection");
                        tokio::time::sleep(PAUSE).await;
                    }
                },
                Some(waiting) = self.about_to_be_lost.recv() => {
                    self.catch_up().await;
                    drop(waiting);
                }
                Some(waiting) = self.end_told.recv() => self.announce_end(waiting).await,
            }
        };
        self.tell(&Report::Ended { completed, account }).await;
    }

    /// Reads all that agents have said until now.
    async fn catch_up(&mut self) {
        for _ in 0..MOST_READ {
            let behind = self.agent.as_ref().is_some_and(Link::is_behind);
            let ready = async {
                if behind {
                    Ready::Heard(hear(&mut self.agent).await)
                } else {
                    Ready::Connected(self.listener.accept().await)
                }
            };
            if !behind && !is_readable(&self.listener) {
                return;
            }
            match timeout(READ_LIMIT, ready).await {
                Ok(Ready::Heard(heard)) => self.take(heard).await,
                Ok(Ready::Connected(Ok((stream, _)))) => self.welcome(stream).await,
                // The beginning of a line, or nobody any more.
                Ok(Ready::Connected(Err(_))) | Err(_) => return,
            }
        }
    }

    async fn take(&mut self, heard: io::Result<Option<Order>>) {
        match heard {
            Ok(Some(Order::Renewed { sent, term_ms })) => {
                self.lease.renew(sent, term_ms.map(Duration::from_millis));
            }
            Ok(Some(Order::Stop { cause })) => {
                self.stop.fire(cause.into());
            }
            Ok(Some(Order::Hurry)) => self.hurry.cancel(),
            Ok(Some(Order::Heard)) => drop(self.waiting.take()),
            Ok(Some(Order::Ask)) => self.answer().await,
            Ok(Some(Order::Job(_) | Order::Unknown)) => {}
            Ok(None) => self.is_left("it closed the connection"),
            Err(fault) => self.is_left(&fault.to_string()),
        }
    }

    fn is_left(&mut self, why: &str) {
        info!(why, "the agent is gone; the job goes on");
        self.agent = None;
        self.waiting = None;
        self.lease.accompany(false);
    }

    async fn welcome(&mut self, stream: UnixStream) {
        let own = rustix::process::geteuid().as_raw();
        match stream.peer_cred() {
            Ok(peer) if peer.uid() == own => {}
            peer => return warn!(?peer, "somebody else's connection is refused"),
        }
        debug!("an agent takes care of the job");
        self.agent = Some(Link::new(stream));
        self.lease.accompany(true);
        if self.stop.end_is_told() {
            self.tell(&Report::Ending).await;
        }
    }

    async fn announce_end(&mut self, waiting: oneshot::Sender<()>) {
        self.waiting = Some(waiting);
        self.tell(&Report::Ending).await;
        if self.agent.is_none() {
            self.waiting = None;
        }
    }

    /// Says that this process moves, and what was counted since this was said last.
    async fn answer(&mut self) {
        let monitor = self.monitor.clone();
        let metrics = monitor.metrics();
        let here = Report::Here {
            counts: Box::new(metrics.take()),
            log_pending: metrics.log_pending.load(Ordering::Relaxed),
        };
        self.tell(&here).await;
        if let (None, Report::Here { counts, .. }) = (&self.agent, here) {
            // For the one that comes next.
            metrics.add(*counts);
        }
    }

    async fn tell(&mut self, report: &Report) {
        if let Some(agent) = &mut self.agent
            && let Err(fault) = agent.send(report).await
        {
            self.is_left(&fault.to_string());
        }
    }
}

async fn hear(agent: &mut Option<Link>) -> io::Result<Option<Order>> {
    match agent {
        Some(agent) => agent.next(LINE).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boot_time::BootTime;
    use crate::supervisor::JobDir;

    const TERM: Duration = Duration::from_secs(25);

    fn renewal() -> Order {
        Order::Renewed { sent: BootTime::now(), term_ms: Some(25_000) }
    }

    /// A hub, and the agent's end of its first connection.
    fn hub(dir: &JobDir, renewed: BootTime, monitor: &Monitor) -> (Hub, Link) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (lease, about_to_be_lost) = Lease::with_reader(renewed, Some(TERM));
        let (stop, end_told) = JobStop::with_listener();
        let leases = (Arc::new(lease), about_to_be_lost);
        let (listener, hurry) = (dir.listen().unwrap(), CancellationToken::new());
        let hub =
            Hub::new(Link::new(ours), listener, Arc::new(stop), leases, hurry, end_told, monitor.clone());
        (hub, Link::new(theirs))
    }

    /// Both have said something while nobody listened.
    #[tokio::test]
    async fn what_agents_said_is_read_before_a_lease_is_lost() {
        let jobs = tempfile::tempdir().unwrap();
        let dir = JobDir::create(jobs.path()).unwrap();
        let long_ago = BootTime::of(std::time::Instant::now().checked_sub(TERM * 2).unwrap());
        let (mut hub, mut first) = hub(&dir, long_ago, &Monitor::default());
        let mut second = Link::new(dir.connect().await.unwrap());
        first.send(&Order::Stop { cause: crate::supervisor::Cause::Canceled }).await.unwrap();
        drop(first);
        second.send(&renewal()).await.unwrap();
        hub.catch_up().await;
        assert!(hub.stop.cause().is_some(), "the first agent was heard");
        let left = hub.lease.subscribe().borrow().renewed.since(long_ago);
        assert!(left >= TERM * 2, "and the second one: {left:?}");
    }

    #[tokio::test]
    async fn what_was_counted_is_told_to_one_agent_once() {
        let jobs = tempfile::tempdir().unwrap();
        let dir = JobDir::create(jobs.path()).unwrap();
        let monitor = Monitor::default();
        let (mut hub, mut first) = hub(&dir, BootTime::now(), &monitor);
        let count = |step| monitor.metrics().command_done(step, Duration::from_secs(1), true);
        let counted = |counts: &crate::metrics::Counts| serde_json::to_string(counts).unwrap();
        let told = async |agent: &mut Link| match agent.next::<Report>(LINE).await.unwrap().unwrap() {
            Report::Here { counts, log_pending } => {
                (counted(&counts).contains("[[\"exec\"],1]"), log_pending)
            }
            other => panic!("{other:?}"),
        };
        count("step.docker.a");
        monitor.metrics().log_pending.store(7, Ordering::Relaxed);
        hub.take(Ok(Some(Order::Ask))).await;
        assert_eq!(told(&mut first).await, (true, 7));
        hub.take(Ok(Some(Order::Ask))).await;
        assert_eq!(told(&mut first).await, (false, 7), "nothing happened since");

        count("step.docker.b");
        drop(first);
        hub.take(Ok(Some(Order::Ask))).await;
        let mut second = Link::new(dir.connect().await.unwrap());
        hub.catch_up().await;
        hub.take(Ok(Some(Order::Ask))).await;
        assert_eq!(told(&mut second).await, (true, 7), "the first was gone before it could be told");
    }
}
