//! The control plane: the executor API, our public API, git.
//!
//! [`start`] opens the data directory and serves until it is told to stop. What it knows lives in
//! the [`store`]; what it serves to executors under `/.executors` is the protocol of [`wire`]; what
//! it serves to people under `/api/v1` is [`api`].
//!
//! Invariants: every write that comes from an executor carries the lease of the claim it belongs to;
//! no secret reaches a log, a `Debug` or an answer other than a dequeue; only `git` is ever spawned.

pub mod api;

mod app;
mod attention;
mod auth;
mod body;
mod config;
mod delivery;
mod error;
mod executor_api;
mod fairness;
mod files;
mod git;
mod janitor;
mod listener;
mod peer;
mod private_files;
mod public_api;
mod requests;
mod running;
mod site_config;
mod slots;

pub use config::{GIT_FETCH, Limits, ServerConfig};
pub use error::ServerError;
pub use running::{RunningServer, start};
pub use site_config::SiteConfigError;
