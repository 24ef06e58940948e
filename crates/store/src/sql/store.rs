//! [`Store`], method by method.

use super::submissions::Known;
use super::{
    SqlStore, census, claim, due, duties, end, executors, files, forget, job_rows, keys, lane_rows, lease,
    logs, queues, repositories, running, secrets, submit, tokens, tries,
};
use crate::contract::Store;
use crate::error::StoreError;
use crate::model::{
    AccessFilter, Asking, Census, Change, Claimed, EndedRow, ExecutorRow, FileRow, Finish, HeartbeatAnswer,
    HeldJob, JobFilter, JobRow, LogEntryRow, NewFile, NewJob, NewLogEntry, NewRepository, NewSecret,
    OpenedSecret, QueueChange, QueueRow, RepositoryRow, RunningRow, SecretAccessRow, SecretFilter, SecretRow,
    StoredSpec, TryRow,
};
use async_trait::async_trait;
use jiff::Timestamp;
use jobs::secrets::Scope;
use jobs::{Canceler, Capacity, JobId, JobSpec, Judgement, Lease, Namespace};
use secrecy::SecretString;
use std::time::Duration;
use tokio::sync::broadcast;
use wire::additions::TakesNone;
use wire::heartbeat::Telemetry;

type Result<T> = std::result::Result<T, StoreError>;

#[async_trait]
impl Store for SqlStore {
    async fn submit(&self, job: NewJob) -> Result<JobId> {
        submit::submit(self, job).await
    }

    async fn submitted(&self, owner: &str, asked: &[(&str, &JobSpec)]) -> Result<Vec<Result<Option<JobId>>>> {
        let keyed = asked.iter().map(|(key, _)| (owner, *key));
        let known = Known::by(&mut self.database.lookup().await?, keyed).await?;
        Ok(asked.iter().map(|(key, spec)| known.job(owner, key, spec)).collect())
    }

    async fn answers(&self) -> Result<()> {
        tokens::answers(self).await
    }

    async fn job(&self, id: JobId) -> Result<JobRow> {
        job_rows::job(self, id).await
    }

    async fn spec(&self, id: JobId) -> Result<JobSpec> {
        job_rows::spec(self, id).await
    }

    async fn stored_spec(&self, id: JobId) -> Result<StoredSpec> {
        job_rows::stored_spec(self, id).await
    }

    async fn earlier_tries(&self, id: JobId) -> Result<Vec<TryRow>> {
        tries::list(self, id).await
    }

    async fn jobs(&self, filter: JobFilter) -> Result<Vec<JobRow>> {
        job_rows::jobs(self, filter).await
    }

    async fn submit_all(&self, jobs: Vec<NewJob>) -> Result<Vec<JobId>> {
        submit::all(self, &jobs).await
    }

    async fn claim(&self, asking: &Asking) -> Result<Vec<Claimed>> {
        claim::claim(self, asking).await
    }

    async fn release_due(&self) -> Result<u64> {
        due::release(self).await
    }

    async fn hand_on_places(&self) -> Result<u64> {
        keys::hand_on_all(self).await
    }

    async fn forget_lanes(&self) -> Result<u64> {
        lane_rows::forget(self).await
    }

    async fn census(&self) -> Result<Census> {
        census::take(self).await
    }

    async fn queue(&self, name: &str, most: u64) -> Result<QueueRow> {
        queues::get(self, name, most).await
    }

    async fn ended_since(&self, since: Timestamp, most: u64) -> Result<Vec<EndedRow>> {
        queues::ended_since(self, since, most).await
    }

    async fn change_queue(&self, name: &str, change: QueueChange) -> Result<()> {
        queues::change(self, name, change).await
    }

    async fn set_maintenance(&self, executor: &str, since: Option<Timestamp>) -> Result<()> {
        queues::set_maintenance(self, executor, since).await
    }

