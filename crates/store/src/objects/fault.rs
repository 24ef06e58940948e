//! What can go wrong with objects.

use object_store::Error;
use std::error::Error as StdError;
use std::io;

/// An object was not written, read or removed.
#[derive(Debug, thiserror::Error)]
pub enum ObjectsFault {
    /// It is not there.
    #[error(
        "the object store at {place} does not have {key}: it was removed, or a server kept it on its own disk before it used \
         this one"
    )]
    Missing {
        /// Where.
        place: String,
        /// Which.
        key: String,
    },
    /// It is not on this server's own disk, and other servers have theirs.
    #[error(
        "{key} is not in {place}: servers that share a database and no bucket keep what jobs leave on their own disks, so the \
         server where this job ended has it, if it was not removed; ask that one, or let all servers use one bucket \
         (executors.objectStore in the site configuration)"
    )]
    Elsewhere {
        /// Where it is not.
        place: String,
        /// Which.
        key: String,
    },
    /// It has fewer bytes than it should.
    #[error("the object store at {place} has less of {key} than was written")]
    Short {
        /// Where.
        place: String,
        /// Which.
        key: String,
    },
    /// There is no room.
    #[error("the object store at {place} is full: make room there, or let less be kept")]
    Full {
        /// Where.
        place: String,
        /// What was told.
        #[source]
        source: Error,
    },
    /// Anything else.
    #[error("the object store at {place} failed")]
    Failed {
        /// Where.
        place: String,
        /// What was told.
        #[source]
        source: Error,
    },
}

impl ObjectsFault {
    pub(super) fn of(place: &str, key: &str, source: Error) -> Self {
        let place = place.to_owned();
        match source {
            Error::NotFound { .. } => Self::Missing { place, key: key.to_owned() },
            source if is_full(&source) => Self::Full { place, source },
            source => Self::Failed { place, source },
        }
    }

    /// What is missing from the disk of one server out of several may be on another one's.
    pub(super) fn beside_others(self) -> Self {
        match self {
            Self::Missing { place, key } => Self::Elsewhere { place, key },
            fault => fault,
        }
    }

    /// Whether the object store would not have taken another object either.
    pub const fn is_of_store(&self) -> bool {
        matches!(self, Self::Full { .. } | Self::Failed { .. })
    }

    /// Whether there is no room.
    pub const fn is_full(&self) -> bool {
        matches!(self, Self::Full { .. })
    }
}

/// Said by the disk, or by a server in one of the ways that S3's look-alikes have: there is none in S3 itself.
fn is_full(error: &Error) -> bool {
    let mut cause: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<io::Error>()
            && matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
        {
            return true;
        }
        cause = error.source();
    }
    let told = error.to_string();
    ["StorageFull", "QuotaExceeded", "InsufficientStorage", "507 Insufficient Storage"]
        .iter()
        .any(|word| told.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generic(source: impl Into<Box<dyn StdError + Send + Sync>>) -> Error {
        Error::Generic { store: "S3", source: source.into() }
    }

    #[test]
    fn a_full_store_is_told_from_a_broken_one() {
        let full = io::Error::from(io::ErrorKind::StorageFull);
        assert!(ObjectsFault::of("x", "k", generic(full)).is_full());
        let told = "Server returned error response: <Code>XMinioStorageFull</Code>";
        assert!(ObjectsFault::of("x", "k", generic(told)).is_full());
        let broken = io::Error::from(io::ErrorKind::ConnectionRefused);
        assert!(!ObjectsFault::of("x", "k", generic(broken)).is_full());
    }
}
