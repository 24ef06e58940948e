//! What all sandboxes of a runtime share.

use super::config::Writer;
use super::disks::Disks;
use super::filter::Filter;
use super::guardian::Guardian;
use super::instance::{Instance, parent_group};
use super::program::Program;
use super::room::HostDisk;
use super::slot::Slot;
use super::users::{self, Users};
use super::{Helper, OciOptions};
use crate::cgroup::{Controller, Group, Hierarchies};
use crate::{Limits, RuntimeError};
use images::ImageStore;
use rustix::mount::{UnmountFlags, unmount};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
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
    pub(super) writer: Writer,
    pub(super) filter: Filter,
    pub(super) helper: Helper,
    pub(super) grace: Duration,
    pub(super) guardian: Guardian,
    group_parent: String,
    spare_disk: u64,
    one_job: bool,
    strict: bool,
    numbers: AtomicU64,
    spare: Mutex<Option<Slot>>,
    making_spare: AtomicBool,
}

impl Shared {
    pub(super) fn new(options: OciOptions, images: Arc<ImageStore>) -> Result<Self, RuntimeError> {
        options.check()?;
        let state_dir = &options.state_dir;
        let program = Program::find(options.runtime.as_deref(), &options.search_path)?;
        let host = Hierarchies::detect().map_err(RuntimeError::io("read which control groups there are"))?;
        let writer = Writer::new(options.certificates.clone())
            .and_then(|writer| writer.for_family(program.family))
            .map_err(|error| RuntimeError::Host(error.to_string()))?;
        let instance = Instance::create(state_dir)
            .map_err(RuntimeError::io(format!("prepare the state directory {}", state_dir.display())))?;
        let guardian = Guardian::spawn(&options.helper, state_dir, &options.owner, &instance.id)
            .map_err(RuntimeError::io(format!("start the guardian {}", options.helper.program.display())))?;
        let disks = Disks::probe(&options.search_path, options.strict, &instance.volumes());
        let users = if options.user_namespaces {
            Users::probe(&options.helper, &instance, &images.layers(), options.strict)
        } else {
            Users::unwanted()
        };
        Ok(Self {
            images,
            users,
            instance,
            host,
            disks,
            host_disk: HostDisk::new(options.state_dir),
            writer,
            filter: Filter::new(program.family),
            program,
            helper: options.helper,
            grace: options.grace,
            guardian,
            group_parent: parent_group(&options.owner),
            spare_disk: options.spare_disk,
            one_job: options.one_job,
            strict: options.strict,
            numbers: AtomicU64::new(0),
            spare: Mutex::new(None),
            making_spare: AtomicBool::new(false),
        })
    }

    /// Where each step sees its volume, in its own mount namespace.
    pub(super) fn here(&self) -> PathBuf {
        if self.users.lack().is_none() { users::here() } else { self.instance.here() }
    }

    pub(super) fn next_id(&self) -> String {
        self.instance.sandbox_id(self.numbers.fetch_add(1, Ordering::Relaxed))
    }

    pub(super) fn make_group(&self, id: &str) -> std::io::Result<Group> {
        if !self.host.any() {
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
        for (controller, _) in
            asked.into_iter().filter(|(controller, asked)| *asked && !self.host.has(*controller))
        {
            let name = controller.name();
            if self.strict {
                return Err(RuntimeError::Refused(format!(
                    "the {name} limit can't be enforced, since this host has no {name} controller: delegate it to \
                     the executor's control group, or run without strict isolation"
                )));
            }
            tracing::warn!(
                limit = name,
                "a limit of a job is not enforced: the control group controller is missing"
            );
        }
        Ok(())
    }

    /// Takes the spare if it fits, and has another made meanwhile.
    pub(super) fn take_spare(self: &Arc<Self>, disk: Option<u64>) -> Option<Slot> {
        if disk != Some(self.spare_disk) {
            return None;
        }
        let taken = self.spare.lock().unwrap_or_else(PoisonError::into_inner).take();
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
        let there = self.spare.lock().unwrap_or_else(PoisonError::into_inner).is_some();
        if there || self.making_spare.swap(true, Ordering::AcqRel) {
            return;
        }
        match Slot::make(self, Some(self.spare_disk)).await {
            Ok(slot) => *self.spare.lock().unwrap_or_else(PoisonError::into_inner) = Some(slot),
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "failed to make a sandbox ahead");
            }
        }
        self.making_spare.store(false, Ordering::Release);
    }
}

impl Drop for Shared {
    /// The guardian, which hears of this end as of any other, removes the rest.
    fn drop(&mut self) {
        let _ = unmount(self.instance.volumes(), UnmountFlags::DETACH);
    }
}
