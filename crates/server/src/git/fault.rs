//! What can go wrong with git and with repositories.

use crate::disk_floor::BelowFloor;
use jobs::Namespace;
use std::io;
use std::net::IpAddr;
use store::StoreError;

/// Git did not do what was asked, or was not asked for good reason.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GitFault {
    /// Git can't be run, or its pipes broke.
    #[error("git can't be run: {0}")]
    Io(io::Error),
    /// There is no room for mirrors.
    #[error(
        "there is no room for mirrors of repositories on the disk of the server's data directory: make room there ({cause})"
    )]
    Full {
        /// Who said so, git or the system.
        cause: String,
    },
    /// Git ran, and said no.
    #[error("{cause}")]
    Refused {
        /// What it complained of.
        cause: String,
    },
    /// Git took too long.
    #[error("git took longer than {seconds} seconds and was stopped")]
    TooSlow {
        /// The limit.
        seconds: u64,
    },
    /// The source has more than a mirror may have.
    #[error("it has more than {limit} bytes, and a mirror may have no more: have jobs clone a smaller one")]
    TooLarge {
        /// The limit.
        limit: u64,
    },
    /// The store failed, or knows better.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There are as many repositories as there may be.
    #[error("there may be {limit} repositories, and there are: remove one that no job needs")]
    TooMany {
        /// The limit.
        limit: usize,
    },
    /// One namespace has as many as one may.
    #[error(
        "there may be {total} repositories, {limit} of one namespace, and {namespace} has those: remove one that no job \
         needs"
    )]
    TooManyOf {
        /// Whose.
        namespace: Namespace,
        /// How many one may have.
        limit: usize,
        /// How many all may have together.
        total: usize,
    },
    /// Others are being fetched, and take their time.
    #[error(
        "other repositories have been fetched for {seconds} s, and there was no turn for this one: try again"
    )]
    TooManyFetches {
        /// How long it waited.
        seconds: u64,
    },
    /// There is no such repository.
    #[error("there is no repository {0:?}")]
    UnknownRepository(String),
    /// The repository's source leads where nobody may send us.
    #[error(
        "{host} has the address {address}, which is link-local or a metadata service's: no repository is fetched \
             from there"
    )]
    Forbidden {
        /// The source's host, or one that it redirects to.
        host: String,
        /// What it has.
        address: IpAddr,
    },
    /// The source names a branch that it does not give.
    #[error("its HEAD names {branch}, and it gives no such branch")]
    HeadWithheld {
        /// The branch, `refs/heads/main` for instance.
        branch: String,
    },
    /// The repository's source can't be read now.
    #[error("the source {source_shown} of repository {repository:?} can't be fetched: {cause}")]
    Unreachable {
        /// The repository.
        repository: String,
        /// Its source, without credentials.
        source_shown: String,
        /// What git said.
        cause: Box<GitFault>,
    },
    /// The repository holds no such commit.
    #[error("repository {repository:?} has no revision {rev:?}")]
    UnknownRevision {
        /// The repository.
        repository: String,
        /// The revision.
        rev: String,
    },
}

impl From<BelowFloor> for GitFault {
    fn from(below: BelowFloor) -> Self {
        Self::Full { cause: below.to_string() }
    }
}

impl From<io::Error> for GitFault {
    fn from(fault: io::Error) -> Self {
        match fault.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Self::Full { cause: fault.to_string() }
            }
            _ => Self::Io(fault),
        }
    }
}
