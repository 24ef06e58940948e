//! What all sandboxes of a runtime share.

use super::additional::{AdditionalMount, in_order};
use super::config::{Gifts, Writer};
use super::disks::Disks;
use super::filter::Filter;
use super::guardian::guard;
use super::instance::{Instance, parent_group};
use super::network::{Lack as NoNetwork, Means};
use super::program::Program;
use super::room::HostDisk;
use super::slot::Slot;
use super::spare::Spare;
use super::users::{self, Lack, Users};
use super::{Helper, OciOptions, OwnUsers, Tried};
use crate::cgroup::{Controller, Group, Hierarchies};
use crate::guardian::Guardian;
use crate::{Limits, RuntimeError};
use images::ImageStore;
use rustix::mount::{UnmountFlags, unmount};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Another spare is made so much later than one was taken: the job that took it is just starting, and
/// needs the processor more.
const SPARE_PAUSE: Duration = Duration::from_millis(100);
/// A container can't even be started with less memory, in bytes.
const LEAST_MEMORY: u64 = 8 << 20;

pub(super) struct Shared {
    pub(super) images: Arc<ImageStore>,
    pub(super) program: Program,
    pub(super) instance: Instance,
    pub(super) host: Hierarchies,
    pub(super) disks: Disks,
    pub(super) host_disk: HostDisk,
    pub(super) users: Users,
    /// How jobs get a network, or why they have a loopback only.
    pub(super) network: Result<Means, NoNetwork>,
    /// Whether jobs are refused then.
    pub(super) needs_network: bool,
    /// What the operator has mounted in every step besides.
    pub(super) additional: Vec<AdditionalMount>,
    pub(super) writer: Writer,
    pub(super) filter: Filter,
    pub(super) helper: Helper,
    pub(super) grace: Duration,
    /// Whether to the host this process is an ordinary user, and root in a user namespace only.
    pub(super) ordinary: bool,
    group_parent: String,
    spare_disk: u64,
    one_job: bool,
    strict: bool,
    numbers: AtomicU64,
    spare: Spare<Slot>,
    /// The last of all: what is above has been given back when it is told that nobody needs it.
    pub(super) guardian: Guardian,
}

impl Shared {
    pub(super) fn new(options: OciOptions, images: Arc<ImageStore>) -> Result<Self, RuntimeError> {
        options.check()?;
        let additional = in_order(options.additional_mounts)?;
        let state_dir = &options.state_dir;
        let (program, disks, lack, network) = match options.tried {
            Some(Tried { program, disks, users, network }) => {
                (program, Some(disks), Some(users), Some(network))
            }
            None => (Program::find(options.runtime.as_deref(), &options.search_path)?, None, None, None),
        };
        let ordinary = options.mounts.of_ordinary_user();
        let host = Hierarchies::detect().map_err(RuntimeError::io("read which control groups there are"))?;
        let host = if ordinary { host.delegated() } else { host };
        let lack = if ordinary { Some(Some(Lack::Ordinary)) } else { lack };
        let gifts = Gifts {
            certificates: options.certificates.clone(),
            startup_script: options.startup_script.clone(),
        };
        let writer = Writer::new(gifts)
            .and_then(|writer| writer.for_family(program.family))
            .map_err(|error| RuntimeError::Host(error.to_string()))?;
        let group_parent = parent_group(&options.owner);
        let prepared = || RuntimeError::io(format!("prepare the state directory {}", state_dir.display()));
        let id = Instance::new_id().map_err(prepared())?;
        // The guardian knows of it first: this process may be killed between any two calls.
        let guardian = guard(&options.helper, state_dir, &options.owner, &id)
            .map_err(RuntimeError::io(format!("start the guardian {}", options.helper.program.display())))?;
        let instance = Instance::create(state_dir, id, &host.below(&group_parent)).map_err(prepared())?;
        let disks = match disks {
            Some(mkfs) => Disks::known(mkfs, options.strict),
            None => Disks::probe(&options.search_path, options.strict, &instance.volumes()),
        };
        let filter = Filter::new(&program, writer.profile(), state_dir);
        let wanted = match options.users {
            OwnUsers::WherePossible if options.strict => OwnUsers::Always,
            wanted => wanted,
        };
        let users = match lack {
            Some(lack) => Users::known(&instance, lack, wanted),
            None => Users::probe(&options.helper, &instance, &images.layers(), wanted),
        };
        let network = if let Some(tried) = network {
            Means::known(tried, &options.network)
        } else {
            let asked = (&options.network, program.family);
            Means::probe(asked, &options.search_path, ordinary, &instance.sandboxes())
        };
        Ok(Self {
            images,
            additional,
            users,
            network,
            needs_network: options.network.by.is_needed(options.strict),
            instance,
            host,
            disks,
            host_disk: HostDisk::new(options.state_dir),
            writer,
            filter,
            program,
            helper: options.helper,
            grace: options.grace,
            guardian,
            ordinary,
            group_parent,
            spare_disk: options.spare_disk,
            one_job: options.one_job,
            strict: options.strict,
            numbers: AtomicU64::new(0),
            spare: Spare::default(),
        })
    }

