//! A step from its start to the last of its processes.

use super::own_processes::Inside;
use super::pump::pump;
use crate::cgroup::Group;
use crate::{Output, RuntimeError};
use rustix::process::Signal;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::OnceLock;
use std::time::Duration;
use tokio::process::{Child, Command};
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

/// How a step is asked to end.
#[derive(Debug, Clone)]
pub(super) struct Asking {
    /// How long it may take then.
    pub(super) grace: Duration,
    /// The program and arguments that reach the step where signals to its processes do not.
    pub(super) by: Option<(PathBuf, Vec<OsString>)>,
    /// Whether the launcher has [split](super::own_processes).
    pub(super) own_processes: bool,
}

/// Passes on the output of `child` until it has ended; then nothing of its group is left.
pub(super) async fn supervise(
    child: &mut Child,
    group: &Group,
    out: &mut dyn Output,
    stop: &CancellationToken,
    asking: &Asking,
) -> Result<Ended, RuntimeError> {
    let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
        return Err(RuntimeError::Host("a step was started without pipes for its output".to_owned()));
    };
    let inside = Split { launcher: child.id().filter(|_| asking.own_processes), seen: OnceLock::new() };
    let output = pump(stdout, stderr, out);
    let life = live(child, (group, &inside), stop, asking);
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
                inside.look();
                end(group, &inside).await?;
                life.await?;
                return Err(passed_on(error));
            }
            life.await
        }
    }
}

async fn live(
    child: &mut Child,
    (group, inside): (&Group, &Split),
    stop: &CancellationToken,
    asking: &Asking,
) -> Result<Ended, RuntimeError> {
    inside.look();
    let waited = RuntimeError::io("wait for a step");
    let ended = tokio::select! {
        status = child.wait() => Ended { status: status.map_err(waited)?, stopped: false },
        () = stop.cancelled() => {
            let asked = ask((group, inside), asking, child.id());
            let in_time = tokio::time::timeout(asking.grace, child.wait()).await;
            drop(asked);
            if in_time.is_err() {
                end_inside(inside).await?;
                // One that has not come as far as its group is not reached through it.
                child.start_kill().map_err(RuntimeError::io("end a step"))?;
                end(group, inside).await?;
            }
            Ended { status: child.wait().await.map_err(waited)?, stopped: true }
        }
    };
    // Its namespace ended with the step's first process. This is for what the runtime left, and
    // for all of it when the runtime itself was killed.
    end(group, inside).await?;
    Ok(ended)
}

/// Asks the step to end; what asks lives as long as what is returned.
fn ask((group, inside): (&Group, &Split), asking: &Asking, runtime: Option<u32>) -> Option<Child> {
    let Some((program, arguments)) = &asking.by else {
        // The first process of a PID namespace ignores this unless it handles it; its children do
        // not. The runtime must live on to report the step's exit.
        group.signal(Signal::TERM, runtime);
        inside.look().into_iter().for_each(|inside| inside.signal(Signal::TERM));
        return None;
    };
    let null = Stdio::null;
    let mut command = Command::new(program);
    command.args(arguments).env_clear().stdin(null()).stdout(null()).stderr(null()).kill_on_drop(true);
    command.spawn().inspect_err(|error| tracing::warn!(%error, "failed to ask a step to end")).ok()
}

async fn end(group: &Group, inside: &Split) -> Result<(), RuntimeError> {
    end_inside(inside).await?;
    group.kill().await.map_err(RuntimeError::io("end what a step has started"))
}

async fn end_inside(inside: &Split) -> Result<(), RuntimeError> {
    // Not looked for any more: the launcher's number may be another process's by now.
    match inside.seen.get() {
        Some(inside) => inside.kill().await.map_err(RuntimeError::io("end what a step has started")),
        None => Ok(()),
    }
}

/// A launcher that splits, and its other half once it was seen.
#[derive(Debug)]
struct Split {
    launcher: Option<u32>,
    seen: OnceLock<Inside>,
}

impl Split {
    fn look(&self) -> Option<&Inside> {
        if self.seen.get().is_none()
            && let Some(inside) = self.launcher.and_then(Inside::of)
        {
            let _ = self.seen.set(inside);
        }
        self.seen.get()
    }
}
