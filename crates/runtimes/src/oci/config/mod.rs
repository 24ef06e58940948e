//! The container's description, `config.json`.

pub(super) mod certificates;
mod environment;
pub(super) mod paths;
mod seccomp;

pub(super) use seccomp::profile as seccomp_profile;

use super::filter::ANNOTATION;
use super::program::Family;
use super::root::Given;
use super::user::User;
use super::users;
use crate::{STARTUP_SCRIPT, Step};
use images::ImageConfig;
use oci_spec::OciSpecError;
use oci_spec::runtime::{
    Capability, Linux, LinuxBuilder, LinuxCapabilities, LinuxCapabilitiesBuilder, LinuxDeviceCgroupBuilder,
    LinuxIdMappingBuilder, LinuxNamespaceBuilder, LinuxNamespaceType, LinuxResourcesBuilder, LinuxSeccomp,
    Mount, MountBuilder, PosixRlimit, PosixRlimitBuilder, PosixRlimitType, Process, ProcessBuilder,
    RootBuilder, Spec, SpecBuilder, UserBuilder,
};
use rustix::process::{Resource, getrlimit};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// What package managers, compilers and test suites that run as root need. What engines grant
/// beyond this list reaches raw sockets, devices, file capabilities and the audit log.
pub(super) const CAPABILITIES: [Capability; 10] = [
    Capability::Chown,
    Capability::DacOverride,
    Capability::Fowner,
    Capability::Fsetid,
    Capability::Kill,
    Capability::Setgid,
    Capability::Setuid,
    Capability::Setpcap,
    Capability::NetBindService,
    Capability::SysChroot,
];

/// Open files that a step begins with; it may raise them to the second figure.
const OPEN_FILES: (u64, u64) = (65_536, 1_048_576);

/// What the kernel adds to a step's size when it looks for what to end, the host being out of memory: the
/// most there is, so that jobs go before everything else, and among them the largest. To raise it needs no
/// right. It can't be lowered again where it was set with `CAP_SYS_RESOURCE`.
pub(super) const OOM_SCORE_ADJUST: i32 = 1_000;

/// Everything of a step that its container is made from.
pub(super) struct Container<'a> {
    pub(super) step: &'a Step,
    pub(super) image: &'a ImageConfig,
    pub(super) user: &'a User,
    /// What its root is on the host, if it has users of its own.
    pub(super) users: Option<u32>,
    /// Whether there is a network namespace already, which the runtime is in.
    pub(super) has_network: bool,
    /// Where `/sys` is mounted already, if it is.
    pub(super) system: Option<&'a Path>,
    pub(super) hostname: &'a str,
    pub(super) root: &'a Path,
    pub(super) workspace: &'a Path,
    /// The layer of our own, with a copy of what a step is given.
    pub(super) skeleton: &'a Path,
    /// The control group that the runtime shall make for the step, below ours; `None` when it
    /// makes none.
    pub(super) group: Option<PathBuf>,
}

/// Writes descriptions. Made once, since the seccomp profile is long.
pub(super) struct Writer {
    seccomp: LinuxSeccomp,
    /// Whether directories are hidden by mounts of ours, and not by the runtime.
    hides: bool,
    /// What every step is given.
    gifts: Gifts,
}

/// Files of the host that every step is given.
#[derive(Debug, Clone, Default)]
pub(super) struct Gifts {
    /// A bundle of certificates.
    pub(super) certificates: Option<PathBuf>,
    /// A script that the step runs first.
    pub(super) startup_script: Option<PathBuf>,
}

impl Gifts {
    /// Each with the place where the step finds it.
    fn each(&self) -> impl Iterator<Item = Given<'_>> {
        let places = [(&self.certificates, certificates::PLACE), (&self.startup_script, STARTUP_SCRIPT)];
        places.into_iter().filter_map(|(file, place)| Some(Given { file: file.as_deref()?, place }))
    }
}

