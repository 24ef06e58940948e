//! Every check: its name, what it is about and how bad it may come out.
//!
//! The one list: findings are put in its order and under its headings, and `docs/doctor.md` is made from it.

use super::finding::Finding;
use super::finding::Severity::{self, Fatal, Info, Ok, Warning};

/// What belongs together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Group {
    pub(super) name: &'static str,
    pub(super) checks: &'static [Check],
}

/// One check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Check {
    /// Its stable name.
    pub(super) id: &'static str,
    /// What is looked at, and what for.
    pub(super) about: &'static str,
    /// What it may come to.
    pub(super) comes_to: &'static [Severity],
    /// What is said when whoever looks says only what is wrong, and nothing is.
    pub(super) when_fine: Option<&'static str>,
}

pub(super) const fn check(id: &'static str, comes_to: &'static [Severity], about: &'static str) -> Check {
    Check { id, about, comes_to, when_fine: None }
}

impl Check {
    const fn fine(self, seen: &'static str) -> Self {
        Self { when_fine: Some(seen), ..self }
    }
}

/// All of them.
pub(super) const GROUPS: &[Group] = &[
    Group { name: "configuration", checks: CONFIGURATION },
    Group { name: "control plane", checks: CONTROL_PLANE },
    Group { name: "certificates", checks: CERTIFICATES },
    Group { name: "programs", checks: PROGRAMS },
    Group { name: "runtime oci", checks: OCI },
    Group { name: "container engine", checks: ENGINE },
    Group { name: "registries", checks: REGISTRIES },
    Group { name: "host", checks: HOST },
    Group { name: "service", checks: SERVICE },
    Group { name: "control plane on this host", checks: super::server::CHECKS },
];

const CONFIGURATION: &[Check] = &[
    check(
        "config.variables",
        &[Ok, Fatal],
        "Every variable that an agent reads has a value that it can use: one finding for each fault, in the words of \
         `executor run`.",
    ),
    check(
        "config.never",
        &[Warning],
        "No name is set that looks like a variable and never was one; tells the right name.",
    ),
    check(
        "config.unknown",
        &[Warning],
        "No name is set that begins as ours do and is not known; tells the nearest that is.",
    ),
    check("config.conflict", &[Warning], "Nothing is asked for that this version can't do."),
    check("config.effect", &[Info], "What is set and has no effect with the runtime that runs the jobs."),
    check(
        "config.effective",
        &[Info],
        "What is in force: the runtime, how many jobs at a time, and what one may use.",
    ),
    check("config.secret", &[Ok, Warning], "The shared secret has at least 20 characters."),
    check(
        "config.startup-script",
        &[Ok, Warning],
        "What `EXECUTOR_VM_STARTUP_SCRIPT_PATH` names is there, and is a program.",
    ),
    check(
        "config.obsolete",
        &[Info],
        "Documented settings that newer releases of the reference know no more.",
    ),
    check(
        "config.exporter",
        &[Ok, Warning],
        "`NODE_EXPORTER_URL` and `DOCKER_REGISTRY_NODE_EXPORTER_URL` name a base URL, without `/metrics`, and somebody \
         answers wherever an agent asks: `/metrics` of the one, `/proxy` of the other for both of its modules.",
    ),
];

const CONTROL_PLANE: &[Check] = &[
    check(
        "frontend.dns",
        &[Ok, Warning, Fatal],
        "The host of `EXECUTOR_FRONTEND_URL`, or of the proxy on the way there, has addresses.",
    ),
    check(
        "frontend.reach",
        &[Ok, Info, Warning, Fatal],
        "Connections to its addresses, of IPv4 and IPv6, are accepted. If none is, usual ports of the same host are tried, \
         and one that answers is named.",
    ),
    check(
        "frontend.tls",
        &[Ok, Info, Warning, Fatal],
        "Its certificate is valid, made for this name, and comes of an authority that is trusted here. Without TLS: whether \
         secrets leave the private network in plain text.",
    ),
    check(
        "frontend.answer",
        &[Ok, Fatal],
        "What answers is a control plane: no redirect, no web page, no other service, not out of order.",
    ),
    check("frontend.token", &[Ok, Info, Fatal], "It takes the shared secret."),
    check(
        "frontend.clock",
        &[Ok, Info, Warning],
        "Its clock and this host's differ by less than 10 s, by the header `Date` of its answer.",
    ),
    check(
        "frontend.version",
        &[Info],
        "Which release it says it is of, as far as it tells without a login, and what that means for jobs.",
    ),
    check(
        "frontend.src-steps",
        &[Ok, Warning],
        "Jobs of the queue `batches` can run in the form in which a stock instance sends them: as calls of `src`, unless its \
         site configuration has `batchChanges.nativeServerSideExecution`; and the `src` here is of the version that it \
         recommends.",
    ),
    check(
        "frontend.proxy",
        &[Ok, Info, Warning],
        "Proxy variables name proxies that answer, and hosts of a private network are called without one; tells what \
         `NO_PROXY` lacks.",
    ),
    check(
        "job.names",
        &[Ok, Info, Warning],
        "The host of `EXECUTOR_FRONTEND_URL` has an address for jobs as well: it is asked for out of a network as jobs have \
         it, which is made and removed again. Of an engine's containers: it does not stand in this host's `/etc/hosts` alone.",
    ),
    check(
        "job.reach",
        &[Ok, Info, Warning],
        "Jobs reach the control plane, as indexers do to upload, in the queue `codeintel`: a connection is made out of such a \
         network; if its address is private, tells what to put into `EXECUTOR_OCI_NETWORK_ALLOW`. Of an engine's containers: \
         it is named in a way that they can share.",
    ),
];

