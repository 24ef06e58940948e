//! What the engine says of its host.

use super::client::{Ask, Client};
use super::error::EngineError;
use crate::Limits;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;

/// Storage drivers that can limit what a container writes, whatever is below them.
const DRIVERS_WITH_LIMITS: [&str; 3] = ["btrfs", "zfs", "windowsfilter"];
/// The one that can if it lies on XFS with project quotas, which it does not tell.
const OVERLAY: &str = "overlay2";
const XFS: &str = "xfs";

/// The part of `/info` that we look at.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Info {
    /// The engine's own name for itself, which goes with its store of images.
    #[serde(rename = "ID")]
    pub(super) id: String,
    docker_root_dir: String,
    pub(super) driver: String,
    driver_status: Option<Vec<Vec<String>>>,
    pub(super) cgroup_driver: String,
    pub(super) cgroup_version: String,
    memory_limit: bool,
    swap_limit: bool,
    cpu_cfs_quota: bool,
    pids_limit: bool,
    security_options: Option<Vec<String>>,
    pub(super) warnings: Option<Vec<String>>,
    runtimes: Option<BTreeMap<String, serde_json::Value>>,
    pub(super) default_runtime: String,
}

/// Limits of a container, as far as the engine can enforce them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Limit {
    Memory,
    Pids,
    Cpu,
    Disk,
}

impl Limit {
    const ALL: [Self; 4] = [Self::Memory, Self::Pids, Self::Cpu, Self::Disk];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Pids => "pids",
            Self::Cpu => "cpu",
            Self::Disk => "disk",
        }
    }

    fn is_asked(self, limits: &Limits) -> bool {
        match self {
            Self::Memory => limits.memory.is_some(),
            Self::Pids => limits.pids.is_some(),
            Self::Cpu => limits.cpus.is_some(),
            Self::Disk => limits.disk.is_some(),
        }
    }
}

impl Client {
    pub(super) async fn info(&self) -> Result<Info, EngineError> {
        self.read(Ask::get("/info", "describe its host")).await
    }
}

impl Info {
    /// Which of `limits` can't be enforced, and why.
    pub(super) fn missing(&self, limits: &Limits) -> Vec<(Limit, String)> {
        let asked = Limit::ALL.into_iter().filter(|limit| limit.is_asked(limits));
        asked.filter_map(|limit| Some((limit, self.why_not(limit)?))).collect()
    }

    fn why_not(&self, limit: Limit) -> Option<String> {
        let there = match limit {
            Limit::Memory => self.memory_limit,
            Limit::Pids => self.pids_limit,
            Limit::Cpu => self.cpu_cfs_quota,
            Limit::Disk => {
                let beyond = match self.can_limit_disk() {
                    Some(false) => format!(
                        "and the storage driver {} does not limit what a step writes elsewhere",
                        self.storage()
                    ),
                    _ => format!(
                        "and the storage driver {} limits what a step writes elsewhere only with project quotas",
                        self.storage()
                    ),
                };
                return Some(format!("a container engine does not limit the workspace, {beyond}"));
            }
        };
        (!there).then(|| format!("the engine's host has no {} controller for it", limit.name()))
    }

    /// Whether what is written outside the workspace can be limited; `None` when only trying tells.
    pub(super) fn can_limit_disk(&self) -> Option<bool> {
        match self.driver.as_str() {
            driver if DRIVERS_WITH_LIMITS.contains(&driver) => Some(true),
            OVERLAY if self.status("Backing Filesystem") == Some(XFS) => None,
            _ => Some(false),
        }
    }

    /// Where the engine keeps images and containers, as its host has it.
    pub(super) fn root(&self) -> Option<&Path> {
        Some(Path::new(&self.docker_root_dir)).filter(|root| root.is_absolute())
    }

    /// Whether memory is limited without its swap.
    pub(super) fn leaves_swap(&self) -> bool {
        self.memory_limit && !self.swap_limit
    }

    /// The storage driver, and what it lies on.
    pub(super) fn storage(&self) -> String {
        match self.status("Backing Filesystem") {
            Some(below) => format!("{} on {below}", self.driver),
            None => self.driver.clone(),
        }
    }

    fn status(&self, name: &str) -> Option<&str> {
        let pairs = self.driver_status.iter().flatten().filter_map(|pair| pair.split_first());
        let found = pairs.into_iter().find(|(key, _)| *key == name)?;
        found.1.first().map(String::as_str)
    }

    /// Whether the engine has a security option of that name, such as `seccomp`.
    pub(super) fn has_option(&self, name: &str) -> bool {
        let is_it = |option: &String| option.split(',').any(|part| part == format!("name={name}"));
        self.security_options.iter().flatten().any(is_it)
    }

    /// Whether the engine knows an OCI runtime of that name.
    pub(super) fn has_runtime(&self, name: &str) -> bool {
        self.runtimes.as_ref().is_some_and(|runtimes| runtimes.contains_key(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(text: &str) -> Info {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn limits_that_are_missing_are_told_if_they_are_asked_for() {
        let poor = info(
            r#"{"Driver":"vfs","MemoryLimit":true,"PidsLimit":false,"CpuCfsQuota":false,"DriverStatus":null}"#,
        );
        let all = Limits { cpus: Some(1.0), memory: Some(1), pids: Some(1), disk: Some(1) };
        let missing: Vec<_> = poor.missing(&all).into_iter().map(|(limit, _)| limit).collect();
        assert_eq!(missing, [Limit::Pids, Limit::Cpu, Limit::Disk]);
        assert!(poor.missing(&Limits::default()).is_empty());
        assert!(poor.leaves_swap());
    }

    #[test]
    fn what_storage_can_limit() {
        let overlay = |below: &str| {
            info(&format!(
                r#"{{"Driver":"overlay2","DriverStatus":[["Backing Filesystem","{below}"],["Odd"],[]]}}"#
            ))
        };
        assert_eq!(overlay("extfs").can_limit_disk(), Some(false));
        assert_eq!(overlay("xfs").can_limit_disk(), None);
        assert_eq!(info(r#"{"Driver":"btrfs"}"#).can_limit_disk(), Some(true));
        assert_eq!(overlay("extfs").storage(), "overlay2 on extfs");
    }

    #[test]
    fn options_and_runtimes_are_found_by_name() {
        let said = info(
            r#"{"SecurityOptions":["name=seccomp,profile=default","name=rootless"],"Runtimes":{"runc":{"path":"runc"}}}"#,
        );
        assert!(said.has_option("seccomp") && said.has_option("rootless") && !said.has_option("userns"));
        assert!(said.has_runtime("runc") && !said.has_runtime("runsc"));
    }
}
