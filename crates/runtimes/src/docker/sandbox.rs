//! One job's place to run.

use super::door::{self, Door};
use super::error::{EngineError, told};
use super::labels::{INCARNATION, OWNER, SANDBOX};
use super::shared::Shared;
use super::spec::{Plan, of_every_container};
use super::step::{Made, create};
use super::workspace::Workspace;
use crate::oci::check::check;
use crate::{Exit, HostEngine, HostPrograms, Limits, Output, RuntimeError, Sandbox, SandboxSpec, Step};
use async_trait::async_trait;
use images::RegistryCredentials;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How long a job's end waits for its containers to be removed. They are tried on after that.
const CLOSE_LIMIT: Duration = Duration::from_secs(30);
/// The same of a step that failed for want of the engine.
const FAILURE_LIMIT: Duration = Duration::from_secs(5);

pub(super) struct DockerSandbox {
    shared: Arc<Shared>,
    name: String,
    number: u64,
    limits: Limits,
    credentials: RegistryCredentials,
    workspace: Option<Workspace>,
    path: PathBuf,
    steps: u32,
    /// Repositories that the job's credentials were good for.
    proven: BTreeSet<String>,
    /// A container that runs a step: left behind only when that was given up in the middle.
    current: Option<String>,
    /// Containers that are being removed.
    removals: Vec<JoinHandle<Result<(), EngineError>>>,
    /// Through which programs on this host make containers.
    door: Option<Door>,
}

impl DockerSandbox {
    pub(super) fn open(shared: Arc<Shared>, spec: SandboxSpec) -> Result<Self, RuntimeError> {
        let number = shared.next_number();
        let workspace = Workspace::make(&shared, &spec.name, number)?;
        Ok(Self {
            shared,
            name: spec.name,
            number,
            limits: spec.limits,
            credentials: spec.credentials,
            path: workspace.path.clone(),
            workspace: Some(workspace),
            steps: 0,
            proven: BTreeSet::new(),
            current: None,
            removals: Vec::new(),
            door: None,
        })
    }

    async fn run_image(
        &mut self,
        step: &Step,
        image: &str,
        out: &mut dyn Output,
        stop: &CancellationToken,
        begun: Instant,
    ) -> Result<Exit, RuntimeError> {
        let resolved = begun.elapsed();
        self.remove_current();
        let id = self.create(step, image).await?;
        self.current = Some(id.clone());
        let made = Made { shared: &self.shared, id: &id, step, limits: &self.limits, begun, image: resolved };
        let exit = made.run(out, stop).await;
        // Its processes are gone with its end; the rest of it need not be waited for.
        self.remove_current();
        if exit.is_err() {
            // Whatever failed, nothing of the step stays.
            self.await_removals(FAILURE_LIMIT).await;
        }
        exit
    }

    fn remove_current(&mut self) {
        if let Some(id) = self.current.take() {
            self.removals.push(self.shared.remove(id));
        }
    }

    async fn create(&mut self, step: &Step, image: &str) -> Result<String, RuntimeError> {
        let number = self.steps;
        self.steps += 1;
        let shared = &*self.shared;
        let workspace =
            self.workspace.as_mut().ok_or_else(|| RuntimeError::Host("the sandbox was closed".to_owned()))?;
        workspace.note_image(shared, image)?;
        let engine = shared.client.engine().await?;
        let plan = Plan {
            step,
            image,
            hostname: &self.name,
            workspace: &workspace.as_mounted,
            certificates: workspace.certificates.as_deref(),
            startup_script: workspace.startup_script.as_deref(),
            limits: &self.limits,
            labels: shared.origin.labels(&self.name, number),
            limits_disk: false,
            filter: shared.filter(&engine),
            options: &shared.options,
        };
        create(shared, &shared.origin.container_name(&self.name, self.number, number), plan).await
    }

    async fn open_door(&mut self) -> Result<Door, RuntimeError> {
        let shared = &*self.shared;
        let workspace =
            self.workspace.as_ref().ok_or_else(|| RuntimeError::Host("the sandbox was closed".to_owned()))?;
        let engine = shared.client.engine().await?;
        // Its own program and image come with each container.
        let step = Step { argv: vec![String::new()], ..Step::default() };
        let ours = of_every_container(Plan {
            step: &step,
            image: "",
            hostname: &self.name,
            workspace: &workspace.as_mounted,
            certificates: None,
            startup_script: None,
            limits: &self.limits,
            labels: shared.origin.labels(&self.name, self.steps),
            limits_disk: false,
            filter: shared.filter(&engine),
            options: &shared.options,
        });
        let place =
            door::Workspace { here: workspace.path.clone(), as_mounted: workspace.as_mounted.clone() };
        let socket = workspace.door();
        Door::open(&socket, &self.shared, self.credentials.clone(), ours, place)
            .map_err(RuntimeError::io(format!("open a door to the engine at {}", socket.display())))
    }

