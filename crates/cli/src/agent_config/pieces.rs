//! What can be known of a configuration whether or not an agent can run with it.

use super::docker::DockerSettings;
use super::{
    SrcSteps, asked, connection, helper, limits, mounts, network, own_users, registries, src_steps, tool_env,
};
use crate::certificates;
use crate::env::{EnvReader, Reader, RuntimeName, engine_address};
use images::{DockerConfig, Mirror};
use runtimes::Limits;
use runtimes::docker::DockerOptions;
use runtimes::oci::{NetworkOptions, OwnUsers};
use secrecy::SecretString;
use std::ffi::OsString;
use std::path::Path;
use tls::Roots;
use url::Url;
use wire::DockerAuthConfig;

/// Each value by itself: one that is faulty is as if it had not been set.
pub(crate) struct Pieces {
    pub(crate) url: Option<Url>,
    pub(crate) password: Option<SecretString>,
    /// The queues that are named, whether or not they may be.
    pub(crate) queues: Vec<String>,
    /// What would run the jobs; `oci` where nothing may.
    pub(crate) runtime: RuntimeName,
    /// What was asked for instead and is not done.
    pub(crate) runtime_conflict: Option<String>,
    pub(crate) oci_runtime: Option<String>,
    pub(crate) users: OwnUsers,
    pub(crate) network: NetworkOptions,
    /// Whether what can't be had is refused.
    pub(crate) strict: bool,
    pub(crate) search_path: OsString,
    pub(crate) tool_env: Vec<(String, String)>,
    pub(crate) src_steps: SrcSteps,
    pub(crate) max_jobs: usize,
    pub(crate) limits: Limits,
    pub(crate) disk_floor: Option<u64>,
    pub(crate) roots: Roots,
    pub(crate) mirrors: Vec<Mirror>,
    pub(crate) docker_auth: DockerAuthConfig,
    pub(crate) docker_config: Option<DockerConfig>,
    /// Where an engine listens, if somebody said so or one is there.
    pub(crate) docker_host: Option<String>,
    docker: DockerSettings,
}

impl Pieces {
    /// Reads them. What is faulty is noted in `env`, in no order.
    pub(crate) fn read(env: &mut EnvReader<'_>) -> Self {
        env.load(&[Reader::Run, Reader::Agent, Reader::All]);
        let asked_for = asked(env);
        let chosen = asked_for.choose(RuntimeName::BUILT).ok();
        let runtime = chosen.as_ref().map_or(RuntimeName::Oci, |chosen| chosen.runtime);
        let disk = limits::disk(env, Some(runtime));
        let mounts = mounts::read(env);
        Self {
            url: connection::frontend_url(env),
            password: env.text("EXECUTOR_FRONTEND_PASSWORD").map(Into::into),
            queues: queues(env),
            runtime,
            runtime_conflict: chosen.and_then(|chosen| chosen.conflict),
            oci_runtime: env.text("EXECUTOR_OCI_RUNTIME"),
            users: own_users(env),
            network: network::read(env),
            strict: env.bool("EXECUTOR_STRICT"),
            search_path: env.text("PATH").unwrap_or_default().into(),
            tool_env: tool_env(env),
            src_steps: src_steps(env, asked_for, runtime, env.bool("EXECUTOR_STRICT")),
            max_jobs: limits::at_least_one(env, "EXECUTOR_MAXIMUM_NUM_JOBS"),
            limits: limits::read(env, disk),
            disk_floor: limits::disk_floor(env),
            roots: certificates::read(env),
            mirrors: registries::mirrors(env),
            docker_auth: registries::docker_auth(env),
            docker_config: registries::docker_config(env),
            docker_host: engine_address::find(env),
            docker: DockerSettings::read(env, mounts, Some(runtime)),
        }
    }

    /// What an engine would be asked for.
    pub(crate) fn docker_options(&self) -> DockerOptions {
        let mut options = self.docker.options(Path::new("/"), helper());
        options.limits = self.limits;
        options.oci_runtime.clone_from(&self.oci_runtime);
        options
    }
}

fn queues(env: &EnvReader<'_>) -> Vec<String> {
    let named = ["EXECUTOR_QUEUE_NAME", "EXECUTOR_QUEUE_NAMES"].into_iter().filter_map(|name| env.text(name));
    named.flat_map(|names| names.split(',').map(str::to_owned).collect::<Vec<_>>()).collect()
}
