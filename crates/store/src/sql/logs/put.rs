//! Replacing log entries as a whole, as executors do that know no better way to add to one.

use super::super::SqlStore;
use super::super::session::Session;
use super::super::statements::statements;
use super::super::values::micros;
use super::commands;
use super::turn::Turn;
use crate::error::StoreError;
use crate::model::NewLogEntry;
use jobs::{JobId, Lease};

statements! {
    LOAD = "SELECT key, command, start_time, exit_code, duration_ms FROM log_entries \
            WHERE job = $1 AND epoch = $2 AND entry = $3";
    REPLACE = "UPDATE log_entries SET key = $1, command = $2, start_time = $3, exit_code = $4, duration_ms = $5 \
               WHERE job = $6 AND epoch = $7 AND entry = $8";
}

/// What the database knows of an entry: key, command, start, exit code, duration.
type Columns = (String, Option<String>, i64, Option<i32>, Option<i64>);

pub(in crate::sql) async fn put(
    store: &SqlStore,
    id: JobId,
    lease: &Lease,
    number: i64,
    entry: NewLogEntry,
) -> Result<(), StoreError> {
    let mut turn = Turn::begin(store, id, lease).await?;
    let put = put_in(&mut turn, id, lease.epoch, number, entry).await;
    turn.end(put).await
}

async fn put_in(
    turn: &mut Turn<'_>,
    id: JobId,
    epoch: u32,
    number: i64,
    entry: NewLogEntry,
) -> Result<(), StoreError> {
    let (present, command) = {
        let mut look = turn.lookup().await?;
        let present = load(&mut look, id, epoch, number).await?;
        let of = (id, epoch, number);
        let command = commands::replaced(&mut look, of, present.1.as_ref(), entry.command.as_ref()).await?;
        (present, command)
    };
    turn.put(number, entry.out.into_bytes(), entry.exit_code.is_some()).await?;
    let wanted = (entry.key, command, micros(entry.start_time), entry.exit_code, entry.duration_ms);
    // While the command runs only its text grows, so most calls end without a write to this row.
    if wanted != present {
        replace(turn.write().await?, id, epoch, number, wanted).await?;
    }
    Ok(())
}

async fn load(session: &mut Session, id: JobId, epoch: u32, number: i64) -> Result<Columns, StoreError> {
    let load = session.query(LOAD).bind(id.0).bind(i64::from(epoch)).bind(number);
    load.optional().await?.ok_or(StoreError::UnknownLogEntry { job: id, entry: number })
}

async fn replace(
    session: &mut Session,
    id: JobId,
    epoch: u32,
    number: i64,
    (key, command, start_time, exit_code, duration_ms): Columns,
) -> Result<(), StoreError> {
    session
        .query(REPLACE)
        .bind(key)
        .bind(command)
        .bind(start_time)
        .bind(exit_code)
        .bind(duration_ms)
        .bind(id.0)
        .bind(i64::from(epoch))
        .bind(number)
        .execute()
        .await?;
    Ok(())
}
