//! Whether jobs can have disks of their own here, and making them.

use super::program::find_program;
use super::users::Range;
use super::volume::Volume;
use crate::RuntimeError;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

const MKFS: &str = "mkfs.ext4";
const LOOP_CONTROL: &str = "/dev/loop-control";
/// Bytes of the disk that is made to see whether disks can be made.
const TRIAL_SIZE: u64 = 8 << 20;

/// Makes volumes.
#[derive(Debug)]
pub(super) struct Disks {
    /// The program that makes file systems, or why there can be no disks.
    mkfs: Result<PathBuf, String>,
    strict: bool,
}

impl Disks {
    /// Looks, and tries, in the directory `scratch`.
    pub(super) fn probe(search_path: &OsStr, strict: bool, scratch: &Path) -> Self {
        let mkfs = if Path::new(LOOP_CONTROL).exists() {
            find_program(MKFS, search_path).ok_or_else(|| format!("there is no {MKFS} (package e2fsprogs)"))
        } else {
            Err(format!("there is no {LOOP_CONTROL} (kernel module loop)"))
        };
        let tried = |mkfs: PathBuf| match try_out(&mkfs, scratch) {
            Ok(()) => Ok(mkfs),
            Err(error) => Err(describe(&error)),
        };
        Self { mkfs: mkfs.and_then(tried), strict }
    }

    /// As another process of this agent has found out.
    pub(super) fn known(mkfs: Result<PathBuf, String>, strict: bool) -> Self {
        Self { mkfs, strict }
    }

    /// What was found out, for such a process.
    pub(super) fn tried(&self) -> Result<PathBuf, String> {
        self.mkfs.clone()
    }

    /// Why disk limits can't be enforced, if they can't.
    pub(super) fn why_not(&self) -> Option<&str> {
        self.mkfs.as_ref().err().map(String::as_str)
    }

    /// Makes a volume of `size` bytes, for a job with such users; without a size, or where there are no
    /// disks, a directory.
    ///
    /// # Errors
    /// When it can't be made although it could before: a limit that was promised at start is kept, or
    /// the job does not run.
    pub(super) fn make(
        &self,
        path: PathBuf,
        size: Option<u64>,
        users: Option<&Range>,
    ) -> Result<Volume, RuntimeError> {
        let Some(size) = size else { return Volume::plain(path, users) };
        match &self.mkfs {
            Ok(mkfs) => Volume::create(path, size, mkfs, users),
            Err(why) if self.strict => Err(RuntimeError::Refused(format!(
                "the disk limit of {size} bytes can't be enforced: {why}; mend that, or run without strict \
                 isolation"
            ))),
            Err(_) => Volume::plain(path, users),
        }
    }
}

/// Makes a small disk and removes it again: what is there may still not be allowed.
fn try_out(mkfs: &Path, scratch: &Path) -> Result<(), RuntimeError> {
    Volume::create(scratch.join("probe"), TRIAL_SIZE, mkfs, None)?.remove()
}

fn describe(error: &RuntimeError) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}
