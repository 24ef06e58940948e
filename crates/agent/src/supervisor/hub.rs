//! How a supervisor hears of agents while its job runs: of the one that started it, and of those
//! that come later. The latest counts.

use super::protocol::{LINE, Link, Order, Report};
use crate::account::Account;
use crate::job::{EndTold, JobStop};
use crate::lease::Lease;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

/// The pause after a connection could not be accepted, as when there are no descriptors left.
const PAUSE: Duration = Duration::from_millis(100);

pub(super) struct Hub {
    agent: Option<Link>,
    listener: UnixListener,
    stop: Arc<JobStop>,
    lease: Arc<Lease>,
    hurry: CancellationToken,
    end_told: EndTold,
    /// Who waits for the agent to hear that the end is about to be told.
    waiting: Option<oneshot::Sender<()>>,
}

impl Hub {
    pub(super) fn new(
        agent: Link,
        listener: UnixListener,
        stop: Arc<JobStop>,
        lease: Arc<Lease>,
        hurry: CancellationToken,
        end_told: EndTold,
    ) -> Self {
        Self { agent: Some(agent), listener, stop, lease, hurry, end_told, waiting: None }
    }

    /// Listens to agents until `job` has ended, and tells them so.
    pub(super) async fn serve_during(mut self, job: impl Future<Output = (bool, Account)>) {
        let mut job = std::pin::pin!(job);
        let (completed, account) = loop {
            tokio::select! {
                ended = &mut job => break ended,
                heard = hear(&mut self.agent) => self.take(heard),
                connected = self.listener.accept() => match connected {
                    Ok((stream, _)) => self.welcome(stream).await,
                    Err(fault) => {
                        warn!(%fault, "failed to accept an agent's connection");
                        tokio::time::sleep(PAUSE).await;
                    }
                },
                Some(waiting) = self.end_told.recv() => self.announce_end(waiting).await,
            }
        };
        self.tell(&Report::Ended { completed, account }).await;
    }

    fn take(&mut self, heard: io::Result<Option<Order>>) {
        match heard {
            Ok(Some(Order::Renewed { sent, term_ms })) => {
                self.lease.renew(sent, term_ms.map(Duration::from_millis));
            }
            Ok(Some(Order::Stop { cause })) => {
                self.stop.fire(cause.into());
            }
            Ok(Some(Order::Hurry)) => self.hurry.cancel(),
            Ok(Some(Order::Heard)) => drop(self.waiting.take()),
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
