//! One job's place to run.

use super::check::check;
use super::config::Container;
use super::launcher::Plan;
use super::outcome::{self, NotStarted};
use super::root::{self, ROOT, WORKSPACE};
use super::shared::Shared;
use super::slot::Slot;
use super::supervise::supervise;
use super::user;
use crate::{
    Cause, Exit, ExitStatus, Limits, Output, RuntimeError, Sandbox, SandboxSpec, Step, Stream, Timeline,
    Usage,
};
use async_trait::async_trait;
use images::{Image, Progress, Reference, RegistryCredentials};
use rustix::process::Signal;
use std::fs;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;
use tokio::process::Child;
use tokio_util::sync::CancellationToken;

pub(super) struct OciSandbox {
    shared: Arc<Shared>,
    slot: Option<Slot>,
    workspace: PathBuf,
    hostname: String,
    limits: Limits,
    credentials: RegistryCredentials,
    steps: u32,
}

impl OciSandbox {
    /// Gets `slot` ready for a job, or removes it.
    pub(super) async fn new(
        shared: Arc<Shared>,
        slot: Slot,
        spec: SandboxSpec,
    ) -> Result<Self, RuntimeError> {
        if let Err(error) = prepare(&shared, &slot, &spec) {
            if let Err(left) = slot.remove().await {
                tracing::error!(error = &left as &dyn std::error::Error, "failed to remove a sandbox");
            }
            return Err(error);
        }
        Ok(Self {
            workspace: slot.volume.workspace(),
            shared,
            hostname: spec.name,
            limits: spec.limits,
            credentials: spec.credentials,
            steps: 0,
            slot: Some(slot),
        })
    }

    fn slot(&self) -> Result<&Slot, RuntimeError> {
        self.slot.as_ref().ok_or_else(|| RuntimeError::Host("the sandbox was closed".to_owned()))
    }

    /// Writes down what is to run, and what is to be mounted before.
    fn plan(&self, step: &Step, image: &Image, number: u32) -> Result<Plan, RuntimeError> {
        let (slot, instance, program) = (self.slot()?, &self.shared.instance, &self.shared.program);
        let disk = RuntimeError::io("prepare the root file system of a step");
        let writable = root::make_writable(&slot.volume.path, number).map_err(disk)?;
        let here = instance.here();
        let container = Container {
            step,
            image: &image.config,
            user: &user::resolve(&image.config.user, &image.layers)?,
            hostname: &self.hostname,
            root: &here.join(ROOT),
            workspace: &here.join(WORKSPACE),
            group: program.family.makes_groups().then(|| self.shared.group_for_runtime(&slot.id)),
        };
        let spec = self
            .shared
            .writer
            .spec(&container, self.shared.filter.known())
            .map_err(|error| RuntimeError::Host(error.to_string()))?;
        let json = serde_json::to_vec(&spec).map_err(io::Error::from);
        let written = json.and_then(|json| fs::write(slot.bundle.join("config.json"), json));
        written.map_err(RuntimeError::io("write the configuration of a step"))?;
        let log = slot.bundle.join(format!("log-{number}"));
        let id = container_id(&slot.id, number);
        Ok(Plan {
            layers: root::topmost_first(&image.layers),
            skeleton: writable.skeleton.to_owned(),
            upper: writable.upper,
            work: writable.work,
            root: ROOT.to_owned(),
            program: program.path.clone(),
            arguments: program.run_arguments(&instance.runtime_state(), &log, &slot.bundle, &id),
            here,
            log,
        })
    }

    /// Starts the step by the launcher that waits, or by a new one.
    async fn start(&mut self, plan: &Plan) -> Result<Child, RuntimeError> {
        let context = || RuntimeError::io("start a step");
        let slot =
            self.slot.as_mut().ok_or_else(|| RuntimeError::Host("the sandbox was closed".to_owned()))?;
        if let Some(waiting) = slot.launcher.take() {
            match waiting.start(plan).await {
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
                result => return result.map_err(context()),
            }
        }
        let fresh = slot.launcher(&self.shared).map_err(context())?;
        fresh.start(plan).await.map_err(context())
    }

    /// Where the OCI runtime keeps what it knows of a step while it runs.
    fn container_state(&self, number: u32) -> Option<PathBuf> {
        let slot = self.slot.as_ref()?;
        Some(self.shared.instance.runtime_state().join(container_id(&slot.id, number)))
    }

    async fn resolve(&self, step: &Step, progress: &dyn Progress) -> Result<Image, RuntimeError> {
        let reference: Reference = step.image.parse()?;
        Ok(self.shared.images.resolve(&reference, &self.credentials, progress).await?)
    }

