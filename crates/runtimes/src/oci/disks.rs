//! Whether jobs can have disks of their own here, and making them.

use super::program::find_program;
use super::volume::Volume;
use crate::RuntimeError;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

const MKFS: &str = "mkfs.ext4";
const LOOP_CONTROL: &str = "/dev/loop-control";

/// Makes volumes.
#[derive(Debug)]
pub(super) struct Disks {
    mkfs: Result<PathBuf, String>,
    strict: bool,
    /// Why making a disk failed, once it has.
    broken: OnceLock<String>,
}

impl Disks {
    pub(super) fn probe(search_path: &OsStr, strict: bool) -> Self {
        let mkfs = if Path::new(LOOP_CONTROL).exists() {
            find_program(MKFS, search_path).ok_or_else(|| format!("there is no {MKFS} (package e2fsprogs)"))
        } else {
            Err(format!("there is no {LOOP_CONTROL} (kernel module loop)"))
        };
        Self { mkfs, strict, broken: OnceLock::new() }
    }

    /// Why disk limits can't be enforced, if they can't.
    pub(super) fn why_not(&self) -> Option<&str> {
        self.mkfs.as_ref().err().map(String::as_str).or(self.broken.get().map(String::as_str))
    }

    /// Makes a volume of `size` bytes; without a size, or where there are no disks, a directory.
    pub(super) fn make(&self, path: PathBuf, size: Option<u64>) -> Result<Volume, RuntimeError> {
        let Some(size) = size else { return Volume::plain(path) };
        let why = match &self.mkfs {
            Ok(mkfs) => match Volume::create(path.clone(), size, mkfs) {
                Ok(volume) => return Ok(volume),
                Err(error) => describe(&error),
            },
            Err(why) => why.clone(),
        };
        if self.strict {
            return Err(RuntimeError::Refused(format!(
                "the disk limit of {size} bytes can't be enforced: {why}; mend that, or run without strict isolation"
            )));
        }
        tracing::warn!(size, why, "the disk limit of a job is not enforced");
        let _ = self.broken.set(why);
        Volume::plain(path)
    }
}

fn describe(error: &RuntimeError) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}
