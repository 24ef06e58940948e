//! A few things that were used last.

use std::borrow::Borrow;
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// `MOST` things at most, by name. Few enough that looking through them costs nothing.
pub(super) struct Cache<K, V, const MOST: usize>(Mutex<VecDeque<(K, V)>>);

impl<K, V, const MOST: usize> Default for Cache<K, V, MOST> {
    fn default() -> Self {
        Self(Mutex::new(VecDeque::new()))
    }
}

impl<K: PartialEq, V: Clone, const MOST: usize> Cache<K, V, MOST> {
    /// What is kept under that name; it is kept longest from now on.
    pub(super) fn get<Q: PartialEq + ?Sized>(&self, name: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let mut kept = self.lock();
        let at = kept.iter().position(|(known, _)| known.borrow() == name)?;
        let found = kept.remove(at)?;
        let value = found.1.clone();
        kept.push_back(found);
        Some(value)
    }

    /// Keeps it, in the place of what was not used for longest.
    pub(super) fn put(&self, name: K, value: V) {
        let mut kept = self.lock();
        kept.retain(|(known, _)| *known != name);
        if kept.len() >= MOST {
            kept.pop_front();
        }
        kept.push_back((name, value));
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<(K, V)>> {
        // No code that can panic runs under this lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_used_for_longest_goes() {
        let cache = Cache::<String, u32, 2>::default();
        cache.put("a".to_owned(), 1);
        cache.put("b".to_owned(), 2);
        assert_eq!(cache.get("a"), Some(1));
        cache.put("c".to_owned(), 3);
        assert_eq!((cache.get("a"), cache.get("b"), cache.get("c")), (Some(1), None, Some(3)));
    }
}