impl Writer {
    /// What a step is given, and where it finds that.
    pub(super) fn given(&self) -> Vec<Given<'_>> {
        self.gifts.each().collect()
    }

    pub(super) fn new(gifts: Gifts) -> Result<Self, OciSpecError> {
        Ok(Self { seccomp: seccomp::profile()?, hides: false, gifts })
    }

    /// In the dialect of `family`.
    pub(super) fn for_family(self, family: Family) -> Result<Self, OciSpecError> {
        let told = Self { hides: family.hides_behind_its_state(), ..self };
        if family.compares_masked() {
            return Ok(told);
        }
        Ok(Self { seccomp: seccomp::profile_without_masks()?, ..told })
    }

    /// Which system calls a step may make.
    pub(super) fn profile(&self) -> &LinuxSeccomp {
        &self.seccomp
    }

    /// `filter` is the compiled seccomp profile, where it is known; the profile is there in any case.
    pub(super) fn spec(&self, container: &Container<'_>, filter: Option<&str>) -> Result<Spec, OciSpecError> {
        let mut mounts = paths::mounts(container.workspace, container.system)?;
        let (hidden, masked) = paths::hidden(self.hides)?;
        mounts.extend(hidden);
        for given in self.given() {
            mounts.push(given_mount(given.below(container.skeleton), given.place)?);
        }
        let has_certificates = self.gifts.certificates.is_some();
        let compiled = filter.map(|filter| (ANNOTATION.to_owned(), filter.to_owned()));
        SpecBuilder::default()
            .annotations(compiled.into_iter().collect::<HashMap<_, _>>())
            .version("1.0.2")
            .root(RootBuilder::default().path(container.root).readonly(false).build()?)
            .hostname(container.hostname)
            .mounts(mounts)
            .process(process(container, has_certificates)?)
            .linux(self.linux(container, &masked)?)
            .build()
    }

    fn linux(&self, container: &Container<'_>, masked: &[&str]) -> Result<Linux, OciSpecError> {
        let own = |list: &[&str]| list.iter().map(|&item| item.to_owned()).collect::<Vec<_>>();
        let namespaces = [
            LinuxNamespaceType::Pid,
            LinuxNamespaceType::Ipc,
            LinuxNamespaceType::Uts,
            LinuxNamespaceType::Mount,
            LinuxNamespaceType::Cgroup,
        ]
        .into_iter()
        .chain((!container.has_network).then_some(LinuxNamespaceType::Network))
        .map(|kind| LinuxNamespaceBuilder::default().typ(kind).build())
        .collect::<Result<Vec<_>, _>>()?;
        let mut namespaces = namespaces;
        let users = container.users.map(|root| {
            LinuxIdMappingBuilder::default().container_id(0_u32).host_id(root).size(users::SIZE).build()
        });
        let users = users.transpose()?;
        if users.is_some() {
            namespaces.push(LinuxNamespaceBuilder::default().typ(LinuxNamespaceType::User).build()?);
        }
        let mut linux = LinuxBuilder::default()
            .namespaces(namespaces)
            .seccomp(self.seccomp.clone())
            .masked_paths(own(masked))
            .readonly_paths(own(paths::READ_ONLY));
        if let Some(group) = &container.group {
            // Everything; the runtime adds the harmless ones.
            let deny = LinuxDeviceCgroupBuilder::default().allow(false).access("rwm").build()?;
            linux = linux
                .cgroups_path(group.as_path())
                .resources(LinuxResourcesBuilder::default().devices([deny]).build()?);
        }
        if let Some(users) = users {
            linux = linux.uid_mappings([users]).gid_mappings([users]);
        }
        let mut linux = linux.build()?;
        if container.group.is_none() {
            linux.set_resources(None);
        }
        Ok(linux)
    }
}

/// `copy`, on the job's own disk, at its place, not to be changed. A step's table of mounts tells where what is
/// mounted lies in its file system: the file itself would tell of the host.
fn given_mount(copy: PathBuf, place: &str) -> Result<Mount, OciSpecError> {
    let options = ["bind", "ro", "nosuid", "nodev", "noexec"].map(str::to_owned);
    MountBuilder::default().destination(place).typ("bind").source(copy).options(options).build()
}

fn process(container: &Container<'_>, has_certificates: bool) -> Result<Process, OciSpecError> {
    let ours: Vec<_> = has_certificates.then(certificates::variables).into_iter().flatten().collect();
    let user = UserBuilder::default()
        .uid(container.user.uid)
        .gid(container.user.gid)
        .additional_gids(container.user.groups.clone())
        .build()?;
    ProcessBuilder::default()
        .terminal(false)
        .user(user)
        .args(container.step.argv.clone())
        .env(environment::merge(
            container.image,
            &ours,
            &container.step.env,
            &container.user.home,
            container.hostname,
        ))
        .cwd(container.step.cwd.as_str())
        .capabilities(capabilities(container.user.uid)?)
        .rlimits(resource_limits()?)
        .no_new_privileges(true)
        .oom_score_adj(OOM_SCORE_ADJUST)
        .build()
}

/// Nothing is inheritable or ambient, so that a user other than root has none at all.
fn capabilities(uid: u32) -> Result<LinuxCapabilities, OciSpecError> {
    let all = || CAPABILITIES.into_iter().collect::<oci_spec::runtime::Capabilities>();
    let held = || if uid == 0 { all() } else { oci_spec::runtime::Capabilities::new() };
    LinuxCapabilitiesBuilder::default()
        .bounding(all())
        .effective(held())
        .permitted(held())
        .inheritable(oci_spec::runtime::Capabilities::new())
        .ambient(oci_spec::runtime::Capabilities::new())
        .build()
}

