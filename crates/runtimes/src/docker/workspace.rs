//! A job's workspace: a plain directory that the engine mounts.

use super::shared::Shared;
use crate::RuntimeError;
use crate::oci::remove::remove_tree;
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// What is mounted. The directory around it keeps others on this host out, so that this one can be
/// open to whatever user an image runs as.
const INNER: &str = "data";

/// A directory that is remembered where the next start of the agent looks.
#[derive(Debug)]
pub(super) struct Workspace {
    /// As this host has it.
    pub(super) path: PathBuf,
    /// As the engine's host has it.
    pub(super) as_mounted: String,
    outer: PathBuf,
    number: u64,
}

impl Workspace {
    pub(super) fn make(shared: &Shared, sandbox: &str, number: u64) -> Result<Self, RuntimeError> {
        let options = &shared.options;
        let name = format!("workspace-{sandbox}-{}-{number}", shared.origin.incarnation);
        let outer = options.workspaces.join(&name);
        let path = outer.join(INNER);
        let seen = match &options.host_mount_path {
            Some(parent) => Path::new(parent).join(&name).join(INNER),
            None => path.clone(),
        };
        let as_mounted = seen.to_str().map(str::to_owned).ok_or_else(|| {
            RuntimeError::Host(format!("the engine can't be told of {}: it is not UTF-8", seen.display()))
        })?;
        let context = || RuntimeError::io(format!("make the workspace {}", outer.display()));
        shared.incarnation.remember(number, &outer).map_err(context())?;
        make_directories(&options.workspaces, &outer, &path).map_err(context())?;
        Ok(Self { path, as_mounted, outer, number })
    }

    /// Removes it with all that is in it.
    pub(super) fn remove(&self) -> Result<(), RuntimeError> {
        remove_tree(&self.outer)
            .map_err(RuntimeError::io(format!("remove the workspace {}", self.outer.display())))
    }

    /// Nothing of its job is left, on this host or with the engine.
    pub(super) fn forget(&self, shared: &Shared) -> Result<(), RuntimeError> {
        let forgotten = shared.incarnation.forget(self.number);
        forgotten.map_err(RuntimeError::io(format!("forget the workspace {}", self.outer.display())))
    }
}

fn make_directories(parent: &Path, outer: &Path, inner: &Path) -> io::Result<()> {
    fs::create_dir_all(parent)?;
    fs::DirBuilder::new().mode(0o700).create(outer)?;
    fs::create_dir(inner)?;
    // Not what our own mask leaves of it.
    fs::set_permissions(inner, fs::Permissions::from_mode(0o777))
}
