//! The control plane: the executor API, our public API, git.
//!
//! [`start`] opens the data directory and serves until it is told to stop. What it knows lives in
//! the [`store`]; what it serves to executors under `/.executors` is the protocol of [`wire`]; what
//! it serves to people under `/api/v1` is [`api`].
//!
//! Invariants: every write that comes from an executor carries the lease of the claim it belongs to;
//! no secret reaches a log, a `Debug` or an answer other than a dequeue; only `git` is ever spawned.

mod answers;
pub mod api;

/// A server's database as a whole: its schema, and moving it into another one.
pub mod database {
    pub use crate::acts::DatabaseAct;
    pub use store::{
        DatabaseChoice, Moved, Place, Retirement, SchemaState, StoreError, TransferError, export, import,
        look_at_database, migrate, note_act_beside,
    };
}

mod acts;
mod app;
mod attention;
mod auth;
mod bodies;
mod body;
mod checkpoint;
mod config;
mod delivery;
mod disk_floor;
mod error;
mod executor_api;
mod fairness;
mod files;
mod fleet;
mod git;
mod heard_out;
mod intake;
mod janitor;
mod listener;
mod metrics;
mod openapi;
mod pace;
mod pages;
mod peer;
mod private_files;
mod public_api;
mod repository;
mod requests;
mod results;
mod retention;
mod rounds;
mod running;
mod scaling;
mod secret_keys;
mod share;
mod site_config;
mod slots;
mod socket;
mod uploads;
mod way;

pub use acts::action_names;
pub use config::{GIT_FETCH, Limits, ServerConfig};
pub use error::ServerError;
pub use listener::{Shown, TlsError, TlsFiles};
pub use openapi::openapi;
pub use pages::page_routes;
pub use public_api::route_views as routes;
pub use running::{RunningServer, start};
pub use scaling::{Allocations, Aws, Google, GoogleCredentials, Scaling, ScalingError};
pub use secret_keys::{RotatedKey, SECRET_KEYS_FILE, SecretKeys, SecretKeysError, rotate_secret_key};
pub use site_config::{SiteConfigError, SiteLook, look_at_site_config};
pub use store::{DatabaseChoice, DatabaseLook, S3Credentials, SchemaState, look_at_database};
