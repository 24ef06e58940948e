//! An engine that goes away in the middle of a step: our trouble, never the job's.

use super::bench::{containers_of, run_on, wait_until_none};
use crate::harness::{Bench, Kept, processes_with, step};
use runtimes::{Limits, Output, RuntimeError, Stream};
use rustix::process::{Pid, Signal, kill_process};
use std::io;
use testkit::{Engine, EngineKind};
use tokio_util::sync::CancellationToken;

/// Sends a signal to the engine when the step says `ready`.
struct EndEngineWhenReady<'a>(&'a Engine, Option<Signal>, Kept);

#[async_trait::async_trait]
impl Output for EndEngineWhenReady<'_> {
    async fn write(&mut self, stream: Stream, bytes: &[u8]) -> io::Result<()> {
        self.2.write(stream, bytes).await?;
        if let Some(signal) = self.1.take_if(|_| self.2.stdout.starts_with(b"ready")) {
            kill_process(Pid::from_raw(self.0.pid().cast_signed()).unwrap(), signal)?;
        }
        Ok(())
    }

    fn progress(&self) -> &dyn images::Progress {
        self.2.progress()
    }
}

async fn lose_the_engine(bench: &mut Bench, signal: Signal, mark: &str) {
    let mut sandbox = bench.open(Limits::default()).await;
    sandbox.sh("true").await;
    let engine = bench.engine();
    let mut out = EndEngineWhenReady(engine, Some(signal), Kept::default());
    let script = format!("trap '' TERM; setsid sleep {mark} & echo ready; while :; do sleep 0.1; done");
    let ended = sandbox.0.run(step(&["sh", "-c", &script]), &mut out, &CancellationToken::new()).await;
    assert!(matches!(ended, Err(RuntimeError::Host(_))), "{ended:?}");
    wait_until_none("processes", || processes_with(&format!("sleep {mark}")));
    engine.start_again();
    // What could not be removed while nobody listened is removed now, and the next step runs.
    sandbox.sh("true").await;
    sandbox.close().await;
    wait_until_none("containers", || containers_of(engine, &bench.owner));
}

#[test]
fn an_engine_that_is_killed_is_no_failure_of_the_jobs() {
    let name = "engine::outage::an_engine_that_is_killed_is_no_failure_of_the_jobs";
    let Some(engine) = Engine::own(name, EngineKind::Docker) else { return };
    run_on(engine, name, |_| {}, async |bench| lose_the_engine(bench, Signal::KILL, "86421").await);
}

#[test]
fn an_engine_that_is_stopped_is_no_failure_of_the_jobs() {
    let name = "engine::outage::an_engine_that_is_stopped_is_no_failure_of_the_jobs";
    let Some(engine) = Engine::own(name, EngineKind::Docker) else { return };
    run_on(engine, name, |_| {}, async |bench| lose_the_engine(bench, Signal::TERM, "86422").await);
}