    /// A job without the network that it should have is refused.
    pub(super) fn check_network(&self) -> Result<(), RuntimeError> {
        match &self.network {
            Err(lack @ NoNetwork::Impossible { .. }) if self.needs_network => {
                let (seen, remedy) = lack.told();
                Err(RuntimeError::Refused(format!("{seen}; {remedy}")))
            }
            _ => Ok(()),
        }
    }

    /// Where each step sees its volume, in its own mount namespace.
    pub(super) fn here(&self) -> PathBuf {
        if self.users.lack().is_none() { users::here() } else { self.instance.here() }
    }

    pub(super) fn next_id(&self) -> String {
        self.instance.sandbox_id(self.numbers.fetch_add(1, Ordering::Relaxed))
    }

    pub(super) fn make_group(&self, id: &str) -> std::io::Result<Group> {
        if !self.host.any() && !self.ordinary {
            let none = "no control groups are mounted on this host";
            return Err(std::io::Error::new(std::io::ErrorKind::Unsupported, none));
        }
        Group::create(&self.host, &self.group_parent, id)
    }

    /// Where a runtime that makes groups of its own puts a step: below the sandbox's, so that its
    /// limits hold and killing it reaches the step.
    pub(super) fn group_for_runtime(&self, id: &str) -> PathBuf {
        self.host.path_for_runtime(&self.group_parent, id).join("container")
    }

    /// Limits that are asked for and can't be enforced: refused when strict, else said.
    pub(super) fn check_limits(&self, limits: &Limits) -> Result<(), RuntimeError> {
        for limit in missing(limits, &self.host, self.strict)? {
            tracing::warn!(
                limit,
                "a limit of a job is not enforced: the control group controller is missing"
            );
        }
        Ok(())
    }

    /// Takes the spare if it fits, and has another made meanwhile.
    pub(super) async fn take_spare(self: &Arc<Self>, disk: Option<u64>) -> Option<Slot> {
        if disk != Some(self.spare_disk) {
            return None;
        }
        let taken = self.spare.take().await;
        if taken.is_some() && !self.one_job {
            let shared = Arc::clone(self);
            tokio::spawn(async move {
                tokio::time::sleep(SPARE_PAUSE).await;
                shared.make_spare().await;
            });
        }
        taken
    }

    /// Makes a spare unless there is one.
    pub(super) async fn make_spare(self: &Arc<Self>) {
        let Some(making) = self.spare.begin() else { return };
        match Slot::make(self, Some(self.spare_disk)).await {
            Ok(slot) => making.done(slot),
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "failed to make a sandbox ahead");
            }
        }
    }
}

