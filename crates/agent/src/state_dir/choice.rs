//! The state directories of all agents that share a data directory, and which of them an agent takes.
//!
//! ```text
//! gate             held while a directory is chosen
//! lock             of the first agent, as all that follows; who holds it is written in it
//! executor-name    what the control plane knows it by
//! serves           whose jobs it takes
//! jobs/            those that run
//! place            what tells it from a copy
//! starts           the number of the latest start of an agent here
//! 2/, 3/, …        the same for a second agent, a third, …
//! ```
//!
//! An agent that is started again takes what one like it had, so that it finds its jobs and its name.

use super::{Holder, Seen, StateDir, records, serves_in};
use crate::error::AgentError;
use rustix::fs::{FlockOperation, flock};
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use url::Url;

const GATE: &str = "gate";
/// A predecessor that was just killed may hold its lock for a moment, in a process that it was starting.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long others that choose may take.
const LONGEST_CHOICE: Duration = Duration::from_secs(10);
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// How many agents may share a data directory.
const MOST_AGENTS: u32 = 1000;

/// All of one data directory.
#[derive(Debug, Clone)]
pub struct StateDirs {
    first: PathBuf,
}

/// What was found.
#[derive(Debug, Default)]
struct Found {
    /// Those that nobody has, held for now.
    free: Vec<StateDir>,
    /// One that would be good may become free.
    may_become_free: bool,
    /// The lowest number that is not in use.
    unused: u32,
}

impl StateDirs {
    /// Those below `dir`, which is the first agent's.
    pub fn below(dir: PathBuf) -> Self {
        Self { first: dir }
    }

    /// Takes hold of the best for an agent that serves `serves`: one with jobs of another like it, one that
    /// another like it had, one that nobody needs any more, or a new one. Blocks for a moment.
    ///
    /// # Errors
    /// When none can be used.
    pub fn hold(&self, serves: &str) -> Result<StateDir, AgentError> {
        let began = Instant::now();
        loop {
            let gate = self.gate()?;
            let found = self.find(serves).map_err(self.unusable())?;
            if found.may_become_free && began.elapsed() < PATIENCE {
                drop((found, gate));
                std::thread::sleep(LOOK_AGAIN);
                continue;
            }
            return self.choose(found, serves);
        }
    }

    /// What is known of each that an agent has or had. Makes and changes nothing.
    pub fn look(&self) -> Vec<Seen> {
        let dirs = self.all().unwrap_or_default();
        dirs.iter().map(|dir| Seen::of(dir)).filter(|seen| seen.is_held || seen.name.is_some()).collect()
    }

    /// The directories with jobs of the control plane at `url` that no agent has. One that another agent is
    /// about to take may be among them.
    pub(crate) fn deserted(&self, url: &Url) -> io::Result<Vec<PathBuf>> {
        let with_jobs = self.all()?.into_iter().filter(|dir| records(dir).iter().any(|job| job.is_of(url)));
        Ok(with_jobs.filter(|dir| matches!(StateDir::try_hold(dir), Ok(Holder::Nobody(_)))).collect())
    }

    /// Takes hold of one of them for its jobs' sake, unless somebody has done so meanwhile.
    pub(crate) fn hold_deserted(&self, dir: &Path) -> Result<Option<StateDir>, AgentError> {
        let _gate = self.gate()?;
        let Holder::Nobody(mut dir) = StateDir::try_hold(dir).map_err(self.unusable())? else {
            return Ok(None);
        };
        dir.say_who();
        Ok(Some(dir))
    }

    fn choose(&self, found: Found, serves: &str) -> Result<StateDir, AgentError> {
        let best = found.free.into_iter().filter_map(|dir| Some((fitness(&dir, serves)?, dir)));
        // Of equals the first.
        let best = best.min_by_key(|(fitness, _)| *fitness).map(|(_, dir)| dir);
        let mut dir = match best {
            Some(dir) => dir,
            None if found.unused > MOST_AGENTS => {
                return Err(AgentError::Config(format!(
                    "{MOST_AGENTS} executors work with the state directory {}: give this one a directory of its own \
                     by EXECUTOR_DATA_DIR",
                    self.first.display()
                )));
            }
            None => match StateDir::try_hold(&self.numbered(found.unused)).map_err(self.unusable())? {
                Holder::Nobody(dir) => dir,
                _ => return Err(self.unusable()(io::Error::from(io::ErrorKind::ResourceBusy))),
            },
        };
        dir.take_over(serves).map_err(self.unusable())?;
        Ok(dir)
    }

