//! What agents have on this host: their processes, and steps that wait at a gate.

use super::{Process, SOON, System, wait};
use std::path::{Path, PathBuf};

/// What a step does that waits until the test lets it go on.
pub(crate) const GATE: &str = "touch /data/gate; while [ -e /data/gate ]; do usleep 20000; done";

impl System {
    /// Waits until a step of `agent` has come to its [`GATE`], which stays closed.
    pub(crate) fn wait_for_gate(&self, agent: &Process) {
        let seers = || self.supervisors().into_iter().chain([agent.pid()]);
        wait(SOON, "a step at its gate", || seers().find(|pid| !self.gates_seen_by(*pid).is_empty()));
    }

    /// Lets all steps of `agent` go on that wait at a [`GATE`]; at least one must.
    pub(crate) fn open_gates(&self, agent: &Process) {
        wait(SOON, "a step at its gate", || self.open_gates_there_are(agent).then_some(()));
    }

    /// The same, for those that wait right now; whether one did.
    pub(crate) fn open_gates_there_are(&self, agent: &Process) -> bool {
        let seers = self.supervisors().into_iter().chain([agent.pid()]);
        let gates: Vec<PathBuf> = seers.flat_map(|pid| self.gates_seen_by(pid)).collect();
        for gate in &gates {
            // The same file may be seen at two places.
            let _ = std::fs::remove_file(gate);
        }
        !gates.is_empty()
    }

    fn gates_seen_by(&self, pid: u32) -> Vec<PathBuf> {
        let state = PathBuf::from(format!("/proc/{pid}/root{}/agent/oci", self.agent_dir()));
        files_below(&state, &|path| path.ends_with("gate"))
    }

    /// The processes of all supervisors, whether or not they have a job.
    pub(crate) fn supervisors(&self) -> Vec<u32> {
        self.copies("supervisor")
    }

    /// The process that makes supervisors, of each agent.
    pub(crate) fn nurseries(&self) -> Vec<u32> {
        self.copies("nursery")
    }

    /// What cleans up after supervisors.
    pub(crate) fn guardians(&self) -> Vec<u32> {
        self.copies("guardian")
    }

    /// What waits to start the first step of a job, of each supervisor.
    pub(crate) fn launchers(&self) -> Vec<u32> {
        self.copies("launcher")
    }

    /// The supervisors of jobs for which a program runs on this host right now.
    pub(crate) fn supervisors_with_programs(&self) -> Vec<u32> {
        let supervisors = self.supervisors();
        let parents = self.copies("keeper").into_iter().filter_map(parent);
        parents.filter(|parent| supervisors.contains(parent)).collect()
    }

    /// The processes of that name among those that a nursery and its copies are.
    fn copies(&self, name: &str) -> Vec<u32> {
        let of_ours = format!("supervise {}", self.agent_dir());
        let is_named = |pid: &u32| {
            std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm.trim() == name)
        };
        let line = |pid: &u32| std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let entries = std::fs::read_dir("/proc").unwrap().flatten();
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        let is_ours = |pid: &u32| String::from_utf8_lossy(&line(pid)).replace('\0', " ").contains(&of_ours);
        pids.filter(is_named).filter(is_ours).collect()
    }

    /// The process of the supervisor that runs this job.
    pub(crate) fn supervisor_of(&self, job: &str) -> Option<u32> {
        let jobs = PathBuf::from(self.agent_dir()).join("agent/jobs");
        let records = files_below(&jobs, &|path| path.ends_with("job.json"));
        let read = |path: &PathBuf| -> Option<serde_json::Value> {
            serde_json::from_slice(&std::fs::read(path).ok()?).ok()
        };
        let is_of = |record: &serde_json::Value| record["job"].as_i64() == job.parse().ok();
        let record = records.iter().filter_map(read).find(is_of)?;
        record["pid"].as_u64()?.try_into().ok()
    }
}

/// The process that this one is a child of.
fn parent(pid: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // After the name, which may hold anything but ends with the last parenthesis: state and parent.
    stat.rsplit(')').next()?.split_whitespace().nth(1)?.parse().ok()
}

/// The files below `dir`, symbolic links aside, whose path `wanted` wants. What goes meanwhile is left out.
pub(crate) fn files_below(dir: &Path, wanted: &dyn Fn(&Path) -> bool) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => found.extend(files_below(&path, wanted)),
            Ok(kind) if kind.is_file() && wanted(&path) => found.push(path),
            _ => {}
        }
    }
    found
}
