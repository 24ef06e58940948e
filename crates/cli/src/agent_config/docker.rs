//! What containers of an engine are to be.

use super::mounts::AdditionalMount;
use crate::env::{EnvReader, RuntimeName, engine_address};
use runtimes::docker::{
    BindOptions, DockerOptions, Endpoint, Mount, Rights, TmpfsOptions, VolumeDriver, VolumeOptions,
};
use runtimes::oci::Helper;
use std::path::{Path, PathBuf};

const RIGHTS: &str = "EXECUTOR_DOCKER_RIGHTS";
/// Where workspaces are made, unless `TMPDIR` says otherwise.
const WORKSPACES: &str = "/tmp";

/// What the environment says of it.
#[derive(Debug, Clone)]
pub(crate) struct DockerSettings {
    endpoint: Endpoint,
    workspaces: PathBuf,
    host_mount_path: Option<String>,
    add_host_gateway: bool,
    mounts: Vec<Mount>,
    network: Option<String>,
    rights: Rights,
    shares_images: bool,
}

impl DockerSettings {
    /// Reads it. The engine's address is judged only if one runs the jobs: `DOCKER_HOST` is not ours alone.
    pub(super) fn read(
        env: &mut EnvReader<'_>,
        mounts: Vec<AdditionalMount>,
        runtime: Option<RuntimeName>,
    ) -> Self {
        let host = (runtime == Some(RuntimeName::Docker)).then(|| engine_address::find(env)).flatten();
        let endpoint =
            host.unwrap_or_default().parse().unwrap_or_else(|fault: runtimes::docker::BadEndpoint| {
                env.fault(fault.to_string());
                Endpoint::default()
            });
        let rights = match env.text(RIGHTS).as_deref() {
            None | Some("few") => Rights::Few,
            Some("none") => Rights::None,
            Some("engine") => Rights::Engine,
            Some(other) => {
                env.fault(format!("invalid value {other:?} for {RIGHTS}: use one of few, none, engine"));
                Rights::Few
            }
        };
        Self {
            endpoint,
            workspaces: env.text("TMPDIR").unwrap_or_else(|| WORKSPACES.to_owned()).into(),
            host_mount_path: env.text("EXECUTOR_DOCKER_HOST_MOUNT_PATH"),
            add_host_gateway: env.bool("EXECUTOR_DOCKER_ADD_HOST_GATEWAY"),
            mounts: mounts.into_iter().map(mount).collect(),
            network: env.text("EXECUTOR_DOCKER_NETWORK"),
            rights,
            shares_images: env.bool("EXECUTOR_DOCKER_SHARED_IMAGES"),
        }
    }

    /// Where the engine listens, as `DOCKER_HOST` would name it.
    pub(super) fn address(&self) -> String {
        self.endpoint.to_string()
    }

    /// The runtime's options, with its state in `state_dir`. What is not Docker's alone is left to the
    /// caller.
    pub(super) fn options(&self, state_dir: &Path, helper: Helper) -> DockerOptions {
        let mut options = DockerOptions::new(state_dir, &self.workspaces, helper);
        options.endpoint = self.endpoint.clone();
        options.host_mount_path.clone_from(&self.host_mount_path);
        options.add_host_gateway = self.add_host_gateway;
        options.additional_mounts.clone_from(&self.mounts);
        options.network.clone_from(&self.network);
        options.rights = self.rights;
        options.shares_images = self.shares_images;
        options
    }
}

fn mount(given: AdditionalMount) -> Mount {
    let AdditionalMount { kind, source, target, read_only, consistency, bind, volume, tmpfs } = given;
    let bind =
        bind.map(|bind| BindOptions { propagation: bind.propagation, non_recursive: bind.non_recursive });
    let volume = volume.map(|volume| VolumeOptions {
        no_copy: volume.no_copy,
        labels: volume.labels,
        driver: VolumeDriver { name: volume.driver, options: volume.driver_options },
    });
    let tmpfs = tmpfs.map(|tmpfs| TmpfsOptions {
        size_bytes: (tmpfs.size > 0).then_some(tmpfs.size),
        mode: (tmpfs.mode > 0).then_some(tmpfs.mode),
    });
    Mount {
        kind,
        source,
        target,
        read_only,
        consistency,
        bind: bind.unwrap_or_default(),
        volume: volume.unwrap_or_default(),
        tmpfs: tmpfs.unwrap_or_default(),
    }
}
