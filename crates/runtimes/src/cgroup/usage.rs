//! What a group used.

use super::{Controller, Group, Place};
use std::fs;
use std::path::Path;
use std::time::Duration;

/// Counters of a group at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Reading {
    /// Processes that the kernel killed for want of memory, since the group was made.
    pub(crate) oom_kills: u64,
    /// The most memory, in bytes, since the last [`Group::reset_peak`].
    pub(crate) peak_memory: Option<u64>,
    /// CPU time since the group was made.
    pub(crate) cpu: Option<Duration>,
}

impl Group {
    pub(crate) fn read(&self) -> Reading {
        let (oom_kills, peak_memory) = match self.directories.place(Controller::Memory) {
            Some(Place::V1(path)) => {
                (keyed(path, "memory.oom_control", "oom_kill"), number(path, "memory.max_usage_in_bytes"))
            }
            Some(Place::V2(path)) => (keyed(path, "memory.events", "oom_kill"), number(path, "memory.peak")),
            None => (None, None),
        };
        Reading { oom_kills: oom_kills.unwrap_or(0), peak_memory, cpu: self.cpu() }
    }

    /// Starts the peak anew, where the kernel can; in version 2 it stays the sandbox's.
    pub(crate) fn reset_peak(&self) {
        if let Some(Place::V1(path)) = self.directories.place(Controller::Memory) {
            let _ = fs::write(path.join("memory.max_usage_in_bytes"), "0");
        }
    }

    fn cpu(&self) -> Option<Duration> {
        let unified =
            || keyed(self.directories.v2.as_deref()?, "cpu.stat", "usage_usec").map(Duration::from_micros);
        let v1 = || match self.directories.place(Controller::Cpuacct)? {
            Place::V1(path) | Place::V2(path) => number(path, "cpuacct.usage").map(Duration::from_nanos),
        };
        unified().or_else(v1)
    }
}

fn number(path: &Path, file: &str) -> Option<u64> {
    fs::read_to_string(path.join(file)).ok()?.trim().parse().ok()
}

fn keyed(path: &Path, file: &str, key: &str) -> Option<u64> {
    let text = fs::read_to_string(path.join(file)).ok()?;
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_found_by_its_whole_name() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("memory.events"), "oom 3\noom_kill 2\noom_group_kill 0\n").unwrap();
        assert_eq!(keyed(dir.path(), "memory.events", "oom_kill"), Some(2));
        assert_eq!(keyed(dir.path(), "memory.events", "oom_k"), None);
        assert_eq!(keyed(dir.path(), "memory.peak", "x"), None);
    }
}
