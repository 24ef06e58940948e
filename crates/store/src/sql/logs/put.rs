//! Replacing log entries as a whole, as executors do that know no better way to add to one.

use super::super::SqlStore;
use super::super::session::Session;
use super::super::statements::statements;
use super::super::values::{micros, to_json};
use super::files::TryFiles;
use super::lease::{check_lease, write_as_holder};
use crate::error::StoreError;
use crate::model::NewLogEntry;
use crate::sql::news::News;
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
    let held = store.logs.hold(id, lease.epoch).await;
    let mut reader = store.database.lookup().await?;
    check_lease(&mut reader, id, lease).await?;
    let present = load(&mut reader, id, lease.epoch, number).await?;
    drop(reader);

    let text = entry.out.into_bytes();
    let ended = entry.exit_code.is_some();
    let work = move |files: &mut TryFiles| {
        files.put(number, &text)?;
        if ended { files.sync(number) } else { Ok(()) }
    };
    let (held, ()) = held.run(work).await?;

    let command = entry.command.as_ref().map(to_json).transpose()?;
    let wanted = (entry.key, command, micros(entry.start_time), entry.exit_code, entry.duration_ms);
    // While the command runs only its text grows, so most calls end without a write to the database.
    if wanted != present {
        replace(store, id, lease, number, wanted).await?;
    }
    drop(held);
    store.announce(News::Log(id));
    Ok(())
}

async fn load(session: &mut Session, id: JobId, epoch: u32, number: i64) -> Result<Columns, StoreError> {
    let load = session.query(LOAD).bind(id.0).bind(i64::from(epoch)).bind(number);
    load.optional().await?.ok_or(StoreError::UnknownLogEntry { job: id, entry: number })
}

async fn replace(
    store: &SqlStore,
    id: JobId,
    lease: &Lease,
    number: i64,
    (key, command, start_time, exit_code, duration_ms): Columns,
) -> Result<(), StoreError> {
    let mut write = write_as_holder(store, id, lease).await?;
    write
        .query(REPLACE)
        .bind(key)
        .bind(command)
        .bind(start_time)
        .bind(exit_code)
        .bind(duration_ms)
        .bind(id.0)
        .bind(i64::from(lease.epoch))
        .bind(number)
        .execute()
        .await?;
    store.commit(write).await
}
