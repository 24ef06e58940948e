//! Tries that nothing is written to any more, so that their texts can be sealed.
//!
//! The directories are the truth: what is noted here only saves looking through all of them.

use crate::error::StoreError;
use crate::sql::logs::files::failed;
use jobs::JobId;
use std::collections::BTreeSet;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Tries that are noted at most. What is not is found in its directory, only later.
const MAX_NOTED: usize = 20_000;

/// Those that ended lately, as far as this process heard of it.
#[derive(Default)]
pub(super) struct Ended(Mutex<BTreeSet<(JobId, u32)>>);

impl Ended {
    pub(super) fn note(&self, job: JobId, epoch: u32) {
        let mut noted = self.lock();
        if noted.len() < MAX_NOTED {
            noted.insert((job, epoch));
        }
    }

    /// Takes all of them out.
    pub(super) fn take(&self) -> Vec<(JobId, u32)> {
        std::mem::take(&mut *self.lock()).into_iter().collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<(JobId, u32)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Every try that has a directory in `root`. Blocks.
pub(super) fn all(root: &Path) -> Result<Vec<(JobId, u32)>, StoreError> {
    jobs_in(root).map_err(|error| failed(root, error))
}

fn jobs_in(root: &Path) -> io::Result<Vec<(JobId, u32)>> {
    let mut tries = Vec::new();
    for job in numbered::<i64>(root)? {
        let dir = root.join(job.to_string());
        tries.extend(numbered::<u32>(&dir)?.into_iter().map(|epoch| (JobId(job), epoch)));
    }
    Ok(tries)
}

/// Every job that has a directory in `root` with nothing in it. Blocks.
pub(super) fn empty(root: &Path) -> Result<Vec<JobId>, StoreError> {
    let is_empty =
        |job: &i64| std::fs::read_dir(root.join(job.to_string())).is_ok_and(|mut dir| dir.next().is_none());
    let jobs = numbered::<i64>(root).map_err(|error| failed(root, error))?;
    Ok(jobs.into_iter().filter(is_empty).map(JobId).collect())
}

/// The numbers that name something in `dir`; none where that is gone.
fn numbered<N: std::str::FromStr>(dir: &Path) -> io::Result<Vec<N>> {
    let entries = match std::fs::read_dir(dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        read => read?,
    };
    let mut numbers = Vec::new();
    for entry in entries {
        if let Some(number) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) {
            numbers.push(number);
        }
    }
    Ok(numbers)
}
