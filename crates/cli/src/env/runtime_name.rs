//! The names that `EXECUTOR_RUNTIME` takes.

use std::fmt;

/// A runtime, whether or not this build has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum RuntimeName {
    /// Containers without a daemon.
    Oci,
    /// Containers of a Docker engine.
    Docker,
    /// Virtual machines.
    Firecracker,
    /// Jobs of a Kubernetes cluster.
    Kubernetes,
    /// No isolation.
    Shell,
}

impl RuntimeName {
    pub(crate) const ALL: [Self; 5] =
        [Self::Oci, Self::Docker, Self::Firecracker, Self::Kubernetes, Self::Shell];
    /// What this build has. A runtime that is added is named here, and in `commands::run::runtime`.
    pub(crate) const BUILT: &'static [Self] = &[Self::Oci, Self::Docker];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Oci => "oci",
            Self::Docker => "docker",
            Self::Firecracker => "firecracker",
            Self::Kubernetes => "kubernetes",
            Self::Shell => "shell",
        }
    }

    pub(crate) fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|runtime| runtime.name() == name)
    }

    /// Names for people, separated by commas.
    pub(crate) fn list(runtimes: &[Self]) -> String {
        runtimes.iter().map(|runtime| runtime.name()).collect::<Vec<_>>().join(", ")
    }
}

impl fmt::Display for RuntimeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
