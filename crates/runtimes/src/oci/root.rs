//! What a root file system is stacked from, on a job's volume.
//!
//! On top of the image's layers, and below what the step writes, lies a layer of our own: real
//! directories for everything that is mounted, so that no link in an image can send a mount
//! somewhere else, and the files that name the host.

use super::remove::remove_tree;
use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, lchown};
use std::path::{Path, PathBuf};

/// The job's own files.
pub(super) const WORKSPACE: &str = "workspace";
/// Where the root file system is mounted.
pub(super) const ROOT: &str = "root";
/// The layer of our own.
pub(super) const SKELETON: &str = "skeleton";
/// In a `/tmp` that would be empty otherwise, for a runtime that keeps an empty one in memory, where
/// nothing but memory limits it.
const TMP_MARK: &str = "tmp/.on-the-disk-of-the-job";
const MOUNT_POINTS: [&str; 5] = ["data", "dev", "etc", "proc", "sys"];

/// The directories of one step's root file system, relative to the volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Writable {
    pub(super) upper: String,
    pub(super) work: String,
    pub(super) skeleton: &'static str,
}

/// A file of the host that a step is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Given<'a> {
    pub(super) file: &'a Path,
    /// Where in the step, below a directory in `/etc` that is ours.
    pub(super) place: &'static str,
}

impl Given<'_> {
    /// Its place, with `root` in the place of `/`.
    pub(super) fn below(&self, root: &Path) -> PathBuf {
        root.join(self.place.trim_start_matches('/'))
    }
}

/// What files of the layer of our own say.
#[derive(Debug)]
pub(super) struct Files<'a> {
    pub(super) hostname: &'a str,
    /// Whom to ask for names, where that is known better than by the image.
    pub(super) resolver: Option<String>,
    pub(super) given: Vec<Given<'a>>,
}

/// Makes a directory with exactly these rights, whatever the agent's umask.
pub(super) fn make_dir(path: &Path, mode: u32) -> io::Result<()> {
    fs::create_dir(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

/// Makes everything at `path`, links themselves and not what they lead to, the user's and group's of that number.
pub(super) fn give(path: &Path, owner: u32) -> io::Result<()> {
    if owner == 0 {
        // It is ours, who made it.
        return Ok(());
    }
    lchown(path, Some(owner), Some(owner))?;
    if fs::symlink_metadata(path)?.is_dir() {
        fs::read_dir(path)?.try_for_each(|entry| give(&entry?.path(), owner))?;
    }
    Ok(())
}

fn write_file(path: &Path, text: &str) -> io::Result<()> {
    fs::write(path, text)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o644))
}

/// Makes the layer of our own, with a copy of what is given, owned by `root`.
pub(super) fn make_skeleton(volume: &Path, root: u32, mark_tmp: bool, files: &Files<'_>) -> io::Result<()> {
    let Files { hostname, resolver, given } = files;
    let skeleton = volume.join(SKELETON);
    make_dir(&skeleton, 0o755)?;
    MOUNT_POINTS.iter().try_for_each(|name| make_dir(&skeleton.join(name), 0o755))?;
    if mark_tmp {
        make_dir(&skeleton.join("tmp"), 0o1777)?;
        write_file(&skeleton.join(TMP_MARK), "")?;
    }
    for given in given {
        let copy = given.below(&skeleton);
        copy.parent().filter(|directory| !directory.exists()).map_or(Ok(()), |new| make_dir(new, 0o755))?;
        fs::copy(given.file, &copy)?;
        fs::set_permissions(&copy, fs::Permissions::from_mode(0o644))?;
    }
    let hosts =
        format!("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n127.0.1.1\t{hostname}\n");
    write_file(&skeleton.join("etc/hosts"), &hosts)?;
    write_file(&skeleton.join("etc/hostname"), &format!("{hostname}\n"))?;
    if let Some(resolver) = resolver {
        write_file(&skeleton.join("etc/resolv.conf"), resolver)?;
    }
    give(&skeleton, root)
}

/// Makes the writable directories of step number `step`, owned by `root`, and removes those of the step before.
pub(super) fn make_writable(volume: &Path, root: u32, step: u32) -> io::Result<Writable> {
    if let Some(before) = step.checked_sub(1) {
        for old in [upper(before), work(before)] {
            // What stays counts against the job's own disk only.
            if let Err(error) = remove_tree(&volume.join(old)) {
                tracing::warn!(%error, step = before, "failed to remove what a step wrote to its root file system");
            }
        }
    }
    let writable = Writable { upper: upper(step), work: work(step), skeleton: SKELETON };
    for name in [&writable.upper, &writable.work] {
        make_dir(&volume.join(name), 0o755)?;
    }
    give(&volume.join(&writable.upper), root)?;
    Ok(writable)
}

fn upper(step: u32) -> String {
    format!("upper-{step}")
}

fn work(step: u32) -> String {
    format!("work-{step}")
}

/// The image's layers in the order that overlayfs wants them: the topmost first.
pub(super) fn topmost_first(layers: &[PathBuf]) -> Vec<PathBuf> {
    layers.iter().rev().cloned().collect()
}
