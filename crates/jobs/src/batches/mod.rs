//! One execution of a batch change in one workspace: what a job of the queue `batches` may be instead of plain steps.
//!
//! What is asked for is [`ExecutionInput`], with the names that the documented protocol has for it; what it comes to are
//! [`AfterStepResult`]s, which such a job prints among other things ([`Harvest`] finds them), each with the key under which it
//! is good for another execution ([`cache_keys`]).

mod check;
mod env;
mod input;
mod kept;
mod keys;
mod lenient;
mod mounts;
mod result;
mod results;

pub use check::BadExecution;
pub use env::{StepEnv, Variable};
pub use input::{
    BatchChangeAttributes, Branch, Commit, Condition, ExecutionInput, Mount, Output, Repository, Skipped,
    Step,
};
pub use kept::KeptJson;
pub use keys::{CacheKeys, cache_keys};
pub use mounts::{MountMetadata, WorkspaceFile, mounts_metadata};
pub use result::{AfterStepResult, BadDiff, ChangedFiles, Others};
pub use results::{Found, Harvest, MAX_LINE, MAX_RESULTS, StepResult, may_hold_results};

/// The only queue that takes executions.
pub const QUEUE: &str = "batches";
