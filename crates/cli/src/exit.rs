//! Exit codes, and the errors that carry them.

pub(crate) use agent::chain;
use std::fmt;

/// How the program ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// All is well.
    Success = 0,
    /// The user's job failed; or the agent can't start as it was told to.
    Failed = 1,
    /// What the user asked for can't be done as it was asked.
    Usage = 2,
    /// Our machinery failed.
    System = 3,
    /// Somebody stopped it.
    Canceled = 130,
}

/// An error for the user, in one line: what, which value, which rule, what to do.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    pub(crate) message: String,
}

impl Failure {
    pub(crate) fn usage(message: impl fmt::Display) -> Self {
        Self { exit: Exit::Usage, message: message.to_string() }
    }

    pub(crate) fn system(message: impl fmt::Display) -> Self {
        Self { exit: Exit::System, message: message.to_string() }
    }

    /// An error with all that caused it, outermost first.
    pub(crate) fn chain(exit: Exit, error: &(dyn std::error::Error + 'static)) -> Self {
        Self { exit, message: chain(error) }
    }
}

/// What every command returns.
pub(crate) type Outcome = Result<Exit, Failure>;
