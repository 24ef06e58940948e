//! What tests share: a clock that can be set, image archives, a disk that can be filled, a container engine, a database, an
//! S3 server, a registry, a browser, a guest, a private authority, ordinary users, a scripted stock instance, loud skips; and what
//! agents left behind.
//!
//! Invariant: a development dependency only.

pub mod browser;
mod clock;
mod disk;
mod engine;
pub mod guest;
pub mod image;
mod leftovers;
mod made_up_user;
mod postgres;
pub mod registry;
mod s3;
mod skip;
pub mod stock_server;
pub mod tls;
mod told;

pub use clock::MockClock;
pub use disk::SmallDisk;
pub use engine::{Engine, EngineKind};
pub use leftovers::{agent_started, leftovers_of};
pub use made_up_user::MadeUpUser;
pub use postgres::{Postgres, Synced};
pub use s3::S3Server;
pub use skip::{have_root, missing_part};
pub use told::Told;
