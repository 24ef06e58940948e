//! Sandboxes: the seam between the agent and whatever isolates a job, and its implementations.
//!
//! Invariants: a sandbox that can't be as tight as was asked for does not start. Whatever a step
//! started is gone when the step ends, whoever died on the way. Nothing here talks to the control
//! plane.

mod cgroup;
mod contract;
mod error;
mod fork;
mod grace;
mod guardian;
mod helper;
mod host_program;
mod limits;
mod memory;
mod private_mounts;
mod shortage;
mod tied;
mod user_namespace;

/// Where every step finds the script that its operator wants to be run before its commands, if there is one.
pub const STARTUP_SCRIPT: &str = "/etc/executor/startup-script";

pub mod docker;
pub mod oci;

pub use contract::{
    Cause, Exit, ExitStatus, Finding, HostEngine, Isolation, Output, Reaped, Runtime, Sandbox, SandboxSpec,
    Severity, Step, Stream, Timeline, Usage,
};
pub use error::RuntimeError;
pub use fork::{fork, heed_requests, ignore_requests, outlive_limits_of_files};
pub use guardian::GuardianAhead;
pub use helper::helper_main;
pub use limits::Limits;
pub use memory::give_back_memory;
pub use oci::find_program;
pub use private_mounts::{PrivateMounts, private_mounts};
pub use tied::{HostProgram, HostPrograms};
pub use user_namespace::become_root;
