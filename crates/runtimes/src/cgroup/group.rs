//! One sandbox's group.

use super::{Controller, Directories, Hierarchies, Place, enable};
use crate::{Limits, RuntimeError};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The length of time that a CPU quota is a share of, in microseconds: the kernel's default.
const CPU_PERIOD: u64 = 100_000;
/// How often a group is tried to be made whose parent goes away meanwhile.
const CREATE_ATTEMPTS: usize = 10;

/// One sandbox's group in every hierarchy.
#[derive(Debug, Clone, Default)]
pub(crate) struct Group {
    pub(super) directories: Directories,
}

impl Group {
    /// Makes `parent/name` below the agent's own group.
    pub(crate) fn create(host: &Hierarchies, parent: &str, name: &str) -> io::Result<Self> {
        // Another agent that leaves takes the parent away when it finds it empty.
        for _ in 1..CREATE_ATTEMPTS {
            match Self::create_once(host, parent, name) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                result => return result,
            }
        }
        Self::create_once(host, parent, name)
    }

    /// Removes the groups' parent, if none is left in it.
    pub(crate) fn remove_parent(parent: &Directories) {
        for path in parent.all() {
            let _ = fs::remove_dir(path);
        }
    }

    /// The groups that process `pid` is in, if their names hold `id` in every hierarchy: a number alone may
    /// be that of another process, or of a process on another host.
    pub(crate) fn of_process(pid: u32, id: &str) -> Option<Self> {
        let own = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
        let mounts = fs::read_to_string("/proc/thread-self/mountinfo").ok()?;
        let mut directories = Hierarchies::parse(Path::new("/"), &mounts, &own).base;
        directories.retain_named(id);
        let found = directories.all().next().is_some();
        found.then_some(Self { directories })
    }

    /// The groups of whatever process of this host is in one whose name holds `id`.
    pub(crate) fn search(id: &str) -> Option<Self> {
        let pids = fs::read_dir("/proc").ok()?.filter_map(Result::ok);
        pids.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .find_map(|pid| Self::of_process(pid, id))
    }

    fn create_once(host: &Hierarchies, parent: &str, name: &str) -> io::Result<Self> {
        let parent = host.below(parent);
        let directories = parent.join(name);
        if let Some(base) = &host.base.v2 {
            enable::hand_down(base, &host.base.unified)?;
        }
        parent.all().try_for_each(make)?;
        if let Some(parent) = &parent.v2 {
            enable::hand_down(parent, &host.base.unified)?;
        }
        directories.all().try_for_each(make)?;
        Ok(Self { directories })
    }

    /// Groups of that parent that exist, by name.
    pub(crate) fn existing(parent: &Directories) -> Vec<(String, Self)> {
        let mut names: Vec<String> =
            parent.all().flat_map(subgroups).filter_map(|path| name_of(&path)).collect();
        names.sort_unstable();
        names.dedup();
        names.into_iter().map(|name| (name.clone(), Self { directories: parent.join(&name) })).collect()
    }

    /// The directories that a process must enter.
    pub(crate) fn directories(&self) -> Vec<PathBuf> {
        self.directories.all().map(Path::to_owned).collect()
    }

    /// Sets the limits whose controllers are there. `spare_pids` come on top of the limit, for the
    /// processes that start the step.
    pub(crate) fn limit(&self, limits: &Limits, spare_pids: u64) -> Result<(), RuntimeError> {
        if let Some(bytes) = limits.memory {
            self.set(Controller::Memory, |place| limit_memory(place, bytes))?;
        }
        if let Some(pids) = limits.pids {
            let pids = pids.saturating_add(spare_pids).to_string();
            self.set(Controller::Pids, |(Place::V1(path) | Place::V2(path))| {
                fs::write(path.join("pids.max"), &pids)
            })?;
        }
        if let Some(cpus) = limits.cpus {
            self.set(Controller::Cpu, |place| limit_cpu(place, cpus))?;
        }
        Ok(())
    }

    fn set(
        &self,
        controller: Controller,
        write: impl Fn(Place<'_>) -> io::Result<()>,
    ) -> Result<(), RuntimeError> {
        let Some(place) = self.directories.place(controller) else { return Ok(()) };
        write(place).map_err(RuntimeError::io(format!("set the {} limit of a sandbox", controller.name())))
    }
}

