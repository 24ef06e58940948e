//! How many rows of a table each namespace has, where those of whoever has most are the first to go.
//!
//! To count them takes longer the more there are. So they are counted only where there may be too many, and what was counted is
//! believed for a multiple of how long that took; in between what this process adds and removes is counted on. Of what other
//! servers remove meanwhile nothing is known, so of the namespace with the most rows a few more may go than had to.

use super::belief;
use super::session::{Session, Sql};
use crate::error::StoreError;
use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Of rows that are to go, the part that goes of one namespace at once: another may have the most then.
const PARTS: u64 = 10;

/// What is known of them.
#[derive(Default)]
pub(super) struct Shares(Mutex<Known>);

#[derive(Default)]
struct Known {
    rows: HashMap<String, u64>,
    total: u64,
    /// Until when that is believed.
    until: Option<Instant>,
}

impl Shares {
    /// How many rows there are; `count` has the database count those of each namespace.
    pub(super) async fn total(
        &self,
        count: impl AsyncFnOnce() -> Result<Vec<(String, i64)>, StoreError>,
    ) -> Result<u64, StoreError> {
        {
            let known = self.known();
            if known.until.is_some_and(|until| Instant::now() < until) {
                return Ok(known.total);
            }
        }
        let begun = Instant::now();
        let counted = count().await?;
        let believed = belief::of_count(begun.elapsed());
        let rows: HashMap<String, u64> =
            counted.into_iter().map(|(of, rows)| (of, rows.unsigned_abs())).collect();
        let total = rows.values().sum();
        *self.known() = Known { rows, total, until: Instant::now().checked_add(believed) };
        Ok(total)
    }

    /// Counts a row that was added.
    pub(super) fn add(&self, of: &str) {
        let mut known = self.known();
        // Where nothing was counted, nothing is kept.
        if known.until.is_none() {
            return;
        }
        known.total += 1;
        match known.rows.get_mut(of) {
            Some(rows) => *rows += 1,
            None => drop(known.rows.insert(of.to_owned(), 1)),
        }
    }

    /// Begins to forget so many rows, and others that are old.
    pub(super) fn forgetting(&self, most: u64) -> Forgetting {
        Forgetting { rows: self.known().rows.clone(), gone: Vec::new(), most }
    }

    /// What was to be forgotten was; says how many rows that were.
    pub(super) fn forgot(&self, done: &Forgetting) -> u64 {
        let mut known = self.known();
        for of in &done.gone {
            known.total -= u64::from(take_one(&mut known.rows, of));
        }
        if done.left() > 0 {
            // There were fewer than was thought.
            *known = Known::default();
        }
        done.gone.len() as u64
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Rows are being forgotten, in a transaction.
pub(super) struct Forgetting {
    rows: HashMap<String, u64>,
    /// Whose each was that is gone.
    gone: Vec<String>,
    /// How many are to go.
    most: u64,
}

/// So many of the oldest rows of a namespace.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Turn {
    pub(super) of: String,
    pub(super) rows: u64,
}

impl Forgetting {
    /// How many are still to go.
    pub(super) fn left(&self) -> u64 {
        self.most.saturating_sub(self.gone.len() as u64)
    }

    /// Those of a namespace that has more than so many. The global one is the installation's own, and may have all there is.
    pub(super) fn beyond(&self, share: u64) -> Option<Turn> {
        let namespaces = self.rows.iter().filter(|(of, rows)| !of.is_empty() && **rows > share);
        let (of, rows) = namespaces.max_by_key(|(of, rows)| (**rows, Reverse(*of)))?;
        let rows = (rows - share).min(self.left());
        (rows > 0).then(|| Turn { of: of.clone(), rows })
    }

    /// Removes what the turn says with a statement that takes how many of whom; says how many were there.
    pub(super) async fn take(
        &mut self,
        write: &mut Session,
        sql: Sql,
        turn: &Turn,
    ) -> Result<u64, StoreError> {
        let gone: Vec<(String,)> =
            write.query(sql).bind(turn.rows.cast_signed()).bind(&turn.of).all().await?;
        let count = gone.len() as u64;
        self.note(gone);
        Ok(count)
    }

