//! The whole of it: the real binary, real git, a real OCI runtime.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod adoption;
mod audited;
mod bad_input;
mod cable;
mod certificates;
mod chaos;
mod client;
mod conformance;
mod cut_network;
mod deaths;
mod doctor;
mod engine;
mod engine_adoption;
mod fencing;
mod files;
mod first_process;
mod forwarder;
mod guest;
mod heartbeats;
mod hostile;
mod images_kept;
mod leftovers;
mod links;
mod lost_answers;
mod nursery;
mod ordinary_user;
mod postgres;
mod programs;
mod queueing;
mod secrets;
mod side_by_side;
mod standing_still;
mod start;
mod startup_script;
mod support;
mod systemd;
mod texts;
mod ties;
mod usage;
mod validate;
mod whole_jobs;
