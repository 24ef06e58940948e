//! The directory that one agent at a time has, and where the next one finds what went on.

mod choice;

use crate::boot_time::BootTime;
use crate::error::AgentError;
use crate::identity::{self, Identity};
use crate::random;
use crate::start::Start;
use crate::supervisor::{JobDir, Record, control_plane};
use rustix::fs::{FlockOperation, flock};
use secrecy::SecretString;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use url::Url;

pub use choice::StateDirs;

const LOCK: &str = "lock";
const NAME: &str = "executor-name";
const SERVES: &str = "serves";
const JOBS: &str = "jobs";
const PLACE: &str = "place";
/// How many bytes tell a directory from a copy.
const PLACE_BYTES: usize = 8;
const STARTS: &str = "starts";
/// Another one after each boot.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
/// Longer names are cut by no one, so what is longer was not written by us, in bytes.
const LONGEST_NAME: usize = 1 << 10;
/// The most of a small file that is read, in bytes.
const LONGEST_FILE: u64 = 64 << 10;

/// What tells an agent of the control plane at `url` and these queues from others of one host.
pub fn serves(url: &Url, queues: &[String]) -> String {
    format!("{} {}", control_plane(url), queues.join(","))
}

/// An agent's state directory, held against other agents while this lives.
#[derive(Debug)]
pub struct StateDir {
    dir: PathBuf,
    lock: File,
}

/// What a look from outside tells of an agent's directory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    /// The agent's name.
    pub name: Option<String>,
    /// What it serves, or served.
    pub serves: Option<String>,
    /// The agent's process, while there is one and it says so.
    pub pid: Option<u32>,
    /// Whether an agent has it now, or looks after its jobs.
    pub is_held: bool,
    /// How many jobs are noted in it.
    pub jobs: usize,
}

impl Seen {
    fn of(dir: &Path) -> Self {
        let lock = File::open(dir.join(LOCK)).ok();
        let held = lock.filter(|lock| flock(lock, FlockOperation::NonBlockingLockShared).is_err());
        Self {
            name: line_in(&dir.join(NAME)).filter(|name| is_name(name)),
            serves: serves_in(dir),
            is_held: held.is_some(),
            pid: held.and_then(pid_in),
            jobs: records(dir).len(),
        }
    }
}

/// How an agent stands to its directory.
#[derive(Debug)]
enum Holder {
    Nobody(StateDir),
    Lives,
    /// It is gone and held it a moment ago, or did not say who it is, as an earlier release does not.
    Unsure,
}

impl StateDir {
    /// Takes hold of it if nobody has it. Makes it if need be.
    fn try_hold(dir: &Path) -> io::Result<Holder> {
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        // What the holder wrote must stay.
        let mut options = OpenOptions::new();
        let lock = options.read(true).write(true).create(true).truncate(false).open(dir.join(LOCK))?;
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok() {
            return Ok(Holder::Nobody(Self { dir: dir.to_owned(), lock }));
        }
        Ok(if pid_in(lock).is_some_and(lives) { Holder::Lives } else { Holder::Unsure })
    }

    /// Says who has it. Only who waits for it would miss that.
    fn say_who(&mut self) {
        let _ = self.lock.set_len(0).and_then(|()| writeln!(self.lock, "{}", std::process::id()));
    }

    /// Says who has it, and for what.
    fn take_over(&mut self, serves: &str) -> io::Result<()> {
        self.say_who();
        if self.serves().as_deref() == Some(serves) {
            return Ok(());
        }
        replace(&self.dir.join(SERVES), serves)
    }

