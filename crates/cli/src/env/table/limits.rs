//! What one job may use.

use crate::env::RuntimeName::{Docker, Oci};
use crate::env::variable::{Effect, Kind, Variable, documented, ours};

const BYTES: &str = "bytes";

pub(super) const ROWS: &[Variable] = &[
    documented("EXECUTOR_JOB_NUM_CPUS", Kind::Int, "4", "CPUs that one job may use; 0 means without limit.")
        .older("EXECUTOR_FIRECRACKER_NUM_CPUS")
        .unit("CPUs")
        .effect(Effect::With(&[Oci, Docker])),
    documented(
        "EXECUTOR_JOB_MEMORY",
        Kind::Size,
        "12G",
        "Memory that one job may use; 0 means without limit.",
    )
    .older("EXECUTOR_FIRECRACKER_MEMORY")
    .required()
    .unit(BYTES)
    .effect(Effect::With(&[Oci, Docker])),
    documented(
        "EXECUTOR_FIRECRACKER_DISK_SPACE",
        Kind::DiskSize,
        "20G",
        "Disk that one job may use, its workspace and everything it writes elsewhere together; 0 means without limit. The runtime docker limits no workspace, and the rest only where the storage driver can. Told to the control plane with every dequeue, whatever the runtime.",
    )
    .required()
    .unit(BYTES)
    .effect(Effect::With(&[Oci, Docker])),
    ours(
        "EXECUTOR_JOB_PIDS",
        Kind::Int,
        "4096",
        "Processes and threads that one job may have; 0 means without limit.",
    )
    .unit("processes")
    .effect(Effect::With(&[Oci, Docker])),
];
