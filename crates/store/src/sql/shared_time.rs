//! That what a server takes for the time is what the database's clock shows, which all servers of a PostgreSQL database share.
//!
//! Each asks that clock every few seconds and counts on by itself, so one that was set is not what a server goes by until that
//! server asks. A lease that one of them began while the clock was set back would seem to be long over to another one that
//! never saw it so. Therefore
//!
//! * whoever begins or renews a lease, or judges any, compares its time with the database's clock in the same transaction:
//!   nobody writes by a clock that is not the database's as it is then;
//! * whoever finds it set back says so in the database before it goes by it ([`super::database::DatabaseClock`]): the number
//!   of times that this was said is the *era*;
//! * whoever judges leases reads the era after it has read the leases, in the same transaction. In any other than its own it
//!   judges nobody, and then not before it has heard every heartbeat for a whole lease.
//!
//! Now a lease that was begun while the clock was back is either seen with the era that was told before it, or by a judge
//! that entered this era after the clock went forward again, and has heard all heartbeats for a whole lease since.

use super::SqlStore;
use super::session::Session;
use super::statements::statements;
use super::values::{micros, span};
use crate::error::StoreError;
use jiff::Timestamp;
use jobs::Judgement;

statements! {
    SHOWN in sqlite = "SELECT 0, 0",
          in postgres = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint, \
                             COALESCE((SELECT steps FROM clock_watch WHERE id = 1), 0)";
}

/// Checks that the database's clock shows what ours does, which showed `since` before this transaction wrote by it.
pub(super) async fn check(
    store: &SqlStore,
    session: &mut Session,
    since: Timestamp,
) -> Result<(), StoreError> {
    if store.clock.era().is_none() {
        return Ok(());
    }
    let (shown, _): (i64, i64) = session.query(SHOWN).one().await?;
    check_shown(store, since, shown)
}

/// Checks that whoever judges leases does it by the database's clock, in the era that it knows.
pub(super) async fn check_judge(
    store: &SqlStore,
    session: &mut Session,
    at: Judgement,
) -> Result<(), StoreError> {
    let Some(era) = at.era else { return Ok(()) };
    let (shown, now): (i64, i64) = session.query(SHOWN).one().await?;
    if now != era {
        store.clock.doubt();
        return Err(StoreError::ClockSet);
    }
    check_shown(store, at.now, shown)
}

/// The same for what it was seen to show, after ours showed `since` and before now: however long that took, it lies in between.
pub(super) fn check_shown(store: &SqlStore, since: Timestamp, shown: i64) -> Result<(), StoreError> {
    let away = span(store.clock.tolerance());
    let (before, after) =
        (micros(since).saturating_sub(away), micros(store.clock.now()).saturating_add(away));
    if store.clock.era().is_none() || (before..=after).contains(&shown) {
        return Ok(());
    }
    store.clock.doubt();
    Err(StoreError::ClockSet)
}
