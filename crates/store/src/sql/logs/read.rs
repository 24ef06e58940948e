//! Reading logs.

use super::super::SqlStore;
use super::super::statements::statements;
use super::super::values::{from_json, job_name, small, timestamp};
use super::{sealed, texts};
use crate::error::StoreError;
use crate::model::LogEntryRow;
use jobs::JobId;

/// Bytes that are read at once at most, whatever was asked for.
const MAX_READ: usize = 8 << 20;
/// Bytes that are read at once at least: enough for any one character, so that every read gets on.
const MIN_READ: usize = 4;

statements! {
    LATEST_EPOCH = "SELECT epoch FROM jobs WHERE id = $1";
    LIST = "SELECT entry, key, command, start_time, exit_code, duration_ms FROM log_entries \
            WHERE job = $1 AND epoch = $2 ORDER BY entry";
    /// Commands take by far the most room.
    OUTLINE = "SELECT entry, key, CAST(NULL AS TEXT), start_time, exit_code, duration_ms FROM log_entries \
               WHERE job = $1 AND epoch = $2 AND entry > $3 ORDER BY entry LIMIT $4";
    COMMAND = "SELECT command FROM log_entries WHERE job = $1 AND epoch = $2 AND entry = $3";
    ONE = "SELECT entry, key, command, start_time, exit_code, duration_ms FROM log_entries \
           WHERE job = $1 AND epoch = $2 AND entry = $3";
}

/// A log entry as it comes out of the database.
type Columns = (i64, String, Option<String>, i64, Option<i32>, Option<i64>);

/// Which entries of a try.
#[derive(Clone, Copy)]
enum Which {
    All,
    /// The first so many of higher numbers, without their commands.
    OutlineAfter(i64, u32),
    One(i64),
}

pub(in crate::sql) async fn entries(
    store: &SqlStore,
    id: JobId,
    epoch: Option<u32>,
) -> Result<Vec<LogEntryRow>, StoreError> {
    found(store, id, epoch, Which::All).await
}

/// Those after one, without their commands.
pub(in crate::sql) async fn outline(
    store: &SqlStore,
    id: JobId,
    epoch: u32,
    after: i64,
    most: u32,
) -> Result<Vec<LogEntryRow>, StoreError> {
    found(store, id, Some(epoch), Which::OutlineAfter(after, most)).await
}

/// What was left out there.
pub(in crate::sql) async fn command(
    store: &SqlStore,
    id: JobId,
    epoch: u32,
    number: i64,
) -> Result<Option<Vec<String>>, StoreError> {
    let mut reader = store.database.lookup().await?;
    let found = reader.query(COMMAND).bind(id.0).bind(i64::from(epoch)).bind(number).optional().await?;
    let (command,): (Option<String>,) = found.unwrap_or_default();
    command.map(|json| from_json(&json, "command", || entry_name(id, number))).transpose()
}

/// One of them. Nothing is looked up of the others, which may be thousands.
pub(in crate::sql) async fn entry(
    store: &SqlStore,
    id: JobId,
    epoch: Option<u32>,
    number: i64,
) -> Result<LogEntryRow, StoreError> {
    let found = found(store, id, epoch, Which::One(number)).await?.pop();
    found.ok_or(StoreError::UnknownLogEntry { job: id, entry: number })
}

async fn found(
    store: &SqlStore,
    id: JobId,
    epoch: Option<u32>,
    which: Which,
) -> Result<Vec<LogEntryRow>, StoreError> {
    let mut reader = store.database.lookup().await?;
    let latest: Option<(i64,)> = reader.query(LATEST_EPOCH).bind(id.0).optional().await?;
    let (latest,) = latest.ok_or(StoreError::UnknownJob(id))?;
    let epoch = epoch.map_or_else(|| small(latest, "epoch", || job_name(id)), Ok)?;
    let rows = match which {
        Which::All => reader.query(LIST).bind(id.0).bind(i64::from(epoch)),
        Which::OutlineAfter(entry, most) => {
            reader.query(OUTLINE).bind(id.0).bind(i64::from(epoch)).bind(entry).bind(i64::from(most))
        }
        Which::One(entry) => reader.query(ONE).bind(id.0).bind(i64::from(epoch)).bind(entry),
    };
    let rows: Vec<Columns> = rows.all().await?;
    drop(reader);
    // The texts first, the row second: they are removed with it or after it is written, so without it they are whole.
    let lengths = match which {
        Which::All | Which::OutlineAfter(..) => texts::lengths(store, id, epoch).await,
        Which::One(entry) => texts::length(store, (id, epoch, entry)).await,
    };
    let object = sealed::object(&mut store.database.lookup().await?, id, epoch).await?;
    let length_of: Box<dyn Fn(i64) -> u64 + Send> = if let Some(object) = object {
        let index = sealed::index(store, id, epoch, &object).await?;
        Box::new(move |entry| index.length_of(entry))
    } else {
        let lengths = lengths?;
        Box::new(move |entry| lengths.of(entry))
    };
    rows.into_iter().map(|columns| entry_row(id, epoch, &*length_of, columns)).collect()
}

fn entry_name(id: JobId, entry: i64) -> String {
    format!("log entry {entry} of {}", job_name(id))
}

fn entry_row(
    id: JobId,
    epoch: u32,
    length_of: &(dyn Fn(i64) -> u64 + Send),
    (entry, key, command, start_time, exit_code, duration_ms): Columns,
) -> Result<LogEntryRow, StoreError> {
    let name = || entry_name(id, entry);
    Ok(LogEntryRow {
        entry,
        epoch,
        key,
        command: command.map(|json| from_json(&json, "command", name)).transpose()?,
        start_time: timestamp(start_time, name)?,
        exit_code,
        duration_ms,
        length: length_of(entry),
    })
}

pub(in crate::sql) async fn read(
    store: &SqlStore,
    id: JobId,
    epoch: u32,
    number: i64,
    offset: u64,
    max: usize,
) -> Result<Vec<u8>, StoreError> {
    let max = max.clamp(MIN_READ, MAX_READ);
    let read = texts::read(store, (id, epoch, number), offset, max).await;
    // The text first, the row second, as above.
    let found = sealed::find(&mut store.database.lookup().await?, id, epoch, number).await?;
    let (mut bytes, more) = match found {
        Some(object) => sealed::read(store, (id, epoch, number), &object, offset, max).await?,
        None => read?,
    };
    if more {
        bytes.truncate(whole_characters(&bytes));
    }
    Ok(bytes)
}

pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| StoreError::Database(Box::new(error)))?
}

/// How many bytes are left without a last character that is not complete.
fn whole_characters(bytes: &[u8]) -> usize {
    for (back, byte) in bytes.iter().rev().take(3).enumerate() {
        let width = match byte {
            0x80..=0xBF => continue,
            0xC0..=0xDF => 2,
            0xE0..=0xEF => 3,
            0xF0..=0xF7 => 4,
            _ => 1,
        };
        let present = back + 1;
        return if width > present { bytes.len() - present } else { bytes.len() };
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_cut_within_a_character_is_cut_before_it() {
        let text = "aä€😀z";
        for cut in 1..=text.len() {
            let whole = whole_characters(&text.as_bytes()[..cut]);
            assert_eq!(whole, text.floor_char_boundary(cut), "cut at {cut}");
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_left_alone() {
        assert_eq!(whole_characters(b"\x80\x80\x80\x80"), 4);
        assert_eq!(whole_characters(b"\xFF"), 1);
        assert_eq!(whole_characters(b""), 0);
    }
}