    fn find(&self, serves: &str) -> io::Result<Found> {
        let mut found = Found { unused: 2, ..Found::default() };
        let dirs = self.all()?;
        while dirs.contains(&self.numbered(found.unused)) {
            found.unused += 1;
        }
        for dir in dirs {
            match StateDir::try_hold(&dir)? {
                Holder::Nobody(free) => found.free.push(free),
                Holder::Lives => {}
                Holder::Unsure => found.may_become_free |= serves_in(&dir).is_none_or(|of| of == serves),
            }
        }
        Ok(found)
    }

    /// The directories that there are, by number; the first is made if need be.
    fn all(&self) -> io::Result<Vec<PathBuf>> {
        let number = |entry: &fs::DirEntry| -> Option<u32> {
            let name = entry.file_name();
            let number: u32 = name.to_str()?.parse().ok()?;
            let is_ours = number > 1 && *name == *number.to_string() && entry.file_type().ok()?.is_dir();
            is_ours.then_some(number)
        };
        let entries = fs::read_dir(&self.first)?.filter_map(Result::ok);
        let mut numbers: Vec<u32> = entries.filter_map(|entry| number(&entry)).collect();
        numbers.sort_unstable();
        let others = numbers.into_iter().map(|number| self.numbered(number));
        Ok([self.first.clone()].into_iter().chain(others).collect())
    }

    fn numbered(&self, number: u32) -> PathBuf {
        self.first.join(number.to_string())
    }

    /// Held while a directory is chosen: whoever looks at one holds it for a moment. Given back by dropping.
    fn gate(&self) -> Result<File, AgentError> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.first).map_err(self.unusable())?;
        let gate = File::create(self.first.join(GATE)).map_err(self.unusable())?;
        let began = Instant::now();
        while let Err(fault) = flock(&gate, FlockOperation::NonBlockingLockExclusive) {
            if began.elapsed() > LONGEST_CHOICE {
                return Err(self.unusable()(fault.into()));
            }
            std::thread::sleep(LOOK_AGAIN);
        }
        Ok(gate)
    }

    fn unusable(&self) -> impl FnOnce(io::Error) -> AgentError + use<> {
        AgentError::io(format!("use the state directory {}", self.first.display()))
    }
}

