//! The daemonless container runtime: each step is one foreground call of an OCI runtime.
//!
//! Whatever a step needs on this host hangs on a process: its mounts on a namespace, its disk on a
//! mount, its processes on a control group. An agent that is killed leaves only control groups and
//! small files, and a [guardian](helper_main) that removes them.

mod additional;
pub(crate) mod check;
mod config;
mod cwd;
mod disks;
mod filter;
mod guardian;
mod idmap;
mod instance;
mod keeper;
mod launcher;
mod loop_device;
mod network;
pub(crate) mod options;
mod ordinary_user;
pub(crate) mod outcome;
mod own_processes;
mod preflight;
pub(crate) mod profile;
mod program;
mod pump;
pub(crate) mod remove;
mod room;
mod root;
mod sandbox;
mod shared;
mod slot;
mod spare;
mod stages;
mod step;
mod supervise;
mod tried;
mod user;
mod users;
mod volume;
mod witness;

pub use additional::{AdditionalMount, Mounted, unsafe_beside_others};
pub(crate) use guardian::{GUARDED, duty};
pub use instance::dead;
pub use launcher::LauncherAhead;
pub use network::{AllowedNetwork, Met, NetworkChoice, NetworkOptions, Visit};
pub use options::{GRACE, Helper, OciOptions, OwnUsers, SPARE_DISK};
pub(crate) use outcome::out_of_memory;
pub(crate) use own_processes::split;
pub use preflight::{Looked, Looking, Trial, has_version_2_alone, look};
pub use program::find_program;
pub use tried::Tried;

use crate::{Finding, Isolation, Reaped, Runtime, RuntimeError, Sandbox, SandboxSpec};
use async_trait::async_trait;
use images::ImageStore;
use sandbox::OciSandbox;
use shared::Shared;
use slot::Slot;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

/// Containers by crun or runc, without a daemon.
pub struct OciRuntime {
    shared: Arc<Shared>,
    state_dir: PathBuf,
    owner: String,
}

impl OciRuntime {
    /// Finds the OCI runtime, prepares the state directory and starts the guardian.
    ///
    /// # Errors
    /// When there is no OCI runtime, or the state directory can't be used.
    pub fn new(options: OciOptions, images: Arc<ImageStore>) -> Result<Self, RuntimeError> {
        let (state_dir, owner) = (options.state_dir.clone(), options.owner.clone());
        Ok(Self { shared: Arc::new(Shared::new(options, images)?), state_dir, owner })
    }

    /// What was found out of this host, for another process of the same agent.
    pub fn tried(&self) -> Tried {
        Tried::of(&self.shared)
    }

    /// The process that removes everything should this one be killed.
    pub fn guardian_pid(&self) -> u32 {
        self.shared.guardian.pid()
    }
}

#[async_trait]
impl Runtime for OciRuntime {
    fn name(&self) -> &'static str {
        "oci"
    }

    fn isolation(&self) -> Isolation {
        self.shared.program.family.isolation()
    }

    async fn preflight(&self) -> Vec<Finding> {
        preflight::findings(&self.shared)
    }

    async fn warm(&self) {
        self.shared.make_spare().await;
    }

    async fn open(&self, spec: SandboxSpec) -> Result<Box<dyn Sandbox>, RuntimeError> {
        let begun = Instant::now();
        options::check_sandbox_name(&spec.name)?;
        let family = self.shared.program.family;
        if !family.is_supported() {
            let name = family.name();
            return Err(RuntimeError::Refused(format!(
                "the OCI runtime {name} is not supported yet: use crun or runc"
            )));
        }
        self.shared.check_limits(&spec.limits)?;
        self.shared.check_network()?;
        let (name, disk) = (spec.name.clone(), spec.limits.disk);
        let made = async {
            let slot = match self.shared.take_spare(disk).await {
                Some(spare) => spare,
                None => Slot::make(&self.shared, disk).await?,
            };
            OciSandbox::new(Arc::clone(&self.shared), slot, spec).await
        };
        let sandbox = made.await.map_err(|error| self.shared.host_disk.explain(error))?;
        tracing::debug!(sandbox = name, elapsed = ?begun.elapsed(), "opened a sandbox");
        Ok(Box::new(sandbox))
    }

    fn instance(&self) -> Option<String> {
        Some(self.shared.instance.id.clone())
    }

    fn is_left(&self, instance: &str) -> bool {
        instance::exists(&self.state_dir, instance)
    }

    async fn reap(&self) -> Result<Reaped, RuntimeError> {
        instance::reap(&self.state_dir, &self.owner, &self.shared.host, Some(&self.shared.instance.id)).await
    }
}

/// The life of a helper process, which [`Helper`] starts: `args` are those after the helper's own.
/// Call it before anything else, and without threads; it returns what the process should end with.
pub fn helper_main(mut args: impl Iterator<Item = OsString>) -> ExitCode {
    match args.next() {
        Some(role) if role == launcher::ROLE => ExitCode::from(launcher::main(args)),
        Some(role) if role == ordinary_user::ROLE => ordinary_user::main(args),
        Some(role) if role == users::namespace::ROLE => users::namespace::main(),
        _ => ExitCode::FAILURE,
    }
}
