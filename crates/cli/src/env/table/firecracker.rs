//! Virtual machines. Nothing here acts in this version.

use crate::env::RuntimeName::Firecracker;
use crate::env::variable::{Effect, Kind, Variable, documented};

const NOT_YET: Effect = Effect::NotYet(&[Firecracker]);

pub(super) const ROWS: &[Variable] = &[
    documented(
        "EXECUTOR_FIRECRACKER_BANDWIDTH_INGRESS",
        Kind::Int,
        "524288000",
        "How much one virtual machine may receive.",
    )
    .unit("bytes per second")
    .effect(NOT_YET),
    documented(
        "EXECUTOR_FIRECRACKER_BANDWIDTH_EGRESS",
        Kind::Int,
        "524288000",
        "How much one virtual machine may send.",
    )
    .unit("bytes per second")
    .effect(NOT_YET),
    documented(
        "EXECUTOR_FIRECRACKER_IMAGE",
        Kind::Text,
        "sourcegraph/executor-vm:insiders",
        "Image of a virtual machine's root file system.",
    )
    .required()
    .effect(NOT_YET),
    documented(
        "EXECUTOR_FIRECRACKER_KERNEL_IMAGE",
        Kind::Text,
        "sourcegraph/ignite-kernel:5.10.135-amd64",
        "Image that holds a virtual machine's kernel.",
    )
    .required()
    .effect(NOT_YET),
    documented(
        "EXECUTOR_FIRECRACKER_SANDBOX_IMAGE",
        Kind::Text,
        "sourcegraph/ignite:v0.10.5",
        "Image of the container that the reference puts around each virtual machine.",
    )
    .required()
    .effect(Effect::Nothing("virtual machines of ours will need no container around them")),
    documented(
        "EXECUTOR_VM_STARTUP_SCRIPT_PATH",
        Kind::Text,
        "",
        "A script of the host that each virtual machine runs before its job.",
    )
    // Whatever runs the jobs, it was meant to prepare them.
    .effect(Effect::Missed {
        acts: &[],
        by: &[],
        remedy: "EXECUTOR_STEP_STARTUP_SCRIPT_PATH names a script that each step runs first, in its container",
    }),
    documented(
        "EXECUTOR_VM_PREFIX",
        Kind::Text,
        "executor",
        "What names of virtual machines begin with; must differ between agents on one host.",
    )
    .required()
    .effect(NOT_YET),
];
