//! What the processes of the program take: the one that was started, and all below it that are of the
//! same program, or carry jobs' packets for it. Memory of the containers' runtimes and of the jobs themselves
//! is not counted.

use anyhow::Result;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// The kind of the programs that carry packets, which are others' programs.
pub(super) const CARRIERS: &str = "carriers of packets";
/// Their names. The program is told by it, behind the directory of the job that it is for.
const CARRIERS_NAMES: [&[u8]; 2] = [b"slirp4netns", b"pasta"];

/// MB of memory of some processes.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Memory {
    /// The proportional set size: what is shared counts in parts.
    pub(super) pss: f64,
    /// What is a process's alone and can't be read again from a file: `Private_Dirty`. Memory that a process
    /// still shares with the one that it is a copy of is in nobody's.
    pub(super) private: f64,
    /// How many processes.
    pub(super) processes: usize,
}

impl std::ops::AddAssign for Memory {
    fn add_assign(&mut self, other: Self) {
        self.pss += other.pss;
        self.private += other.private;
        self.processes += other.processes;
    }
}

impl std::iter::Sum for Memory {
    fn sum<I: Iterator<Item = Self>>(iter: I) -> Self {
        iter.fold(Self::default(), |mut sum, next| {
            sum += next;
            sum
        })
    }
}

impl std::fmt::Display for Memory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { pss, private, processes } = self;
        write!(f, "{pss:>6.1} MB PSS, {private:>6.1} MB private, {processes:>3} processes")
    }
}

/// One process of the program, or one that carries packets for it.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) pid: u32,
    /// What it is for: the subcommand, or the role of a helper.
    pub(super) kind: String,
    pub(super) memory: Memory,
    /// Processor time so far, in clock ticks.
    pub(super) ticks: u64,
}

/// The process `root` and all that descend from it, as far as they run the program `binary` or carry packets. One
/// that ends while it is looked at is left out.
pub(super) fn of(root: u32, binary: &Path) -> Result<Vec<Process>> {
    let mut parents = BTreeMap::new();
    for entry in std::fs::read_dir("/proc")?.flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse::<u32>() else { continue };
        if let Some(parent) = stat(pid, 1) {
            parents.insert(pid, u32::try_from(parent)?);
        }
    }
    Ok(family(root, &parents).into_iter().filter_map(|pid| read(pid, binary)).collect())
}

/// Memory by kind.
pub(super) fn by_kind(processes: &[Process]) -> BTreeMap<String, Memory> {
    let mut kinds = BTreeMap::new();
    for process in processes {
        *kinds.entry(process.kind.clone()).or_insert_with(Memory::default) += process.memory;
    }
    kinds
}

/// `root` and its descendants, by the parent of each process.
fn family(root: u32, parents: &BTreeMap<u32, u32>) -> BTreeSet<u32> {
    let mut family = BTreeSet::from([root]);
    loop {
        let children = parents.iter().filter(|(_, parent)| family.contains(parent)).map(|(pid, _)| *pid);
        let grown: BTreeSet<u32> = children.chain(family.iter().copied()).collect();
        if grown.len() == family.len() {
            return family;
        }
        family = grown;
    }
}

fn read(pid: u32, binary: &Path) -> Option<Process> {
    let dir = Path::new("/proc").join(pid.to_string());
    let line = std::fs::read(dir.join("cmdline")).ok()?;
    let carries = carries(&line);
    if !carries && std::fs::read_link(dir.join("exe")).ok()? != binary {
        return None;
    }
    let field = |file: &str, name: &str| -> Option<f64> {
        let text = std::fs::read_to_string(dir.join(file)).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        let kib: f64 = line.trim().trim_end_matches(" kB").parse().ok()?;
        Some(kib * 1024.0 / 1e6)
    };
    let (pss, private) = (field("smaps_rollup", "Pss:")?, field("smaps_rollup", "Private_Dirty:")?);
    let memory = Memory { pss, private, processes: 1 };
    let name = std::fs::read_to_string(dir.join("comm")).ok()?;
    let kind = if carries { CARRIERS.to_owned() } else { kind(name.trim(), &line) };
    Some(Process { pid, kind, memory, ticks: stat(pid, 11)? + stat(pid, 12)? })
}

/// Whether this is the command line of a program that carries packets.
fn carries(line: &[u8]) -> bool {
    let called = line.split(|byte| *byte == 0).next().unwrap_or_default();
    let name = called.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    called.starts_with(b"/") && CARRIERS_NAMES.contains(&name)
}

/// A number of `/proc/PID/stat`, counted from the field after the name.
fn stat(pid: u32, field: usize) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    text.rsplit_once(')')?.1.split_whitespace().nth(field)?.parse().ok()
}

/// What a process is for: by its name, which copies of another have of their own, and by its command line.
fn kind(process: &str, line: &[u8]) -> String {
    match process {
        "guardian" | "supervisor" | "launcher" => return format!("{process}s"),
        "nursery" => return process.to_owned(),
        _ => {}
    }
    let words: Vec<_> = line.split(|byte| *byte == 0).map(String::from_utf8_lossy).collect();
    let word = |index: usize| words.get(index).map_or("", |word| word);
    let name = match (word(1), word(2)) {
        ("run", _) => "agent",
        // Not named yet.
        ("internal-helper", "supervise") => "nursery",
        ("internal-helper", "guard") => "guardians",
        ("internal-helper", "launch") => "launchers",
        ("internal-helper", role) => role,
        (subcommand, _) => subcommand,
    };
    name.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_is_whoever_descends_from_its_root() {
        let parents = BTreeMap::from([(2, 1), (3, 2), (9, 3), (4, 9), (5, 1), (6, 5)]);
        assert_eq!(family(2, &parents), BTreeSet::from([2, 3, 4, 9]));
    }

    #[test]
    fn this_process_is_found_with_its_memory() {
        let (own, binary) = (std::process::id(), std::env::current_exe().unwrap());
        let found = of(own, &binary).unwrap();
        let process = found.iter().find(|process| process.pid == own).unwrap();
        assert!(process.memory.pss > 0.0 && process.memory.private > 0.0, "{process:?}");
        assert!(of(own, Path::new("/another/program")).unwrap().is_empty());
    }

    #[test]
    fn carriers_are_told_by_what_they_are_called() {
        for (line, expected) in [
            ("/data/agent/sandboxes/x/slirp4netns\0--configure\0", true),
            ("/data/agent/sandboxes/x/pasta\0--quiet\0", true),
            ("/x/executor\0run\0", false),
            ("cat\0/x/slirp4netns\0", false),
            ("", false),
        ] {
            assert_eq!(carries(line.as_bytes()), expected, "{line:?}");
        }
    }

    #[test]
    fn kinds_are_told_by_the_name_and_the_command_line() {
        let supervise = "executor\0internal-helper\0supervise\0/data\0name\0";
        for (name, line, expected) in [
            ("executor", "/x/executor\0run\0", "agent"),
            ("guardian", "/x/executor\0run\0", "guardians"),
            ("executor", "/x/executor\0server\0--listen\0", "server"),
            ("nursery", supervise, "nursery"),
            ("supervisor", supervise, "supervisors"),
            ("guardian", supervise, "guardians"),
            ("launcher", supervise, "launchers"),
            ("exe", "/proc/self/exe\0internal-helper\0guard\0", "guardians"),
            ("exe", "/proc/self/exe\0internal-helper\0namespace\0", "namespace"),
        ] {
            assert_eq!(kind(name, line.as_bytes()), expected);
        }
    }
}
