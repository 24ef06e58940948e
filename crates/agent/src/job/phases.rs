//! The phases of a job as types: what can't be done yet has no method, and what was opened has but
//! one way to its end, which closes it.

use super::{Failure, JobStop, Surroundings, artifacts, credentials, src_steps};
use crate::api::JobAuth;
use crate::host_disk::HostDisks;
use crate::log::JobLog;
use crate::random;
use crate::timeline::Timeline;
use crate::workspace::{self, Confined};
use futures_util::FutureExt;
use runtimes::{Sandbox, SandboxSpec};
use std::any::Any;
use std::panic::AssertUnwindSafe;
use tracing::{error, warn};
use wire::Job;

/// Assigned to us; nothing of it is on this host.
#[derive(Clone, Copy)]
pub(super) struct Claimed<'a> {
    pub(super) around: &'a Surroundings,
    pub(super) job: &'a Job,
    pub(super) auth: &'a JobAuth,
    pub(super) stop: &'a JobStop,
    pub(super) log: &'a JobLog,
    pub(super) timeline: &'a Timeline,
}

/// Has a sandbox with an empty workspace.
pub(super) struct Opened<'a> {
    pub(super) claimed: Claimed<'a>,
    pub(super) sandbox: Box<dyn Sandbox>,
    name: String,
}

/// Its workspace is filled: steps can run.
pub(super) struct Prepared<'a, 'b> {
    pub(super) opened: &'b mut Opened<'a>,
    pub(super) confined: Confined,
}

impl<'a> Claimed<'a> {
    /// Everything from here to a closed sandbox.
    pub(super) async fn run_to_the_end(self) -> Result<(), Failure> {
        self.check()?;
        let limit = self.around.api.config().limits.disk;
        let mut opened = match self.open().await {
            Ok(opened) => opened,
            Err(failure) => return Err(failure.with_disk(&self.disks().await, None, limit)),
        };
        // A panic is a defect of ours; the job's sandbox must not outlive it all the same.
        let worked = AssertUnwindSafe(opened.work()).catch_unwind().await;
        let result = worked.unwrap_or_else(|panic| Err(panicked(&*panic)));
        // Asked now: a stop that comes while the sandbox is closed did not cause anything.
        let result = result.map_err(|failure| failure.or_stopped(self.stop));
        let result = match result {
            Ok(()) => Ok(()),
            Err(failure) => {
                let disks = self.disks().await;
                Err(failure.with_disk(&disks, Some(opened.sandbox.workspace()), limit))
            }
        };
        opened.close().await;
        result
    }

    /// The disks of this host that it could have met full.
    async fn disks(&self) -> HostDisks {
        HostDisks::of(&self.around.api.config().work_dir, self.around.runtime.fills().await)
    }

    /// What can be refused before anything is made.
    fn check(&self) -> Result<(), Failure> {
        src_steps::check(self.job, self.around.api.config().src_steps)
    }

    async fn open(self) -> Result<Opened<'a>, Failure> {
        let config = self.around.api.config();
        let name = format!("job-{}-{}", self.job.id, hex::encode(random::bytes::<4>()));
        let spec = SandboxSpec {
            name: name.clone(),
            limits: config.limits,
            credentials: credentials::choose(&self.job.docker_auth_config, config)?,
        };
        // Not raced against the stop: half an opened sandbox is one that nobody closes.
        let opening = AssertUnwindSafe(self.around.runtime.open(spec)).catch_unwind().await;
        let sandbox = match opening {
            Ok(opened) => {
                opened.map_err(|fault| Failure::of_runtime(&fault).while_doing("creating runtime runner"))?
            }
            Err(panic) => return Err(panicked(&*panic)),
        };
        self.timeline.reached("sandbox open");
        Ok(Opened { claimed: self, sandbox, name })
    }
}

impl<'a> Opened<'a> {
    async fn work(&mut self) -> Result<(), Failure> {
        let src_steps = !self.claimed.job.cli_steps.is_empty();
        let preparing = if src_steps { "failed to prepare workspace" } else { "creating workspace" };
        let mut prepared = self.prepare().await.map_err(|failure| failure.while_doing(preparing))?;
        let ran = match prepared.run_steps().await {
            Ok(()) => prepared.run_src_steps().await,
            failed => failed,
        };
        let Claimed { around, job, auth, stop, log, timeline } = self.claimed;
        let kept = artifacts::collect(&around.api, auth, job, self.sandbox.workspace(), log, stop).await;
        if !job.artifacts.is_empty() {
            timeline.reached("artifacts kept");
        }
        // That a step failed says more than that it left nothing.
        ran.and(kept)
    }

    /// Fills the workspace.
    async fn prepare<'b>(&'b mut self) -> Result<Prepared<'a, 'b>, Failure> {
        let Claimed { around, job, auth, stop, log, timeline } = self.claimed;
        if stop.cause().is_some() {
            return Err(Failure::Stopped);
        }
        let path = self.sandbox.workspace();
        let programs = self.sandbox.programs();
        workspace::clone_repository(&around.api, auth, job, (path, &programs), log, stop).await?;
        let confined = Confined::open(path)?;
        workspace::write_all(&around.api, auth, job, &confined, log, stop).await?;
        timeline.reached("workspace ready");
        Ok(Prepared { opened: self, confined })
    }

    /// Removes the sandbox, and tells so in the log. Nothing here can fail the job.
    async fn close(self) {
        let Claimed { around, job, log, timeline, .. } = self.claimed;
        let config = around.api.config();
        let entry = log.entry("teardown.fs", None);
        let path = self.sandbox.workspace().to_owned();
        if config.keep_workspaces {
            let kept = config.work_dir.join("kept").join(&self.name);
            let programs = self.sandbox.programs();
            let from = (path.as_path(), &programs);
            match workspace::keep(from, &kept, &config.tool_env, &entry, &around.hurry).await {
                Ok(()) => entry.line(&format!("Preserving workspace ({}) as per config", kept.display())),
                Err(fault) => entry.line(&format!("Operation failed: keeping {}: {fault}", path.display())),
            }
        } else {
            entry.line(&format!("Removing {}", path.display()));
        }
        let closed = AssertUnwindSafe(self.sandbox.close()).catch_unwind().await;
        match closed {
            Ok(Ok(())) => {}
            Ok(Err(fault)) => {
                let fault = crate::error::chain(&fault);
                entry.line(&format!("Operation failed: {fault}"));
                warn!(job = %job.id, sandbox = self.name, fault, "failed to close a sandbox");
            }
            Err(_) => error!(job = %job.id, sandbox = self.name, "closing a sandbox panicked"),
        }
        entry.close(0);
        timeline.reached("sandbox closed");
    }
}

fn panicked(panic: &(dyn Any + Send)) -> Failure {
    let text = panic.downcast_ref::<&str>().copied().map(str::to_owned);
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
    error!(text, "running a job panicked");
    Failure::sandbox("the executor failed while it ran the job: see its own log")
}
