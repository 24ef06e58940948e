//! What is found out of a host by trying, once for all processes of an agent that run jobs.

use super::network::{Carrier, Lack as NoNetwork, Means};
use super::program::Program;
use super::shared::Shared;
use super::users::Lack;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// What trying has shown: which programs are there and work, what the kernel allows, and else why not. For
/// [`super::OciOptions::tried`] of another process of the same release, with the same options otherwise; it
/// travels as JSON, is a few hundred bytes long and holds no secret.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Tried {
    pub(super) program: Program,
    /// The program that makes file systems, or why there are no disks.
    pub(super) disks: Result<PathBuf, String>,
    /// Why jobs have no users of their own, if they have none.
    pub(super) users: Option<Lack>,
    /// The program that carries jobs' packets, or why they have a loopback only.
    pub(super) network: Result<Carrier, NoNetwork>,
}

impl Tried {
    pub(super) fn of(shared: &Shared) -> Self {
        let Shared { program, disks, users, network, .. } = shared;
        let network = network.as_ref().map(Means::tried).map_err(Clone::clone);
        Self { program: program.clone(), disks: disks.tried(), users: users.lack().cloned(), network }
    }
}
