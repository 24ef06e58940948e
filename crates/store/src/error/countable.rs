//! Of what there may be only so many, and what to do when they are there.

/// What there is a limit for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Countable {
    /// Tokens of the public API.
    Tokens,
    /// Registration tokens.
    Registrations,
    /// Executors with an identity.
    Identities,
    /// People who sign in.
    People,
    /// Uploads of indexes that are begun and not complete.
    BegunUploads,
    /// Lanes: what jobs that wait or run need, of each owner in each queue.
    Lanes,
}

impl Countable {
    /// Several of them, as a refusal names them.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Tokens => "tokens",
            Self::Registrations => "registration tokens",
            Self::Identities => "identities of executors, with those that were revoked",
            Self::People => "people",
            Self::BegunUploads => "uploads that are begun and not complete",
            Self::Lanes => "combinations of queue, namespace and needs that jobs wait or run with",
        }
    }

    /// What makes room for another one.
    pub(super) const fn advice(self) -> &'static str {
        match self {
            Self::Tokens => "revoke one that is not needed",
            Self::Registrations => "revoke one that is not needed, or wait until one expires",
            Self::Identities => "wait until those are forgotten that nobody uses any more",
            Self::People => "remove those who are gone",
            Self::BegunUploads => "complete them, or wait: a job's go when it is over, the others in a day",
            Self::Lanes => "let more jobs need the same, or wait until some have ended",
        }
    }
}
