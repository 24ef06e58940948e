//! What is said of the host before a job runs.

use super::disks::Disks;
use super::network::{self, Lack as NoNetwork, Means, NetworkOptions, Visit};
use super::program::Program;
use super::shared::Shared;
use super::users::{self, Lack, Obstacle};
use super::{Helper, OwnUsers, ordinary_user};
use crate::cgroup::{Controller, Hierarchies};
use crate::{Finding, PrivateMounts, RuntimeError, Severity};
use std::ffi::OsStr;
use std::path::Path;

/// What was seen of a host without becoming ready to run anything.
#[derive(Debug, Clone, Default)]
pub struct Looked {
    /// What the OCI runtime says of its release.
    pub version: Option<String>,
    /// What an agent would say at its start.
    pub findings: Vec<Finding>,
    /// What a job would meet where it was asked for and jobs have a network; or why that is not known.
    pub visit: Option<Result<Visit, String>>,
}

impl Looked {
    /// Whether there is a finding of this name.
    pub fn has(&self, id: &str) -> bool {
        self.findings.iter().any(|finding| finding.id == id)
    }
}

/// What is looked for.
#[derive(Debug, Clone, Copy)]
pub struct Looking<'a> {
    /// The OCI runtime's name or path, if one was named.
    pub runtime: Option<&'a str>,
    /// Where programs are found, as in `PATH`.
    pub search_path: &'a OsStr,
    /// Whether jobs are to have users of their own.
    pub users: OwnUsers,
    /// What jobs are to get for a network.
    pub network: &'a NetworkOptions,
    /// Whether what can't be had is refused.
    pub strict: bool,
    /// Host and port of a server that jobs may have to reach.
    pub visited: Option<(&'a str, u16)>,
    /// What is tried, and not only looked at, if anything.
    pub trial: Option<Trial<'a>>,
}

/// What is tried: mounts, which only this process sees.
#[derive(Debug, Clone, Copy)]
pub struct Trial<'a> {
    /// Proof that nobody else sees them.
    pub mounts: PrivateMounts,
    /// An empty directory to make a small disk in, which is removed again.
    pub disk: &'a Path,
    /// An empty directory on the file system of the data directory.
    pub data: &'a Path,
    /// A directory on the file system of the images, not above nor below that of the data.
    pub images: &'a Path,
    /// How this program starts its own helpers.
    pub helper: &'a Helper,
}

/// Whether this host has version 2 of control groups and no other.
pub fn has_version_2_alone() -> bool {
    Hierarchies::detect().is_ok_and(|host| host.layout() == "v2")
}

/// Looks at the host as [`super::OciRuntime`] does, and leaves nothing behind. Blocking.
pub fn look(wanted: Looking<'_>) -> Looked {
    let found = Program::find(wanted.runtime, wanted.search_path);
    let version = found.as_ref().ok().map(|program| program.version.clone());
    let family = found.as_ref().map(|program| program.family);
    let ordinary = wanted.trial.filter(|trial| trial.mounts.of_ordinary_user());
    let mut findings =
        vec![found.as_ref().map_or_else(no_runtime, |program| about(program, ordinary.is_some()))];
    findings.extend(ordinary.map(|trial| ordinary_user::finding(trial.helper, trial.data)));
    let ordinary = ordinary.is_some();
    match Hierarchies::detect() {
        Ok(host) if ordinary => findings.extend(groups(&host.delegated(), true)),
        Ok(host) => findings.extend(groups(&host, false)),
        Err(why) => findings.push(Finding {
            id: "cgroup.layout",
            severity: Severity::Fatal,
            seen: format!("which control groups there are can't be read: {why}"),
            remedy: "mount /proc".to_owned(),
        }),
    }
    if let Some(Trial { disk, data, images, helper, .. }) = wanted.trial {
        findings.extend(disks(&Disks::probe(wanted.search_path, false, disk), ordinary));
        let lack = match wanted.users {
            _ if ordinary => Some(Lack::Ordinary),
            OwnUsers::Never => Some(Lack::Unwanted),
            _ => users::try_out(helper, data, data, images).err().map(Lack::Impossible),
        };
        findings.extend(lack.map(|lack| no_users(&lack, wanted.users == OwnUsers::Always)));
    }
    findings.extend(overlay());
    let mut visit = None;
    if let (Some(trial), Ok(family)) = (wanted.trial, family) {
        let asked = (wanted.network, family);
        let tried = Means::probe(asked, wanted.search_path, ordinary, trial.disk);
        findings.push(about_network(&tried, wanted.network.by.is_needed(wanted.strict)));
        visit = wanted.visited.zip(tried.ok()).map(|(server, means)| {
            network::visit(server, &means, ordinary, trial.disk).map_err(|error| error.to_string())
        });
    }
    Looked { version, findings, visit }
}