    /// Shuts the door, and removes what was made through it.
    async fn shut_door(&mut self) {
        let Some(door) = self.door.take() else { return };
        if let Err(late) = door.shut(CLOSE_LIMIT).await {
            self.removals.push(tokio::spawn(async { Err(late) }));
        }
        let shared = &self.shared;
        let (owner, incarnation) = (&shared.origin.owner, &shared.origin.incarnation);
        let labels = [(OWNER, owner.as_str()), (INCARNATION, incarnation), (SANDBOX, &self.name)];
        match shared.client.list(&labels).await {
            Ok(listed) => {
                self.removals.extend(listed.into_iter().map(|container| shared.remove(container.id)));
            }
            Err(error) => self.removals.push(tokio::spawn(async { Err(error) })),
        }
    }

    /// Waits a while for containers to be gone. Returns what still stands in the way of one.
    async fn await_removals(&mut self, limit: Duration) -> Option<String> {
        let limit = tokio::time::Instant::now() + limit;
        let mut left = None;
        for mut removal in std::mem::take(&mut self.removals) {
            left = match tokio::time::timeout_at(limit, &mut removal).await {
                Ok(Ok(Ok(()))) => continue,
                Ok(Ok(Err(error))) => Some(told(&error)),
                Ok(Err(panic)) => Some(panic.to_string()),
                Err(_) => {
                    self.removals.push(removal);
                    Some("the container engine does not answer; it is tried again".to_owned())
                }
            };
        }
        left
    }
}

#[async_trait]
impl Sandbox for DockerSandbox {
    fn workspace(&self) -> &Path {
        &self.path
    }

    fn programs(&self) -> HostPrograms {
        self.shared.incarnation.programs()
    }

    async fn run(
        &mut self,
        step: Step,
        out: &mut dyn Output,
        stop: &CancellationToken,
    ) -> Result<Exit, RuntimeError> {
        check(&step)?;
        let begun = Instant::now();
        let engine = self.shared.engine_name().await?;
        let mut source = self.shared.source(&engine, &self.credentials, &mut self.proven);
        let image = tokio::select! {
            biased;
            () = stop.cancelled() => return Ok(Exit::stopped_before_start(begun)),
            image = source.resolve(&step.image, out.progress()) => image?,
        };
        self.run_image(&step, &image, out, stop, begun).await
    }

    async fn engine(&mut self) -> Result<Option<HostEngine>, RuntimeError> {
        if self.door.is_none() {
            self.door = Some(self.open_door().await?);
        }
        let opened = self.door.as_ref().zip(self.workspace.as_ref());
        Ok(opened.map(|(door, workspace)| HostEngine {
            address: door.address.clone(),
            dir: workspace.private_dir().to_owned(),
            workspace: workspace.path.clone(),
            helper: self.shared.options.helper.clone(),
        }))
    }

    async fn close(mut self: Box<Self>) -> Result<(), RuntimeError> {
        let begun = Instant::now();
        self.remove_current();
        self.shut_door().await;
        let left = self.await_removals(CLOSE_LIMIT).await;
        let Some(workspace) = self.workspace.take() else { return Ok(()) };
        let removed = workspace.remove(&self.shared).await;
        tracing::debug!(sandbox = self.name, elapsed = ?begun.elapsed(), "closed a sandbox");
        removed?;
        // While it is remembered, whoever follows this agent asks the engine for its containers.
        if left.is_none() {
            workspace.forget(&self.shared)?;
        }
        match left {
            None => Ok(()),
            Some(why) => {
                Err(RuntimeError::Host(format!("a container of a job could not be removed yet: {why}")))
            }
        }
    }
}

impl Drop for DockerSandbox {
    fn drop(&mut self) {
        if self.workspace.is_some() {
            tracing::error!(
                sandbox = self.name,
                "a sandbox was dropped without being closed; it leaks until the executor ends"
            );
        }
    }
}
