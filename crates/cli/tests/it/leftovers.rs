//! What agents could leave behind on this host.
//!
//! Their mounts are in namespaces of their own, so it is looked for through the eyes of every process.

use crate::support::{GATE, SOON, system};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Fails unless everything that agents below `dir` had on this host goes soon: an agent's guardian
/// outlives it by a moment.
pub(crate) fn nothing_is_left(dir: &Path) {
    let deadline = Instant::now() + SOON;
    loop {
        let found = leftovers(dir);
        if found.is_empty() {
            return;
        }
        assert!(Instant::now() < deadline, "left behind: {found:#?}");
        std::thread::sleep(std::time::Duration::from_millis(25));
    }
}

/// Agents, and the processes, namespaces, mounts, loop devices, control groups, users and state files of their jobs.
pub(crate) fn leftovers(dir: &Path) -> Vec<String> {
    ["agent-data", "agent-data-elsewhere"].iter().flat_map(|data| leftovers_of(&dir.join(data))).collect()
}

/// Those of one data directory.
pub(crate) fn leftovers_of(dir: &Path) -> Vec<String> {
    let instances = dir.join("agent/oci/instances");
    let jobs = dir.join("agent/jobs");
    // One may begin as the other does.
    let dir = format!("{}/", dir.display());
    let group = format!("executor-{}", owner(&instances));
    let mut found = Vec::new();
    let mut namespaces = BTreeSet::new();
    for process in processes() {
        found.extend(process.left_by(&dir, &group));
        // One look per namespace.
        if process.namespace("mnt").is_some_and(|mounts| namespaces.insert(mounts)) {
            let mounts = process.text("mountinfo");
            let ours = mounts.lines().filter(|line| line.contains(&dir));
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
        if String::from_utf8_lossy(&user).starts_with(&dir) {
            found.push(format!("users {}", entry.path().display()));
        }
    }
    for entry in std::fs::read_dir("/sys/block").unwrap().flatten() {
        // A file that is deleted already keeps its name here, with ` (deleted)` after it.
        let backing = std::fs::read_to_string(entry.path().join("loop/backing_file")).unwrap_or_default();
        if backing.contains(&dir) {
            found.push(format!("loop device {} on {}", entry.path().display(), backing.trim()));
        }
    }
    found
}

/// One directory of `/proc`. Whatever can't be read belongs to a process that is gone.
struct Process(PathBuf);

fn processes() -> impl Iterator<Item = Process> {
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    let numbered = |name: &str| name.bytes().all(|b| b.is_ascii_digit());
    all.filter(move |entry| numbered(&entry.file_name().to_string_lossy())).map(|entry| Process(entry.path()))
}

impl Process {
    fn id(&self) -> String {
        self.0.file_name().unwrap().to_string_lossy().into_owned()
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

    /// It has ended, and the host's first process has not taken note yet. Some do so only every few seconds.
    fn is_forgotten(&self) -> bool {
        // After the name, which may hold anything but ends with the last parenthesis: state and parent.
        let stat = self.text("stat");
        stat.rsplit(')').next().is_some_and(|rest| rest.starts_with(" Z 1 "))
    }

    /// Says so when it is an agent below `dir`, its helper, or a process of a job.
    fn left_by(&self, dir: &str, group: &str) -> Option<String> {
        if self.is_forgotten() {
            return None;
        }
        let own = Self("/proc/self".into());
        let elsewhere: Vec<String> = ["mnt", "pid", "net", "user", "ipc", "uts", "cgroup"]
            .into_iter()
            .filter_map(|kind| self.namespace(kind).filter(|name| Some(name) != own.namespace(kind).as_ref()))
            .collect();
        let line = self.text("cmdline");
        let below = |link| self.link(link).is_some_and(|path| path.contains(dir));
        let in_group = self.text("cgroup").contains(group);
        let of_dir = line.contains(dir) || ["cwd", "root", "exe"].into_iter().any(below);
        (in_group || (of_dir && !elsewhere.is_empty()))
            .then(|| format!("process {} in {}: {}", self.id(), elsewhere.join(" "), line.trim()))
    }
}

/// The name that an agent gives to its control groups: a digest of its state directory.
fn owner(instances: &Path) -> String {
    let state = instances.parent().unwrap().as_os_str().as_encoded_bytes();
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

#[test]
fn what_a_running_job_has_on_the_host_is_found_and_goes() {
    let Some(mut system) = system("what_a_running_job_has_on_the_host_is_found_and_goes") else { return };
    let agent = system.agent();
    let id = system.submit(&format!("echo begun; {GATE}"));
    system.wait_for_log(&id, "begun");
    let found = leftovers(system.dir.path());
    let step =
        |line: &&String| line.starts_with("process ") && line.contains("pid:[") && line.contains("net:[");
    assert!(found.iter().any(|line| step(&line)), "a step has namespaces of its own: {found:#?}");
    for kind in ["mount ", "loop device ", "control group ", "users ", "state of an agent"] {
        assert!(found.iter().any(|line| line.starts_with(kind)), "no {kind}in {found:#?}");
    }
    system.open_gates(&agent);
    system.wait_for_state(&id, "completed");
    agent.stop();
    nothing_is_left(system.dir.path());
}
