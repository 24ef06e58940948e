//! Logs, and tokens.

use super::{Ground, refused};
use crate::clock;
use crate::flaw::Flaw;
use crate::invariant::{CURRENT_EPOCH, LOGS, Step};
use jobs::{JobId, Lease};
use std::time::Duration;
use store::{NewLogEntry, Store, StoreError};

/// What came of adding text.
pub(crate) enum Appended {
    Length(u64),
    Gap(u64),
    Refused,
}

impl Ground {
    /// Whether the token is that of the job's current epoch; it must be of no other.
    pub(crate) async fn holds(&self, id: JobId, lease: &Lease, token: &str) -> Step<bool> {
        let Some(held) = self.store()?.job_by_token(token).await? else { return Ok(false) };
        CURRENT_EPOCH
            .check(held.id == id && held.epoch == lease.epoch && held.executor == lease.executor, || {
                format!("a token of job {id}, epoch {}, opens {held:?}", lease.epoch)
            })?;
        Ok(true)
    }

    pub(crate) async fn add_entry(&self, id: JobId, lease: &Lease, started: Duration) -> Step<Option<i64>> {
        let entry = NewLogEntry {
            key: "step.docker.step.0.run".to_owned(),
            command: None,
            start_time: clock::moment(started),
            exit_code: None,
            duration_ms: None,
            out: String::new(),
        };
        refused(self.store()?.add_log_entry(id, lease, entry).await)
    }

    pub(crate) async fn append(
        &self,
        id: JobId,
        lease: &Lease,
        entry: i64,
        offset: u64,
        text: &str,
    ) -> Step<Appended> {
        let store = self.store()?;
        let mut offset = offset;
        if self.has(Flaw::AppendTwice) {
            let entries = store.log_entries(id, Some(lease.epoch)).await?;
            offset = entries.iter().find(|row| row.entry == entry).map_or(offset, |row| row.length);
        }
        match store.append_log(id, lease, entry, offset, text, None, None).await {
            Ok(length) => Ok(Appended::Length(length)),
            Err(StoreError::LogGap { length, .. }) => Ok(Appended::Gap(length)),
            Err(StoreError::Rejected(_) | StoreError::UnknownJob(_)) => Ok(Appended::Refused),
            Err(fault) => Err(fault.into()),
        }
    }

    /// Checks that the log of a try is what its executor wrote.
    pub(crate) async fn log_is(&self, id: JobId, epoch: u32, text: &str) -> Step {
        let entries = self.store()?.log_entries(id, Some(epoch)).await?;
        LOGS.check(entries.len() == 1, || format!("job {id}, epoch {epoch}, has {} entries", entries.len()))?;
        let read = self.store()?.read_log(id, epoch, entries[0].entry, 0, 1 << 20).await?;
        LOGS.check(read == text.as_bytes(), || {
            let read = String::from_utf8_lossy(&read).into_owned();
            format!("the log of job {id}, epoch {epoch}, is {read:?}, and {text:?} was written")
        })
    }
}
