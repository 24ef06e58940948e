//! A step from its start to the last of its processes.

use super::own_processes::Inside;
use super::pump::{Flow, pump};
use crate::cgroup::Group;
use crate::grace::Grace;
use crate::{Output, RuntimeError};
use rustix::process::Signal;
use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use tokio::process::{Child, Command};
use tokio_util::sync::CancellationToken;

/// How long the rest of the output may take when nothing of the step is left. The pipes hold little then, so only a
/// receiver that does not take it needs longer.
const DRAIN_LIMIT: Duration = Duration::from_secs(30);
/// How long the pipes may be empty then. Who still has them open is none of the step's, such as another job that was handed
/// them through a directory which both see.
const LEFTOVERS: Duration = Duration::from_secs(2);
/// What the pipes can hold at most, in bytes, for a step that has no rights to more (`fs.pipe-max-size`). What comes after
/// that was written later.
const MOST_LEFT: u64 = 2 << 20;

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
    pub(super) grace: Grace,
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
    let flow = Flow::default();
    let output = pump((stdout, stderr), out, &flow);
    let life = live(child, (group, &inside), stop, asking);
    tokio::pin!(output, life);
    let passed_on = RuntimeError::io("pass on the output of a step");
    tokio::select! {
        ended = &mut life => {
            let ended = ended?;
            drain(output, &flow).await.map_err(passed_on)?;
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

/// Passes on what is left in the pipes of a step that is gone.
async fn drain(mut output: impl Future<Output = io::Result<()>> + Unpin, flow: &Flow) -> io::Result<()> {
    let (over, before) = (Instant::now() + DRAIN_LIMIT, flow.taken());
    loop {
        let last = flow.taken();
        let pause = tokio::time::timeout(LEFTOVERS.min(over - Instant::now()), &mut output).await;
        match pause {
            Ok(passed_on) => return passed_on,
            Err(_) if flow.taken() - before > MOST_LEFT => return Ok(()),
            Err(late) if flow.is_waiting() && Instant::now() >= over => return Err(late.into()),
            Err(_) if flow.is_waiting() => {}
            Err(_) if flow.taken() == last || Instant::now() >= over => return Ok(()),
            Err(_) => {}
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
            let in_time = tokio::select! {
                _ = child.wait() => true,
                () = asking.grace.over() => false,
            };
            drop(asked);
            if !in_time {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Stream;
    use images::Progress;
    use rustix::process::{Pid, kill_process};

    #[derive(Default)]
    struct Kept(String);

    impl Progress for Kept {
        fn line(&self, _: &str) {}
    }

    #[async_trait::async_trait]
    impl Output for Kept {
        async fn write(&mut self, _: Stream, bytes: &[u8]) -> io::Result<()> {
            self.0.push_str(&String::from_utf8_lossy(bytes));
            Ok(())
        }

        fn progress(&self) -> &dyn Progress {
            self
        }
    }

    #[tokio::test]
    async fn whoever_else_has_a_steps_pipes_does_not_keep_it_from_its_end() {
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 600 & echo $!"]).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (mut out, begun) = (Kept::default(), Instant::now());
        // In it is nobody: what has the pipes is none of the step's.
        let group = Group::default();
        let grace = Grace { time: Duration::ZERO, at_once: CancellationToken::new() };
        let asking = Asking { grace, by: None, own_processes: false };
        let ended = supervise(&mut child, &group, &mut out, &CancellationToken::new(), &asking).await;
        let took = begun.elapsed();
        kill_process(Pid::from_raw(out.0.trim().parse().unwrap()).unwrap(), Signal::KILL).unwrap();
        assert!(ended.unwrap().status.success());
        assert!(took < DRAIN_LIMIT / 2, "{took:?}");
    }
}
