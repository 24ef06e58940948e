//! What is kept of a job while its supervisor runs it, for an agent that comes later.
//!
//! Its lock is the proof that the supervisor lives: the kernel drops it with the process, however
//! that ended, and no other process can be taken for it.

use super::kept_end::{END, LOG_DELIVERED};
use crate::boot_time::BootTime;
use crate::random;
use rustix::fs::{FlockOperation, OFlags, flock};
use serde::{Deserialize, Serialize};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::net::{UnixListener, UnixStream};
use url::Url;
use wire::JobId;

const LOCK: &str = "lock";
const RECORD: &str = "job.json";
const TOKEN: &str = "token";
const SOCKET: &str = "socket";
/// The most of a file that is read, in bytes.
const LONGEST: u64 = 64 << 10;
/// How many hexadecimal digits a directory's name has.
const NAME: usize = 16;

/// Which job it is. Nothing of it is secret.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) job: JobId,
    /// The queue that its payload named.
    pub(crate) named_queue: Option<String>,
    /// The queue that its calls go to.
    pub(crate) queue: String,
    /// Whose job it is to the control plane.
    pub(crate) executor: String,
    /// The start of the agent that took it.
    pub(crate) incarnation: String,
    /// The supervisor's process, for people.
    pub(crate) pid: u32,
    /// The control plane that the job is of, without credentials; unknown of an earlier release's job.
    #[serde(default)]
    pub(crate) control_plane: Option<String>,
    /// The runtime's name for what the supervisor has on this host.
    pub(crate) instance: Option<String>,
    /// When its dequeue was answered; unknown of an earlier release's job, as what follows is.
    #[serde(default)]
    pub(crate) begun: Option<BootTime>,
    /// How long it may take from then on, if there is a limit.
    #[serde(default)]
    pub(crate) limit_ms: Option<u64>,
    /// Its supervisor answers when it is [asked](super::Order::Ask).
    #[serde(default)]
    pub(crate) answers: bool,
    /// Its supervisor writes begin and end into the audit log.
    #[serde(default)]
    pub(crate) audits: bool,
}

impl Record {
    /// Whether its token may be shown to the control plane at `url`.
    pub(crate) fn is_of(&self, url: &Url) -> bool {
        self.control_plane.as_ref().is_none_or(|of| *of == control_plane(url))
    }

    /// How long it may take, if that was noted.
    pub(crate) fn limit(&self) -> Option<Duration> {
        self.limit_ms.map(Duration::from_millis)
    }
}

/// What tells the control plane at `url` from others.
pub(crate) fn control_plane(url: &Url) -> String {
    format!("{}{}", url.origin().ascii_serialization(), url.path().trim_end_matches('/'))
}

/// The directory of one supervisor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct JobDir(PathBuf);

/// Held by a supervisor for as long as it lives.
#[derive(Debug)]
pub(crate) struct Held {
    _lock: File,
}

/// How things stand in a directory.
#[derive(Debug)]
pub(crate) enum Standing {
    /// Its supervisor lives; the job, once there is one.
    Lives(Option<Record>),
    /// Its supervisor died over this job.
    Died(Record),
    /// No supervisor, and no job that is not over.
    Over,
}

impl JobDir {
    /// Makes one below `jobs`.
    pub(crate) fn create(jobs: &Path) -> io::Result<Self> {
        private().recursive(true).create(jobs)?;
        let dir = jobs.join(hex::encode(random::bytes::<8>()));
        private().create(&dir)?;
        Ok(Self(dir))
    }

    pub(crate) fn at(path: PathBuf) -> Self {
        Self(path)
    }

