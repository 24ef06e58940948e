//! The executor itself: takes jobs from a control plane, runs each in a sandbox, delivers its log
//! and says how it ended.
//!
//! ```text
//! dequeue loop ──► Claimed ──open──► Opened ──prepare──► Prepared ──run steps──► close ──► mark
//!                                      │                                          ▲
//!                                      └───────── failure, stop, panic ───────────┘
//! heartbeat thread ──► "cancel", "not yours" ──► the job's stop ◄── "not yours" ◄── log
//! ```
//!
//! Invariants: no concrete runtime and no environment variable is named here. A sandbox that was
//! opened is closed, whatever happens. A job never waits for its log to be delivered, and a failing
//! delivery never fails a job. A failing heartbeat never stops a job; only an explicit answer does.

mod account;
mod api;
mod audit;
mod boot_time;
mod caretaker;
mod config;
mod dequeue_loop;
mod error;
mod health;
mod heartbeat;
mod host;
mod host_disk;
mod identity;
mod inodes;
mod job;
mod lease;
mod log;
mod metrics;
mod monitor;
mod nursery;
mod random;
mod run;
mod running;
mod start;
mod state_dir;
mod supervisor;
mod text;
mod timeline;
mod trace;
mod trouble;
mod watched;
mod workspace;

pub use audit::Audit;
pub use config::{
    ANNOUNCED_VERSION, AgentConfig, Announced, DEFAULT_JOB_LOG_CAP, DEFAULT_LOG_CAP, Exporters,
    SupervisorCommand,
};
pub use error::{AgentError, Summary, chain};
pub use host_disk::{fitting_disk_floor, fitting_files_floor};
pub use identity::Identity;
pub use monitor::Monitor;
pub use nursery::{catch_requests, nursery};
pub use run::{Orders, run};
pub use start::Start;
pub use state_dir::{Seen, StateDir, StateDirs, serves};
pub use supervisor::supervise;
pub use trace::Tracing;
