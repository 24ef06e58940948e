//! A control plane for tests of logs: it has what it was told, if it had room for it.

use super::calls::LogCalls;
use crate::api::{ApiError, AppendOutcome, JobAuth, LogText};
use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use std::sync::{Arc, Mutex};
use tokio::time::Instant;
use wire::additions::{AppendLog, NO_ROOM, OUTPUT_REFUSED};
use wire::{LogEntry, LogEntryUpdate};

/// What it has of each entry: its key, its text, its exit code.
pub(super) type Told = (String, String, Option<i32>);

pub(super) struct Plane {
    pub(super) appends: bool,
    /// From then on it has room for text.
    pub(super) room_from: Option<Instant>,
    pub(super) entries: Mutex<Vec<Told>>,
}

impl Plane {
    fn check(&self, text: &str) -> Result<(), ApiError> {
        let has_room = self.room_from.is_some_and(|at| Instant::now() >= at);
        if has_room || text.is_empty() || text == OUTPUT_REFUSED {
            return Ok(());
        }
        let told = Bytes::from(format!("{NO_ROOM}\n"));
        Err(ApiError::status(StatusCode::SERVICE_UNAVAILABLE, &HeaderMap::new(), told))
    }
}

#[async_trait]
impl LogCalls for Plane {
    fn executor_name(&self) -> &'static str {
        "executor"
    }

    fn can_append(&self) -> bool {
        self.appends
    }

    async fn add_entry(&self, _: &JobAuth, entry: &LogEntry) -> Result<i64, ApiError> {
        self.check(&entry.out)?;
        let mut entries = self.entries.lock().unwrap();
        entries.push((entry.key.clone(), entry.out.clone(), entry.exit_code));
        Ok(entries.len() as i64)
    }

    async fn append(&self, _: &JobAuth, append: &AppendLog) -> Result<AppendOutcome, ApiError> {
        assert!(self.appends);
        self.check(&append.chunk)?;
        let (_, text, exit_code) = &mut self.entries.lock().unwrap()[append.entry_id as usize - 1];
        assert_eq!(append.offset, text.len() as u64);
        text.push_str(&append.chunk);
        *exit_code = append.exit_code;
        Ok(AppendOutcome::Taken)
    }

    async fn put_entry(
        &self,
        _: &JobAuth,
        update: LogEntryUpdate,
        text: Arc<dyn LogText>,
        length: u64,
    ) -> Result<(), ApiError> {
        assert!(!self.appends);
        let whole = text.read(0, length as usize).expect("all of it was kept");
        self.check(&whole)?;
        let (_, out, exit_code) = &mut self.entries.lock().unwrap()[update.entry_id as usize - 1];
        (*out, *exit_code) = (whole, update.entry.exit_code);
        Ok(())
    }
}
