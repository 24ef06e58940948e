//! How many of something there may be, of which no namespace may take what others need.
//!
//! One namespace has half at most. All but the global one together leave a tenth to that, which is the operators' own: whoever is to
//! set right what the others did needs a place.

use crate::error::{Countable, StoreError};
use jobs::Namespace;

/// The part that is the global namespace's alone.
const RESERVED: i64 = 10;

/// How many there are: all, of the namespace in question, and of all namespaces but the global one. They come out of the database
/// in this order.
pub(super) type Counts = (i64, i64, i64);

/// Counts the rows of a table as [`Counts`] for the namespace that is the argument.
macro_rules! count {
    ($($from:tt)+) => {
        concat!(
            "SELECT COUNT(*), COUNT(CASE WHEN namespace = $1 THEN 1 END), COUNT(CASE WHEN namespace <> '' THEN 1 END) FROM ",
            $($from)+
        )
    };
}
pub(super) use count;

/// Refuses one more that is a namespace's where there may be so many.
pub(super) fn check(
    of: Countable,
    namespace: &Namespace,
    total: i64,
    (all, own, namespaced): Counts,
) -> Result<(), StoreError> {
    if all >= total {
        return Err(StoreError::TooMany { of, limit: total });
    }
    if *namespace == Namespace::Global {
        return Ok(());
    }
    let (half, shared) = (total / 2, total - total / RESERVED);
    if own >= half {
        return Err(StoreError::TooManyOf { of, namespace: namespace.clone(), limit: half, total });
    }
    if namespaced >= shared {
        return Err(StoreError::TooManyShared { of, limit: shared, total });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(namespace: &str, counts: Counts) -> Option<String> {
        let checked = check(Countable::Tokens, &namespace.parse().unwrap(), 100, counts);
        checked.err().map(|refused| refused.to_string())
    }

    #[test]
    fn nobody_takes_everybodys_places() {
        assert_eq!(told("org:acme", (60, 49, 60)), None);
        assert_eq!(told("org:acme", (60, 0, 0)), None);
        let expect = "there may be 100 tokens, 50 of one namespace, and org:acme has those: revoke one that is not needed";
        assert_eq!(told("org:acme", (50, 50, 50)).unwrap(), expect);
        let expect = "there may be 100 tokens, 90 of all namespaces but the global one, and those are there: revoke one that \
                      is not needed";
        assert_eq!(told("user:bob", (90, 0, 90)).unwrap(), expect);
        assert_eq!(told("global", (99, 9, 90)), None, "it has room of its own");
        let expect = "there are 100 tokens, and there may be no more: revoke one that is not needed";
        for namespace in ["global", "user:bob"] {
            assert_eq!(told(namespace, (100, 0, 50)).unwrap(), expect);
        }
    }
}
