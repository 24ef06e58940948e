//! How an agent ends.

use std::net::SocketAddr;

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
    /// The address for questions about health is somebody else's.
    #[error(
        "can't listen on {address} for questions about health: another program of this host does, perhaps another \
         agent with the same address"
    )]
    HealthAddressTaken {
        /// The address.
        address: SocketAddr,
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

/// An error and everything that caused it, outermost first, on one line. Whatever a cause quotes: it holds no
/// control characters, so it neither draws on a terminal nor passes for several lines of a log.
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
    line.trim_end().replace(char::is_control, " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_is_one_printable_line_whatever_its_causes_quote() {
        let cause = std::io::Error::other("bad: \"root:x\n\u{1b}[31mred\u{9b}m\r\"\n");
        let told = chain(&AgentError::io("read")(cause));
        assert_eq!(told, "failed to read: bad: \"root:x  [31mred m \"");
        let inner = std::io::Error::other("the cause\n");
        assert_eq!(chain(&AgentError::Config(inner.to_string())), "the cause");
    }
}