    async fn release(&self, id: JobId, lease: &Lease) -> Result<JobRow> {
        end::release(self, id, lease).await
    }

    async fn heartbeat(&self, executor: &str, ids: &[JobId], lease: Duration) -> Result<HeartbeatAnswer> {
        lease::heartbeat(self, executor, ids, lease).await
    }

    async fn finish(&self, id: JobId, lease: &Lease, finish: Finish) -> Result<JobRow> {
        end::finish(self, id, lease, finish).await
    }

    async fn finish_all(&self, ends: Vec<(JobId, Lease, Finish)>) -> Result<Vec<Result<JobRow>>> {
        end::finish_all(self, ends).await
    }

    async fn cancel(&self, id: JobId, canceler: Canceler) -> Result<JobRow> {
        end::cancel(self, id, canceler).await
    }

    async fn reset_stalled(&self, at: Judgement) -> Result<Vec<JobRow>> {
        end::reset_stalled(self, at).await
    }

    async fn forget_jobs(&self, cutoff: Timestamp) -> Result<u64> {
        forget::forget(self, cutoff).await
    }

    async fn job_by_token(&self, token: &str) -> Result<Option<HeldJob>> {
        lease::job_by_token(self, token).await
    }

    async fn note_late_call(&self, token: &str) -> Result<Option<(JobId, u32)>> {
        tries::note_late_call(self, token).await
    }

    async fn job_by_holder(&self, id: JobId, executor: &str) -> Result<Option<HeldJob>> {
        lease::job_by_holder(self, id, executor).await
    }

    async fn add_log_entry(&self, id: JobId, lease: &Lease, entry: NewLogEntry) -> Result<i64> {
        logs::add(self, id, lease, entry).await
    }

    async fn put_log_entry(&self, id: JobId, lease: &Lease, number: i64, entry: NewLogEntry) -> Result<()> {
        logs::put(self, id, lease, number, entry).await
    }

    async fn append_log(
        &self,
        id: JobId,
        lease: &Lease,
        number: i64,
        offset: u64,
        text: &str,
        exit_code: Option<i32>,
        duration_ms: Option<i64>,
    ) -> Result<u64> {
        let end = logs::KnownEnd { exit_code, duration_ms };
        logs::append(self, id, lease, number, offset, text, end).await
    }

    async fn log_entries(&self, id: JobId, epoch: Option<u32>) -> Result<Vec<LogEntryRow>> {
        logs::entries(self, id, epoch).await
    }

    async fn log_outline(&self, id: JobId, epoch: u32, after: i64, most: u32) -> Result<Vec<LogEntryRow>> {
        logs::outline(self, id, epoch, after, most).await
    }

    async fn log_command(&self, id: JobId, epoch: u32, number: i64) -> Result<Option<Vec<String>>> {
        logs::command(self, id, epoch, number).await
    }

    async fn log_entry(&self, id: JobId, epoch: Option<u32>, number: i64) -> Result<LogEntryRow> {
        logs::entry(self, id, epoch, number).await
    }

    async fn read_log(&self, id: JobId, epoch: u32, number: i64, offset: u64, max: usize) -> Result<Vec<u8>> {
        logs::read(self, id, epoch, number, offset, max).await
    }

    async fn add_file(&self, file: NewFile) -> Result<FileRow> {
        files::add(self, file).await
    }

    async fn file(&self, id: &str) -> Result<Option<FileRow>> {
        files::by_id(self, id).await
    }

    async fn job_file(&self, job: JobId, id: &str) -> Result<Option<FileRow>> {
        files::of_job(self, job, id).await
    }

    async fn files_size(&self) -> Result<u64> {
        files::size(self).await
    }

    async fn files_size_of(&self, namespace: &Namespace) -> Result<u64> {
        files::size_of(self, namespace).await
    }

    async fn forget_files(&self, cutoff: Timestamp) -> Result<Vec<String>> {
        files::forget(self, cutoff).await
    }

