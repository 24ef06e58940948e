//! Adding text to log entries.

use super::super::SqlStore;
use super::super::session::Session;
use super::super::statements::statements;
use super::files::TryFiles;
use super::lease::{check_entry, check_lease, write_as_holder};
use crate::error::StoreError;
use crate::sql::news::News;
use jobs::{JobId, Lease};

statements! {
    SET_END = "UPDATE log_entries SET exit_code = COALESCE($1, exit_code), \
               duration_ms = COALESCE($2, duration_ms) WHERE job = $3 AND epoch = $4 AND entry = $5";
}

/// What is known of how a log entry's command ended.
#[derive(Debug, Clone, Copy)]
pub(in crate::sql) struct KnownEnd {
    pub(in crate::sql) exit_code: Option<i32>,
    pub(in crate::sql) duration_ms: Option<i64>,
}

pub(in crate::sql) async fn append(
    store: &SqlStore,
    id: JobId,
    lease: &Lease,
    number: i64,
    offset: u64,
    text: &str,
    end: KnownEnd,
) -> Result<u64, StoreError> {
    let held = store.logs.hold(id, lease.epoch).await;
    let mut reader = store.database.lookup().await?;
    check_lease(&mut reader, id, lease).await?;
    check_entry(&mut reader, id, lease.epoch, number).await?;
    drop(reader);
    let text = text.as_bytes().to_vec();
    let work = move |files: &mut TryFiles| {
        let length = files.add_at(number, offset, &text)?;
        if end.exit_code.is_some() {
            files.sync(number)?;
        }
        Ok(length)
    };
    let (held, length) = held.run(work).await?;
    if end.exit_code.is_some() || end.duration_ms.is_some() {
        let mut write = write_as_holder(store, id, lease).await?;
        set_end(&mut write, id, lease.epoch, number, end).await?;
        store.commit(write).await?;
    }
    drop(held);
    store.announce(News::Log(id));
    Ok(length)
}

/// Notes what is known of the end, and forgets nothing that was known before.
pub(super) async fn set_end(
    session: &mut Session,
    id: JobId,
    epoch: u32,
    number: i64,
    end: KnownEnd,
) -> Result<(), StoreError> {
    session
        .query(SET_END)
        .bind(end.exit_code)
        .bind(end.duration_ms)
        .bind(id.0)
        .bind(i64::from(epoch))
        .bind(number)
        .execute()
        .await?;
    Ok(())
}
