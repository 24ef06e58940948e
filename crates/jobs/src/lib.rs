//! What a job is and what may happen to it: states, leases, retries, end reasons, specifications
//! and the redaction of secrets. Pure domain.
//!
//! Invariant: nothing here reads a clock, draws randomness, logs, spawns or does I/O. Time comes
//! in as an argument; [`transition`] is a total function.

pub mod artifacts;
pub mod attention;
pub mod batches;
pub mod claims;
pub mod clock;
pub mod dispatch;
pub mod explain;
pub mod files;
pub mod identity;
pub mod index;
pub mod name;
pub mod needs;
pub mod policy;
pub mod reason;
pub mod redact;
mod revision;
pub mod secrets;
mod size;
pub mod spec;
mod spec_version;
pub mod state;
pub mod tenure;
mod unique;
mod watched_clock;

pub use artifacts::ArtifactSpec;
pub use clock::Clock;
pub use dispatch::Concurrency;
pub use files::FileSpec;
pub use identity::{Namespace, Principal, Role};
pub use index::{IndexSpec, IndexStep};
pub use needs::{Capacity, Isolation, Needs};
pub use policy::{Judgement, LeasePolicy, RetryPolicy, TOLERATED_PART, counted};
pub use reason::{Blame, CanceledBy, Canceler, EndReason, FinalCall};
pub use redact::{RedactStream, Redactor};
pub use size::{parse_size, shown_size};
pub use spec::{JobSpec, StepSpec};
pub use spec_version::{FIRST_VERSION, SPEC_VERSION};
pub use state::{Event, Lease, Outcome, Record, Rejected, State, transition};
pub use watched_clock::WatchedClock;
pub use wire::JobId;
