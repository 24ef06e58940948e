//! Removing the texts of jobs that are to be forgotten.

use super::Logs;
use super::files::failed;
use super::read::blocking;
use crate::error::StoreError;
use jobs::JobId;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::path::Path;

impl Logs {
    /// Removes all texts of these jobs, which nobody writes to any more; returns those jobs that have none
    /// left. One whose texts can't be removed does not keep the others here, but is the error if it is
    /// the only one left.
    pub(in crate::sql) async fn remove(&self, jobs: Vec<JobId>) -> Result<Vec<JobId>, StoreError> {
        let root = self.root.clone();
        blocking(move || remove(&root, jobs)).await
    }
}

fn remove(root: &Path, jobs: Vec<JobId>) -> Result<Vec<JobId>, StoreError> {
    let mut removed = Vec::with_capacity(jobs.len());
    let mut fault = None;
    for job in jobs {
        let dir = root.join(job.to_string());
        match remove_dir(&dir) {
            Ok(()) => removed.push(job),
            Err(error) => fault = Some(failed(&dir, error)),
        }
    }
    if let (true, Some(fault)) = (removed.is_empty(), fault) {
        return Err(fault);
    }
    // The rows go next: should the power fail, these files are not to come back without them.
    File::open(root).and_then(|dir| dir.sync_all()).map_err(|error| failed(root, error))?;
    Ok(removed)
}

fn remove_dir(dir: &Path) -> io::Result<()> {
    match std::fs::remove_dir_all(dir) {
        // It never printed anything, or this was done before.
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}
