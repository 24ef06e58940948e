//! The container that a step runs in, as the engine is told.
//!
//! What is seen from inside is what `docker run --rm [--add-host …] [--cpus …] [--memory …] [--mount …]
//! -v WORKSPACE:/data -w DIR [-e …] --entrypoint PROGRAM IMAGE ARGS` makes. The rest is what a job
//! does not see unless it does what it should not.

use super::{DockerOptions, Mount, Rights};
use crate::oci::profile;
use crate::{Limits, STARTUP_SCRIPT, Step};
use serde::Serialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Where a step sees its workspace.
pub(super) const WORKSPACE: &str = "/data";
const HOST_GATEWAY: &str = "host.docker.internal:host-gateway";
/// What engines grant besides ours. Podman gives what is added by name to users other than root too, so
/// that it is told what to leave out instead.
const MORE_CAPABILITIES: [&str; 4] = ["CAP_AUDIT_WRITE", "CAP_MKNOD", "CAP_NET_RAW", "CAP_SETFCAP"];
/// The length of time that a CPU quota is a share of, in microseconds: the kernel's default.
const CPU_PERIOD: u64 = 100_000;

/// Everything of a step that its container is made from.
pub(super) struct Plan<'a> {
    pub(super) step: &'a Step,
    /// The image by its id, which can't move.
    pub(super) image: &'a str,
    pub(super) hostname: &'a str,
    /// The workspace as the engine's host has it.
    pub(super) workspace: &'a str,
    /// The bundle of certificates for the step, as the engine's host has it.
    pub(super) certificates: Option<&'a str>,
    /// The script that the step runs first, likewise.
    pub(super) startup_script: Option<&'a str>,
    pub(super) limits: &'a Limits,
    pub(super) labels: BTreeMap<&'static str, String>,
    /// Whether the engine can limit what is written outside the workspace.
    pub(super) limits_disk: bool,
    pub(super) filter: Filter<'a>,
    pub(super) options: &'a DockerOptions,
}

/// Our filter of system calls, in the form that the engine reads.
#[derive(Debug, Clone, Copy)]
pub(super) enum Filter<'a> {
    /// Docker reads the filter itself.
    Docker(&'a str),
    /// Podman reads a file that has it.
    Podman(&'a str),
}

/// Has no `Debug`: secrets are among the variables.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Container<'a> {
    hostname: &'a str,
    image: &'a str,
    entrypoint: &'a [String],
    cmd: &'a [String],
    working_dir: &'a str,
    env: Vec<String>,
    labels: BTreeMap<&'static str, String>,
    attach_stdout: bool,
    attach_stderr: bool,
    healthcheck: Healthcheck,
    host_config: HostConfig<'a>,
}

/// An image's own would start programs beside the step.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Healthcheck {
    test: [&'static str; 1],
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct HostConfig<'a> {
    mounts: Vec<Mount>,
    #[serde(skip_serializing_if = "Option::is_none")]
    network_mode: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    extra_hosts: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    runtime: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cpu_period: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cpu_quota: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    memory: Option<u64>,
    /// Memory and swap together.
    #[serde(skip_serializing_if = "Option::is_none")]
    memory_swap: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pids_limit: Option<u64>,
    oom_score_adj: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    storage_opt: Option<BTreeMap<&'static str, String>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    cap_drop: Vec<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    cap_add: Vec<String>,
    security_opt: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    masked_paths: Option<&'static [&'static str]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    readonly_paths: Option<&'static [&'static str]>,
    ulimits: [Ulimit; 1],
    log_config: LogConfig,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Ulimit {
    name: &'static str,
    soft: u64,
    hard: u64,
}

#[derive(Debug, Serialize)]
struct LogConfig {
    #[serde(rename = "Type")]
    kind: &'static str,
}

impl Container<'_> {
    /// Takes back a limit that the engine refused.
    pub(super) fn leave_disk_unlimited(&mut self) {
        self.host_config.storage_opt = None;
    }
}