    /// Another start of an agent here. Its place is this directory in this boot of this host, whatever the host and the
    /// directory are called and whoever copies them; its number is larger than those of earlier starts.
    pub fn start(&self) -> io::Result<Start> {
        let boot = fs::read_to_string(BOOT_ID)?;
        let seen = fs::metadata(&self.dir)?;
        let own = self.dir.join(PLACE);
        let kept = line_in(&own).filter(|place| is_place(place));
        let place = kept.unwrap_or_else(|| hex::encode(random::bytes::<PLACE_BYTES>()));
        replace(&own, &place)?;
        let path = self.dir.join(STARTS);
        let last: u64 = line_in(&path).and_then(|line| line.parse().ok()).unwrap_or_default();
        // Even if that file was removed.
        let number = BootTime::now().nanos().max(last.saturating_add(1));
        replace(&path, &number.to_string())?;
        Ok(Start::new(format!("{}.{:x}.{:x}.{place}", boot.trim(), seen.dev(), seen.ino()), number))
    }

    /// What the agent called `executor` has of its own to prove who it is to the control plane at `url`.
    pub fn identity(&self, url: &Url, executor: &str) -> Result<Identity, AgentError> {
        Identity::open(&self.dir, url, executor)
    }

    /// The same of an agent that was here before, if it had one.
    pub(crate) fn kept_identity(&self, url: &Url, executor: &str) -> Option<SecretString> {
        identity::kept_in(&self.dir, url, executor)
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
        replace(&path, &name).map_err(io("write"))?;
        Ok(name)
    }

    /// The jobs that are noted here, whether or not they still run.
    pub(crate) fn records(&self) -> Vec<Record> {
        records(&self.dir)
    }

    fn has_jobs(&self) -> bool {
        !self.records().is_empty()
    }

    /// What the last agent here served; unknown of an earlier release's.
    fn serves(&self) -> Option<String> {
        serves_in(&self.dir)
    }
}

fn serves_in(dir: &Path) -> Option<String> {
    line_in(&dir.join(SERVES))
}

/// Who says that it has the lock.
fn pid_in(lock: File) -> Option<u32> {
    line_of(lock)?.parse().ok()
}

fn line_in(path: &Path) -> Option<String> {
    line_of(File::open(path).ok()?)
}

fn line_of(file: File) -> Option<String> {
    let mut text = String::new();
    file.take(LONGEST_FILE).read_to_string(&mut text).ok()?;
    Some(text.trim().to_owned())
}

fn records(dir: &Path) -> Vec<Record> {
    let dirs = JobDir::all(&dir.join(JOBS)).unwrap_or_default();
    dirs.iter().filter_map(JobDir::record).collect()
}

/// Writes a line for others to see whole or not at all.
fn replace(path: &Path, line: &str) -> io::Result<()> {
    let new = path.with_extension("new");
    fs::write(&new, format!("{line}\n")).and_then(|()| fs::rename(&new, path))
}

/// Whether the process is there, and not only waits for its parent to hear of its end.
fn lives(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // After the name, which may hold anything but ends with the last parenthesis.
    stat.rsplit(')')
        .next()
        .and_then(|rest| rest.trim().chars().next())
        .is_some_and(|state| !"ZX".contains(state))
}