    async fn run_image(
        &mut self,
        step: &Step,
        image: &Image,
        out: &mut dyn Output,
        stop: &CancellationToken,
        begun: Instant,
    ) -> Result<Exit, RuntimeError> {
        let resolved = begun.elapsed();
        let number = self.steps;
        self.steps += 1;
        let plan = self.plan(step, image, number)?;
        let group = &self.slot()?.group;
        group.reset_peak();
        let before = group.read();
        let prepared = begun.elapsed();
        let child = self.start(&plan).await?;
        let started = Instant::now();
        let timeline = Timeline {
            image: resolved,
            prepare: prepared.saturating_sub(resolved),
            start: begun.elapsed().saturating_sub(prepared),
        };
        tracing::debug!(sandbox = self.hostname, step = number, ?timeline, "started a step");
        self.shared.filter.learn(self.container_state(number));

        let slot = self.slot()?;
        let ended = supervise(child, &slot.group, out, stop, self.shared.grace).await?;
        let after = slot.group.read();
        let mut status = outcome::status(ended.status);
        if status != ExitStatus::Code(0) && !ended.stopped {
            status = self.judge_failure(status, &plan, step, out).await?;
        }
        let full = slot.volume.size.filter(|_| slot.volume.is_full());
        let cause = outcome::cause(status, ended.stopped, &self.limits, (before, after), full);
        if let (Some(signal), None) = (ended.status.signal(), cause) {
            // The step's own end comes as a code; this is somebody's who killed the runtime.
            let name = self.shared.program.family.name();
            return Err(RuntimeError::Host(format!("the OCI runtime {name} was killed by signal {signal}")));
        }
        let cpu = after.cpu.zip(before.cpu).map(|(after, before)| after.saturating_sub(before));
        let usage = Usage { wall: started.elapsed(), cpu, peak_memory: after.peak_memory };
        tracing::debug!(sandbox = self.hostname, step = number, ?status, ?cause, ?usage, "a step ended");
        Ok(Exit { status, cause, usage, timeline })
    }

    /// A runtime that failed ends with a code like any step. Its log tells them apart.
    async fn judge_failure(
        &self,
        status: ExitStatus,
        plan: &Plan,
        step: &Step,
        out: &mut dyn Output,
    ) -> Result<ExitStatus, RuntimeError> {
        match outcome::not_started(&plan.log) {
            None => Ok(status),
            Some(NotStarted::Directory(why)) => {
                Err(RuntimeError::Refused(format!("the step can't begin in {:?}: {why}", step.cwd)))
            }
            Some(NotStarted::Runtime(detail)) => {
                Err(RuntimeError::Start { runtime: self.shared.program.family.name().to_owned(), detail })
            }
            Some(NotStarted::Program { code, why }) => {
                let line = format!("failed to run {:?}: {why}\n", step.argv[0]);
                out.write(Stream::Stderr, line.as_bytes())
                    .await
                    .map_err(RuntimeError::io("pass on the output of a step"))?;
                Ok(ExitStatus::Code(code))
            }
        }
    }
}

#[async_trait]
impl Sandbox for OciSandbox {
    fn workspace(&self) -> &Path {
        &self.workspace
    }

    async fn run(
        &mut self,
        step: Step,
        out: &mut dyn Output,
        stop: &CancellationToken,
    ) -> Result<Exit, RuntimeError> {
        check(&step)?;
        let begun = Instant::now();
        let image = tokio::select! {
            image = self.resolve(&step, out.progress()) => image?,
            () = stop.cancelled() => return Ok(stopped_before_start(begun)),
        };
        let exit = self.run_image(&step, &image, out, stop, begun).await;
        let shared = Arc::clone(&self.shared);
        if let Some(slot) = &mut self.slot {
            if exit.is_err() {
                // Whatever failed, nothing of the step stays.
                slot.group.kill().await.map_err(RuntimeError::io("end what a step has started"))?;
            }
            slot.prepare_launcher(&shared);
        }
        exit
    }

    async fn close(mut self: Box<Self>) -> Result<(), RuntimeError> {
        let begun = Instant::now();
        let Some(slot) = self.slot.take() else { return Ok(()) };
        let removed = slot.remove().await;
        tracing::debug!(sandbox = self.hostname, elapsed = ?begun.elapsed(), "closed a sandbox");
        removed
    }
}

fn container_id(slot: &str, step: u32) -> String {
    format!("{slot}.{step}")
}

/// What of a slot depends on its job.
fn prepare(shared: &Shared, slot: &Slot, spec: &SandboxSpec) -> Result<(), RuntimeError> {
    slot.group.limit(&spec.limits, shared.program.family.own_pids())?;
    root::make_skeleton(&slot.volume.path, &spec.name).map_err(RuntimeError::io("prepare a job's disk"))
}

fn stopped_before_start(begun: Instant) -> Exit {
    let timeline = Timeline { image: begun.elapsed(), ..Timeline::default() };
    let status = ExitStatus::Signal(Signal::TERM.as_raw());
    Exit { status, cause: Some(Cause::Stopped), usage: Usage::default(), timeline }
}

impl Drop for OciSandbox {
    fn drop(&mut self) {
        if self.slot.is_some() {
            tracing::error!(
                sandbox = self.hostname,
                "a sandbox was dropped without being closed; it leaks until the executor ends"
            );
        }
    }
}
