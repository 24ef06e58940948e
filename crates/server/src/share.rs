//! Totals that all namespaces share. None but the global one, which is the operators' own, may have more than half of one, so
//! that nobody's jobs take the room of everybody's.

use jobs::Namespace;
use store::StoreError;

/// There is no room.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Full {
    /// Nobody has any.
    #[error("all {what} together may take {limit} bytes, and that is reached: they are removed in time")]
    All {
        /// What it is for.
        what: &'static str,
        /// Bytes that all may have together.
        limit: u64,
    },
    /// Others may have some.
    #[error(
        "all {what} together may take {total} bytes, those of one namespace {limit}, and {namespace} has reached that: \
         they are removed in time"
    )]
    Share {
        /// What it is for.
        what: &'static str,
        /// Who has as much as one may.
        namespace: Namespace,
        /// Bytes that one may have.
        limit: u64,
        /// Bytes that all may have together.
        total: u64,
    },
}

/// What still fits.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Room {
    /// Bytes.
    pub(crate) bytes: u64,
    /// What is to be told of more.
    pub(crate) beyond: Full,
}

/// A total that all share.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Total {
    /// What it is for.
    pub(crate) what: &'static str,
    /// Bytes that all may have together.
    pub(crate) limit: u64,
    /// Bytes that are kept.
    pub(crate) kept: u64,
}

impl Total {
    /// What still fits of something that has `largest` bytes at most. Whose what is kept is, which takes adding up, is asked
    /// only where it could matter.
    pub(crate) async fn room(
        self,
        of: &Namespace,
        largest: u64,
        own: impl Future<Output = Result<u64, StoreError>>,
    ) -> Result<Room, StoreError> {
        let Self { what, limit: total, kept } = self;
        let (left, limit) = (total.saturating_sub(kept), total / 2);
        let all = Room { bytes: left, beyond: Full::All { what, limit: total } };
        if *of == Namespace::Global || kept.saturating_add(largest) <= limit {
            return Ok(all);
        }
        let bytes = limit.saturating_sub(own.await?);
        let beyond = Full::Share { what, namespace: of.clone(), limit, total };
        Ok(if bytes < left { Room { bytes, beyond } } else { all })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn room(of: &str, kept: u64, own: u64) -> (u64, bool) {
        let total = Total { what: "files", limit: 100, kept };
        let room = total.room(&of.parse().unwrap(), 10, async { Ok(own) }).await.unwrap();
        (room.bytes, matches!(room.beyond, Full::Share { limit: 50, total: 100, .. }))
    }

    #[tokio::test]
    async fn one_namespace_has_half_at_most_and_the_global_one_all() {
        assert_eq!(room("org:acme", 40, 40).await, (60, false), "even the largest leaves it below half");
        assert_eq!(room("org:acme", 45, 45).await, (5, true));
        assert_eq!(room("org:acme", 60, 50).await, (0, true));
        assert_eq!(room("org:acme", 90, 0).await, (10, false), "others have the rest");
        assert_eq!(room("global", 60, 60).await, (40, false));
    }
}
