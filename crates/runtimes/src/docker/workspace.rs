//! A job's workspace: a plain directory that the engine mounts.

use super::cleaner::Cleaner;
use super::client::Client;
use super::labels::Origin;
use super::shared::Shared;
use crate::RuntimeError;
use crate::oci::remove::remove_tree;
use rustix::process::geteuid;
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// What is mounted. The directory around it keeps others on this host out, so that this one can be
/// open to whatever user an image runs as.
const INNER: &str = "data";

/// The bundle for steps, beside it: where the engine sees the one it sees the other.
const CERTIFICATES: &str = "certificates.pem";
/// The script that steps run first, beside it too.
const STARTUP_SCRIPT: &str = "startup-script";
/// A door to the engine for programs on this host, beside it too.
const DOOR: &str = "engine.sock";

/// A directory that is remembered where the next start of the agent looks.
#[derive(Debug)]
pub(super) struct Workspace {
    /// As this host has it.
    pub(super) path: PathBuf,
    /// As the engine's host has it.
    pub(super) as_mounted: String,
    /// The certificates for steps, as the engine's host has them.
    pub(super) certificates: Option<String>,
    /// The same for the script that steps run first.
    pub(super) startup_script: Option<String>,
    cleaner: Option<Cleaner>,
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
        let as_mounted = told(INNER)?;
        let given = |file: &Option<PathBuf>, name| file.as_ref().map(|_| told(name)).transpose();
        let certificates = given(&options.certificates, CERTIFICATES)?;
        let startup_script = given(&options.startup_script, STARTUP_SCRIPT)?;
        let context = || RuntimeError::io(format!("make the workspace {}", outer.display()));
        shared.incarnation.remember(number, &outer).map_err(context())?;
        make_directories(&options.workspaces, &outer, &path).map_err(context())?;
        for (file, name) in [(&options.certificates, CERTIFICATES), (&options.startup_script, STARTUP_SCRIPT)]
        {
            file.as_ref().map_or(Ok(0), |file| fs::copy(file, outer.join(name))).map_err(context())?;
        }
        Ok(Self { path, as_mounted, certificates, startup_script, cleaner: None, outer, number })
    }

    /// Remembers an image that can empty it, where the agent itself may not be able to.
    pub(super) fn note_image(&mut self, shared: &Shared, image: &str) -> Result<(), RuntimeError> {
        if geteuid().is_root() || self.cleaner.as_ref().is_some_and(|cleaner| cleaner.image == image) {
            return Ok(());
        }
        let cleaner = Cleaner { image: image.to_owned(), directory: self.as_mounted.clone() };
        let noted = shared.incarnation.remember_cleaner(self.number, &cleaner);
        self.cleaner = Some(cleaner);
        noted.map_err(RuntimeError::io(format!("note what empties {}", self.outer.display())))
    }

    /// Where a door to the engine can be, out of reach of containers.
    pub(super) fn door(&self) -> PathBuf {
        self.outer.join(DOOR)
    }

    /// What is out of reach of containers, and goes with the workspace.
    pub(super) fn private_dir(&self) -> &Path {
        &self.outer
    }

    /// Removes it with all that is in it.
    pub(super) async fn remove(&self, shared: &Shared) -> Result<(), RuntimeError> {
        remove(&self.outer, self.cleaner.as_ref(), &shared.client, &shared.origin).await
    }

    /// Nothing of its job is left, on this host or with the engine.
    pub(super) fn forget(&self, shared: &Shared) -> Result<(), RuntimeError> {
        let forgotten = shared.incarnation.forget(self.number);
        forgotten.map_err(RuntimeError::io(format!("forget the workspace {}", self.outer.display())))
    }
}

/// Removes a workspace; what this process has no right to, by a container.
pub(super) async fn remove(
    outer: &Path,
    cleaner: Option<&Cleaner>,
    client: &Client,
    origin: &Origin,
) -> Result<(), RuntimeError> {
    // First, since what can't be removed is moved meanwhile. What was moved before needs it no more.
    let cleaned = match cleaner {
        Some(cleaner) if outer.join(INNER).exists() => cleaner.run(client, origin).await,
        _ => Ok(()),
    };
    let removed = remove_off_thread(outer).await;
    let removed = removed.map_err(RuntimeError::io(format!("remove the workspace {}", outer.display())));
    removed.map_err(|error| cleaned.err().unwrap_or(error))
}

async fn remove_off_thread(path: &Path) -> io::Result<()> {
    let path = path.to_owned();
    tokio::task::spawn_blocking(move || remove_tree(&path))
        .await
        .unwrap_or_else(|panic| Err(io::Error::other(panic)))
}

fn make_directories(parent: &Path, outer: &Path, inner: &Path) -> io::Result<()> {
    fs::create_dir_all(parent)?;
    fs::DirBuilder::new().mode(0o700).create(outer)?;
    fs::create_dir(inner)?;
    // Not what our own mask leaves of it.
    fs::set_permissions(inner, fs::Permissions::from_mode(0o777))
}
