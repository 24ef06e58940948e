//! Adding text to log entries.

use super::super::SqlStore;
use super::super::session::Session;
use super::super::statements::statements;
use super::lease::check_entry;
use super::turn::Turn;
use crate::error::StoreError;
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
    let mut turn = Turn::begin(store, id, lease).await?;
    let appended = append_in(&mut turn, id, lease.epoch, number, (offset, text), end).await;
    turn.end(appended).await
}

async fn append_in(
    turn: &mut Turn<'_>,
    id: JobId,
    epoch: u32,
    number: i64,
    (offset, text): (u64, &str),
    end: KnownEnd,
) -> Result<u64, StoreError> {
    check_entry(&mut *turn.lookup().await?, id, epoch, number).await?;
    let length = turn.add_at(number, offset, text.as_bytes().to_vec(), end.exit_code.is_some()).await?;
    if end.exit_code.is_some() || end.duration_ms.is_some() {
        set_end(turn.write().await?, id, epoch, number, end).await?;
    }
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