    /// Removes all that is still to go of whoever has most, by the same kind of statement.
    pub(super) async fn take_of_most(&mut self, write: &mut Session, sql: Sql) -> Result<(), StoreError> {
        while let Some(turn) = self.of_most() {
            if self.take(write, sql, &turn).await? < turn.rows {
                break;
            }
        }
        Ok(())
    }

    /// Notes whose rows are gone.
    pub(super) fn note(&mut self, gone: Vec<(String,)>) {
        for (of,) in gone {
            take_one(&mut self.rows, &of);
            self.gone.push(of);
        }
    }

    fn of_most(&self) -> Option<Turn> {
        let (of, most) = self.rows.iter().max_by_key(|(of, rows)| (**rows, Reverse(*of)))?;
        let second = self.rows.iter().filter(|(other, _)| *other != of).map(|(_, rows)| *rows).max();
        let (ahead, left) = (most - second.unwrap_or(0), self.left());
        let rows = ahead.max(left.div_ceil(PARTS)).min(left).min(*most);
        (rows > 0).then(|| Turn { of: of.clone(), rows })
    }
}

/// Takes one row of a namespace away; says whether it was known of.
fn take_one(rows: &mut HashMap<String, u64>, of: &str) -> bool {
    let Some(count) = rows.get_mut(of) else { return false };
    *count -= 1;
    if *count == 0 {
        rows.remove(of);
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    async fn shares(rows: &[(&str, i64)]) -> Shares {
        let shares = Shares::default();
        let counted = rows.iter().map(|(of, rows)| ((*of).to_owned(), *rows)).collect();
        shares.total(async || Ok(counted)).await.unwrap();
        shares.known().until = Instant::now().checked_add(Duration::from_hours(1));
        shares
    }

    /// Forgets so many rows of whoever has most, and says how many each has then.
    async fn left_of(rows: &[(&str, i64)], most: u64) -> Vec<(String, u64)> {
        let mut gone = shares(rows).await.forgetting(most);
        while let Some(turn) = gone.of_most() {
            gone.note(vec![(turn.of,); usize::try_from(turn.rows).unwrap()]);
        }
        assert_eq!(gone.left(), 0);
        let mut rows: Vec<_> = gone.rows.into_iter().collect();
        rows.sort_unstable();
        rows
    }

    #[tokio::test]
    async fn whoever_has_most_loses_first() {
        let of = |of: &str, rows| (of.to_owned(), rows);
        assert_eq!(left_of(&[("", 50), ("a", 900)], 700).await, [of("", 50), of("a", 200)]);
        assert_eq!(left_of(&[("", 50), ("a", 60)], 10).await, [of("", 50), of("a", 50)]);
        assert_eq!(left_of(&[("a", 3), ("b", 3)], 6).await, []);
        let even = left_of(&[("a", 500), ("b", 500), ("c", 10)], 500).await;
        assert!(even[2] == of("c", 10) && even[0].1.abs_diff(even[1].1) <= 50, "{even:?}");
    }

    #[tokio::test]
    async fn the_installation_itself_has_all_that_it_needs() {
        let gone = shares(&[("", 900), ("a", 60), ("b", 70)]).await.forgetting(30);
        assert_eq!(gone.beyond(50), Some(Turn { of: "b".to_owned(), rows: 20 }));
        assert_eq!(gone.beyond(65), Some(Turn { of: "b".to_owned(), rows: 5 }));
        assert_eq!(gone.beyond(100), None);
    }

    #[tokio::test]
    async fn rows_are_counted_once_and_then_counted_on() {
        let shares = shares(&[("", 2), ("a", 3)]).await;
        shares.add("a");
        shares.add("b");
        let mut gone = shares.forgetting(2);
        gone.note(vec![("a".to_owned(),), ("unseen".to_owned(),)]);
        assert_eq!(shares.forgot(&gone), 2);
        let again = async || panic!("it is counted again");
        assert_eq!(shares.total(again).await.unwrap(), 6);
        assert_eq!(shares.forgot(&shares.forgetting(1)), 0, "it was thought that there were more");
        assert_eq!(shares.total(async || Ok(vec![("a".to_owned(), 9)])).await.unwrap(), 9);
    }
}
