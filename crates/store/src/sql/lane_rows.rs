//! Lanes and rules in the database.

use super::SqlStore;
use super::lanes::{LaneRow, Rules};
use super::session::Session;
use super::statements::statements;
use super::values::{from_json, to_json};
use crate::error::StoreError;
use jobs::Needs;

/// Lanes that there may be: who invents ever new needs or owners must not fill our memory.
const MAX_LANES: i64 = 100_000;

statements! {
    EVERY = "SELECT id, queue, owner, needs FROM lanes ORDER BY id LIMIT $1";
    FIND = "SELECT id FROM lanes WHERE queue = $1 AND owner = $2 AND needs = $3";
    /// One that another server makes at this moment is waited for, and then found.
    MAKE = "INSERT INTO lanes (queue, owner, needs) SELECT $1, $2, $3 WHERE (SELECT COUNT(*) FROM lanes) < $4 \
            ON CONFLICT (queue, owner, needs) DO NOTHING";
    QUEUES = "SELECT name, paused_at, max_running FROM queues";
    IN_MAINTENANCE = "SELECT name FROM executors WHERE maintenance_at IS NOT NULL";
}

/// Reads lanes and rules where that is due.
pub(super) async fn refresh(store: &SqlStore) -> Result<(), StoreError> {
    if !store.lanes.is_stale() {
        return Ok(());
    }
    let doubts = store.lanes.doubts();
    let mut lookup = store.database.lookup().await?;
    let rows: Vec<(i64, String, String, String)> = lookup.query(EVERY).bind(MAX_LANES).all().await?;
    let read = |(id, queue, owner, needs): (i64, String, String, String)| {
        let needs = from_json(&needs, "set of needs", || format!("lane {id}"))?;
        Ok(LaneRow { id, queue, owner, needs })
    };
    let rows: Result<Vec<LaneRow>, StoreError> = rows.into_iter().map(read).collect();
    let rules = rules(&mut lookup).await?;
    store.lanes.learn(rows?, rules, doubts);
    Ok(())
}

async fn rules(lookup: &mut Session) -> Result<Rules, StoreError> {
    let mut rules = Rules::default();
    let queues: Vec<(String, Option<i64>, Option<i64>)> = lookup.query(QUEUES).all().await?;
    for (name, paused_at, max_running) in queues {
        if let Some(max_running) = max_running {
            rules.max_running.insert(name.clone(), max_running);
        }
        if paused_at.is_some() {
            rules.paused.insert(name);
        }
    }
    let away: Vec<(String,)> = lookup.query(IN_MAINTENANCE).all().await?;
    rules.in_maintenance = away.into_iter().map(|(name,)| name).collect();
    Ok(rules)
}

/// The lane of a new job, which is made where there is none yet. Remembered by the caller, once it is committed.
pub(super) async fn intern(
    store: &SqlStore,
    session: &mut Session,
    queue: &str,
    owner: &str,
    needs: &Needs,
) -> Result<LaneRow, StoreError> {
    let row = |id| LaneRow { id, queue: queue.to_owned(), owner: owner.to_owned(), needs: needs.clone() };
    if let Some(id) = store.lanes.find(queue, owner, needs) {
        return Ok(row(id));
    }
    let json = to_json(needs)?;
    session.query(MAKE).bind(queue).bind(owner).bind(&json).bind(MAX_LANES).execute().await?;
    let found: Option<(i64,)> = session.query(FIND).bind(queue).bind(owner).bind(&json).optional().await?;
    found.map(|(id,)| row(id)).ok_or(StoreError::TooManyLanes(MAX_LANES.unsigned_abs()))
}