/// How good a directory is for an agent that serves `serves`, the best first; `None` when it must not have it.
fn fitness(dir: &StateDir, serves: &str) -> Option<u8> {
    let of = dir.serves();
    match (of.as_deref(), dir.has_jobs()) {
        (Some(of), true) if of == serves => Some(0),
        // An earlier release did not say whose they are.
        (None, true) => Some(1),
        (Some(of), false) if of == serves => Some(2),
        (None, false) => Some(3),
        (Some(_), false) => Some(4),
        (Some(_), true) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{free, note_job};
    use super::*;

    const URL: &str = "http://cp";

    fn dirs() -> (tempfile::TempDir, StateDirs) {
        let temp = tempfile::tempdir().unwrap();
        let dirs = StateDirs::below(temp.path().join("agent"));
        (temp, dirs)
    }

    fn name(dir: &StateDir) -> String {
        dir.dir.file_name().unwrap().to_string_lossy().into_owned()
    }

    fn held(dirs: &StateDirs, serves: &str) -> (String, StateDir) {
        let dir = dirs.hold(serves).unwrap();
        (name(&dir), dir)
    }

    #[test]
    fn agents_of_one_host_have_a_directory_each_and_find_it_again() {
        let (_temp, dirs) = dirs();
        let (first, a) = held(&dirs, "a");
        let (second, another) = held(&dirs, "a");
        let (third, b) = held(&dirs, "b");
        assert_eq!([first, second, third], ["agent", "2", "3"]);
        drop((a, another, b));
        let (again, _b) = held(&dirs, "b");
        let (first, _a) = held(&dirs, "a");
        let (second, _another) = held(&dirs, "a");
        assert_eq!([again, first, second], ["3", "agent", "2"]);
    }

    #[test]
    fn jobs_are_found_first_and_by_agents_like_theirs_only() {
        let (_temp, dirs) = dirs();
        let (_, a) = held(&dirs, "a");
        let (_, another) = held(&dirs, "a");
        let job = note_job(&another, URL);
        drop((a, another));
        let (b, for_b) = held(&dirs, "b");
        assert_eq!(b, "agent", "nobody needs it");
        let (second, another) = held(&dirs, "a");
        assert_eq!(second, "2", "there are jobs");
        drop((for_b, another));
        let _first = free(&dirs.first);
        assert_eq!(held(&dirs, "b").0, "3", "another's jobs are not taken");
        job.remove();
        assert_eq!(held(&dirs, "c").0, "2");
    }

    #[test]
    fn what_an_earlier_release_left_is_anybody_s() {
        let (_temp, dirs) = dirs();
        let (_, first) = held(&dirs, "a");
        note_job(&first, URL);
        fs::remove_file(dirs.first.join("serves")).unwrap();
        drop(first);
        let (taken, _first) = held(&dirs, "b");
        assert_eq!(taken, "agent");
    }

    #[test]
    fn an_agent_that_was_just_killed_is_waited_for() {
        let (_temp, dirs) = dirs();
        let (_, dir) = held(&dirs, "a");
        assert!(!dirs.find("a").unwrap().may_become_free);
        fs::write(dirs.first.join("lock"), "4294967295\n").unwrap();
        assert!(dirs.find("a").unwrap().may_become_free);
        assert!(!dirs.find("b").unwrap().may_become_free, "it is none of this one's");
        drop(dir);
        assert_eq!(held(&dirs, "a").0, "agent");
    }

    #[test]
    fn one_that_holds_on_is_passed_by() {
        let (_temp, dirs) = dirs();
        let (_, _first) = held(&dirs, "a");
        fs::write(dirs.first.join("lock"), "").unwrap();
        assert_eq!(held(&dirs, "a").0, "2");
    }

    #[test]
    fn jobs_that_nobody_looks_after_are_found_and_held_once() {
        let (_temp, dirs) = dirs();
        let (_, a) = held(&dirs, "a");
        let (_, another) = held(&dirs, "a");
        note_job(&a, URL);
        note_job(&another, URL);
        let deserted_of = |url: &str| dirs.deserted(&url.parse().unwrap()).unwrap();
        assert!(deserted_of(URL).is_empty());
        drop(another);
        let deserted = deserted_of(URL);
        assert_eq!(deserted, [dirs.first.join("2")]);
        assert!(deserted_of("http://another").is_empty());
        let kept = dirs.hold_deserted(&deserted[0]).unwrap().unwrap();
        assert!(dirs.hold_deserted(&deserted[0]).unwrap().is_none());
        assert!(deserted_of(URL).is_empty());
        assert_eq!(kept.serves().as_deref(), Some("a"), "an agent like the other one finds it again");
        assert_eq!(held(&dirs, "a").0, "3");
    }

    #[test]
    fn a_look_tells_who_is_there_and_what_is_left() {
        let (_temp, dirs) = dirs();
        assert_eq!(dirs.look(), []);
        assert!(!dirs.first.exists(), "it makes nothing");
        let (_, a) = held(&dirs, "a");
        let (_, b) = held(&dirs, "b");
        a.executor_name("", || "host-a".to_owned()).unwrap();
        b.executor_name("", || "host-b".to_owned()).unwrap();
        note_job(&b, URL);
        drop(b);
        let seen = |name: &str, serves: &str, is_held: bool, jobs: usize| {
            let (name, serves) = (Some(name.to_owned()), Some(serves.to_owned()));
            Seen { name, serves, pid: is_held.then(std::process::id), is_held, jobs }
        };
        assert_eq!(dirs.look(), [seen("host-a", "a", true, 0), seen("host-b", "b", false, 1)]);
        assert!(dirs.deserted(&URL.parse().unwrap()).unwrap().len() == 1, "it holds nothing");
    }

    #[test]
    fn what_is_not_of_agents_is_left_alone() {
        let (_temp, dirs) = dirs();
        fs::create_dir_all(&dirs.first).unwrap();
        for name in ["oci", "0", "1", "02", "+2", "2x"] {
            fs::create_dir(dirs.first.join(name)).unwrap();
        }
        fs::write(dirs.first.join("7"), "a file").unwrap();
        assert_eq!(dirs.all().unwrap(), std::slice::from_ref(&dirs.first));
    }

    #[test]
    fn a_directory_that_cannot_be_used_is_named() {
        let temp = tempfile::tempdir().unwrap();
        let file = temp.path().join("file");
        fs::write(&file, "").unwrap();
        let refused = StateDirs::below(file.clone()).hold("a").unwrap_err().to_string();
        assert_eq!(refused, format!("failed to use the state directory {}", file.display()));
    }
}
