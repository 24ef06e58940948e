//! Executors, and what they ask for.

use jiff::Timestamp;
use jobs::{Capacity, JobId};
use std::time::Duration;
use wire::additions::TakesNone;
use wire::heartbeat::Telemetry;

/// Who asks for jobs.
#[derive(Debug, Clone)]
pub struct Asking {
    /// Of which queues.
    pub queues: Vec<String>,
    /// The executor's name.
    pub executor: String,
    /// What it gives a job.
    pub capacity: Capacity,
    /// How long what it is given stays its own without a heartbeat.
    pub lease: Duration,
    /// How many at most.
    pub most: u32,
}

/// What a heartbeat is answered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HeartbeatAnswer {
    /// Jobs that still belong to the executor.
    pub known: Vec<JobId>,
    /// Jobs to stop; they are in `known` as well.
    pub cancel: Vec<JobId>,
}

/// An executor that was heard of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecutorRow {
    /// Its name; unique.
    pub name: String,
    /// The queues it serves.
    pub queues: Vec<String>,
    /// Its surroundings.
    pub telemetry: Telemetry,
    /// Why it asks for no jobs, as its last heartbeat said; `None`: it asks.
    pub takes_none: Option<TakesNone>,
    /// When it was first heard of.
    pub first_seen_at: Timestamp,
    /// When it was last heard of.
    pub last_seen_at: Timestamp,
    /// What it gives a job, as far as it told.
    pub capacity: Capacity,
    /// Since when it is given no jobs, if it is not.
    pub maintenance_at: Option<Timestamp>,
}

/// What an executor runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunningRow {
    /// How many jobs.
    pub count: u64,
    /// The latest of them, the newest first.
    pub latest: Vec<JobId>,
}
