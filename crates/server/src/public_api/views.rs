//! From what the store knows to what the API shows.

use super::planned::Planned;
use crate::api::{
    ArtifactView, ConcurrencyView, ExecutorView, FileView, JobView, LogEntryView, QueueView, RepositoryView,
    SecretAccessView, SecretView, StepView, TryView, UploadView,
};
use jiff::{SignedDuration, Timestamp};
use jobs::{Concurrency, EndReason, LeasePolicy, Namespace, Needs, State};
use std::collections::HashMap;
use store::{
    ArtifactRow, EndedRow, ExecutorRow, FileRow, Hold, JobRow, LogEntryRow, QueueRow, QueueRules,
    RepositoryRow, SecretAccessRow, SecretRow, TryRow, UploadRow,
};
use wire::upload::{LSIF, SCIP};

/// What executors send as the exit code of a command that came to none.
const NO_EXIT_CODE: i32 = -1;
/// What the log keys of steps begin with, by the runtime that ran them.
const STEP_KEYS: [&str; 2] = ["step.docker.", "step.kubernetes."];

/// Characters of a job's message that are told in short, as in lists.
const SHORT_MESSAGE: usize = 512;

/// A job without its steps, as lists show it.
pub(super) fn job(row: JobRow) -> JobView {
    let end = row.end.as_ref().map(EndReason::from_detail);
    JobView {
        retries: row.retries,
        retries_used: row.record.retries_used(end.as_ref()),
        id: row.id.0,
        // Nobody but ourselves writes them.
        namespace: Namespace::from_key(&row.owner).unwrap_or_default(),
        queue: row.queue,
        state: row.record.state,
        reason: row.end.as_ref().map(|end| end.reason.clone()),
        end: row.end,
        blame: end.as_ref().map(EndReason::blame),
        message: row.message,
        cancel_requested: row.record.cancel_requested(),
        canceler: row.record.canceler.clone(),
        attempt: row.record.attempt(),
        executor: row.record.executor,
        repository: row.repo,
        rev: row.rev,
        commit: Some(row.commit).filter(|commit| !commit.is_empty()),
        queued_at: row.queued_at,
        started_at: row.started_at,
        finished_at: row.finished_at,
        retry_at: row.retry_at,
        priority: row.priority,
        not_before: match row.hold {
            Some(Hold::Until(due)) => Some(due),
            _ => None,
        },
        waits_for_key: row.hold == Some(Hold::Key),
        needs: None,
        concurrency: None,
        steps: Vec::new(),
        earlier_tries: Vec::new(),
    }
}

/// A job as it is told of where there is no room for more.
pub(super) fn in_short(row: JobRow) -> JobView {
    let mut view = job(row);
    if let Some(message) = &mut view.message
        && let Some((end, _)) = message.char_indices().nth(SHORT_MESSAGE)
    {
        message.truncate(end);
        message.push('…');
    }
    view
}

/// A job with the steps it has and how its earlier tries ended; `entries` are the log entries of its latest try.
pub(super) fn whole_job(
    row: JobRow,
    planned: Planned,
    entries: &[LogEntryRow],
    earlier: Vec<TryRow>,
) -> JobView {
    let steps = steps(planned.steps, entries);
    let needs = Some(planned.needs).filter(|needs| *needs != Needs::default());
    let concurrency = planned.concurrency.map(|Concurrency { key, limit }| ConcurrencyView { key, limit });
    JobView { needs, concurrency, steps, ..tried_job(row, earlier) }
}

/// A job with nothing of what was asked for, but how its earlier tries ended.
pub(super) fn tried_job(row: JobRow, earlier: Vec<TryRow>) -> JobView {
    JobView { earlier_tries: earlier.into_iter().map(earlier_try).collect(), ..job(row) }
}

fn earlier_try(row: TryRow) -> TryView {
    TryView {
        attempt: row.epoch,
        executor: row.executor,
        started_at: row.started_at,
        ended_at: row.ended_at,
        reason: row.end.reason.clone(),
        blame: EndReason::from_detail(&row.end).blame(),
        end: row.end,
        message: row.message,
        late_calls: row.late_calls,
    }
}

/// `planned`: their keys and images.
fn steps(planned: Vec<(String, String)>, entries: &[LogEntryRow]) -> Vec<StepView> {
    let of_step = |entry: &LogEntryRow| {
        STEP_KEYS.iter().find_map(|prefix| entry.key.strip_prefix(prefix).map(str::to_owned))
    };
    // The latest entry of a step is the one that counts.
    let logged: HashMap<String, &LogEntryRow> =
        entries.iter().filter_map(|entry| Some((of_step(entry)?, entry))).collect();
    let view = |(key, image): (String, String)| {
        let entry = logged.get(&key);
        StepView {
            image,
            exit_code: entry.and_then(|entry| entry.exit_code).filter(|&code| code != NO_EXIT_CODE),
            started_at: entry.map(|entry| entry.start_time),
            duration_ms: entry.and_then(|entry| entry.duration_ms),
            key,
        }
    };
    planned.into_iter().map(view).collect()
}

