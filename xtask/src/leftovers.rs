//! What a system could leave behind: processes, mounts, loop devices, cgroups, network namespaces
//! and temporary files. Taken before and after; the difference must be empty.

use anyhow::{Result, bail};
use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long the kernel may take to let go.
const PATIENCE: Duration = Duration::from_secs(10);

/// Everything that is there now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Snapshot(BTreeSet<String>);

impl Snapshot {
    pub(crate) fn take() -> Self {
        let mut seen = BTreeSet::new();
        processes(&mut seen);
        mounts(&mut seen);
        cgroups(Path::new("/sys/fs/cgroup"), 0, &mut seen);
        entries("/run/netns", "network namespace", |_| true, &mut seen);
        entries("/tmp", "temporary file", |name| name.contains("executor"), &mut seen);
        Self(seen)
    }

    /// Fails when there is now something that was not there then.
    pub(crate) fn nothing_new(&self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let now = Self::take();
            let new: Vec<_> = now.0.difference(&self.0).cloned().collect();
            if new.is_empty() {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("left behind:\n  {}", new.join("\n  "));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

fn processes(seen: &mut BTreeSet<String>) {
    let Ok(list) = std::fs::read_dir("/proc") else { return };
    for entry in list.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.bytes().all(|b| b.is_ascii_digit()) {
            let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            if ["executor", "crun", "runc", "dockerd", "containerd"].iter().any(|word| line.contains(word)) {
                seen.insert(format!("process {name}: {}", line.trim()));
            }
        }
    }
}

fn mounts(seen: &mut BTreeSet<String>) {
    for file in ["/proc/self/mounts", "/proc/swaps"] {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        seen.extend(text.lines().map(|line| format!("mount {line}")));
    }
    let Ok(list) = std::fs::read_dir("/sys/block") else { return };
    for entry in list.flatten() {
        if let Ok(file) = std::fs::read_to_string(entry.path().join("loop/backing_file")) {
            seen.insert(format!("loop device on {}", file.trim()));
        }
    }
}

fn cgroups(dir: &Path, depth: usize, seen: &mut BTreeSet<String>) {
    let Ok(list) = std::fs::read_dir(dir) else { return };
    for entry in list.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        let path = entry.path();
        if path.to_string_lossy().contains("executor") {
            seen.insert(format!("cgroup {}", path.display()));
        }
        if depth < 8 {
            cgroups(&path, depth + 1, seen);
        }
    }
}

fn entries(dir: &str, what: &str, ours: impl Fn(&str) -> bool, seen: &mut BTreeSet<String>) {
    let Ok(list) = std::fs::read_dir(dir) else { return };
    for entry in list.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if ours(&name) {
            seen.insert(format!("{what} {dir}/{name}"));
        }
    }
}
