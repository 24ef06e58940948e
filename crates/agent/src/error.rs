//! How an agent ends.

/// What an agent did, told when it leaves in good order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Summary {
    /// Jobs that were taken.
    pub taken: u64,
    /// Of those, the ones whose every step ended with 0.
    pub completed: u64,
}

/// Why an agent could not do its work at all. A job that fails is never one of these.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// It was told to leave before the control plane had answered once.
    #[error("stopped before the control plane could be reached")]
    NeverReached,
    /// An HTTP client could not be made.
    #[error("failed to set up the HTTP client")]
    Client(#[source] reqwest::Error),
    /// A thread, a directory or a runtime for the heartbeat could not be had.
    #[error("failed to {what}")]
    Io {
        /// What was tried, in the infinitive.
        what: String,
        /// How it failed.
        #[source]
        source: std::io::Error,
    },
    /// The configuration can't work.
    #[error("{0}")]
    Config(String),
}

impl AgentError {
    /// Gives an I/O error its context.
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}

/// An error and everything that caused it, outermost first, on one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let text = cause.to_string();
        // Some libraries repeat the cause in their own message.
        if !line.ends_with(&text) {
            line.push_str(": ");
            line.push_str(&text);
        }
        source = cause.source();
    }
    line
}