fn limit_memory(place: Place<'_>, bytes: u64) -> io::Result<()> {
    let bytes = bytes.to_string();
    match place {
        Place::V1(path) => {
            fs::write(path.join("memory.limit_in_bytes"), &bytes)?;
            // Memory and swap together may be no more than memory: no swap. Without swap
            // accounting the file is missing, and the kernel can only be asked.
            match fs::write(path.join("memory.memsw.limit_in_bytes"), &bytes) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    fs::write(path.join("memory.swappiness"), "0")
                }
                result => result,
            }
        }
        Place::V2(path) => {
            fs::write(path.join("memory.max"), &bytes)?;
            match fs::write(path.join("memory.swap.max"), "0") {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                result => result,
            }
        }
    }
}

fn limit_cpu(place: Place<'_>, cpus: f64) -> io::Result<()> {
    // The kernel refuses less than 1 ms.
    let quota = ((cpus * CPU_PERIOD as f64) as u64).max(1_000);
    match place {
        Place::V1(path) => {
            fs::write(path.join("cpu.cfs_period_us"), CPU_PERIOD.to_string())?;
            match fs::write(path.join("cpu.cfs_quota_us"), quota.to_string()) {
                // The groups above may use less than this, so less than this holds already.
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
                result => result,
            }
        }
        Place::V2(path) => fs::write(path.join("cpu.max"), format!("{quota} {CPU_PERIOD}")),
    }
}

pub(super) fn make(path: &Path) -> io::Result<()> {
    match fs::create_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        result => result,
    }
}

/// The groups right below.
pub(super) fn subgroups(path: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(path) else { return Vec::new() };
    let is_group = |entry: &fs::DirEntry| entry.file_type().is_ok_and(|kind| kind.is_dir());
    entries.filter_map(Result::ok).filter(is_group).map(|entry| entry.path()).collect()
}

fn name_of(path: &Path) -> Option<String> {
    Some(path.file_name()?.to_str()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unified(root: &Path) -> Hierarchies {
        fs::write(root.join("cgroup.controllers"), "cpu io memory pids").unwrap();
        fs::write(root.join("cgroup.subtree_control"), "cpu memory pids").unwrap();
        fs::create_dir(root.join("executor-a")).unwrap();
        fs::write(root.join("executor-a/cgroup.subtree_control"), "").unwrap();
        let mounts = format!("1 2 0:1 / {} rw - cgroup2 cgroup2 rw\n", root.display());
        Hierarchies::parse(Path::new("/"), &mounts, "0::/\n")
    }

    #[test]
    fn version_2_limits_are_written_in_its_words() {
        let root = tempfile::tempdir().unwrap();
        let host = unified(root.path());
        let group = Group::create(&host, "executor-a", "one").unwrap();
        fs::write(root.path().join("executor-a/one/memory.swap.max"), "max").unwrap();
        let limits = Limits { cpus: Some(1.5), memory: Some(1 << 20), pids: Some(10), disk: None };
        group.limit(&limits, 2).unwrap();
        let read = |name: &str| fs::read_to_string(root.path().join("executor-a/one").join(name)).unwrap();
        assert_eq!(read("cpu.max"), "150000 100000");
        assert_eq!(read("memory.max"), "1048576");
        assert_eq!(read("memory.swap.max"), "0");
        assert_eq!(read("pids.max"), "12");
        let handed = fs::read_to_string(root.path().join("executor-a/cgroup.subtree_control")).unwrap();
        assert_eq!(handed, "+memory +pids +cpu");
    }

    #[test]
    fn groups_are_found_again_by_their_parents_name() {
        let root = tempfile::tempdir().unwrap();
        let host = unified(root.path());
        Group::create(&host, "executor-a", "one").unwrap();
        let existing = |parent| Group::existing(&host.below(parent));
        let found: Vec<_> = existing("executor-a").into_iter().map(|(name, _)| name).collect();
        assert_eq!(found, ["one"]);
        assert!(existing("executor-b").is_empty());
    }
}