pub(super) fn log_entry(row: LogEntryRow) -> LogEntryView {
    LogEntryView {
        attempt: row.epoch,
        entry: row.entry,
        key: row.key,
        command: row.command,
        started_at: row.start_time,
        exit_code: row.exit_code,
        duration_ms: row.duration_ms,
        length: row.length,
    }
}

pub(super) fn repository(row: RepositoryRow) -> RepositoryView {
    RepositoryView {
        namespace: row.namespace,
        name: row.name,
        source: row.source,
        created_at: row.created_at,
    }
}

pub(super) fn file(row: FileRow) -> FileView {
    let FileRow { id, name, size, sha256, modified_at, uploaded_at: _, namespace: _, object: _ } = row;
    FileView { id, name, size, sha256, modified_at }
}

pub(super) fn artifact(row: ArtifactRow) -> ArtifactView {
    ArtifactView {
        attempt: row.epoch,
        name: row.of.name,
        path: row.of.path,
        size: row.of.object.size,
        sha256: row.of.object.sha256,
        created_at: row.created_at,
    }
}

pub(super) fn upload(row: UploadRow) -> UploadView {
    let of = row.of;
    UploadView {
        id: row.id,
        namespace: of.namespace,
        repository: of.repository,
        commit: of.commit,
        root: of.root,
        indexer_name: of.indexer_name,
        indexer_version: of.indexer_version,
        associated_index_id: of.associated_index_id,
        content_type: of.content_type,
        uncompressed_size: of.uncompressed_size,
        size: row.size,
        started_at: row.started_at,
        finished_at: row.finished_at,
    }
}

/// What a file with such an index is called in the end.
pub(super) fn index_kind(content_type: &str) -> &'static str {
    match content_type {
        SCIP => "scip",
        LSIF => "lsif",
        _ => "bin",
    }
}

/// Whether it was heard of within three heartbeats, and within its lease.
pub(crate) fn is_active(row: &ExecutorRow, leases: LeasePolicy, now: Timestamp) -> bool {
    let silence = now.duration_since(row.last_seen_at);
    // Only executors that ask for the term of their leases tell these, and only they know of short ones.
    let asks = row.capacity.isolation.is_some() || !row.capacity.settings.is_empty();
    SignedDuration::try_from(leases.silent_after(asks)).is_ok_and(|silent| silence <= silent)
}

pub(super) fn executor(row: ExecutorRow, leases: LeasePolicy, now: Timestamp) -> ExecutorView {
    let active = is_active(&row, leases, now);
    let known = [row.telemetry.os, row.telemetry.architecture];
    let known: Vec<_> = known.into_iter().filter(|part| !part.is_empty()).collect();
    ExecutorView {
        name: row.name,
        queues: row.queues,
        active,
        version: row.telemetry.executor_version,
        platform: known.join("/"),
        git_version: row.telemetry.git_version,
        docker_version: row.telemetry.docker_version,
        src_version: row.telemetry.src_cli_version,
        first_seen_at: row.first_seen_at,
        last_seen_at: row.last_seen_at,
        // Who lists executors looks up what those on the page run.
        running: 0,
        jobs: Vec::new(),
        capacity: row.capacity,
        // Of one that is gone nobody knows whether it still is so.
        takes_none: row.takes_none.filter(|_| active).map(|why| why.name().to_owned()),
        maintenance_at: row.maintenance_at,
    }
}

pub(super) fn secret(row: SecretRow) -> SecretView {
    let SecretRow { id, scope, namespace, key, overwrites_global, creator, created_at, updated_at } = row;
    SecretView { id, key, scope, namespace, overwrites_global, creator, created_at, updated_at }
}

pub(super) fn secret_access(row: SecretAccessRow) -> SecretAccessView {
    let SecretAccessRow { id: _, secret, scope, namespace, key, job, attempt, owner, executor, at } = row;
    SecretAccessView { secret, key, scope, namespace, job: job.0, attempt, owner, executor, at }
}

pub(super) fn queue(row: QueueRow, ended: &[EndedRow]) -> QueueView {
    let QueueRow { name, rules, queued, held, running, errored, oldest_queued_at, unreadable: _ } = row;
    let QueueRules { paused_at, max_running } = rules;
    let of_queue = || ended.iter().filter(|row| row.queue == name);
    let ended_within_hour = of_queue().map(|row| row.count).sum();
    let failed_within_hour = of_queue().filter(|row| row.state == State::Failed).map(|row| row.count).sum();
    QueueView {
        name,
        paused_at,
        max_running,
        queued,
        held,
        running,
        errored,
        oldest_queued_at,
        ended_within_hour,
        failed_within_hour,
    }
}
