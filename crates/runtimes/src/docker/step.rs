//! One step in a container of its own.

use super::containers::Created;
use super::error::EngineError;
use super::life::{Ended, Life};
use super::room::Room;
use super::shared::Shared;
use super::spec::Plan;
use crate::grace::Grace;
use crate::oci::outcome::{NotStarted, judge};
use crate::{Cause, Exit, ExitStatus, Limits, Output, RuntimeError, Step, Stream, Timeline, Usage};
use images::ImageError;
use rustix::process::geteuid;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// What stands for the highest signal's number.
const LAST_SIGNALED: i32 = 128 + 64;
/// What an engine says of a container that got SIGKILL.
const KILLED: i64 = 128 + 9;
/// How often, and how long apart, it is asked for the reason.
const LOOKS: u32 = 5;
const BETWEEN_LOOKS: Duration = Duration::from_millis(200);
/// What the engine says when it can't see a directory of ours.
const NO_SUCH_SOURCE: &str = "bind source path does not exist";

/// A container that was made for a step, and is removed by whoever made it.
pub(super) struct Made<'a> {
    pub(super) shared: &'a Arc<Shared>,
    pub(super) id: &'a str,
    pub(super) step: &'a Step,
    pub(super) limits: &'a Limits,
    pub(super) begun: Instant,
    /// Until its image was there.
    pub(super) image: Duration,
}

/// Makes a container. The engine is asked to limit its disk if that may work.
pub(super) async fn create(shared: &Shared, name: &str, mut plan: Plan<'_>) -> Result<String, RuntimeError> {
    let (image, limits, workspace) = (plan.step.image.clone(), *plan.limits, plan.workspace);
    plan.limits_disk = limits.disk.is_some() && shared.limits_disk().await?;
    let limited = plan.limits_disk;
    let mut container = plan.container();
    let mut created = shared.client.create(Some(name), &container).await;
    if let Err(EngineError::Refused { said, .. }) = &created
        && limited
    {
        // Storage drivers have words of their own for it; whatever else was wrong is refused again.
        tracing::debug!(said, "the engine may not be able to limit what a container writes");
        container.leave_disk_unlimited();
        created = shared.client.create(Some(name), &container).await;
        if created.is_ok() {
            shared.note_no_disk_limits();
        }
    }
    let Created { id, warnings } = created.map_err(|error| not_created(error, &image, workspace))?;
    for warning in warnings.iter().flatten() {
        tracing::debug!(container = id, warning, "the engine warns");
    }
    Ok(id)
}

fn not_created(error: EngineError, image: &str, workspace: &str) -> RuntimeError {
    match &error {
        EngineError::Refused { said, .. } if said.contains(NO_SUCH_SOURCE) => RuntimeError::Host(format!(
            "the container engine does not see a directory to mount ({said}): it must have the workspace {workspace}; \
             set EXECUTOR_DOCKER_HOST_MOUNT_PATH to where it has the directory of the workspaces, and look at \
             EXECUTOR_DOCKER_ADDITIONAL_MOUNTS"
        )),
        EngineError::Refused { status: 404, said, .. } if said.to_lowercase().contains("no such image") => {
            let place = "the container engine, which had it a moment ago".to_owned();
            ImageError::NotFound { image: image.to_owned(), place }.into()
        }
        EngineError::Refused { .. } => not_started(error),
        _ => error.into(),
    }
}

