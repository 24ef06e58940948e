//! The directory that one agent at a time has, and where the next one finds what went on.

use crate::error::AgentError;
use crate::supervisor::JobDir;
use rustix::fs::{FlockOperation, flock};
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const LOCK: &str = "lock";
const NAME: &str = "executor-name";
const JOBS: &str = "jobs";
/// A predecessor that was just killed may hold the lock for a moment, in a process that it was starting.
const PATIENCE: Duration = Duration::from_secs(1);
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// Longer names are cut by no one, so what is longer was not written by us, in bytes.
const LONGEST_NAME: usize = 1 << 10;

/// An agent's state directory, held against other agents while this lives.
#[derive(Debug)]
pub struct StateDir {
    dir: PathBuf,
    _lock: File,
}

impl StateDir {
    /// Makes it if need be, and takes hold of it. Blocks for a second at most.
    ///
    /// # Errors
    /// When another agent has it, or it can't be used.
    pub fn hold(dir: &Path) -> Result<Self, AgentError> {
        let used = || AgentError::io(format!("use the state directory {}", dir.display()));
        DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(used())?;
        let lock = File::create(dir.join(LOCK)).map_err(used())?;
        let began = Instant::now();
        while flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            if began.elapsed() > PATIENCE {
                return Err(AgentError::Config(format!(
                    "another executor works with the state directory {}: end that one, or give this one a directory \
                     of its own by EXECUTOR_DATA_DIR",
                    dir.display()
                )));
            }
            std::thread::sleep(LOOK_AGAIN);
        }
        Ok(Self { dir: dir.to_owned(), _lock: lock })
    }

    /// Where it is kept which jobs run.
    pub fn jobs(&self) -> PathBuf {
        self.dir.join(JOBS)
    }

    /// The name that agents with this directory go by. It is kept, so that jobs which outlive an agent are
    /// the next one's. The first is `fresh`, and so is another that the host is to be told by: one that
    /// begins with `prefix`. But while there are jobs under the old one, it stays.
    pub fn executor_name(&self, prefix: &str, fresh: impl FnOnce() -> String) -> Result<String, AgentError> {
        let path = self.dir.join(NAME);
        let io = |what| AgentError::io(format!("{what} {}", path.display()));
        let kept = match fs::read_to_string(&path) {
            Ok(name) => Some(name.trim().to_owned()).filter(|name| is_name(name)),
            Err(fault) if fault.kind() == io::ErrorKind::NotFound => None,
            Err(fault) => return Err(io("read")(fault)),
        };
        if let Some(name) = kept.filter(|name| name.starts_with(prefix) || self.has_jobs()) {
            return Ok(name);
        }
        let name = fresh();
        let new = path.with_extension("new");
        let written = fs::write(&new, format!("{name}\n")).and_then(|()| fs::rename(&new, &path));
        written.map_err(io("write"))?;
        Ok(name)
    }

    fn has_jobs(&self) -> bool {
        let dirs = JobDir::all(&self.jobs()).unwrap_or_default();
        dirs.iter().any(|dir| dir.record().is_some())
    }
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= LONGEST_NAME && !name.contains(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(dir: &StateDir, host: &str) -> String {
        dir.executor_name(&format!("{host}-"), || format!("{host}-fresh")).unwrap()
    }

    #[test]
    fn a_second_agent_is_told_what_to_do() {
        let temp = tempfile::tempdir().unwrap();
        let first = StateDir::hold(temp.path()).unwrap();
        let refused = StateDir::hold(temp.path()).unwrap_err().to_string();
        assert!(refused.contains("another executor") && refused.contains("EXECUTOR_DATA_DIR"), "{refused}");
        drop(first);
        StateDir::hold(temp.path()).unwrap();
    }

    #[test]
    fn a_name_is_kept_until_the_host_has_another_and_no_job_runs() {
        let temp = tempfile::tempdir().unwrap();
        let dir = StateDir::hold(temp.path()).unwrap();
        fs::write(temp.path().join(NAME), "a-1\n").unwrap();
        assert_eq!(named(&dir, "a"), "a-1");
        let job = JobDir::create(&dir.jobs()).unwrap();
        let record = serde_json::json!({
            "job": 1, "named_queue": null, "queue": "q", "executor": "a-1", "incarnation": "i", "pid": 1, "instance": null
        });
        fs::write(job.path().join("job.json"), record.to_string()).unwrap();
        assert_eq!(named(&dir, "b"), "a-1");
        job.remove();
        assert_eq!((named(&dir, "b"), named(&dir, "b")), ("b-fresh".to_owned(), "b-fresh".to_owned()));
    }

    #[test]
    fn a_file_without_a_name_is_written_anew() {
        let temp = tempfile::tempdir().unwrap();
        let dir = StateDir::hold(temp.path()).unwrap();
        fs::write(temp.path().join(NAME), "\n").unwrap();
        assert_eq!(named(&dir, "a"), "a-fresh");
    }
}