impl<'a> Plan<'a> {
    pub(super) fn container(self) -> Container<'a> {
        let Self { step, options, .. } = self;
        let own_rights = options.rights != Rights::Engine;
        Container {
            hostname: self.hostname,
            image: self.image,
            entrypoint: &step.argv[..1],
            cmd: &step.argv[1..],
            working_dir: &step.cwd,
            env: self.env(),
            attach_stdout: true,
            attach_stderr: true,
            healthcheck: Healthcheck { test: ["NONE"] },
            host_config: HostConfig {
                mounts: self.mounts(),
                network_mode: options.network.as_deref(),
                extra_hosts: options.add_host_gateway.then_some(HOST_GATEWAY).into_iter().collect(),
                runtime: options.oci_runtime.as_deref(),
                // Unlike its own `--cpus`, the engine takes this also when it is more than there is.
                cpu_period: self.limits.cpus.map(|_| CPU_PERIOD),
                cpu_quota: self.limits.cpus.map(quota),
                memory: self.limits.memory,
                memory_swap: self.limits.memory,
                pids_limit: self.limits.pids,
                oom_score_adj: profile::OOM_SCORE_ADJUST,
                storage_opt: self.storage(),
                cap_drop: self.cap_drop(),
                cap_add: self.cap_add(),
                security_opt: self.security(),
                masked_paths: own_rights.then_some(profile::MASKED),
                readonly_paths: own_rights.then_some(profile::READ_ONLY),
                // A core dump is written where the host's kernel says, not where the job may write.
                ulimits: [Ulimit { name: "core", soft: 0, hard: 0 }],
                // We take the output ourselves; the engine's copy of it would be without a limit.
                log_config: LogConfig { kind: "none" },
            },
            labels: self.labels,
        }
    }

    fn mounts(&self) -> Vec<Mount> {
        let mut mounts = self.options.additional_mounts.clone();
        mounts.push(Mount::bind(self.workspace, WORKSPACE));
        let given = [(self.certificates, profile::CERTIFICATES), (self.startup_script, STARTUP_SCRIPT)];
        let given = given.into_iter().filter_map(|(file, place)| Some(Mount::bind(file?, place)));
        mounts.extend(given.map(|mount| Mount { read_only: true, ..mount }));
        mounts
    }

    /// The step's variables win over those of ours.
    fn env(&self) -> Vec<String> {
        let is_set = |name: &str| self.step.env.iter().any(|pair| pair.split('=').next() == Some(name));
        let ours = self.certificates.into_iter().flat_map(|_| profile::certificate_variables());
        let ours = ours.filter(|(name, _)| !is_set(name)).map(|(name, value)| format!("{name}={value}"));
        ours.chain(self.step.env.iter().cloned()).collect()
    }

    fn storage(&self) -> Option<BTreeMap<&'static str, String>> {
        let size = self.limits.disk.filter(|_| self.limits_disk)?;
        Some(BTreeMap::from([("size", size.to_string())]))
    }

    fn cap_drop(&self) -> Vec<&'static str> {
        match (self.options.rights, self.filter) {
            (Rights::Engine, _) => vec![],
            (Rights::Few, Filter::Podman(_)) => MORE_CAPABILITIES.to_vec(),
            _ => vec!["ALL"],
        }
    }

    fn cap_add(&self) -> Vec<String> {
        match (self.options.rights, self.filter) {
            (Rights::Few, Filter::Docker(_)) => profile::capabilities(),
            _ => vec![],
        }
    }

    fn security(&self) -> Vec<String> {
        let mut security = vec!["no-new-privileges".to_owned()];
        if self.options.rights != Rights::Engine {
            let (Filter::Docker(filter) | Filter::Podman(filter)) = self.filter;
            security.push(format!("seccomp={filter}"));
            if let Filter::Podman(_) = self.filter {
                // It has no other words for it.
                security.push(format!("mask={}", profile::MASKED.join(":")));
            }
        }
        security
    }
}

/// What every container of a sandbox is made with, whatever it is for: labels, limits and rights, in the
/// engine's words.
pub(super) fn of_every_container(plan: Plan<'_>) -> Map<String, Value> {
    let Ok(Value::Object(mut all)) = serde_json::to_value(plan.container()) else { return Map::new() };
    all.retain(|name, _| matches!(name.as_str(), "Labels" | "Healthcheck" | "HostConfig"));
    if let Some(Value::Object(host)) = all.get_mut("HostConfig") {
        host.remove("Mounts");
    }
    all
}

fn quota(cpus: f64) -> u64 {
    // The kernel refuses less than 1 ms.
    ((cpus * CPU_PERIOD as f64) as u64).max(1_000)
}

#[cfg(test)]
mod tests;
