use crate::harness::{Bench, Kept, step};
use runtimes::{Cause, Exit, ExitStatus, Limits, Output, Step, Stream};
use std::io;
use std::time::{Duration, Instant, SystemTime};
use tokio_util::sync::CancellationToken;

/// Whatever a step does, it ends within this.
const BOUND: Duration = Duration::from_secs(4);

/// Far less than the time that a step otherwise has to end. What the shortest lease has left is less again, half a second: a
/// machine that has much to do takes longer for anything, so that is held where time is made.
const LEFT: Duration = Duration::from_secs(1);

/// Has the step asked to end when it says `ready`, and leaves it no time for that from when it says something.
struct FiresWhen {
    says: &'static str,
    at_once: CancellationToken,
    fired: Option<SystemTime>,
    stop: CancellationToken,
    kept: Kept,
}

impl FiresWhen {
    fn new(says: &'static str, stop: &CancellationToken, at_once: &CancellationToken) -> Self {
        Self { says, at_once: at_once.clone(), fired: None, stop: stop.clone(), kept: Kept::default() }
    }
}

#[async_trait::async_trait]
impl Output for FiresWhen {
    async fn write(&mut self, stream: Stream, bytes: &[u8]) -> io::Result<()> {
        self.kept.write(stream, bytes).await?;
        let said = String::from_utf8_lossy(&self.kept.stdout);
        if said.contains(self.says) {
            self.fired.get_or_insert_with(SystemTime::now);
            self.at_once.cancel();
        }
        if said.contains("ready") {
            self.stop.cancel();
        }
        Ok(())
    }

    fn progress(&self) -> &dyn images::Progress {
        self.kept.progress()
    }
}

/// How a step ended that was asked to when it said `ready`, and how long that took it.
async fn stop_when_ready(bench: &mut Bench, script: &str) -> (Exit, Duration) {
    let mut sandbox = bench.open(Limits::default()).await;
    let stop = CancellationToken::new();
    let mut out = FiresWhen::new("ready", &stop, &CancellationToken::new());
    let exit = sandbox.0.run(step(&["sh", "-c", script]), &mut out, &stop).await.unwrap();
    let took = out.fired.unwrap().elapsed().unwrap();
    sandbox.close().await;
    (exit, took)
}

pub(crate) async fn a_step_that_heeds_sigterm_ends_by_itself(bench: &mut Bench) {
    let (exit, _) =
        stop_when_ready(bench, "trap 'exit 9' TERM; echo ready; while :; do sleep 0.01; done").await;
    assert_eq!((exit.status, exit.cause), (ExitStatus::Code(9), Some(Cause::Stopped)));
}

pub(crate) async fn a_step_that_ignores_sigterm_is_killed(bench: &mut Bench) {
    let deaf =
        "trap '' TERM; (trap '' TERM; while :; do sleep 1; done) & echo ready; while :; do sleep 1; done";
    let (exit, took) = stop_when_ready(bench, deaf).await;
    assert_eq!((exit.status, exit.cause), (ExitStatus::Signal(9), Some(Cause::Stopped)));
    assert!(took < BOUND, "{took:?}");
}

/// Who lost its lease may not be waited for: somebody else is about to run the same.
pub(crate) async fn a_step_that_may_not_be_waited_for_is_killed_at_once(bench: &mut Bench) {
    let mut sandbox = bench.open(Limits::default()).await;
    for fires in ["ready", "asked"] {
        let (stop, at_once) = <(CancellationToken, CancellationToken)>::default();
        let mut out = FiresWhen::new(fires, &stop, &at_once);
        let deaf = "echo > /data/lives; trap 'echo asked' TERM; echo ready; while :; do echo >> /data/lives; sleep 0.01; done";
        let step = Step { at_once, ..step(&["sh", "-c", deaf]) };
        let exit = sandbox.0.run(step, &mut out, &stop).await.unwrap();
        assert_eq!((exit.status, exit.cause), (ExitStatus::Signal(9), Some(Cause::Stopped)));
        let last =
            std::fs::metadata(sandbox.workspace().join("lives")).and_then(|lives| lives.modified()).unwrap();
        let fired = out.fired.unwrap();
        assert!(last > fired - BOUND, "its clock is another one, and tells nothing");
        let lived = last.duration_since(fired).unwrap_or_default();
        assert!(lived < LEFT, "it lived for {lived:?} when it had said {fires:?}");
    }
    sandbox.close().await;
}

pub(crate) async fn a_token_that_fired_before_starts_nothing(bench: &mut Bench) {
    let mut sandbox = bench.open(Limits::default()).await;
    let stop = CancellationToken::new();
    stop.cancel();
    let exit = sandbox.0.run(step(&["touch", "/data/ran"]), &mut Kept::default(), &stop).await.unwrap();
    assert_eq!(exit.cause, Some(Cause::Stopped));
    sandbox.close().await;
}

pub(crate) async fn daemons_end_with_the_step(bench: &mut Bench) {
    let mut sandbox = bench.open(Limits::default()).await;
    let begun = Instant::now();
    // In sessions of their own, holding the step's output open, and writing for ever.
    let script = "setsid sh -c 'setsid sh -c \"while :; do echo more; echo x >> /data/grows; sleep 0.01; done\" &' & \
                  while [ ! -s /data/grows ]; do sleep 0.01; done; echo done";
    let ran = sandbox.try_sh(script).await;
    assert!(begun.elapsed() < BOUND);
    assert_eq!(ran.exit.status, ExitStatus::Code(0));
    assert!(ran.stdout.contains("done"));
    let length = || std::fs::metadata(sandbox.workspace().join("grows")).unwrap().len();
    let first = length();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(first, length(), "something writes after the step");
    sandbox.close().await;
}