/// The names of limits that are asked for and can't be enforced, the first of which is refused when strict.
fn missing(limits: &Limits, host: &Hierarchies, strict: bool) -> Result<Vec<&'static str>, RuntimeError> {
    if let Some(memory) = limits.memory.filter(|memory| *memory < LEAST_MEMORY) {
        return Err(RuntimeError::Host(format!(
            "a memory limit of {memory} bytes is too small to start a container: give jobs at least {LEAST_MEMORY}"
        )));
    }
    let asked = [
        (Controller::Memory, limits.memory.is_some()),
        (Controller::Pids, limits.pids.is_some()),
        (Controller::Cpu, limits.cpus.is_some()),
    ];
    let lacks = |(controller, asked): &(Controller, bool)| *asked && !host.has(*controller);
    let missing: Vec<_> = asked.into_iter().filter(lacks).map(|(controller, _)| controller.name()).collect();
    match missing.first() {
        Some(name) if strict => Err(RuntimeError::Refused(format!(
            "the {name} limit can't be enforced, since this host has no {name} controller: delegate it to the \
             executor's control group, or run without strict isolation"
        ))),
        _ => Ok(missing),
    }
}

impl Drop for Shared {
    /// The guardian, which hears of this end as of any other, removes the rest.
    fn drop(&mut self) {
        let _ = unmount(self.instance.volumes(), UnmountFlags::DETACH);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    const EACH: [(&str, Limits); 3] = [
        ("memory", Limits { memory: Some(64 << 20), ..NONE }),
        ("pids", Limits { pids: Some(64), ..NONE }),
        ("cpu", Limits { cpus: Some(1.0), ..NONE }),
    ];
    const NONE: Limits = Limits { cpus: None, memory: None, pids: None, disk: None };
    const ALL: Limits = Limits { cpus: Some(1.0), memory: Some(64 << 20), pids: Some(64), disk: None };

    /// Hosts of both versions that have all controllers but one.
    fn hosts_without(missing: &str) -> [Hierarchies; 2] {
        let root = tempfile::tempdir().unwrap();
        let there = || EACH.iter().map(|(name, _)| *name).filter(|name| *name != missing);
        let offered: Vec<&str> = there().collect();
        std::fs::write(root.path().join("cgroup.controllers"), offered.join(" ")).unwrap();
        let unified = "1 2 0:1 / / rw - cgroup2 cgroup2 rw\n";
        let mounts = there().map(|name| format!("1 2 0:1 / /{name} rw - cgroup cgroup rw,{name}\n"));
        let mounts = mounts.collect::<Vec<_>>().concat();
        let own = there().map(|name| format!("1:{name}:/\n")).collect::<Vec<_>>().concat();
        [(unified, "0::/\n"), (&mounts, &own)]
            .map(|(mounts, own)| Hierarchies::parse(root.path(), mounts, own))
    }

    #[test]
    fn each_limit_without_its_controller_is_said_or_refused() {
        for (name, limits) in EACH {
            for host in hosts_without(name) {
                let layout = host.layout();
                assert_eq!(missing(&limits, &host, false).unwrap(), [name], "{layout}");
                assert_eq!(missing(&ALL, &host, false).unwrap(), [name], "{layout}");
                for limits in [limits, ALL] {
                    let refused = missing(&limits, &host, true).unwrap_err();
                    assert!(matches!(refused, RuntimeError::Refused(_)), "{refused:?}");
                    let expected = format!(
                        "the {name} limit can't be enforced, since this host has no {name} controller: delegate it to \
                         the executor's control group, or run without strict isolation"
                    );
                    assert_eq!(refused.to_string(), expected, "{layout}");
                }
                assert_eq!(
                    missing(&NONE, &host, true).unwrap(),
                    [""; 0],
                    "what is not asked for is not missed"
                );
            }
        }
    }

    #[test]
    fn limits_that_can_be_enforced_pass() {
        for host in hosts_without("") {
            assert_eq!(missing(&ALL, &host, true).unwrap(), [""; 0], "{}", host.layout());
        }
    }

    #[test]
    fn a_host_without_controllers_misses_them_all() {
        let host =
            Hierarchies::parse(Path::new("/nowhere"), "1 2 0:1 / / rw - cgroup2 cgroup2 rw\n", "0::/\n");
        assert_eq!(missing(&ALL, &host, false).unwrap(), ["memory", "pids", "cpu"]);
    }
}
