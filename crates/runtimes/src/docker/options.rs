//! What an operator decides.

use super::{Endpoint, Mount};
use crate::oci::{GRACE, Helper};
use crate::{Limits, RuntimeError};
use images::Mirror;
use std::path::PathBuf;
use std::time::Duration;

/// How [`super::DockerRuntime`] works.
#[derive(Debug, Clone)]
pub struct DockerOptions {
    /// Where the engine listens.
    pub endpoint: Endpoint,
    /// Where it is remembered what runs, so that a later start can remove it.
    pub state_dir: PathBuf,
    /// Where jobs' workspaces are made. The engine must see this directory, if need be elsewhere.
    pub workspaces: PathBuf,
    /// Where the engine's host has `workspaces`, if not at the same path.
    pub host_mount_path: Option<String>,
    /// The name that the control plane knows the executor by; a label for people.
    pub executor: String,
    /// What every job will ask for: limits that can't be enforced are told at start.
    pub limits: Limits,
    /// Let containers reach the engine's host as `host.docker.internal`.
    pub add_host_gateway: bool,
    /// What is mounted into every container besides the workspace.
    pub additional_mounts: Vec<Mount>,
    /// The network that containers join, such as `none`; `None` leaves it to the engine.
    pub network: Option<String>,
    /// The engine's OCI runtime, such as `runsc`; `None` takes the engine's default.
    pub oci_runtime: Option<String>,
    /// What processes in a container may do.
    pub rights: Rights,
    /// Let every job use every image that the engine has, whoever may pull it.
    pub shares_images: bool,
    /// Mirrors of Docker Hub, asked first and in this order.
    pub mirrors: Vec<Mirror>,
    /// A bundle of certificates that every step is given, PEM; `None` leaves steps to their images.
    pub certificates: Option<PathBuf>,
    /// A script that every step is given at [`crate::STARTUP_SCRIPT`].
    pub startup_script: Option<PathBuf>,
    /// Refuse a job when a limit that it asks for can't be enforced.
    pub strict: bool,
    /// How long a step that was asked to end may take before it is killed.
    pub grace: Duration,
    /// How this program starts its own helpers.
    pub helper: Helper,
}

/// What processes in a container may do. A job can't choose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Rights {
    /// The ten capabilities and the allow-list of system calls that the daemonless runtime grants.
    #[default]
    Few,
    /// No capability at all, and the same system calls.
    None,
    /// What the engine grants by itself.
    Engine,
}

impl DockerOptions {
    /// The least that must be said; everything else can be changed afterwards.
    pub fn new(state_dir: impl Into<PathBuf>, workspaces: impl Into<PathBuf>, helper: Helper) -> Self {
        Self {
            endpoint: Endpoint::default(),
            state_dir: state_dir.into(),
            workspaces: workspaces.into(),
            host_mount_path: None,
            executor: String::new(),
            limits: Limits::default(),
            add_host_gateway: false,
            additional_mounts: Vec::new(),
            network: None,
            oci_runtime: None,
            rights: Rights::default(),
            shares_images: false,
            mirrors: Vec::new(),
            certificates: None,
            startup_script: None,
            strict: false,
            grace: GRACE,
            helper,
        }
    }

    pub(super) fn check(&self) -> Result<(), RuntimeError> {
        for (what, path) in [("state", &self.state_dir), ("workspaces'", &self.workspaces)] {
            if !path.is_absolute() {
                let path = path.display();
                return Err(RuntimeError::Host(format!(
                    "the {what} directory {path} must be an absolute path"
                )));
            }
        }
        Ok(())
    }
}
