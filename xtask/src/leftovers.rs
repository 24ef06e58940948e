//! What a system could leave behind: processes, mounts, namespaces, loop devices, cgroups, temporary files,
//! and files where programs keep the state of what runs. Taken before and after; the difference must be empty.
//!
//! Mounts are looked for through the eyes of every process: an agent's are in a namespace of its own.
//! Others use the same directories meanwhile, so what is found there is ours by its name; in shared memory, and
//! where OCI runtimes keep their state, by its owner. Temporary files of any name: see
//! [`Place::temporary_files`](crate::system::Place::temporary_files).

use anyhow::{Result, bail};
use std::collections::BTreeSet;
use std::fs::DirEntry;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long the kernel may take to let go.
const PATIENCE: Duration = Duration::from_secs(10);

/// All kinds of namespaces that a process is in and that can be its own.
const NAMESPACES: [&str; 7] = ["mnt", "net", "pid", "ipc", "uts", "user", "cgroup"];
/// Where OCI runtimes keep what they know of their containers, when nobody tells them another place.
const RUNTIMES: [&str; 4] = ["/run/crun", "/run/runc", "/run/youki", "/run/runsc"];

/// Everything that is there now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Snapshot(BTreeSet<String>);

impl Snapshot {
    pub(crate) fn take() -> Self {
        let mut seen = BTreeSet::new();
        processes(&mut seen);
        lines("/proc/swaps", "swap", &mut seen);
        loop_devices(&mut seen);
        cgroups(Path::new("/sys/fs/cgroup"), 0, &mut seen);
        entries(Path::new("/run/netns"), "network namespace", &|_| true, &mut seen);
        entries(&std::env::temp_dir(), "temporary file", &by_name, &mut seen);
        entries(Path::new("/run"), "file", &by_name, &mut seen);
        for dir in RUNTIMES.iter().chain(&["/dev/shm"]) {
            entries(Path::new(dir), "file", &by_owner, &mut seen);
        }
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

/// Processes of ours, and of all that live the namespaces they are in and the mounts they see. One that
/// ends meanwhile has none of them.
fn processes(seen: &mut BTreeSet<String>) {
    let mut namespaces = BTreeSet::new();
    let Ok(list) = std::fs::read_dir("/proc") else { return };
    for entry in list.flatten() {
        let (name, dir) = (entry.file_name().to_string_lossy().into_owned(), entry.path());
        if !name.bytes().all(|b| b.is_ascii_digit()) {
            continue;
        }
        let line = std::fs::read(dir.join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        if ["executor", "crun", "runc", "dockerd", "containerd"].iter().any(|word| line.contains(word)) {
            seen.insert(format!("process {name}: {}", line.trim()));
        }
        for kind in NAMESPACES {
            let Ok(namespace) = std::fs::read_link(dir.join("ns").join(kind)) else { continue };
            // One look at the mounts of each namespace.
            if namespaces.insert(namespace.clone()) && kind == "mnt" {
                lines(dir.join("mounts"), "mount", seen);
            }
        }
    }
    seen.extend(namespaces.iter().map(|namespace| format!("namespace {}", namespace.display())));
}

fn lines(file: impl AsRef<Path>, what: &str, seen: &mut BTreeSet<String>) {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    seen.extend(text.lines().map(|line| format!("{what} {line}")));
}

fn loop_devices(seen: &mut BTreeSet<String>) {
    let Ok(list) = std::fs::read_dir("/sys/block") else { return };
    for entry in list.flatten() {
        // A file that is deleted already keeps its name here, with ` (deleted)` after it.
        if let Ok(file) = std::fs::read_to_string(entry.path().join("loop/backing_file")) {
            let device = entry.file_name();
            seen.insert(format!("loop device {} on {}", device.to_string_lossy(), file.trim()));
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

/// Entries of `dir`, at any depth, that are `ours`; what is below one is not told again.
fn entries(dir: &Path, what: &str, ours: &dyn Fn(&DirEntry) -> bool, seen: &mut BTreeSet<String>) {
    let Ok(list) = std::fs::read_dir(dir) else { return };
    for entry in list.flatten() {
        let path = entry.path();
        if ours(&entry) {
            seen.insert(format!("{what} {}", path.display()));
        } else if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            entries(&path, what, ours, seen);
        }
    }
}

fn by_name(entry: &DirEntry) -> bool {
    entry.file_name().to_string_lossy().contains("executor")
}

/// Whether it is of the user that this process runs as.
fn by_owner(entry: &DirEntry) -> bool {
    let own = std::fs::metadata("/proc/self").map(|own| own.uid());
    own.is_ok_and(|own| entry.metadata().is_ok_and(|entry| entry.uid() == own))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn what_is_new_is_found_until_it_is_gone() {
        let before = Snapshot::take();
        let outer = tempfile::tempdir().unwrap();
        std::fs::create_dir(outer.path().join("an-executor-below")).unwrap();
        let new: Vec<String> = Snapshot::take().0.difference(&before.0).cloned().collect();
        let expected = format!("temporary file {}/an-executor-below", outer.path().display());
        assert!(new.contains(&expected), "{new:?}");
        drop(outer);
        assert!(!Snapshot::take().0.contains(&expected));
    }

    #[test]
    fn shared_memory_of_any_name_is_found() {
        if !Path::new("/dev/shm").is_dir() {
            return testkit::missing_part("shared_memory_of_any_name_is_found", "/dev/shm");
        }
        let file = tempfile::Builder::new().prefix("of-any-name-").tempfile_in("/dev/shm").unwrap();
        let expected = format!("file {}", file.path().display());
        assert!(Snapshot::take().0.contains(&expected), "{expected}");
        drop(file);
        assert!(!Snapshot::take().0.contains(&expected));
    }

    #[test]
    fn mounts_in_a_namespace_of_their_own_are_found() {
        if !crate::parts::is_root() {
            return testkit::missing_part("mounts_in_a_namespace_of_their_own_are_found", "root");
        }
        let mark = format!("leftover-{}", std::process::id());
        let mount = format!("mount -t tmpfs {mark} /mnt && echo mounted && read wait");
        let child = Command::new("unshare")
            .args(["--mount", "--net", "--ipc", "--uts", "--user", "--map-root-user", "--cgroup"])
            .args(["sh", "-c", &mount])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        let mut child = child.expect("unshare starts");
        let mut said = String::new();
        let mut stdout = std::io::BufReader::new(child.stdout.take().unwrap());
        std::io::BufRead::read_line(&mut stdout, &mut said).unwrap();
        let (own, seen) = (namespaces_of("self"), Snapshot::take().0);
        let theirs = namespaces_of(&child.id().to_string());
        drop(child.stdin.take());
        child.wait().unwrap();
        assert_eq!(said.trim(), "mounted");
        assert!(seen.iter().any(|thing| thing.starts_with(&format!("mount {mark} "))), "{seen:#?}");
        assert_eq!(theirs.difference(&own).count(), 6, "all but that of processes: {theirs:?}");
        for namespace in theirs.difference(&own) {
            assert!(seen.contains(&format!("namespace {namespace}")), "{namespace} in {seen:#?}");
        }
    }

    fn namespaces_of(process: &str) -> BTreeSet<String> {
        let link = |kind| std::fs::read_link(format!("/proc/{process}/ns/{kind}"));
        NAMESPACES.iter().filter_map(|kind| Some(link(kind).ok()?.display().to_string())).collect()
    }
}
