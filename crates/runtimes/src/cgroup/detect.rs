//! Which hierarchies this host has, and where the agent is in each.

use super::{Controller, Directories};
use rustix::fs::{Access, access};
use std::path::{Path, PathBuf};

/// The agent's own groups; those of sandboxes are made below.
#[derive(Debug, Clone)]
pub(crate) struct Hierarchies {
    pub(super) base: Directories,
    /// The agent's own group in version 2, from the root of the hierarchy as a runtime sees it.
    unified_path: PathBuf,
}

impl Hierarchies {
    /// Reads the layout of this host.
    pub(crate) fn detect() -> std::io::Result<Self> {
        let mounts = std::fs::read_to_string("/proc/thread-self/mountinfo")?;
        let own = std::fs::read_to_string("/proc/self/cgroup")?;
        Ok(Self::parse(Path::new("/"), &mounts, &own))
    }

    /// The same from the files' texts, with `root` before every mount point.
    pub(crate) fn parse(root: &Path, mounts: &str, own: &str) -> Self {
        let mut base = Directories::default();
        let mut unified_path = PathBuf::from("/");
        for mount in mounts.lines().filter_map(Mount::parse) {
            let under_root = root.join(mount.point.trim_start_matches('/'));
            match mount.kind {
                "cgroup2" => {
                    let Some(path) = own_path(own, str::is_empty) else { continue };
                    base.v2 = Some(mount.directory(&under_root, path));
                    unified_path = path.into();
                }
                "cgroup" => {
                    for controller in Controller::ALL {
                        let holds = |list: &str| list.split(',').any(|name| name == controller.name());
                        let Some(path) = own_path(own, holds).filter(|_| holds(mount.options)) else {
                            continue;
                        };
                        base.v1.retain(|(of, _)| *of != controller);
                        base.v1.push((controller, mount.directory(&under_root, path)));
                    }
                }
                _ => {}
            }
        }
        if let Some(v2) = &mut base.v2 {
            leave_leaf(v2);
            leave_leaf(&mut unified_path);
            let offered = std::fs::read_to_string(v2.join("cgroup.controllers")).unwrap_or_default();
            base.unified = Controller::UNIFIED
                .into_iter()
                .filter(|wanted| offered.split_whitespace().any(|name| name == wanted.name()))
                .collect();
        }
        if base.v1.is_empty()
            && let Some(mount) =
                mounts.lines().filter_map(Mount::parse).rfind(|mount| mount.kind == "cgroup2")
        {
            // A runtime then uses the mount that is there, which may be a part only.
            unified_path =
                Path::new("/").join(unified_path.strip_prefix(mount.root).unwrap_or(Path::new("")));
        }
        Self { base, unified_path }
    }

    /// Those that this process may make groups in and enter, as an ordinary user may where somebody has delegated
    /// a group to it.
    pub(crate) fn delegated(mut self) -> Self {
        let may = |directory: &Path| {
            // To enter a group needs the right to write to the list of the one above both.
            [directory.to_owned(), directory.join("cgroup.procs")]
                .iter()
                .all(|path| access(path, Access::WRITE_OK).is_ok())
        };
        self.base.v1.retain(|(_, directory)| may(directory));
        if !self.base.v2.as_deref().is_some_and(may) {
            self.base.v2 = None;
            self.base.unified.clear();
        }
        self
    }

    /// The groups called `parent` right below the agent's own.
    pub(crate) fn below(&self, parent: &str) -> Directories {
        self.base.join(parent)
    }

    /// Where a runtime finds `name` below `parent` in version 2: a path from the hierarchy's root.
    pub(crate) fn path_for_runtime(&self, parent: &str, name: &str) -> PathBuf {
        self.unified_path.join(parent).join(name)
    }

    /// `v1`, `v2`, `hybrid` or `none`.
    pub(crate) fn layout(&self) -> &'static str {
        match (self.base.v1.is_empty(), self.base.v2.is_some()) {
            (true, true) => "v2",
            (false, true) => "hybrid",
            (false, false) => "v1",
            (true, false) => "none",
        }
    }

    /// Whether processes can be tracked at all.
    pub(crate) fn any(&self) -> bool {
        self.base.all().next().is_some()
    }

    /// Whether limits of this kind can be enforced.
    pub(crate) fn has(&self, controller: Controller) -> bool {
        self.base.place(controller).is_some()
    }
}