const CERTIFICATES: &[Check] = &[
    check(
        "certificates.system",
        &[Ok, Warning],
        "The system's places hold the public authorities: a directory that was mounted over them hides these.",
    ),
    check(
        "certificates.named",
        &[Ok, Warning, Fatal],
        "What `SSL_CERT_FILE` and `SSL_CERT_DIR` name can be read and holds certificates, none of them expired or not valid \
         yet.",
    ),
];

const PROGRAMS: &[Check] = &[check("git.version", &[Ok, Fatal], "git is there, and is 2.26 or later.")];

const OCI: &[Check] = &[
    check(
        "oci.runtime",
        &[Info, Warning, Fatal],
        "crun, runc, youki or runsc is there, or what `EXECUTOR_OCI_RUNTIME` names; what does not hold with it.",
    ),
    check(
        "oci.version",
        &[Ok, Info, Warning],
        "Its version is none with a known way out of containers. Distributors mend without a new number: for those \
         that mark their builds, this is worth a look, no more.",
    ),
    check(
        "oci.mounts",
        &[Ok, Warning, Fatal],
        "There may be a mount namespace of one's own, and in it a disk of 8 MiB, which is made and removed again; run by an \
         ordinary user, a user namespace to have it in.",
    ),
    check(
        "oci.ordinary",
        &[Info, Warning, Fatal],
        "Run by an ordinary user: the kernel lets it have what every job needs, which is made and removed again; how many \
         users `/etc/subuid` and `/etc/subgid` give it for jobs, and whether images need more.",
    ),
    check(
        "cgroup.layout",
        &[Info, Fatal],
        "Control groups are there, of version 1, 2 or both: without them, what a job started can't be found again. An \
         ordinary user needs none for that, and has limits in those that were delegated to it.",
    ),
    check("cgroup.memory", &[Ok, Warning], "Memory limits can be enforced.")
        .fine("there is a memory controller"),
    check("cgroup.pids", &[Ok, Warning], "Limits of processes can be enforced.")
        .fine("there is a pids controller"),
    check("cgroup.cpu", &[Ok, Warning], "CPU limits can be enforced.").fine("there is a cpu controller"),
    check(
        "disk.limit",
        &[Ok, Warning],
        "Disk limits can be enforced: mkfs.ext4 and loop devices are there, and a small disk could be made.",
    )
    .fine("a small disk was made and removed again"),
    check(
        "oci.users",
        &[Ok, Info, Warning, Fatal],
        "Jobs can have users of their own, so that root in a job is nobody on the host: a user namespace, and in it mounts \
         as a job has them, are made and removed again. Fatal where `EXECUTOR_USER_NAMESPACE=true` asks for them.",
    )
    .fine("jobs have users of their own: root in a job is nobody on the host"),
    check(
        "oci.network",
        &[Info, Warning, Fatal],
        "What jobs can reach over a network, and by which program: `pasta` (package `passt`) or `slirp4netns` is found, and \
         a network as jobs have it, closed to what is private, is made and removed again. Fatal where \
         `EXECUTOR_OCI_NETWORK` names one that does not work, or under `EXECUTOR_STRICT=true`.",
    ),
    check("oci.overlay", &[Ok, Fatal], "The kernel knows overlayfs, which images are mounted with.")
        .fine("the kernel knows overlayfs"),
];

const ENGINE: &[Check] = &[
    check(
        "engine.reachable",
        &[Info, Fatal],
        "The engine that `DOCKER_HOST` names, or the first that listens at a usual socket of Docker's or Podman's, answers: its version, API, storage and \
         control group driver. It is looked for where it would run the jobs, or is there anyway.",
    ),
    check("limit.memory", &[Info, Warning], "The engine can enforce memory limits."),
    check("limit.pids", &[Info, Warning], "The engine can enforce limits of processes."),
    check("limit.cpu", &[Info, Warning], "The engine can enforce CPU limits."),
    check("limit.disk", &[Info, Warning], "The engine can enforce disk limits."),
    check("limit.swap", &[Info, Warning], "Memory limits count swap as well."),
    check("engine.storage", &[Info], "The storage driver does not copy whole images."),
    check("engine.warning", &[Info], "What the engine itself warns of."),
    check("engine.seccomp", &[Info, Warning], "The engine filters system calls."),
    check("engine.rights", &[Info], "Whose choice of rights containers get."),
    check("engine.runtime", &[Info, Fatal], "The engine has the OCI runtime that was named."),
    check("engine.rootless", &[Info], "The engine runs without root."),
    check("engine.users", &[Info], "Whether root in a job is root on the engine's host."),
    check("engine.network", &[Info], "What jobs can reach."),
    check(
        "engine.workspaces",
        &[Ok, Info, Fatal],
        "Workspaces can be made, and are where the engine's host finds them: it is shown one, by a container that is made \
         with it, from whatever image the engine has, and neither started nor kept. Without an image it is not known. \
         Looked at where the engine runs the jobs.",
    ),
    check("engine.exposed", &[Info, Warning], "The engine is not reached in plain text from another host."),
];

