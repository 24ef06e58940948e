//! What agents could leave behind on this host, whatever runs their jobs.
//!
//! Their mounts are in namespaces of their own, so it is looked for through the eyes of every process. Their programs are
//! copies of one binary that is nowhere near their data; some name the data directory, some are only told of it.

use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// The data directories of agents that this process started, and what each had started when it was ready.
static STARTED: Mutex<Vec<(PathBuf, Identity)>> = Mutex::new(Vec::new());

/// A process's number, which others get after it, and when it was started.
type Identity = (String, String);

/// Takes note of an agent with the data directory `dir`. Its guardian has forgotten all that it was told, so nothing but who
/// has started it tells whose it is.
pub fn agent_started(dir: &Path, pid: u32) {
    let mut started = STARTED.lock().unwrap_or_else(PoisonError::into_inner);
    let mut below = vec![pid.to_string()];
    while let Some(parent) = below.pop() {
        let parent = Process(Path::new("/proc").join(parent));
        started.push((dir.to_owned(), parent.identity()));
        below.extend(
            parent.text(&format!("task/{}/children", parent.id())).split_whitespace().map(str::to_owned),
        );
    }
}

/// All that is there of agents with the data directory `dir`, one line each.
#[must_use]
pub fn leftovers_of(dir: &Path) -> Vec<String> {
    let instances = dir.join("agent/oci/instances");
    let jobs = dir.join("agent/jobs");
    let started: Vec<Identity> = {
        let all = STARTED.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().filter(|(of, _)| of == dir).map(|(_, identity)| identity.clone()).collect()
    };
    let dir = dir.to_string_lossy();
    let group = format!("executor-{}", owner(&instances));
    let mut found = Vec::new();
    let mut namespaces = BTreeSet::new();
    for process in processes() {
        found.extend(process.left_by(&dir, &group, &started));
        // One look per namespace.
        if process.namespace("mnt").is_some_and(|mounts| namespaces.insert(mounts)) {
            let mounts = process.text("mountinfo");
            let ours = mounts.lines().filter(|line| names(line, &dir));
            found.extend(ours.map(|line| format!("mount seen by process {}: {line}", process.id())));
        }
    }
    for entry in [&instances, &jobs].into_iter().flat_map(std::fs::read_dir).flatten().flatten() {
        found.push(format!("state of an agent: {}", entry.path().display()));
    }
    found.extend(control_groups(Path::new("/sys/fs/cgroup"), &group, 0));
    // Ranges of users that are lent to a job: each file names who has it.
    for entry in std::fs::read_dir("/run/executor-users").into_iter().flatten().flatten() {
        let user = std::fs::read(entry.path()).unwrap_or_default();
        if names(&String::from_utf8_lossy(&user), &dir) {
            found.push(format!("users {}", entry.path().display()));
        }
    }
    for entry in std::fs::read_dir("/sys/block").into_iter().flatten().flatten() {
        // A file that is deleted already keeps its name here, with ` (deleted)` after it.
        let backing = std::fs::read_to_string(entry.path().join("loop/backing_file")).unwrap_or_default();
        if names(&backing, &dir) {
            found.push(format!("loop device {} on {}", entry.path().display(), backing.trim()));
        }
    }
    found
}

/// One directory of `/proc`. Whatever can't be read belongs to a process that is gone.
struct Process(PathBuf);

fn processes() -> impl Iterator<Item = Process> {
    let all = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbered = |name: &str| name.bytes().all(|b| b.is_ascii_digit());
    all.filter(move |entry| numbered(&entry.file_name().to_string_lossy())).map(|entry| Process(entry.path()))
}

