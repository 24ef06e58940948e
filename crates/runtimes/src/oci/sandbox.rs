//! One job's place to run.

use super::check::check;
use super::remove::remove_tree;
use super::root::{self, Files};
use super::shared::Shared;
use super::slot::Slot;
use super::step::container_id;
use super::users::Lent;
use crate::{Exit, HostPrograms, Limits, Output, RuntimeError, Sandbox, SandboxSpec, Step};
use async_trait::async_trait;
use images::{Image, Progress, Reference, RegistryCredentials};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;
use tokio_util::sync::CancellationToken;

pub(super) struct OciSandbox {
    pub(super) shared: Arc<Shared>,
    pub(super) slot: Option<Slot>,
    workspace: PathBuf,
    pub(super) hostname: String,
    pub(super) limits: Limits,
    credentials: RegistryCredentials,
    pub(super) steps: u32,
}

impl OciSandbox {
    /// Gets `slot` ready for a job, or removes it.
    pub(super) async fn new(
        shared: Arc<Shared>,
        mut slot: Slot,
        spec: SandboxSpec,
    ) -> Result<Self, RuntimeError> {
        slot.users.iter_mut().for_each(Lent::put_to_use);
        if let Err(error) = prepare(&shared, &mut slot, &spec) {
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

    pub(super) fn slot(&self) -> Result<&Slot, RuntimeError> {
        self.slot.as_ref().ok_or_else(|| RuntimeError::Host("the sandbox was closed".to_owned()))
    }

    async fn resolve(&self, step: &Step, progress: &dyn Progress) -> Result<Image, RuntimeError> {
        let reference: Reference = step.image.parse()?;
        Ok(self.shared.images.resolve(&reference, &self.credentials, progress).await?)
    }
}

#[async_trait]
impl Sandbox for OciSandbox {
    fn workspace(&self) -> &Path {
        &self.workspace
    }

    fn programs(&self) -> HostPrograms {
        let programs = self.shared.instance.programs();
        match &self.slot {
            Some(slot) => programs.counted(&slot.group, self.limits),
            None => programs,
        }
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
            () = stop.cancelled() => return Ok(Exit::stopped_before_start(begun)),
        };
        let number = self.steps;
        let exit = self.run_image(&step, &image, out, stop, begun).await;
        let exit = exit.map_err(|error| self.shared.host_disk.explain(error));
        let shared = Arc::clone(&self.shared);
        if let Some(slot) = &mut self.slot {
            if exit.is_err() {
                // Whatever failed, nothing of the step stays.
                slot.group.kill().await.map_err(RuntimeError::io("end what a step has started"))?;
            }
            forget(&shared, slot, number);
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

/// What of a slot depends on its job.
fn prepare(shared: &Shared, slot: &mut Slot, spec: &SandboxSpec) -> Result<(), RuntimeError> {
    let bundle = slot.bundle.clone();
    let resolver = match (&mut slot.network, &shared.network) {
        (Some(network), Ok(means)) => {
            network.begin(means, &bundle).map_err(RuntimeError::io("begin a job's network"))?;
            network.resolver()
        }
        _ => None,
    };
    // One more stays inside where steps have processes of their own.
    slot.group.limit(&spec.limits, shared.program.family.own_pids() + u64::from(shared.ordinary))?;
    let mark_tmp = shared.program.family.keeps_empty_tmp_in_memory();
    let files = Files { hostname: &spec.name, resolver, given: shared.writer.given() };
    root::make_skeleton(&slot.volume.path, slot.root(), mark_tmp, &files)
        .map_err(RuntimeError::io("prepare a job's disk"))
}

/// Removes what a runtime that has left, or was killed, keeps of a step that is over.
fn forget(shared: &Shared, slot: &Slot, step: u32) {
    let id = container_id(&slot.id, step);
    // runsc has files, whose names go on with what they are of.
    let is_of_step =
        |name: &str| name.strip_prefix(&id).is_some_and(|rest| rest.is_empty() || rest.starts_with('_'));
    let known = fs::read_dir(shared.instance.runtime_state()).into_iter().flatten().filter_map(Result::ok);
    for entry in known.filter(|entry| entry.file_name().to_str().is_some_and(is_of_step)) {
        let path = entry.path();
        let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
        let removed = if is_directory { remove_tree(&path) } else { fs::remove_file(&path) };
        if let Err(error) = removed {
            tracing::warn!(%error, path = %path.display(), "failed to remove what a runtime knows of a step");
        }
    }
    slot.group.remove_below();
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
