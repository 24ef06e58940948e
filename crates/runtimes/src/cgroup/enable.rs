//! Version 2 only: a controller works in a group when the group above hands it down, and a group
//! that hands controllers down may hold no processes itself.

use super::Controller;
use std::fs;
use std::io;
use std::path::Path;

/// Where the agent goes when its own group must be empty.
pub(super) const LEAF: &str = "executor-agent";

/// Hands `controllers` down from `group`, which has them.
pub(super) fn hand_down(group: &Path, controllers: &[Controller]) -> io::Result<()> {
    let missing = missing(group, controllers)?;
    if missing.is_empty() {
        return Ok(());
    }
    let wanted: Vec<String> = missing.iter().map(|controller| format!("+{}", controller.name())).collect();
    let write = || fs::write(group.join("cgroup.subtree_control"), wanted.join(" "));
    match write() {
        Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
            empty_into_leaf(group)?;
            write()
        }
        result => result,
    }
}

fn missing(group: &Path, wanted: &[Controller]) -> io::Result<Vec<Controller>> {
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let handed = fs::read_to_string(group.join("cgroup.subtree_control"))?;
    let has = |controller: &Controller| handed.split_whitespace().any(|name| name == controller.name());
    Ok(wanted.iter().copied().filter(|controller| !has(controller)).collect())
}

fn empty_into_leaf(group: &Path) -> io::Result<()> {
    let leaf = group.join(LEAF);
    super::group::make(&leaf)?;
    for pid in fs::read_to_string(group.join("cgroup.procs"))?.lines() {
        match fs::write(leaf.join("cgroup.procs"), pid) {
            // It ended meanwhile.
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error()) => {}
            result => result?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_missing_is_handed_down() {
        let group = tempfile::tempdir().unwrap();
        let file = group.path().join("cgroup.subtree_control");
        fs::write(&file, "memory\n").unwrap();
        hand_down(group.path(), &[Controller::Memory, Controller::Pids]).unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "+pids");
    }

    #[test]
    fn processes_move_into_a_leaf() {
        let group = tempfile::tempdir().unwrap();
        fs::write(group.path().join("cgroup.procs"), "17\n").unwrap();
        empty_into_leaf(group.path()).unwrap();
        assert_eq!(fs::read_to_string(group.path().join(LEAF).join("cgroup.procs")).unwrap(), "17");
    }
}