impl Process {
    fn id(&self) -> String {
        self.0.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    fn text(&self, file: &str) -> String {
        let bytes = std::fs::read(self.0.join(file)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).replace('\0', " ")
    }

    fn link(&self, name: &str) -> Option<String> {
        Some(std::fs::read_link(self.0.join(name)).ok()?.to_string_lossy().into_owned())
    }

    fn namespace(&self, kind: &str) -> Option<String> {
        self.link(&format!("ns/{kind}"))
    }

    /// What the kernel tells of it after its name, which may hold anything but ends with the last parenthesis: its state,
    /// its parent and so on.
    fn stat(&self) -> String {
        self.text("stat").rsplit(')').next().unwrap_or_default().to_owned()
    }

    fn identity(&self) -> Identity {
        let begun = self.stat().split_whitespace().nth(19).unwrap_or_default().to_owned();
        (self.id(), begun)
    }

    /// It has ended, and the host's first process has not taken note yet. Some do so only every few seconds.
    fn is_forgotten(&self) -> bool {
        self.stat().starts_with(" Z 1 ")
    }

    /// Says so when it is an agent with this data directory, whatever one has started, or a process of a job.
    fn left_by(&self, dir: &str, group: &str, started: &[Identity]) -> Option<String> {
        if self.is_forgotten() || self.id() == std::process::id().to_string() {
            return None;
        }
        let line = self.text("cmdline");
        let told_of_it =
            || self.text("environ").split(' ').any(|entry| entry == format!("EXECUTOR_DATA_DIR={dir}"));
        let works_in_it = || {
            let links = ["cwd", "root", "exe"].into_iter().filter_map(|name| self.link(name));
            links.into_iter().any(|path| names(&path, dir))
        };
        let was_started = || started.contains(&self.identity());
        let is_left = names(&line, dir)
            || self.text("cgroup").contains(group)
            || was_started()
            || works_in_it()
            || told_of_it();
        is_left.then(|| {
            let own = Self("/proc/self".into());
            let kinds = ["mnt", "pid", "net", "user", "ipc", "uts", "cgroup"].into_iter();
            let namespaces = kinds.filter_map(|kind| {
                self.namespace(kind).filter(|name| Some(name) != own.namespace(kind).as_ref())
            });
            let (name, namespaces) = (self.text("comm"), namespaces.collect::<Vec<_>>().join(" "));
            format!("process {} ({}) in {namespaces}: {}", self.id(), name.trim(), line.trim())
        })
    }
}

/// Whether `text` names the directory `dir` or something below it, and not one whose name only begins so.
fn names(text: &str, dir: &str) -> bool {
    let ends = |rest: &str| !rest.starts_with(|c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.'));
    text.match_indices(dir).any(|(at, _)| ends(&text[at + dir.len()..]))
}

/// The name that an agent gives to its control groups: a digest of its state directory.
fn owner(instances: &Path) -> String {
    let state = instances.parent().unwrap_or(instances).as_os_str().as_encoded_bytes();
    hex::encode(&Sha256::digest(state)[..6])
}

fn control_groups(dir: &Path, group: &str, depth: usize) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        if path.ends_with(group) {
            found.push(format!("control group {}", path.display()));
        } else if depth < 6 {
            found.extend(control_groups(&path, group, depth + 1));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Child, Command, Stdio};

    #[test]
    fn a_directory_is_not_taken_for_another_that_begins_as_it_does() {
        for (text, is_named) in [
            ("/t/data", true),
            ("supervise /t/data host-1", true),
            (r#"{"disks":"/t/data/agent"}"#, true),
            (r#"["/t/data"]"#, true),
            ("/t/data-elsewhere /t/data", true),
            ("/t/data-elsewhere", false),
            ("/t/data2/x", false),
            ("/t/dat", false),
        ] {
            assert_eq!(names(text, "/t/data"), is_named, "{text}");
        }
    }

    /// Ended with the test.
    struct Sleeper(Child);

    impl Drop for Sleeper {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    #[test]
    fn a_process_is_found_by_its_words_its_place_or_what_it_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().to_str().unwrap();
        assert_eq!(leftovers_of(dir.path()), [""; 0]);
        let with = |change: &dyn Fn(&mut Command) -> &mut Command| {
            let mut command = Command::new("sh");
            command.args(["-c", "read wait"]).stdin(Stdio::piped());
            change(&mut command);
            let sleeper = Sleeper(command.spawn().unwrap());
            let id = format!("process {} ", sleeper.0.id());
            leftovers_of(dir.path()).iter().any(|line| line.starts_with(&id))
        };
        assert!(with(&|command| command.arg(path)));
        assert!(with(&|command| command.current_dir(path)));
        assert!(with(&|command| command.env("EXECUTOR_DATA_DIR", path)));
        assert!(!with(&|command| command.arg(format!("{path}-elsewhere"))));
        assert!(!with(&|command| command.env("EXECUTOR_DATA_DIR", format!("{path}2"))));
    }

    #[test]
    fn what_an_agent_had_started_is_found_whatever_it_has_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 60 & echo $!; read wait"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut agent = Sleeper(command.spawn().unwrap());
        let mut said = String::new();
        let stdout = agent.0.stdout.take().unwrap();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut said).unwrap();
        assert_eq!(leftovers_of(dir.path()), [""; 0]);
        agent_started(dir.path(), agent.0.id());
        assert_eq!(leftovers_of(dir.path()).len(), 2);
        drop(agent);
        let left = leftovers_of(dir.path());
        assert!(left.len() == 1 && left[0].starts_with(&format!("process {} ", said.trim())), "{left:?}");
        let other = tempfile::tempdir().unwrap();
        assert_eq!(leftovers_of(other.path()), [""; 0]);
        let _ = Command::new("kill").arg(said.trim()).status();
    }
}
