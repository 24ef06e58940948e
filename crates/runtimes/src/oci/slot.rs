//! A place for a job, made ahead: its disk, its control group, and a launcher that waits in it.

use super::launcher::{Entered, Launcher, Place, Shown};
use super::network::Network;
use super::shared::Shared;
use super::users::{self, Lent, Range};
use super::volume::Volume;
use crate::RuntimeError;
use crate::cgroup::Group;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

/// Everything of a sandbox that does not depend on its job, but for the size of its disk.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) id: String,
    pub(super) volume: Volume,
    pub(super) group: Group,
    pub(super) users: Option<Lent>,
    /// None where jobs have a loopback only, which each step's runtime makes.
    pub(super) network: Option<Network>,
    pub(super) launcher: Option<Launcher>,
    /// The bundle: `config.json`, and the runtime's log.
    pub(super) bundle: PathBuf,
}

impl Slot {
    /// Makes one with a disk of `disk` bytes, or without a limit.
    pub(super) async fn make(shared: &Arc<Shared>, disk: Option<u64>) -> Result<Self, RuntimeError> {
        let begun = Instant::now();
        let maker = Arc::clone(shared);
        let made = tokio::task::spawn_blocking(move || Self::make_blocking(&maker, disk)).await;
        let mut slot =
            made.unwrap_or_else(|panic| Err(RuntimeError::Host(format!("making a sandbox: {panic}"))))?;
        slot.prepare_launcher(shared);
        tracing::debug!(slot = slot.id, elapsed = ?begun.elapsed(), "made a place for a job");
        Ok(slot)
    }

    fn make_blocking(shared: &Shared, disk: Option<u64>) -> Result<Self, RuntimeError> {
        let id = shared.next_id();
        let group = shared.make_group(&id).map_err(RuntimeError::io("make a control group"))?;
        let bundle = shared.instance.sandboxes().join(&id);
        let made = fs::create_dir(&bundle)
            .map_err(RuntimeError::io("make a bundle"))
            .and_then(|()| Self::make_volume(shared, &id, disk));
        match made {
            Ok((volume, users)) => {
                let slot = Self { id, volume, group, users, network: None, launcher: None, bundle };
                slot.with_network(shared)
            }
            Err(error) => {
                let _ = fs::remove_dir(&bundle);
                group.remove_now();
                Err(error)
            }
        }
    }

    fn with_network(mut self, shared: &Shared) -> Result<Self, RuntimeError> {
        let Ok(means) = &shared.network else { return Ok(self) };
        match Network::make(means, shared.ordinary, self.range()) {
            Ok(network) => {
                self.network = Some(network);
                Ok(self)
            }
            Err(error) => {
                let Self { volume, group, users, bundle, .. } = self;
                let _ = volume.remove();
                let _ = fs::remove_dir(&bundle);
                group.remove_now();
                users.into_iter().for_each(Lent::give_back);
                Err(RuntimeError::io("make a network for a job")(error))
            }
        }
    }

    fn make_volume(
        shared: &Shared,
        id: &str,
        disk: Option<u64>,
    ) -> Result<(Volume, Option<Lent>), RuntimeError> {
        let users = shared.users.lend()?;
        let path = shared.instance.volumes().join(id);
        match shared.disks.make(path, disk, users.as_ref().and_then(Lent::range)) {
            Ok(volume) => Ok((volume, users)),
            Err(error) => {
                users.into_iter().for_each(Lent::give_back);
                Err(error)
            }
        }
    }

    /// Starts the launcher of the next step. Failing here costs time only: it is tried again.
    pub(super) fn prepare_launcher(&mut self, shared: &Shared) {
        match self.launcher(shared) {
            Ok(launcher) => self.launcher = Some(launcher),
            Err(error) => tracing::debug!(%error, "failed to start a launcher ahead"),
        }
    }

    /// What the job's users are on the host, if they are others than they seem.
    pub(super) fn range(&self) -> Option<&Range> {
        self.users.as_ref().and_then(Lent::range)
    }

    /// What the job's root is on the host.
    pub(super) fn root(&self) -> u32 {
        self.range().map_or(0, Range::root)
    }

    /// A launcher that is on its way to this place.
    pub(super) fn launcher(&self, shared: &Shared) -> std::io::Result<Launcher> {
        let place = Place {
            groups: self.group.directories(),
            volumes: shared.instance.volumes(),
            volume: self.volume.path.clone(),
            here: shared.here(),
            layers: self.range().map(|range| Shown {
                from: shared.images.layers(),
                at: users::layers(),
                users: range.namespace(),
            }),
            // An ordinary user's may have one part of a layout that is a hybrid to the runtime.
            unify_cgroups: shared.ordinary || shared.host.layout() != "v2",
            own_processes: shared.ordinary,
            network: self.network.as_ref().map(|network| Entered {
                namespace: network.path(),
                system: self.range().is_some().then(users::system),
            }),
        };
        Launcher::go(&shared.helper, &place)
    }

    /// Removes everything, going on when a part of it fails. The first failure is returned.
    pub(super) async fn remove(mut self) -> Result<(), RuntimeError> {
        self.launcher = None;
        let killed = self.group.kill().await.map_err(RuntimeError::io("end what a sandbox has started"));
        let (volume, bundle) = (self.volume, self.bundle);
        let removed = tokio::task::spawn_blocking(move || {
            let volume = volume.remove();
            let bundle = super::remove::remove_tree(&bundle).map_err(RuntimeError::io("remove a bundle"));
            volume.and(bundle)
        });
        // Meanwhile what carried its packets ends.
        if let Some(network) = self.network {
            network.close().await;
        }
        let removed = removed
            .await
            .unwrap_or_else(|panic| Err(RuntimeError::Host(format!("removing a sandbox: {panic}"))));
        let group = self.group.remove().await.map_err(RuntimeError::io("remove a control group"));
        let done = killed.and(removed).and(group);
        if done.is_ok() {
            self.users.into_iter().for_each(Lent::give_back);
        }
        done
    }
}
