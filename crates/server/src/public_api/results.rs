//! What executions of batch changes came to, read from their logs.

use super::input::{Attempt, Numbered, Parameters};
use super::problem::Refusal;
use super::seen;
use crate::api::{ResultsView, StepResultView};
use crate::app::App;
use crate::auth::principal::Caller;
use crate::slots::Turn;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::CONTENT_TYPE;
use jobs::batches::{
    Branch, CacheKeys, Commit, ExecutionInput, Found, Harvest, MountMetadata, Step, WorkspaceFile,
    cache_keys, may_hold_results, mounts_metadata,
};
use jobs::{FileSpec, JobId, State as JobState};
use std::collections::BTreeMap;
use tokio::task::JoinError;

/// Bytes of a log read at a time.
const CHUNK: usize = 256 << 10;

/// `GET /jobs/{id}/results`: of the latest try, or of the one that is asked for.
pub(super) async fn show(
    caller: Caller,
    State(app): State<App>,
    Numbered(id): Numbered<JobId>,
    Parameters(Attempt { attempt }): Parameters<Attempt>,
) -> Result<Response, Refusal> {
    let job = seen::job(&app, &caller, id).await?;
    // They take as much memory as any large body, and so does what was asked for.
    let large = app.submitted.large(caller.peer(), &caller.namespace.key()).await.ok_or_else(busy)?;
    let spec = app.store.spec(id).await?;
    let Some(mut input) = spec.execution else { return Err(no_execution(id)) };
    let (state, epoch) = (job.record.state, job.record.epoch);
    let attempt = attempt.unwrap_or(epoch);
    // What an earlier try left is all there will be of it.
    if attempt == epoch && !state.is_terminal() && state != JobState::Errored {
        return Err(not_over(id, state));
    }
    let mounts = mounts(&app, id, &input, &spec.files).await?;
    let (found, large) = harvest(&app, id, attempt, input.steps.len(), large).await?;
    let branch = Branch { name: input.branch.name.clone(), target: Commit { oid: job.commit } };
    input.branch = branch;
    let told = move || written(&told(id, attempt, state, found, &input, mounts.as_deref()));
    let (json, _large) = apart(large, told).await?;
    Ok(([(CONTENT_TYPE, "application/json")], json?).into_response())
}

/// Does what may take a second where it keeps nobody else's call waiting. Its slot goes with it, whoever hangs up.
async fn apart<T: Send + 'static>(
    slot: Turn,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<(T, Turn), JoinError> {
    tokio::task::spawn_blocking(move || (work(), slot)).await
}

async fn harvest(
    app: &App,
    id: JobId,
    attempt: u32,
    steps: usize,
    mut slot: Turn,
) -> Result<(Found, Turn), Refusal> {
    let mut harvest = Harvest::new(steps);
    for entry in app.store.log_outline(id, attempt, 0, u32::MAX).await? {
        if !may_hold_results(&entry.key) {
            continue;
        }
        let mut offset = 0;
        while offset < entry.length {
            let text = app.store.read_log(id, attempt, entry.entry, offset, CHUNK).await?;
            if text.is_empty() {
                break;
            }
            offset += text.len() as u64;
            let pushed = move || {
                harvest.push(&text);
                harvest
            };
            (harvest, slot) = apart(slot, pushed).await?;
        }
        let ended = move || {
            harvest.end_entry();
            harvest
        };
        (harvest, slot) = apart(slot, ended).await?;
    }
    Ok((harvest.finish(), slot))
}

fn told(
    id: JobId,
    attempt: u32,
    state: JobState,
    found: Found,
    input: &ExecutionInput,
    mounts: Option<&[MountMetadata]>,
) -> ResultsView {
    let CacheKeys { mut keys, left_out } =
        mounts.map(|mounts| keys(input, &found, mounts)).unwrap_or_default();
    let problem = problem(&found, state, left_out);
    let results = found
        .results
        .into_iter()
        .map(|(index, found)| StepResultView {
            step_index: index,
            cache_key: keys.remove(&index),
            reported_cache_key: Some(found.key).filter(|key| !key.is_empty()),
            result: found.result,
        })
        .collect();
    ResultsView { job: id.0, attempt, state, results, problem }
}

fn written(view: &ResultsView) -> Result<Vec<u8>, Refusal> {
    serde_json::to_vec(view).map_err(|fault| Refusal::internal(&fault))
}

/// Where the values of secrets would be part of it, whoever ran the step knows the key, and we don't.
fn keys(input: &ExecutionInput, found: &Found, mounts: &[MountMetadata]) -> CacheKeys {
    let is_known = |step: &&Step| step.env.outer().next().is_none();
    let known = input.steps.iter().take_while(is_known).count();
    let wanted = found.results.keys().copied().filter(|index| *index < known).collect();
    cache_keys(input, &wanted, &BTreeMap::new(), mounts)
}

/// What is known of the files that its steps mount; `None` where that is not enough.
async fn mounts(
    app: &App,
    id: JobId,
    input: &ExecutionInput,
    files: &[FileSpec],
) -> Result<Option<Vec<MountMetadata>>, Refusal> {
    if input.steps.iter().all(|step| step.mount.is_empty()) {
        return Ok(Some(Vec::new()));
    }
    let mut known = BTreeMap::new();
    for file in files {
        let size = match (&file.content, &file.upload) {
            (Some(content), _) => Some(content.len() as u64),
            (None, Some(upload)) => app.store.job_file(id, upload).await?.map(|row| row.size),
            (None, None) => None,
        };
        let Some(size) = size else { return Ok(None) };
        known.insert(file.path.as_str(), WorkspaceFile { size, modified: file.modified_at });
    }
    Ok(mounts_metadata(&input.steps, &known))
}

fn problem(found: &Found, state: JobState, keys_left_out: usize) -> Option<String> {
    let mut told = Vec::new();
    if found.results.is_empty() && state == JobState::Completed {
        told.push(
            "found no step results: the job completed, and none of its steps printed one; \
             `executor job logs` shows what they printed"
                .to_owned(),
        );
    }
    if found.too_large > 0 {
        told.push(format!("{} results are too large to be shown", found.too_large));
    }
    if found.damaged > 0 {
        told.push(format!(
            "{} results can't be read: if a secret's value is part of a diff, it was blanked out there",
            found.damaged
        ));
    }
    if keys_left_out > 0 {
        told.push(format!(
            "{keys_left_out} cache keys would take too long to make: the steps' environments are too large"
        ));
    }
    (!told.is_empty()).then(|| told.join("; "))
}

fn no_execution(id: JobId) -> Refusal {
    let detail = format!(
        "job {id} has steps of its own, and no execution of a batch change: see its log, or the artifacts that it left"
    );
    Refusal::new(StatusCode::CONFLICT, "no_execution", "The job has no such results", detail)
}

fn not_over(id: JobId, state: JobState) -> Refusal {
    let detail = format!("job {id} is {state}: its results are known when it has ended, so ask again then");
    Refusal::new(StatusCode::CONFLICT, "job_not_ended", "The job has not ended", detail)
}

fn busy() -> Refusal {
    let detail = "too many large bodies are being read at one time: try again";
    Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "too_many_results", "The server is busy", detail)
}