fn no_runtime(why: &RuntimeError) -> Finding {
    let told = match std::error::Error::source(why) {
        Some(source) => {
            format!("{why}, {source}: look at that program, or name another by EXECUTOR_OCI_RUNTIME")
        }
        None => why.to_string(),
    };
    let (seen, remedy) = told.rsplit_once(": ").unwrap_or((&told, "name another by EXECUTOR_OCI_RUNTIME"));
    Finding { id: "oci.runtime", severity: Severity::Fatal, seen: seen.to_owned(), remedy: remedy.to_owned() }
}

pub(super) fn findings(shared: &Shared) -> Vec<Finding> {
    let mut findings = vec![about(&shared.program, shared.ordinary)];
    findings
        .extend(shared.ordinary.then(|| ordinary_user::finding(&shared.helper, &shared.instance.volumes())));
    findings.extend(groups(&shared.host, shared.ordinary));
    findings.extend(disks(&shared.disks, shared.ordinary));
    findings.extend(shared.users.lack().map(|lack| no_users(lack, shared.users.are_needed())));
    findings.extend(overlay());
    findings.push(about_network(&shared.network, shared.needs_network));
    findings
}

fn groups(host: &Hierarchies, ordinary: bool) -> Vec<Finding> {
    let mut findings = vec![layout(host, ordinary)];
    for (id, controller) in [
        ("cgroup.memory", Controller::Memory),
        ("cgroup.pids", Controller::Pids),
        ("cgroup.cpu", Controller::Cpu),
    ] {
        if !host.has(controller) {
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
    findings
}

fn disks(disks: &Disks, ordinary: bool) -> Option<Finding> {
    let why = disks.why_not()?;
    let remedy = if ordinary {
        "run executor as root, or keep its data directory on a file system of its own"
    } else {
        "install e2fsprogs and give the executor loop devices"
    };
    Some(Finding {
        id: "disk.limit",
        severity: Severity::Warning,
        seen: format!("disk limits can't be enforced: {why}"),
        remedy: remedy.to_owned(),
    })
}

/// Jobs have the host's users, or, if they may not, there are none.
fn no_users(lack: &Lack, needed: bool) -> Finding {
    let (severity, seen, remedy) = match lack {
        Lack::Unwanted => {
            (Severity::Info, "root in a job is root on the host, as is wanted".to_owned(), String::new())
        }
        Lack::Ordinary => (
            if needed { Severity::Fatal } else { Severity::Info },
            "root in a job is, to the host, the user that runs executor".to_owned(),
            if needed { format!("run executor as root, or {}", users::ELSE) } else { String::new() },
        ),
        Lack::Impossible(Obstacle { seen, remedy }) => (
            if needed { Severity::Fatal } else { Severity::Warning },
            format!("root in a job is root on the host, since jobs can't have users of their own: {seen}"),
            format!("{remedy}, or {}", users::ELSE),
        ),
    };
    Finding { id: "oci.users", severity, seen, remedy }
}

fn overlay() -> Option<Finding> {
    (!knows_overlay()).then(|| Finding {
        id: "oci.overlay",
        severity: Severity::Fatal,
        seen: "the kernel does not know overlayfs".to_owned(),
        remedy: "load the kernel module overlay".to_owned(),
    })
}

/// Who comes from a runtime that gives jobs a network has to know where there is none.
fn about_network(found: &Result<Means, NoNetwork>, needed: bool) -> Finding {
    let (severity, (seen, remedy)) = match found {
        Ok(means) => (Severity::Info, (means.seen(), String::new())),
        Err(lack @ NoNetwork::Unwanted) => (Severity::Info, lack.told()),
        Err(lack) => (if needed { Severity::Fatal } else { Severity::Warning }, lack.told()),
    };
    Finding { id: "oci.network", severity, seen, remedy }
}

fn about(program: &Program, ordinary: bool) -> Finding {
    let seen = format!("{} at {}", program.version, program.path.display());
    if ordinary && !program.family.starts_all_of_ordinary_users() {
        return Finding {
            id: "oci.runtime",
            severity: Severity::Fatal,
            seen: format!("{seen}: it can't start all steps of an ordinary user's"),
            remedy: "install crun or runc, or run executor as root".to_owned(),
        };
    }
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

fn layout(host: &Hierarchies, ordinary: bool) -> Finding {
    if host.any() {
        let seen = format!("control groups: {}", host.layout());
        return Finding { id: "cgroup.layout", severity: Severity::Info, seen, remedy: String::new() };
    }
    if ordinary {
        let seen =
            "control groups: none that this user may use; what a job starts ends with a process namespace";
        return Finding {
            id: "cgroup.layout",
            severity: Severity::Info,
            seen: seen.to_owned(),
            remedy: String::new(),
        };
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

#[cfg(test)]
mod tests {
    use super::super::program::Family;
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn each_controller_that_is_missing_is_a_warning() {
        let root = tempfile::tempdir().unwrap();
        let missing_in = |offered: &str| {
            std::fs::write(root.path().join("cgroup.controllers"), offered).unwrap();
            let host = Hierarchies::parse(root.path(), "1 2 0:1 / / rw - cgroup2 cgroup2 rw\n", "0::/\n");
            let (layout, missing): (Vec<_>, Vec<_>) =
                groups(&host, false).into_iter().partition(|finding| finding.id == "cgroup.layout");
            assert_eq!(layout[0].seen, "control groups: v2");
            missing
        };
        assert_eq!(missing_in("cpu io memory pids"), []);
        for (offered, id, name) in [
            ("cpu pids", "cgroup.memory", "memory"),
            ("cpu memory", "cgroup.pids", "pids"),
            ("cpuset memory pids", "cgroup.cpu", "cpu"),
        ] {
            let expected = Finding {
                id,
                severity: Severity::Warning,
                seen: format!("there is no {name} controller: {name} limits can't be enforced"),
                remedy: format!(
                    "delegate the {name} controller to the executor's control group (systemd: Delegate=yes)"
                ),
            };
            assert_eq!(missing_in(offered), [expected]);
        }
        assert_eq!(missing_in("").len(), 3);
    }

    #[test]
    fn why_jobs_have_the_hosts_users_is_told_with_what_helps() {
        let unwanted = no_users(&Lack::Unwanted, false);
        assert_eq!((unwanted.severity, unwanted.remedy.as_str()), (Severity::Info, ""));
        let obstacle = Obstacle { seen: "it rains".to_owned(), remedy: "take an umbrella".to_owned() };
        let lack = Lack::Impossible(obstacle);
        let told = no_users(&lack, false);
        assert_eq!((told.id, told.severity), ("oci.users", Severity::Warning));
        assert!(told.seen.ends_with("users of their own: it rains"), "{}", told.seen);
        assert!(told.remedy.starts_with("take an umbrella, or set EXECUTOR_USER_NAMESPACE=false"));
        assert_eq!(no_users(&lack, true).severity, Severity::Fatal, "they were asked for");
    }

    #[test]
    fn what_fails_some_steps_of_an_ordinary_users_runs_none() {
        let program = |family: Family| Program {
            path: "/bin/it".into(),
            family,
            version: format!("{} version 1", family.name()),
        };
        let told = about(&program(Family::Runsc), true);
        assert_eq!(told.severity, Severity::Fatal);
        assert_eq!(told.seen, "runsc version 1 at /bin/it: it can't start all steps of an ordinary user's");
        for (family, ordinary) in
            [(Family::Crun, true), (Family::Runc, true), (Family::Youki, true), (Family::Runsc, false)]
        {
            assert_ne!(about(&program(family), ordinary).severity, Severity::Fatal, "{family:?}");
        }
    }

    #[test]
    fn the_runtime_that_was_taken_is_told_with_its_version() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["crun", "runc"] {
            let program = dir.path().join(name);
            std::fs::write(&program, format!("#!/bin/sh\necho {name} version 9.1\n")).unwrap();
            std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        for (wanted, name) in [(None, "crun"), (Some("runc"), "runc")] {
            let looked = look(Looking {
                runtime: wanted,
                search_path: dir.path().as_os_str(),
                users: OwnUsers::Always,
                network: &NetworkOptions::default(),
                strict: false,
                visited: None,
                trial: None,
            });
            assert_eq!(looked.version, Some(format!("{name} version 9.1")));
            let seen = format!("{name} version 9.1 at {}", dir.path().join(name).display());
            let told = Finding { id: "oci.runtime", severity: Severity::Info, seen, remedy: String::new() };
            assert_eq!(looked.findings[0], told);
        }
    }
}