const REGISTRIES: &[Check] = &[
    check("registry.config", &[Ok, Info, Fatal], "The Docker configuration of the agent's user can be read."),
    check(
        "registry.helper",
        &[Ok, Warning],
        "The credential helpers that it names are programs on `PATH`. None is started.",
    ),
    check(
        "registry.login",
        &[Info, Warning],
        "No login of `EXECUTOR_DOCKER_AUTH_CONFIG` ends with a line break, as `echo` without `-n` leaves one, and it names \
         no credential helpers, which count in the Docker configuration only.",
    ),
    check(
        "registry.answer",
        &[Ok, Warning],
        "Each mirror answers at `/v2/` as a registry does; without mirrors, Docker Hub. No login is shown.",
    ),
    check(
        "images.store",
        &[Ok, Info, Warning, Fatal],
        "The directory of images is there or can be made, and is on a file system that images can be mounted from.",
    ),
];

const HOST: &[Check] = &[
    check("host.platform", &[Ok, Info], "The architecture is amd64, which published images are made for."),
    check("kernel.version", &[Ok, Warning], "The kernel is 5.8 or later: jobs' disks need it."),
    check("kernel.seccomp", &[Ok, Fatal], "The kernel can filter system calls."),
    check("kernel.users", &[Ok, Info], "User namespaces can be made."),
    check(
        "kernel.kvm",
        &[Info],
        "Whether virtual machines would run at a useful speed: not that `/dev/kvm` is there, but how long a loop takes \
         in one. No runtime of this version needs it.",
    ),
    check(
        "disk.room",
        &[Ok, Info, Fatal],
        "More is free on the disk of the data directory, and more files can be made there, than the floor below which no \
         job is taken; where an engine runs the jobs, on those of `TMPDIR` and of the engine's own directory as well.",
    ),
    check(
        "disk.jobs",
        &[Ok, Info, Warning],
        "As many jobs at a time as may run, each with a full disk, fit on it, and it has file names to spare.",
    ),
    check("disk.state", &[Ok, Info, Warning, Fatal], "The data directory can be written to, or made."),
    check(
        "host.memory",
        &[Ok, Info, Warning],
        "As many jobs at a time as may run, each with all the memory it may use, fit into this host's, or into that of \
         the control group that executor is in.",
    ),
    check("host.cpus", &[Ok, Info], "The same for CPUs: fewer make jobs slower, and nothing worse."),
    check("host.files", &[Ok, Warning], "The limit of open files leaves 64 for each job."),
    check(
        "host.processes",
        &[Ok, Info, Warning],
        "The limit of processes of executor's own control group, such as TasksMax of its unit, and the numbers that the \
         host has for processes (kernel.pid_max, kernel.threads-max) leave room for those of the jobs.",
    ),
    check(
        "host.watches",
        &[Ok, Info],
        "There are 512 inotify instances (fs.inotify.max_user_instances) for each job and as many for the host's root: one \
         job can take them all.",
    ),
    check("host.time", &[Ok, Info, Warning], "The kernel says that something keeps its clock in step."),
];

const SERVICE: &[Check] = &[
    check("agent.running", &[Info], "Which agents work with the data directory now, and what they serve."),
    check(
        "agent.left",
        &[Ok, Warning],
        "Nothing is left in the data directory of agents that are gone: no job that nobody looks after, no sandbox.",
    ),
    check(
        "systemd.unit",
        &[Ok, Info, Warning],
        "Run in a unit of systemd: it has Delegate=yes and KillMode=mixed or process, and limits that leave room for jobs.",
    ),
];

/// A check, and its place among all.
pub(super) fn find(id: &str) -> Option<(usize, &'static Group, &'static Check)> {
    let all = GROUPS.iter().flat_map(|group| group.checks.iter().map(move |check| (group, check)));
    all.enumerate()
        .find(|(_, (_, check))| check.id == id)
        .map(|(place, (group, check))| (place, group, check))
}

/// Whether a finding is one that its check may come to.
pub(super) fn allows(finding: &Finding) -> bool {
    find(finding.id).is_some_and(|(_, _, check)| check.comes_to.contains(&finding.severity))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_are_unique_and_checks_are_told() {
        let mut names = BTreeSet::new();
        for check in GROUPS.iter().flat_map(|group| group.checks) {
            assert!(names.insert(check.id), "{} is there twice", check.id);
            assert!(check.about.ends_with('.') && !check.about.contains('\n'), "{}", check.id);
            assert!(check.comes_to.is_sorted() && !check.comes_to.is_empty(), "{}", check.id);
        }
    }
}
