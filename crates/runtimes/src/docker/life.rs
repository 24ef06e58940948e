//! A container from its start to the last of its processes.

use super::client::Client;
use super::error::{EngineError, told};
use super::gauge::Gauge;
use super::pump::{Brake, Cut, Paused, pump};
use crate::cgroup::{Group, Reading};
use crate::grace::Grace;
use crate::{Output, RuntimeError};
use async_trait::async_trait;
use rustix::process::Signal;
use std::time::Duration;
use tokio::io::AsyncRead;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

/// How long the rest of the output may take when nothing of the step is left: only a receiver that
/// does not take it needs longer.
const DRAIN_LIMIT: Duration = Duration::from_secs(30);
/// How long the engine may take to kill.
const KILL_LIMIT: Duration = Duration::from_secs(30);
/// How long until it is told again, at first and at most. Of a short lease there is half a second left.
const FIRST_KILL_PAUSE: Duration = Duration::from_millis(100);
const KILL_PAUSE: Duration = Duration::from_secs(1);
/// How long it may take to hear that it shall kill, before that is done without it.
const KILL_PATIENCE: Duration = Duration::from_millis(250);

/// How a container ended.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ended {
    pub(super) status: i64,
    /// Whether it was asked to end before it did.
    pub(super) stopped: bool,
    /// What it used, where that could be read.
    pub(super) reading: Option<Reading>,
}

/// A container that has been started.
pub(super) struct Life<'a> {
    client: &'a Client,
    id: &'a str,
    grace: Grace,
    /// Whether its processes are the host's and we may signal them, so that all of them can be asked to end.
    own_processes: bool,
    gauge: Gauge,
    /// Fires when it shall end, and so may not be paused any more.
    released: CancellationToken,
}

impl<'a> Life<'a> {
    pub(super) fn new(client: &'a Client, id: &'a str, grace: Grace, own_processes: bool) -> Self {
        let (gauge, released) = (Gauge::default(), CancellationToken::new());
        Self { client, id, grace, own_processes, gauge, released }
    }

    /// Finds out where its counters are, before it can end.
    pub(super) async fn locate(&self) {
        self.gauge.locate(self.client, self.id).await;
    }

    /// Passes on the output until the container has ended; then nothing of it runs.
    pub(super) async fn watch(
        &self,
        connection: impl AsyncRead + Unpin + Send,
        out: &mut dyn Output,
        stop: &CancellationToken,
    ) -> Result<Ended, RuntimeError> {
        let output = pump(connection, out, self, &self.released);
        let life = self.live(stop);
        tokio::pin!(output, life);
        let (status, stopped) = tokio::select! {
            ended = &mut life => {
                let ended = ended?;
                let drained = timeout(DRAIN_LIMIT, output).await;
                drained.unwrap_or_else(|late| Err(Cut::Output(late.into()))).map_err(failed)?;
                ended
            }
            written = &mut output => {
                if let Err(cut) = written {
                    self.end_now().await;
                    return Err(failed(cut));
                }
                life.await?
            }
        };
        Ok(Ended { status, stopped, reading: self.gauge.reading() })
    }

    /// Kills its processes without the engine, if they are on this host.
    pub(super) async fn end_now(&self) {
        // The engine may have gone before it could be asked where they are.
        let searched = if self.gauge.group().is_none() { Group::search(self.id) } else { None };
        if let Some(group) = self.gauge.group().or(searched.as_ref())
            && let Err(error) = group.kill().await
        {
            tracing::warn!(container = self.id, %error, "failed to end a container without its engine");
        }
    }

    async fn live(&self, stop: &CancellationToken) -> Result<(i64, bool), EngineError> {
        let ended = self.end(stop);
        tokio::pin!(ended);
        tokio::select! {
            biased;
            ended = &mut ended => return ended,
            () = self.gauge.follow(self.client, self.id) => {}
        }
        ended.await
    }

    async fn end(&self, stop: &CancellationToken) -> Result<(i64, bool), EngineError> {
        let wait = self.client.wait(self.id);
        tokio::pin!(wait);
        tokio::select! {
            status = &mut wait => return Ok((status?, false)),
            () = stop.cancelled() => {}
        }
        tokio::select! {
            status = &mut wait => return Ok((status?, true)),
            () = self.let_it_end() => {}
        }
        let (begun, mut pause) = (Instant::now(), FIRST_KILL_PAUSE);
        while begun.elapsed() < KILL_LIMIT {
            tokio::select! {
                status = &mut wait => return Ok((status?, true)),
                killed = self.kill() => killed?,
            }
            if let Ok(status) = timeout(pause, &mut wait).await {
                return Ok((status?, true));
            }
            // It was paused, and its engine kills none that is.
            tokio::select! {
                status = &mut wait => return Ok((status?, true)),
                () = self.client.go_on(self.id) => {}
            }
            pause = (pause * 2).min(KILL_PAUSE);
        }
        Err(EngineError::Late { what: "kill a container", limit: KILL_LIMIT })
    }

    /// Asks it to end, and gives it time to; returns when it has no more, however long the engine takes to pass that on.
    async fn let_it_end(&self) {
        self.released.cancel();
        let asked = async {
            match self.ask_to_end().await {
                Ok(()) => self.grace.over().await,
                Err(error) => {
                    let error = told(&error);
                    tracing::warn!(
                        container = self.id,
                        error,
                        "failed to ask a container to end: it is killed"
                    );
                }
            }
        };
        tokio::select! {
            biased;
            () = self.grace.at_once.cancelled() => {}
            () = asked => {}
        }
    }

    /// Has the engine kill it, and does so without the engine when that does not answer soon.
    async fn kill(&self) -> Result<(), EngineError> {
        let signaled = self.client.signal(self.id, "SIGKILL");
        tokio::pin!(signaled);
        if let Ok(signaled) = timeout(KILL_PATIENCE, &mut signaled).await {
            return signaled;
        }
        self.end_now().await;
        signaled.await
    }

    /// The first process of a PID namespace ignores this unless it handles it; its children do not, so
    /// they are asked too where they can be.
    async fn ask_to_end(&self) -> Result<(), EngineError> {
        if let Some(group) = self.gauge.group().filter(|_| self.own_processes) {
            group.signal(Signal::TERM, None);
            return Ok(());
        }
        self.client.signal(self.id, "SIGTERM").await
    }
}

#[async_trait]
impl Brake for Life<'_> {
    async fn pause(&self) -> Paused {
        self.client.pause(self.id).await
    }

    async fn go_on(&self) {
        self.client.go_on(self.id).await;
    }
}

fn failed(cut: Cut) -> RuntimeError {
    match cut {
        Cut::Engine(source) => {
            EngineError::Broken { what: "pass on a step's output", source: Box::new(source) }.into()
        }
        Cut::Output(source) => RuntimeError::io("pass on the output of a step")(source),
    }
}

#[cfg(test)]
mod tests;