fn resource_limits() -> Result<Vec<PosixRlimit>, OciSpecError> {
    // Raising beyond our own needs a capability that we may not have.
    let allowed = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
    let limit = |kind, soft, hard| PosixRlimitBuilder::default().typ(kind).soft(soft).hard(hard).build();
    Ok(vec![
        limit(PosixRlimitType::RlimitNofile, OPEN_FILES.0.min(allowed), OPEN_FILES.1.min(allowed))?,
        // A core dump is written where the host's kernel says, not where the job may write.
        limit(PosixRlimitType::RlimitCore, 0_u64, 0_u64)?,
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::LazyLock;

    fn step(env: Vec<String>) -> Step {
        Step { image: "i".into(), argv: vec!["true".into()], cwd: "/data".into(), env, ..Step::default() }
    }

    fn written(step: &Step, image: &ImageConfig, gifts: Gifts) -> serde_json::Value {
        let spec = Writer::new(gifts).unwrap().spec(&container(step, image), None);
        serde_json::to_value(spec.unwrap()).unwrap()
    }

    fn container<'a>(step: &'a Step, image: &'a ImageConfig) -> Container<'a> {
        static USER: LazyLock<User> =
            LazyLock::new(|| User { uid: 1000, gid: 1000, groups: vec![], home: "/".into() });
        Container {
            step,
            image,
            user: &USER,
            users: None,
            has_network: false,
            system: None,
            hostname: "job-1",
            root: Path::new("/r"),
            workspace: Path::new("/w"),
            skeleton: Path::new("/s"),
            group: None,
        }
    }

    #[test]
    fn certificates_are_there_when_they_are_wanted() {
        let env = vec!["GIT_SSL_CAINFO=/step".to_owned()];
        let step = step(env);
        let image = ImageConfig { env: vec!["SSL_CERT_FILE=/image".into()], ..ImageConfig::default() };
        let gifts = Gifts { certificates: Some("/b".into()), ..Gifts::default() };
        let (with, without) = (written(&step, &image, gifts), written(&step, &image, Gifts::default()));
        let bundle = with["mounts"].as_array().unwrap().last().unwrap();
        assert_eq!(
            (&bundle["source"], &bundle["destination"]),
            (&"/s/etc/executor/certificates.pem".into(), &"/etc/executor/certificates.pem".into())
        );
        assert!(bundle["options"].as_array().unwrap().contains(&"ro".into()));
        let has = |spec: &serde_json::Value, pair: &str| {
            spec["process"]["env"].as_array().unwrap().contains(&pair.into())
        };
        assert!(has(&with, "SSL_CERT_FILE=/etc/executor/certificates.pem"), "the image's own names fewer");
        assert!(has(&with, "GIT_SSL_CAINFO=/step"), "the step knows best");
        assert!(has(&without, "SSL_CERT_FILE=/image"));
        assert!(!without.to_string().contains("certificates.pem"));
    }

    #[test]
    fn a_script_that_is_to_be_run_first_is_there_and_can_t_be_changed() {
        let step = step(vec![]);
        let gifts = Gifts { startup_script: Some("/b".into()), ..Gifts::default() };
        let json = written(&step, &ImageConfig::default(), gifts);
        let mount = json["mounts"].as_array().unwrap().last().unwrap();
        assert_eq!(
            (&mount["source"], &mount["destination"]),
            (&format!("/s{STARTUP_SCRIPT}").into(), &STARTUP_SCRIPT.into())
        );
        assert!(mount["options"].as_array().unwrap().contains(&"ro".into()));
        assert!(
            !json["process"].to_string().contains("/etc/executor"),
            "the step's script knows where it is"
        );
    }

    #[test]
    fn what_is_hidden_is_so_by_one_of_us() {
        let step = step(vec![]);
        let image = ImageConfig::default();
        for (family, hides) in [(Family::Crun, true), (Family::Runc, false)] {
            let writer = Writer::new(Gifts::default()).unwrap().for_family(family).unwrap();
            let json = serde_json::to_value(writer.spec(&container(&step, &image), None).unwrap()).unwrap();
            let list = |of: &serde_json::Value| of.as_array().unwrap().clone();
            let masked = list(&json["linux"]["maskedPaths"]);
            let mounts = list(&json["mounts"]);
            for path in paths::MASKED {
                let mount = mounts.iter().position(|mount| mount["destination"] == *path);
                assert_ne!(mount.is_some(), masked.contains(&(*path).into()), "{path}");
                assert_eq!(mount.is_some(), hides && Path::new(path).is_dir(), "{path}");
                let Some(mount) = mount else { continue };
                assert!(mount > mounts.iter().position(|mount| mount["destination"] == "/sys").unwrap());
                assert!(list(&mounts[mount]["options"]).contains(&"size=0k".into()), "{path}");
            }
        }
    }

    #[test]
    fn a_plain_user_holds_no_capability() {
        let step = step(vec![]);
        let json = written(&step, &ImageConfig::default(), Gifts::default());
        assert_eq!(json["process"]["capabilities"]["effective"], serde_json::json!([]));
        assert_eq!(json["process"]["capabilities"]["bounding"].as_array().unwrap().len(), CAPABILITIES.len());
        assert_eq!(json["process"]["noNewPrivileges"], true);
        assert_eq!(json["process"]["oomScoreAdj"], 1_000);
        assert_eq!(json["hostname"], "job-1");
        assert!(json["linux"].get("resources").is_none());
        assert!(json["mounts"].as_array().unwrap().iter().all(|mount| mount["type"] != "cgroup"));
    }
}
