//! What delivering a log asks of the control plane: a boundary, so that hours of outage take a test no time.

use crate::api::{Api, ApiError, AppendOutcome, JobAuth, LogText};
use async_trait::async_trait;
use std::sync::Arc;
use wire::additions::AppendLog;
use wire::{LogEntry, LogEntryUpdate};

/// The calls about log entries, each as [`Api`] describes it.
#[async_trait]
pub(super) trait LogCalls: Send + Sync {
    fn executor_name(&self) -> &str;
    fn can_append(&self) -> bool;
    async fn add_entry(&self, job: &JobAuth, entry: &LogEntry) -> Result<i64, ApiError>;
    async fn append(&self, job: &JobAuth, append: &AppendLog) -> Result<AppendOutcome, ApiError>;
    async fn put_entry(
        &self,
        job: &JobAuth,
        update: LogEntryUpdate,
        text: Arc<dyn LogText>,
        length: u64,
    ) -> Result<(), ApiError>;
}

#[async_trait]
impl LogCalls for Api {
    fn executor_name(&self) -> &str {
        &self.config().name
    }

    fn can_append(&self) -> bool {
        self.can_append()
    }

    async fn add_entry(&self, job: &JobAuth, entry: &LogEntry) -> Result<i64, ApiError> {
        self.add_entry(job, entry).await
    }

    async fn append(&self, job: &JobAuth, append: &AppendLog) -> Result<AppendOutcome, ApiError> {
        self.append(job, append).await
    }

    async fn put_entry(
        &self,
        job: &JobAuth,
        update: LogEntryUpdate,
        text: Arc<dyn LogText>,
        length: u64,
    ) -> Result<(), ApiError> {
        self.put_entry(job, update, text, length).await
    }
}
