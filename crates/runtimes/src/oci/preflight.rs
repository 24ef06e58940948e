//! What is said of the host before a job runs.

use super::shared::Shared;
use crate::cgroup::Controller;
use crate::{Finding, Severity};

pub(super) fn findings(shared: &Shared) -> Vec<Finding> {
    let mut findings = vec![runtime(shared), layout(shared)];
    for (id, controller) in [
        ("cgroup.memory", Controller::Memory),
        ("cgroup.pids", Controller::Pids),
        ("cgroup.cpu", Controller::Cpu),
    ] {
        if !shared.host.has(controller) {
            let name = controller.name();
            findings.push(Finding {
                id,
                severity: Severity::Warning,
                seen: format!("there is no {name} controller: {name} limits can't be enforced"),
                remedy: format!(
                    "delegate the {name} controller to the executor's control group (systemd: Delegate=yes)"
                ),
            });
        }
    }
    if let Some(why) = shared.disks.why_not() {
        findings.push(Finding {
            id: "disk.limit",
            severity: Severity::Warning,
            seen: format!("disk limits can't be enforced: {why}"),
            remedy: "install e2fsprogs and give the executor loop devices".to_owned(),
        });
    }
    if !knows_overlay() {
        findings.push(Finding {
            id: "oci.overlay",
            severity: Severity::Fatal,
            seen: "the kernel does not know overlayfs".to_owned(),
            remedy: "load the kernel module overlay".to_owned(),
        });
    }
    findings
}

fn runtime(shared: &Shared) -> Finding {
    let program = &shared.program;
    let seen = format!("{} at {}", program.version, program.path.display());
    if let Some(caveat) = program.family.caveat() {
        let remedy = "use crun or runc where that matters".to_owned();
        return Finding {
            id: "oci.runtime",
            severity: Severity::Warning,
            seen: format!("{seen}: {caveat}"),
            remedy,
        };
    }
    if program.family.is_supported() {
        return Finding { id: "oci.runtime", severity: Severity::Info, seen, remedy: String::new() };
    }
    Finding {
        id: "oci.runtime",
        severity: Severity::Fatal,
        seen: format!("{seen} is not supported yet"),
        remedy: "install crun or runc, or name one with EXECUTOR_OCI_RUNTIME".to_owned(),
    }
}

fn layout(shared: &Shared) -> Finding {
    if shared.host.any() {
        let seen = format!("control groups: {}", shared.host.layout());
        return Finding { id: "cgroup.layout", severity: Severity::Info, seen, remedy: String::new() };
    }
    Finding {
        id: "cgroup.layout",
        severity: Severity::Fatal,
        seen: "no control groups are mounted: what a job starts could not be found again".to_owned(),
        remedy: "mount cgroup2 at /sys/fs/cgroup, writable for the executor".to_owned(),
    }
}

fn knows_overlay() -> bool {
    let known = std::fs::read_to_string("/proc/filesystems").unwrap_or_default();
    // As a module it is loaded by the first mount.
    known.lines().any(|line| line.ends_with("\toverlay")) || module_is_there()
}

fn module_is_there() -> bool {
    let release = rustix::system::uname();
    let Ok(release) = release.release().to_str() else { return false };
    let list = std::fs::read_to_string(format!("/lib/modules/{release}/modules.dep")).unwrap_or_default();
    list.lines().any(|line| line.contains("/overlay.ko"))
}