    /// All that are below `jobs`. What no agent made there is told of once, and left alone.
    pub(crate) fn all(jobs: &Path) -> io::Result<Vec<Self>> {
        match fs::read_dir(jobs) {
            Err(fault) if fault.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            entries => {
                let entries = entries?.collect::<io::Result<Vec<_>>>()?;
                let (ours, strange): (Vec<_>, Vec<_>) = entries.into_iter().partition(is_ours);
                if let Some(one) = strange.first() {
                    let (path, others) = (one.path(), strange.len() - 1);
                    tracing::warn!(path = %path.display(), others, "not the directory of a job: it is left alone");
                }
                Ok(ours.into_iter().map(|entry| Self(entry.path())).collect())
            }
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Takes the lock, for the rest of this process's life.
    pub(crate) fn hold(&self) -> io::Result<Held> {
        let lock = File::create(self.0.join(LOCK))?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
        Ok(Held { _lock: lock })
    }

    pub(crate) fn standing(&self) -> Standing {
        // The lock first: a supervisor that ends takes its record away before it lets go.
        let lives = self.is_held();
        match (lives, self.record()) {
            (true, record) => Standing::Lives(record),
            (false, Some(record)) => Standing::Died(record),
            (false, None) => Standing::Over,
        }
    }

    /// Whether the supervisor lives.
    pub(crate) fn is_held(&self) -> bool {
        self.open(LOCK).is_ok_and(|lock| flock(&lock, FlockOperation::NonBlockingLockShared).is_err())
    }

    /// Writes down which job it is, and what proves that it is ours.
    pub(crate) fn note(&self, record: &Record, token: &str) -> io::Result<()> {
        self.write(TOKEN, token.as_bytes())?;
        self.write(RECORD, &serde_json::to_vec(record)?)
    }

    /// The job, if there is one and it is not over.
    pub(crate) fn record(&self) -> Option<Record> {
        serde_json::from_str(&self.read(RECORD).ok()?).ok()
    }

    pub(crate) fn token(&self) -> io::Result<String> {
        self.read(TOKEN)
    }

    fn read(&self, name: &str) -> io::Result<String> {
        let mut text = String::new();
        self.open(name)?.take(LONGEST + 1).read_to_string(&mut text)?;
        if text.len() as u64 > LONGEST {
            let told = format!("{name} is longer than {LONGEST} bytes");
            return Err(io::Error::new(io::ErrorKind::InvalidData, told));
        }
        Ok(text)
    }

    /// Opens a file that must be one: nothing that leads elsewhere, or that opening waits for.
    pub(super) fn open(&self, name: &str) -> io::Result<File> {
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let file = OpenOptions::new().read(true).custom_flags(flags.bits() as i32).open(self.0.join(name))?;
        if !file.metadata()?.is_file() {
            let told = format!("{name} is not a regular file");
            return Err(io::Error::new(io::ErrorKind::InvalidData, told));
        }
        Ok(file)
    }

    /// The job is over: nobody has to do anything for it any more.
    pub(crate) fn forget_job(&self) {
        // The record first: without it there is nothing to do.
        for file in [RECORD, TOKEN, END, LOG_DELIVERED] {
            let _ = fs::remove_file(self.0.join(file));
        }
    }

    /// Removes everything of a directory without a supervisor and without a job; tells whether it was one. Whoever would
    /// begin to live there finds it taken, or gone.
    pub(crate) fn remove_unheld(&self) -> bool {
        let held = match self.hold() {
            Ok(held) => Some(held),
            Err(fault) if fault.kind() == io::ErrorKind::NotFound => None,
            Err(_) => return false,
        };
        // Of a job that can't be read, nobody knows what is left.
        if fs::symlink_metadata(self.0.join(RECORD)).is_ok() {
            return false;
        }
        self.remove();
        drop(held);
        true
    }

    /// Removes everything.
    pub(crate) fn remove(&self) {
        self.forget_job();
        if let Err(fault) = fs::remove_dir_all(&self.0)
            && fault.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(%fault, dir = %self.0.display(), "failed to remove what was kept of a job");
        }
    }

    pub(crate) fn listen(&self) -> io::Result<UnixListener> {
        self.by_short_path(|path| UnixListener::bind(path))
    }

    pub(crate) async fn connect(&self) -> io::Result<UnixStream> {
        let dir = File::open(&self.0)?;
        UnixStream::connect(short_path(&dir)).await
    }

    /// Paths of sockets are short, and ours need not be.
    fn by_short_path<T>(&self, with: impl FnOnce(PathBuf) -> io::Result<T>) -> io::Result<T> {
        let dir = File::open(&self.0)?;
        with(short_path(&dir))
    }

    fn write(&self, name: &str, content: &[u8]) -> io::Result<()> {
        self.write_by(name, |file| file.write_all(content))
    }

    /// Writes a file for others to see whole or not at all.
    pub(super) fn write_by(
        &self,
        name: &str,
        by: impl FnOnce(&mut File) -> io::Result<()>,
    ) -> io::Result<()> {
        let new = self.0.join(format!("{name}.new"));
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        by(&mut file)?;
        fs::rename(new, self.0.join(name))
    }

    /// Sees to it that what is needed of the job survives the death of the host.
    pub(super) fn sync(&self) -> io::Result<()> {
        for file in [TOKEN, RECORD] {
            self.open(file)?.sync_all()?;
        }
        File::open(&self.0)?.sync_all()?;
        self.0.parent().map_or(Ok(()), |jobs| File::open(jobs)?.sync_all())
    }
}

/// Whether an agent may have made it: its name and its kind.
fn is_ours(entry: &fs::DirEntry) -> bool {
    let name = entry.file_name();
    let name = name.as_encoded_bytes();
    let named = name.len() == NAME && name.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    named && entry.file_type().is_ok_and(|kind| kind.is_dir())
}

fn short_path(dir: &File) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}/{SOCKET}", dir.as_raw_fd()))
}

fn private() -> DirBuilder {
    let mut builder = DirBuilder::new();
    builder.mode(0o700);
    builder
}

#[cfg(test)]
pub(super) mod tests;