impl Made<'_> {
    /// Starts the container and sees it through to its end.
    pub(super) async fn run(
        &self,
        out: &mut dyn Output,
        stop: &CancellationToken,
    ) -> Result<Exit, RuntimeError> {
        let client = &self.shared.client;
        let own_processes = self.shared.options.oci_runtime.is_none() && geteuid().is_root();
        let grace = Grace { time: self.shared.options.grace, at_once: self.step.at_once.clone() };
        let life = Life::new(client, self.id, grace, own_processes);
        let attached = client.attach(self.id).await;
        if client.engine().await?.is_podman() {
            // It makes the processes as soon as somebody attaches to them, and tells of them slowly.
            life.locate().await;
        }
        let prepared = self.begun.elapsed();
        let started = match attached {
            Ok(connection) => client.start(self.id).await.map(|()| connection),
            Err(error) => Err(error),
        };
        let timeline = Timeline {
            image: self.image,
            prepare: prepared.saturating_sub(self.image),
            start: self.begun.elapsed().saturating_sub(prepared),
        };
        let connection = match started {
            Ok(connection) => connection,
            Err(error) => return self.judge_start(error, timeline, out).await,
        };
        tracing::debug!(container = self.id, ?timeline, "started a step");
        let running = Instant::now();
        let mut room = Room::of(self.shared.disks().await);
        let ended = tokio::select! {
            ended = life.watch(connection, out, stop) => ended,
            never = room.watch() => match never {},
        };
        if ended.is_err() {
            life.end_now().await;
        }
        let exit = self.exit(ended?, running.elapsed(), timeline).await?;
        // What it was asked for itself, or may not use more of, comes before the host's trouble.
        match room.fault().filter(|_| exit.status != ExitStatus::Code(0) && exit.cause.is_none()) {
            Some(full) => Err(full),
            None => Ok(exit),
        }
    }

    async fn exit(&self, ended: Ended, wall: Duration, timeline: Timeline) -> Result<Exit, RuntimeError> {
        let reading = ended.reading.unwrap_or_default();
        let cause = if ended.stopped {
            Some(Cause::Stopped)
        } else if ended.status == 0 {
            None
        } else {
            // Also tells whether the engine is still there: one that is going takes containers along.
            let state = self.shared.client.state(self.id).await?;
            let seen = reading.oom_kills > 0;
            let killed = seen || state.oom_killed || self.was_killed_late(&ended).await;
            let limit = self.limits.memory.filter(|_| killed);
            // A reading that missed the kill missed the peak as well.
            let peak = reading.peak_memory.filter(|_| seen);
            limit.map(|limit| Cause::OutOfMemory { limit, peak: peak.unwrap_or(limit).min(limit) })
        };
        let status = status(ended.status, cause.is_some());
        let usage = Usage { wall, cpu: reading.cpu, peak_memory: reading.peak_memory };
        tracing::debug!(container = self.id, ?status, ?cause, ?usage, "a step ended");
        Ok(Exit { status, cause, usage, timeline })
    }

    /// Whether a container failed for want of memory although nobody has told so yet: it may have lived
    /// too briefly for its control group to be read, and the engine may hear of the reason after the
    /// end. One that was killed has had a reason, so that is waited for.
    async fn was_killed_late(&self, ended: &Ended) -> bool {
        if self.limits.memory.is_none() {
            return false;
        }
        let looks = if ended.status == KILLED { LOOKS } else { 1 };
        for look in 0..looks {
            if look > 0 {
                tokio::time::sleep(BETWEEN_LOOKS).await;
            }
            match self.shared.client.ran_out_of_memory(self.id).await {
                Ok(false) => {}
                Ok(true) => return true,
                Err(error) => {
                    tracing::debug!(container = self.id, %error, "the engine does not tell its events");
                    return false;
                }
            }
        }
        false
    }

    /// A program that is not there is the job's failure; most else is not.
    async fn judge_start(
        &self,
        error: EngineError,
        timeline: Timeline,
        out: &mut dyn Output,
    ) -> Result<Exit, RuntimeError> {
        let EngineError::Refused { said, .. } = &error else { return Err(error.into()) };
        let NotStarted::Program { code, why } = judge(said.clone()) else { return Err(not_started(error)) };
        let line = format!("failed to run {:?}: {why}\n", self.step.argv[0]);
        out.write(Stream::Stderr, line.as_bytes())
            .await
            .map_err(RuntimeError::io("pass on the output of a step"))?;
        Ok(Exit { status: ExitStatus::Code(code), cause: None, usage: Usage::default(), timeline })
    }
}

/// What a refusal to make or start a container means, a missing program aside.
fn not_started(error: EngineError) -> RuntimeError {
    let EngineError::Refused { said, .. } = error else { return error.into() };
    let lower = said.to_lowercase();
    let about_user =
        ["unable to find user", "unable to find group", "uids and gids", "no matching entries in"];
    if about_user.iter().any(|words| lower.contains(words)) {
        return RuntimeError::Refused(format!("the image names a user that a step can't run as: {said}"));
    }
    match judge(said) {
        NotStarted::Directory(why) => {
            RuntimeError::Refused(format!("the step can't begin in its directory: {why}"))
        }
        NotStarted::Program { why: detail, .. } | NotStarted::Runtime(detail) => {
            RuntimeError::Start { runtime: "the container engine".to_owned(), detail }
        }
    }
}

/// Engines pass on a signal as shells do, 128 and its number, and so don't tell it from a code. A first
/// process heeds no signals but those that it wants to, so it is one only when `killed` by us or for us.
fn status(code: i64, killed: bool) -> ExitStatus {
    let number = i32::try_from(code).unwrap_or(i32::MAX);
    match number {
        129..=LAST_SIGNALED if killed => ExitStatus::Signal(number - 128),
        _ => ExitStatus::Code(number),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(said: &str) -> EngineError {
        EngineError::Refused { what: "start a container", status: 400, said: said.to_owned() }
    }

    #[test]
    fn a_signal_is_one_that_was_sent_for_a_reason() {
        for (code, killed, expected) in [
            (0, false, ExitStatus::Code(0)),
            (137, false, ExitStatus::Code(137)),
            (137, true, ExitStatus::Signal(9)),
            (9, true, ExitStatus::Code(9)),
            (128, true, ExitStatus::Code(128)),
            (255, true, ExitStatus::Code(255)),
        ] {
            assert_eq!(status(code, killed), expected);
        }
    }

    #[test]
    fn the_jobs_mistakes_are_told_from_the_engines() {
        let user = not_started(refused(
            "linux spec user: unable to find user app: no matching entries in passwd file",
        ));
        assert!(matches!(user, RuntimeError::Refused(_)), "{user}");
        let directory = not_started(refused(
            "OCI runtime create failed: chdir to cwd (\"/data/file\") set in config.json failed: not a directory",
        ));
        assert!(matches!(directory, RuntimeError::Refused(_)), "{directory}");
        let engine = not_started(refused("OCI runtime create failed: no space for a cgroup"));
        assert!(matches!(engine, RuntimeError::Start { .. }), "{engine}");
    }

    #[test]
    fn a_directory_that_the_engine_does_not_see_is_told_with_the_remedy() {
        let said = "invalid mount config for type \"bind\": bind source path does not exist: /tmp/w";
        let error = not_created(refused(said), "alpine", "/tmp/w").to_string();
        assert!(error.contains("EXECUTOR_DOCKER_HOST_MOUNT_PATH") && error.contains("/tmp/w"), "{error}");
    }
}
