//! What a launcher is told: its place ahead, its plan when there is a step.

use crate::oci::AdditionalMount;
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::path::PathBuf;

/// Where a step runs: known before the step is.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::oci) struct Place {
    /// The job's control groups.
    pub(in crate::oci) groups: Vec<PathBuf>,
    /// All jobs' volumes, which the step must not keep alive.
    pub(in crate::oci) volumes: PathBuf,
    /// This job's.
    pub(in crate::oci) volume: PathBuf,
    /// Where it is to be seen.
    pub(in crate::oci) here: PathBuf,
    /// The layers that all jobs share, if this one has users of its own.
    pub(in crate::oci) layers: Option<Shown>,
    /// Show the runtime the version 2 hierarchy only.
    pub(in crate::oci) unify_cgroups: bool,
    /// The job's network namespace; without one, the runtime makes one that has a loopback only.
    pub(in crate::oci) network: Option<Entered>,
    /// Start the step in [processes of its own](super::own_processes).
    pub(in crate::oci) own_processes: bool,
}

/// A directory that a job sees with its own users as owners.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::oci) struct Shown {
    pub(in crate::oci) from: PathBuf,
    pub(in crate::oci) at: PathBuf,
    /// The user namespace that translates.
    pub(in crate::oci) users: PathBuf,
}

/// A network namespace to be in.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::oci) struct Entered {
    pub(in crate::oci) namespace: PathBuf,
    /// Where `/sys` is mounted for a job with users of its own: with rights over these alone, it can't be.
    pub(in crate::oci) system: Option<PathBuf>,
}

/// What is to be mounted and run.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::oci) struct Plan {
    /// Where the job's volume is seen.
    pub(in crate::oci) here: PathBuf,
    /// The image's layers, the topmost first.
    pub(in crate::oci) layers: Vec<PathBuf>,
    /// Below `here`: our own layer, the writable one, and what overlayfs needs beside it.
    pub(in crate::oci) skeleton: String,
    pub(in crate::oci) upper: String,
    pub(in crate::oci) work: String,
    pub(in crate::oci) root: String,
    /// What the job's root is on the host.
    pub(in crate::oci) owner: u32,
    /// What the operator has mounted besides, in this order.
    pub(in crate::oci) additional: Vec<AdditionalMount>,
    /// The user namespace that shows the host's files to a job with users of its own.
    pub(in crate::oci) users: Option<PathBuf>,
    /// Root of a user namespace mounts, which may not read what the host's root would.
    pub(in crate::oci) ordinary: bool,
    /// The working directory, if the runtime does not make one that is missing.
    pub(in crate::oci) make_cwd: Option<PathBuf>,
    pub(in crate::oci) program: PathBuf,
    pub(in crate::oci) arguments: Vec<OsString>,
    /// Where failures are written, as the runtime writes its own.
    pub(in crate::oci) log: PathBuf,
    /// Where it is noted when what was done, if anybody wants to know.
    pub(in crate::oci) stages: Option<PathBuf>,
    /// Where a runtime that leaves once the step runs writes the number of the step's first process.
    pub(in crate::oci) pid_file: Option<PathBuf>,
}
