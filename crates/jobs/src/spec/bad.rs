//! What can be wrong with what a user asks for.

use super::{
    MAX_DELAY_SECONDS, MAX_ENVIRONMENT_BYTES, MAX_ENVIRONMENTS_BYTES, MAX_RETRIES, MAX_SECRET_BYTES,
    MAX_SPEC_BYTES, MAX_STEPS, MAX_VARIABLE_BYTES,
};
use crate::artifacts::BadArtifact;
use crate::batches::BadExecution;
use crate::dispatch::{MAX_CONCURRENCY, MAX_PRIORITY};
use crate::files::{BadFile, MAX_PATH, MAX_PATH_PART};
use crate::index::BadIndex;
use crate::name::BadName;
use crate::revision::{MAX_BACK, MAX_LENGTH};
use crate::secrets::BadAsked;

/// What is wrong with a job specification.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadSpec {
    /// A name breaks its rule.
    #[error(transparent)]
    Name(#[from] BadName),
    /// A file breaks its rule.
    #[error(transparent)]
    File(#[from] BadFile),
    /// An artifact breaks its rule.
    #[error(transparent)]
    Artifact(#[from] BadArtifact),
    /// It asks for secrets that it can't have.
    #[error(transparent)]
    Asked(#[from] BadAsked),
    /// An index breaks its rule.
    #[error(transparent)]
    Index(#[from] BadIndex),
    /// The execution of a batch change breaks its rules.
    #[error(transparent)]
    Execution(#[from] BadExecution),
    /// It is of two kinds at once.
    #[error("a job is an index or an execution, and not both: leave one of them out")]
    TwoKinds,
    /// A priority out of its range.
    #[error("priority {0} is out of range: use -{MAX_PRIORITY} to {MAX_PRIORITY}")]
    Priority(i32),
    /// A longer wait than a job may ask for.
    #[error("delaySeconds is {0}: use 0 to {MAX_DELAY_SECONDS}, or notBefore")]
    Delay(u64),
    /// Two times before which it may not run.
    #[error("both notBefore and delaySeconds are given: leave one of them out")]
    TwoTimes,
    /// More retries than a job may ask for.
    #[error("retries is {0}: use 0 to {MAX_RETRIES}")]
    Retries(u32),
    /// No job with that key could ever run.
    #[error("the concurrency limit of {0:?} is 0, so no such job could ever run: use 1 or more")]
    NoConcurrency(String),
    /// More jobs with one key may run at once than are counted.
    #[error("the concurrency limit of {0:?} is {1}: use {MAX_CONCURRENCY} or less, or no key")]
    Concurrency(String, u32),
    /// There is nothing to do.
    #[error("the job has no steps: give it at least one")]
    NoSteps,
    /// There is too much to do.
    #[error("the job has {0} steps: at most {MAX_STEPS} are allowed")]
    TooManySteps(usize),
    /// Two steps can't be told apart.
    #[error("two steps are named {0:?}: names must differ")]
    DuplicateStep(String),
    /// A step without an image.
    #[error("step {0} names no image")]
    NoImage(String),
    /// A step without a script.
    #[error("step {0} has nothing to run")]
    NoScript(String),
    /// A directory that leaves the workspace.
    #[error(
        "step {step} has the directory {dir:?}: it must lie below the workspace, so it may not begin \
             with '/' or hold '..', and be of parts up to {MAX_PATH_PART} bytes, up to {MAX_PATH} in all"
    )]
    Dir {
        /// The step.
        step: String,
        /// Its directory.
        dir: String,
    },
    /// A value that can't be passed on.
    #[error("variable {0} holds a NUL byte, which no environment can carry")]
    NulInValue(String),
    /// The same variable is plain and secret.
    #[error("variable {0} is both in env and in secrets: keep one")]
    PlainAndSecret(String),
    /// A secret that would blank out every log.
    #[error("secret {0} is empty: an empty value can't be kept out of a log")]
    EmptySecret(String),
    /// A variable that no program could be started with.
    #[error(
        "variable {name} takes {size} bytes: at most {MAX_VARIABLE_BYTES} can be passed to a program; put it into \
             a file of the repository"
    )]
    LongVariable {
        /// The variable.
        name: String,
        /// Bytes of `NAME=value`.
        size: usize,
    },
    /// More variables than a program could be started with.
    #[error(
        "the environment of step {step} takes {size} bytes: at most {MAX_ENVIRONMENT_BYTES} can be passed to a \
             program"
    )]
    LargeEnvironment {
        /// The step.
        step: String,
        /// Bytes of all `NAME=value` together.
        size: usize,
    },
    /// More variables than one message can tell.
    #[error(
        "the environments of all steps take {0} bytes, with the job's variables in each of them: at most \
             {MAX_ENVIRONMENTS_BYTES} are allowed together; put large values into a file"
    )]
    LargeEnvironments(usize),
    /// More secret text than can be kept out of logs at a bearable price.
    #[error("the job's secrets take {0} bytes: at most {MAX_SECRET_BYTES} are allowed together")]
    LargeSecrets(usize),
    /// A revision without a repository.
    #[error("revision {0:?} is given without a repository")]
    RevWithoutRepo(String),
    /// A revision that git would read as an option or a search, or that is no name at all.
    #[error(
        "invalid revision {0:?}: name a branch, a tag or a commit in up to {MAX_LENGTH} characters, as git allows \
             them; after it only ~, ^, ~N and ^N may stand, which go back {MAX_BACK} commits at most"
    )]
    Rev(String),
    /// It is all too large.
    #[error(
        "the job's scripts, environment and inline files take {0} bytes: at most {MAX_SPEC_BYTES} are allowed"
    )]
    TooLarge(usize),
}
