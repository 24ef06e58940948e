//! Containers by an engine with a daemon: Docker, or Podman's service.
//!
//! Each step is a container of its own, made from what the documented command line would make it from,
//! with fewer rights. The engine is told everything over its API; nothing is started by its client
//! program. Whatever is made carries labels that say whose it is: an agent that is killed is followed by
//! a [guardian](crate::helper_main) that removes it, and if that is killed too, the next start does.

mod access;
mod cleaner;
mod client;
mod containers;
mod demux;
mod door;
mod endpoint;
mod error;
mod gauge;
mod guardian;
mod incarnation;
mod info;
mod labels;
mod life;
mod messages;
mod mount;
mod options;
mod preflight;
mod progress;
mod pull;
mod pump;
mod queue;
mod reap;
mod refusal;
mod room;
mod sandbox;
mod shared;
mod sight;
mod spec;
mod step;
mod stored;
mod version;
mod workspace;

pub use endpoint::{BadEndpoint, Endpoint};
pub use mount::{BindOptions, Mount, TmpfsOptions, VolumeDriver, VolumeOptions};
pub use options::{DockerOptions, Rights};
pub use preflight::{REACHABLE, look};
pub use room::fills;
pub use sight::{Sight, sees_workspaces};

pub(crate) use guardian::{GUARDED, duty};

use crate::oci::options::check_sandbox_name;
use crate::{Finding, Isolation, Reaped, Runtime, RuntimeError, Sandbox, SandboxSpec};
use async_trait::async_trait;
use info::Limit;
use labels::Origin;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use sandbox::DockerSandbox;
use shared::Shared;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

/// Containers by a container engine.
pub struct DockerRuntime {
    shared: Arc<Shared>,
}

impl DockerRuntime {
    /// Prepares the state directory and starts the guardian. The engine need not be there yet.
    ///
    /// # Errors
    /// When the state directory can't be used.
    pub fn new(options: DockerOptions) -> Result<Self, RuntimeError> {
        Ok(Self { shared: Arc::new(Shared::new(options)?) })
    }

    /// The process that removes everything should this one be killed.
    pub fn guardian_pid(&self) -> u32 {
        self.shared.guardian.pid()
    }
}

#[async_trait]
impl Runtime for DockerRuntime {
    fn name(&self) -> &'static str {
        "docker"
    }

    fn isolation(&self) -> Isolation {
        match self.shared.options.oci_runtime.as_deref() {
            Some("runsc") => Isolation::UserKernel,
            _ => Isolation::Container,
        }
    }

    async fn preflight(&self) -> Vec<Finding> {
        preflight::findings(&self.shared.client, &self.shared.options).await
    }

    async fn fills(&self) -> Vec<PathBuf> {
        self.shared.disks().await
    }

    async fn engine_version(&self) -> Option<String> {
        let engine = self.shared.client.engine().await;
        engine.ok().map(|engine| engine.release.clone()).filter(|release| !release.is_empty())
    }

    async fn open(&self, spec: SandboxSpec) -> Result<Box<dyn Sandbox>, RuntimeError> {
        let begun = Instant::now();
        check_sandbox_name(&spec.name)?;
        self.shared.check_limits(&spec.limits).await?;
        let name = spec.name.clone();
        let sandbox = DockerSandbox::open(Arc::clone(&self.shared), spec)?;
        tracing::debug!(sandbox = name, elapsed = ?begun.elapsed(), "opened a sandbox");
        Ok(Box::new(sandbox))
    }

    fn instance(&self) -> Option<String> {
        Some(self.shared.incarnation.id.clone())
    }

    fn is_left(&self, instance: &str) -> bool {
        incarnation::exists(&self.shared.options.state_dir, instance)
    }

    async fn reap(&self) -> Result<Reaped, RuntimeError> {
        let Shared { client, options, origin, .. } = &*self.shared;
        reap::reap(client, &options.state_dir, &origin.owner, &origin.incarnation).await
    }
}

/// For a part of a path or of a query.
fn percent_encoded(text: &str) -> String {
    const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
    utf8_percent_encode(text, UNRESERVED).to_string()
}