fn is_place(place: &str) -> bool {
    place.len() == 2 * PLACE_BYTES && place.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= LONGEST_NAME && !name.contains(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Notes a job of `url` in the directory.
    pub(super) fn note_job(dir: &StateDir, url: &str) -> JobDir {
        let job = JobDir::create(&dir.jobs()).unwrap();
        let record = serde_json::json!({
            "job": 1, "named_queue": null, "queue": "q", "executor": "a-1", "incarnation": "i", "pid": 1,
            "control_plane": control_plane(&url.parse().unwrap()), "instance": null
        });
        fs::write(job.path().join("job.json"), record.to_string()).unwrap();
        job
    }

    pub(super) fn free(dir: &Path) -> StateDir {
        let Holder::Nobody(dir) = StateDir::try_hold(dir).unwrap() else { panic!("somebody has it") };
        dir
    }

    fn named(dir: &StateDir, host: &str) -> String {
        dir.executor_name(&format!("{host}-"), || format!("{host}-fresh")).unwrap()
    }

    #[test]
    fn who_has_it_is_known_while_that_one_lives() {
        let temp = tempfile::tempdir().unwrap();
        let mut first = free(temp.path());
        assert!(
            matches!(StateDir::try_hold(temp.path()).unwrap(), Holder::Unsure),
            "it did not say who it is"
        );
        first.take_over("x").unwrap();
        assert!(matches!(StateDir::try_hold(temp.path()).unwrap(), Holder::Lives));
        // Longer than any process number, so that nothing of it may be left over.
        fs::write(temp.path().join(LOCK), "4294967295\n").unwrap();
        assert!(matches!(StateDir::try_hold(temp.path()).unwrap(), Holder::Unsure), "that one is gone");
        drop(first);
        let mut next = free(temp.path());
        next.take_over("x").unwrap();
        let noted = fs::read_to_string(temp.path().join(LOCK)).unwrap();
        assert_eq!(noted, format!("{}\n", std::process::id()));
    }

    #[test]
    fn a_process_that_ended_and_was_not_waited_for_does_not_live() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
        while lives(child.id()) {
            assert!(std::time::Instant::now() < deadline);
            std::thread::yield_now();
        }
        assert!(Path::new(&format!("/proc/{}", child.id())).exists(), "it is still listed");
        child.wait().unwrap();
        assert!(lives(std::process::id()));
    }

    #[test]
    fn a_name_is_kept_until_the_host_has_another_and_no_job_runs() {
        let temp = tempfile::tempdir().unwrap();
        let dir = free(temp.path());
        fs::write(temp.path().join(NAME), "a-1\n").unwrap();
        assert_eq!(named(&dir, "a"), "a-1");
        let job = note_job(&dir, "http://cp");
        assert_eq!(named(&dir, "b"), "a-1");
        job.remove();
        assert_eq!((named(&dir, "b"), named(&dir, "b")), ("b-fresh".to_owned(), "b-fresh".to_owned()));
    }

    #[test]
    fn a_file_without_a_name_is_written_anew() {
        let temp = tempfile::tempdir().unwrap();
        let dir = free(temp.path());
        fs::write(temp.path().join(NAME), "\n").unwrap();
        assert_eq!(named(&dir, "a"), "a-fresh");
    }

    #[test]
    fn what_an_agent_serves_has_no_credentials() {
        let url = "https://user:pass@cp.example/base/?token=x".parse().unwrap();
        let queues = ["batches".to_owned(), "codeintel".to_owned()];
        assert_eq!(serves(&url, &queues), "https://cp.example/base batches,codeintel");
    }

    #[test]
    fn starts_at_a_place_have_ascending_numbers_and_a_copy_is_another_place() {
        let temp = tempfile::tempdir().unwrap();
        let dir = free(&temp.path().join("agent"));
        let word = |dir: &StateDir| dir.start().unwrap().incarnation(true);
        let (first, second) = (word(&dir), word(&dir));
        assert!(first.place == second.place && first.start < second.start, "{first:?} {second:?}");
        assert_eq!(wire::additions::Incarnation::parse(&second.to_header()), Some(second.clone()));
        let copy = free(&temp.path().join("copy"));
        for file in [PLACE, STARTS] {
            fs::copy(dir.dir.join(file), copy.dir.join(file)).unwrap();
        }
        assert_ne!(word(&copy).place, first.place);
        // Clocks of two containers may differ; the number still grows.
        fs::write(dir.dir.join(STARTS), u64::MAX.div_euclid(2).to_string()).unwrap();
        assert_eq!(word(&dir).start, u64::MAX.div_euclid(2) + 1);
        fs::remove_file(dir.dir.join(STARTS)).unwrap();
        assert!(word(&dir).start > second.start, "the clock knows");
        fs::write(dir.dir.join(PLACE), "not\nours").unwrap();
        assert_ne!(word(&dir).place, first.place, "a directory that was made anew is another place");
    }
}