    async fn upsert_executor(
        &self,
        name: &str,
        queues: &[String],
        telemetry: &Telemetry,
        takes_none: Option<TakesNone>,
    ) -> Result<()> {
        executors::upsert(self, name, queues, telemetry, takes_none).await
    }

    async fn note_capacity(&self, executor: &str, capacity: &Capacity) -> Result<bool> {
        executors::note_capacity(self, executor, capacity).await
    }

    async fn forget_executors(&self, cutoff: Timestamp) -> Result<u64> {
        executors::forget(self, cutoff).await
    }

    async fn executors(&self) -> Result<Vec<ExecutorRow>> {
        executors::list(self).await
    }

    async fn executors_serving(&self, queue: &str) -> Result<Vec<ExecutorRow>> {
        executors::serving(self, queue).await
    }

    async fn executor(&self, name: &str) -> Result<ExecutorRow> {
        executors::by_name(self, name).await
    }

    async fn running_of(&self, executors: &[String], most: u32) -> Result<Vec<RunningRow>> {
        running::of(self, executors, most).await
    }

    async fn hold_duty(&self, name: &str, holder: &str, term: Duration) -> Result<bool> {
        duties::hold(self, name, holder, term).await
    }

    async fn give_up_duty(&self, name: &str, holder: &str) -> Result<()> {
        duties::give_up(self, name, holder).await
    }

    async fn add_repository(&self, repository: NewRepository) -> Result<RepositoryRow> {
        repositories::add(self, repository).await
    }

    async fn put_repository_credentials(&self, repository: i64, credentials: &SecretString) -> Result<()> {
        secrets::put_credentials(self, repository, credentials).await
    }

    async fn repository_credentials(&self, repository: i64) -> Result<Option<SecretString>> {
        secrets::credentials(self, repository).await
    }

    async fn repository(&self, of: &Namespace, name: &str) -> Result<Option<RepositoryRow>> {
        repositories::by_name(self, of, name).await
    }

    async fn repositories_named(&self, name: &str) -> Result<Vec<RepositoryRow>> {
        repositories::named(self, name).await
    }

    async fn repositories(&self) -> Result<Vec<RepositoryRow>> {
        repositories::list(self).await
    }

    async fn remove_repository(&self, of: &Namespace, name: &str) -> Result<bool> {
        repositories::remove(self, of, name).await
    }

    async fn add_secret(&self, secret: NewSecret) -> Result<SecretRow> {
        secrets::add(self, &secret).await
    }

    async fn put_secret(&self, secret: NewSecret) -> Result<(SecretRow, bool)> {
        secrets::put(self, &secret).await
    }

    async fn secret(&self, id: &str) -> Result<Option<SecretRow>> {
        secrets::by_id(self, id).await
    }

    async fn secrets(&self, filter: SecretFilter) -> Result<Vec<SecretRow>> {
        secrets::list(self, filter).await
    }

    async fn remove_secret(&self, id: &str) -> Result<bool> {
        secrets::remove(self, id).await
    }

    async fn known_secrets(
        &self,
        scope: Scope,
        namespace: &Namespace,
        keys: &[String],
    ) -> Result<Vec<String>> {
        secrets::known(self, scope, namespace, keys).await
    }

    async fn open_secrets(&self, id: JobId, lease: &Lease, keys: &[String]) -> Result<Vec<OpenedSecret>> {
        secrets::open(self, id, lease, keys).await
    }

    async fn secret_accesses(&self, filter: AccessFilter) -> Result<Vec<SecretAccessRow>> {
        secrets::accesses(self, filter).await
    }

    async fn forget_secret_accesses(&self, cutoff: Timestamp, most: u64) -> Result<u64> {
        secrets::forget_accesses(self, cutoff, most).await
    }

    fn changes(&self) -> broadcast::Receiver<Change> {
        self.changes()
    }
}
