//! What one server at a time does for all that share the database.
//!
//! A row with an end, rather than a lock: whoever holds it may be cut off from the database, or behind something that lends
//! connections, and is succeeded all the same once its time is over.

use super::SqlStore;
use super::database::Durability;
use super::statements::statements;
use super::values::{micros, span};
use crate::error::StoreError;
use std::time::Duration;

statements! {
    LOOK = "SELECT holder, ends_at FROM duties WHERE name = $1";
    /// An end that is further away ($5) than any can be is that of a clock which was set back since.
    TAKE = "INSERT INTO duties (name, holder, ends_at) VALUES ($1, $2, $3) ON CONFLICT (name) DO UPDATE \
            SET holder = excluded.holder, ends_at = excluded.ends_at \
            WHERE duties.holder = excluded.holder OR duties.ends_at <= $4 OR duties.ends_at > $5";
    GIVE_UP = "DELETE FROM duties WHERE name = $1 AND holder = $2";
}

/// Says whether it is the holder's for now.
pub(super) async fn hold(
    store: &SqlStore,
    name: &str,
    holder: &str,
    term: Duration,
) -> Result<bool, StoreError> {
    let (now, term) = (micros(store.clock.now()), span(term));
    let ends_at = now.saturating_add(term);
    // Servers take the time to be a little different. One that is behind the holder by less than a term takes nothing from it.
    let furthest = ends_at.saturating_add(term);
    let mut lookup = store.database.lookup().await?;
    let present: Option<(String, i64)> = lookup.query(LOOK).bind(name).optional().await?;
    drop(lookup);
    // The usual answers cost the writers nothing.
    if let Some((by, until)) = present
        && until <= furthest
    {
        let left = until.saturating_sub(now);
        if by != holder && left > 0 {
            return Ok(false);
        }
        if by == holder && left > term / 2 {
            return Ok(true);
        }
    }
    let mut write = store.database.write(Durability::Crash).await?;
    let take = write.query(TAKE).bind(name).bind(holder).bind(ends_at).bind(now).bind(furthest);
    let taken = take.execute().await? > 0;
    store.commit(write).await?;
    Ok(taken)
}

pub(super) async fn give_up(store: &SqlStore, name: &str, holder: &str) -> Result<(), StoreError> {
    let mut write = store.database.write(Durability::Crash).await?;
    write.query(GIVE_UP).bind(name).bind(holder).execute().await?;
    store.commit(write).await
}
