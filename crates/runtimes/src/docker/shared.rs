//! What all sandboxes of a runtime share.

use super::access::Access;
use super::client::Client;
use super::error::{EngineError, told};
use super::guardian::guard;
use super::incarnation::{self, Incarnation};
use super::info::Info;
use super::pull::Source;
use super::spec::Filter;
use super::version::Engine;
use super::{DockerOptions, Origin, room};
use crate::guardian::Guardian;
use crate::oci::profile;
use crate::{Limits, RuntimeError};
use images::RegistryCredentials;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;

/// An engine starts no container with less memory, in bytes, and a shell needs some too.
const LEAST_MEMORY: u64 = 8 << 20;
/// The kernel's greatest number of processes.
const MOST_PIDS: u64 = 4 << 20;
/// In the state directory.
const SECCOMP_FILE: &str = "seccomp.json";
/// How long removing a container is tried again while the engine is away. What is then left, the
/// guardian or the next start removes.
const REMOVE_LIMIT: Duration = Duration::from_mins(10);
/// How long the engine is waited for where the answer is only of use.
const ASK_LIMIT: Duration = Duration::from_secs(5);
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

pub(super) struct Shared {
    pub(super) client: Client,
    pub(super) options: DockerOptions,
    pub(super) origin: Origin,
    pub(super) incarnation: Incarnation,
    pub(super) access: Access,
    /// The filter of system calls, and a file that has it.
    seccomp: String,
    seccomp_file: String,
    info: Mutex<Option<Arc<Info>>>,
    refuses_disk_limits: AtomicBool,
    numbers: AtomicU64,
    /// The last of all: what is above has been given back when it is told that nobody needs it.
    pub(super) guardian: Guardian,
}

impl Shared {
    pub(super) fn new(options: DockerOptions) -> Result<Self, RuntimeError> {
        options.check()?;
        let dir = &options.state_dir;
        let prepared = || RuntimeError::io(format!("prepare the state directory {}", dir.display()));
        let owner = incarnation::owner(dir).map_err(prepared())?;
        let id = Incarnation::new_id().map_err(prepared())?;
        let origin = Origin { owner, incarnation: id.clone(), executor: options.executor.clone() };
        let seccomp = profile::seccomp()?;
        let seccomp_file = dir.join(SECCOMP_FILE);
        fs::write(&seccomp_file, &seccomp).map_err(prepared())?;
        let seccomp_file = seccomp_file.to_string_lossy().into_owned();
        let access = Access::open(dir).map_err(prepared())?;
        let program = &options.helper.program;
        let guardian = guard(&options.helper, &options.endpoint, dir, &origin)
            .map_err(RuntimeError::io(format!("start the guardian {}", program.display())))?;
        // The guardian knows of it first: this process may be killed between any two calls.
        let incarnation = Incarnation::create(dir, id).map_err(prepared())?;
        Ok(Self {
            client: Client::new(options.endpoint.clone()),
            options,
            origin,
            incarnation,
            guardian,
            access,
            seccomp,
            seccomp_file,
            info: Mutex::new(None),
            refuses_disk_limits: AtomicBool::new(false),
            numbers: AtomicU64::new(0),
        })
    }

    /// Where a job's images come from. `proven` are repositories that its credentials were good for; `engine` is
    /// [`Shared::engine_name`].
    pub(super) fn source<'a>(
        &'a self,
        engine: &'a str,
        credentials: &'a RegistryCredentials,
        proven: &'a mut BTreeSet<String>,
    ) -> Source<'a> {
        let Self { client, options, access, .. } = self;
        Source { client, engine, options, access, credentials, proven }
    }

    /// A number that no other sandbox of this start has.
    pub(super) fn next_number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    /// The filter of system calls in the form that `engine` reads.
    pub(super) fn filter(&self, engine: &Engine) -> Filter<'_> {
        if engine.is_podman() { Filter::Podman(&self.seccomp_file) } else { Filter::Docker(&self.seccomp) }
    }

    /// What the engine said of its host when it was first asked.
    pub(super) async fn info(&self) -> Result<Arc<Info>, EngineError> {
        if let Some(known) = self.info.lock().unwrap_or_else(PoisonError::into_inner).clone() {
            return Ok(known);
        }
        let info = Arc::new(self.client.info().await?);
        *self.info.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&info));
        Ok(info)
    }

    /// What tells the engine, and so its store of images, from others.
    pub(super) async fn engine_name(&self) -> Result<String, EngineError> {
        let info = self.info().await?;
        // Podman's is another one each time.
        if info.id.is_empty() || self.client.engine().await?.is_podman() {
            let root = info.root().unwrap_or(Path::new("")).display();
            return Ok(format!("{} {root}", self.client.endpoint()));
        }
        Ok(info.id.clone())
    }

    /// Directories of this host that containers fill: where workspaces are made, and where the engine keeps its
    /// own, if it is on this host and says so soon enough.
    pub(super) async fn disks(&self) -> Vec<PathBuf> {
        let info = tokio::time::timeout(ASK_LIMIT, self.info()).await;
        room::disks(&self.options, info.ok().and_then(Result::ok).as_deref())
    }

    /// Limits that are asked for and can't be enforced: refused when strict, else said.
    pub(super) async fn check_limits(&self, limits: &Limits) -> Result<(), RuntimeError> {
        if let Some(memory) = limits.memory.filter(|memory| *memory < LEAST_MEMORY) {
            return Err(RuntimeError::Host(format!(
                "a memory limit of {memory} bytes is too small to start a container: give jobs at least {LEAST_MEMORY}"
            )));
        }
        if let Some(pids) = limits.pids.filter(|pids| *pids > MOST_PIDS) {
            return Err(RuntimeError::Host(format!(
                "a limit of {pids} processes is more than any kernel has: give jobs at most {MOST_PIDS}"
            )));
        }
        for (limit, why) in self.info().await?.missing(limits) {
            let name = limit.name();
            if self.options.strict {
                return Err(RuntimeError::Refused(format!(
                    "the {name} limit can't be enforced, since {why}: mend that, or run without strict isolation"
                )));
            }
            tracing::debug!(limit = name, why, "a limit of a job is not enforced");
        }
        Ok(())
    }

    /// Whether the engine is to be asked to limit what is written outside the workspace.
    pub(super) async fn limits_disk(&self) -> Result<bool, EngineError> {
        let refused = self.refuses_disk_limits.load(Ordering::Relaxed);
        Ok(!refused && self.info().await?.can_limit_disk() != Some(false))
    }

    /// The engine has said that it can't.
    pub(super) fn note_no_disk_limits(&self) {
        self.refuses_disk_limits.store(true, Ordering::Relaxed);
    }

    /// Removes a container beside whatever else goes on, however long the engine is away meanwhile.
    pub(super) fn remove(self: &Arc<Self>, id: String) -> JoinHandle<Result<(), EngineError>> {
        let shared = Arc::clone(self);
        tokio::spawn(async move {
            let begun = Instant::now();
            let mut pause = FIRST_PAUSE;
            loop {
                match shared.client.remove(&id).await {
                    Ok(()) => return Ok(()),
                    Err(error) if begun.elapsed() > REMOVE_LIMIT => {
                        tracing::error!(container = id, error = told(&error), "failed to remove a container");
                        return Err(error);
                    }
                    Err(_) => {
                        // One that is paused can't be killed.
                        shared.client.go_on(&id).await;
                        tokio::time::sleep(pause).await;
                    }
                }
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        })
    }
}
