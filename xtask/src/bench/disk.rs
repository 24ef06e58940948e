//! A disk as each job gets one, for what is measured against jobs.

use crate::command::{capture, program};
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// Bytes of a job's disk when nothing else is set.
const SIZE: u64 = 20 << 30;
/// As in `crates/runtimes/src/oci/volume.rs`.
const MKFS: [&str; 9] = [
    "-q",
    "-F",
    "-m",
    "0",
    "-O",
    "^has_journal",
    "-E",
    "lazy_itable_init=1,lazy_journal_init=1,nodiscard",
    "--",
];
const MOUNT: &str = "loop,nosuid,nodev,noatime,noinit_itable";

/// A new ext4 without a journal on a loop device, mounted for as long as this lives.
pub(super) struct Disk {
    place: TempDir,
}

impl Disk {
    /// Its file is made below `scratch`.
    pub(super) fn make(scratch: &Path) -> Result<Self> {
        let disk = Self { place: tempfile::Builder::new().prefix("disk-").tempdir_in(scratch)? };
        let image = disk.place.path().join("image");
        let file = std::fs::File::create_new(&image);
        file.and_then(|file| file.set_len(SIZE)).context("failed to make a file for a disk")?;
        capture(program("mkfs.ext4", MKFS).arg(&image))?;
        std::fs::create_dir(disk.path())?;
        capture(program("mount", ["-t", "ext4", "-o", MOUNT]).arg(&image).arg(disk.path()))?;
        Ok(disk)
    }

    /// Where it is mounted.
    pub(super) fn path(&self) -> PathBuf {
        self.place.path().join("disk")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // The loop device goes with the mount. What can't be unmounted is told by what removes its place.
        let _ = capture(program("umount", ["--lazy"]).arg(self.path()));
    }
}
