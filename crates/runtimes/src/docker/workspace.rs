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

/// The bundle for steps, beside it: where the engine sees the one it sees the other.
const CERTIFICATES: &str = "certificates.pem";

/// A directory that is remembered where the next start of the agent looks.
#[derive(Debug)]
pub(super) struct Workspace {
    /// As this host has it.
    pub(super) path: PathBuf,
    /// As the engine's host has it.
    pub(super) as_mounted: String,
    /// The certificates for steps, as the engine's host has them.
    pub(super) certificates: Option<String>,
    outer: PathBuf,
    number: u64,
}

impl Workspace {
    pub(super) fn make(shared: &Shared, sandbox: &str, number: u64) -> Result<Self, RuntimeError> {
        let options = &shared.options;
        let name = format!("workspace-{sandbox}-{}-{number}", shared.origin.incarnation);
        let outer = options.workspaces.join(&name);
        let path = outer.join(INNER);
        let parent = options.host_mount_path.as_deref().map_or(options.workspaces.as_path(), Path::new);
        let seen = parent.join(&name);
        let told = |inner: &str| {
            let path = seen.join(inner);
            path.to_str().map(str::to_owned).ok_or_else(|| {
                RuntimeError::Host(format!("the engine can't be told of {}: it is not UTF-8", path.display()))
            })
        };
        let certificates = options.certificates.as_ref();
        let (as_mounted, as_certificates) =
            (told(INNER)?, certificates.map(|_| told(CERTIFICATES)).transpose()?);
        let context = || RuntimeError::io(format!("make the workspace {}", outer.display()));
        shared.incarnation.remember(number, &outer).map_err(context())?;
        make_directories(&options.workspaces, &outer, &path).map_err(context())?;
        if let Some(bundle) = certificates {
            fs::copy(bundle, outer.join(CERTIFICATES)).map_err(context())?;
        }
        Ok(Self { path, as_mounted, certificates: as_certificates, outer, number })
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