/// An agent that moved itself into a leaf is started again by its supervisor in the group above,
/// but a child of it would find itself in the leaf.
fn leave_leaf(v2: &mut PathBuf) {
    if v2.file_name().is_some_and(|name| name == super::enable::LEAF) {
        v2.pop();
    }
}

fn own_path<'a>(own: &'a str, holds: impl Fn(&'a str) -> bool) -> Option<&'a str> {
    own.lines().find_map(|line| {
        let (_, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        holds(controllers).then_some(path)
    })
}

/// One line of mountinfo.
struct Mount<'a> {
    /// Which part of the hierarchy is mounted.
    root: &'a str,
    point: &'a str,
    kind: &'a str,
    /// Of the file system: for version 1 the controllers are among them.
    options: &'a str,
}

impl<'a> Mount<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let (left, right) = line.split_once(" - ")?;
        let mut left = left.split(' ').skip(3);
        let (root, point) = (left.next()?, left.next()?);
        let mut right = right.split(' ');
        let (kind, _, options) = (right.next()?, right.next()?, right.next()?);
        Some(Self { root, point, kind, options })
    }

    /// A container may see only its own part of the hierarchy, mounted as if it were the whole.
    fn directory(&self, point: &Path, own: &str) -> PathBuf {
        let below = Path::new(own).strip_prefix(self.root).unwrap_or(Path::new(""));
        if below.as_os_str().is_empty() { point.to_owned() } else { point.join(below) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
";

    #[test]
    fn a_hybrid_host_has_both() {
        let found = Hierarchies::parse(Path::new("/"), HYBRID, "4:memory:/a/b\n1:cpu,cpuacct:/\n0::/\n");
        assert_eq!(found.layout(), "hybrid");
        assert_eq!(
            found.base.v1,
            [
                (Controller::Cpu, "/sys/fs/cgroup/cpu".into()),
                (Controller::Cpuacct, "/sys/fs/cgroup/cpu".into()),
                (Controller::Memory, "/sys/fs/cgroup/memory/a/b".into()),
            ]
        );
        assert_eq!(found.base.v2.as_deref(), Some(Path::new("/sys/fs/cgroup/unified")));
        assert!(!found.has(Controller::Pids));
        assert_eq!(found.path_for_runtime("executor-a", "1"), Path::new("/executor-a/1"));
    }

    #[test]
    fn a_container_that_sees_its_own_part_finds_itself() {
        let mounts = "1 2 0:1 /docker/abc /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
        let found = Hierarchies::parse(Path::new("/"), mounts, "0::/docker/abc/work\n");
        assert_eq!(found.layout(), "v2");
        assert_eq!(found.base.v2.as_deref(), Some(Path::new("/sys/fs/cgroup/work")));
        assert_eq!(found.path_for_runtime("executor-a", "1"), Path::new("/work/executor-a/1"));
    }

    #[test]
    fn what_can_not_be_entered_is_not_delegated() {
        let root = tempfile::tempdir().unwrap();
        let make =
            |group: &str| std::fs::create_dir_all(root.path().join("sys/fs/cgroup").join(group)).unwrap();
        ["cpu", "memory/a/b", "unified"].into_iter().for_each(make);
        let own = "4:memory:/a/b\n1:cpu,cpuacct:/\n0::/\n";
        let host = || Hierarchies::parse(root.path(), HYBRID, own).delegated();
        assert!(!host().any(), "none has a list of processes that can be written to");
        std::fs::write(root.path().join("sys/fs/cgroup/unified/cgroup.procs"), "").unwrap();
        std::fs::write(root.path().join("sys/fs/cgroup/memory/a/b/cgroup.procs"), "").unwrap();
        let host = host();
        assert_eq!(host.base.v2.as_deref(), Some(&*root.path().join("sys/fs/cgroup/unified")));
        assert!(host.has(Controller::Memory) && !host.has(Controller::Cpu));
    }

    #[test]
    fn a_child_in_the_agents_leaf_finds_the_group_above() {
        let mounts = "1 2 0:1 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
        let found = Hierarchies::parse(Path::new("/"), mounts, "0::/system.slice/executor-agent\n");
        assert_eq!(found.base.v2.as_deref(), Some(Path::new("/sys/fs/cgroup/system.slice")));
    }

    #[test]
    fn no_cgroups_at_all_is_seen() {
        let found = Hierarchies::parse(Path::new("/"), "", "");
        assert_eq!(found.layout(), "none");
        assert!(!found.any());
    }
}
