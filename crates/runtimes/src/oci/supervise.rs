//! A step from its start to the last of its processes.

use super::pump::pump;
use crate::cgroup::Group;
use crate::{Output, RuntimeError};
use rustix::process::Signal;
use std::process::ExitStatus;
use std::time::Duration;
use tokio::process::Child;
use tokio_util::sync::CancellationToken;

/// How long the rest of the output may take when nothing of the step is left. The pipes hold at
/// most 128 KiB then, so only a receiver that does not take them needs longer.
const DRAIN_LIMIT: Duration = Duration::from_secs(30);

/// How a step's runtime ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ended {
    pub(super) status: ExitStatus,
    /// Whether it was asked to end before it did.
    pub(super) stopped: bool,
}

/// Passes on the output of `child` until it has ended; then nothing of its group is left.
pub(super) async fn supervise(
    child: &mut Child,
    group: &Group,
    out: &mut dyn Output,
    stop: &CancellationToken,
    grace: Duration,
) -> Result<Ended, RuntimeError> {
    let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
        return Err(RuntimeError::Host("a step was started without pipes for its output".to_owned()));
    };
    let output = pump(stdout, stderr, out);
    let life = live(child, group, stop, grace);
    tokio::pin!(output, life);
    let passed_on = RuntimeError::io("pass on the output of a step");
    tokio::select! {
        ended = &mut life => {
            let ended = ended?;
            let drained = tokio::time::timeout(DRAIN_LIMIT, output).await;
            drained.unwrap_or_else(|late| Err(late.into())).map_err(passed_on)?;
            Ok(ended)
        }
        written = &mut output => {
            if let Err(error) = written {
                end(group).await?;
                life.await?;
                return Err(passed_on(error));
            }
            life.await
        }
    }
}

async fn live(
    child: &mut Child,
    group: &Group,
    stop: &CancellationToken,
    grace: Duration,
) -> Result<Ended, RuntimeError> {
    let waited = RuntimeError::io("wait for a step");
    let ended = tokio::select! {
        status = child.wait() => Ended { status: status.map_err(waited)?, stopped: false },
        () = stop.cancelled() => {
            // The first process of a PID namespace ignores this unless it handles it; its
            // children do not. The runtime must live on to report the step's exit.
            group.signal(Signal::TERM, child.id());
            let in_time = tokio::time::timeout(grace, child.wait()).await;
            if in_time.is_err() {
                // One that has not come as far as its group is not reached through it.
                child.start_kill().map_err(RuntimeError::io("end a step"))?;
                end(group).await?;
            }
            Ended { status: child.wait().await.map_err(waited)?, stopped: true }
        }
    };
    // Its namespace ended with the step's first process. This is for what the runtime left, and
    // for all of it when the runtime itself was killed.
    end(group).await?;
    Ok(ended)
}

async fn end(group: &Group) -> Result<(), RuntimeError> {
    group.kill().await.map_err(RuntimeError::io("end what a step has started"))
}
