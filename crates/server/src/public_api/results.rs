//! What executions of batch changes came to, read from their logs.

use super::input::{Attempt, Numbered, Parameters};
use super::problem::Refusal;
use super::seen;
use crate::api::{ResultsView, StepResultView};
use crate::app::App;
use crate::auth::principal::Caller;
use crate::peer::Peer;
use axum::extract::State;
use axum::{Extension, Json};
use http::StatusCode;
use jobs::batches::{
    Branch, Commit, ExecutionInput, Found, Harvest, MountMetadata, WorkspaceFile, cache_key,
    may_hold_results, mounts_metadata,
};
use jobs::{FileSpec, JobId, State as JobState};
use std::collections::BTreeMap;

/// Bytes of a log read at a time.
const CHUNK: usize = 256 << 10;

/// `GET /jobs/{id}/results`: of the latest try, or of the one that is asked for.
pub(super) async fn show(
    caller: Caller,
    State(app): State<App>,
    Extension(from): Extension<Peer>,
    Numbered(id): Numbered<JobId>,
    Parameters(Attempt { attempt }): Parameters<Attempt>,
) -> Result<Json<ResultsView>, Refusal> {
    let job = seen::job(&app, &caller, id).await?;
    let spec = app.store.spec(id).await?;
    let Some(mut input) = spec.execution else { return Err(no_execution(id)) };
    let (state, epoch) = (job.record.state, job.record.epoch);
    let attempt = attempt.unwrap_or(epoch);
    // What an earlier try left is all there will be of it.
    if attempt == epoch && !state.is_terminal() && state != JobState::Errored {
        return Err(not_over(id, state));
    }
    // They take as much memory as any large body.
    let _large = app.submitted.large(from, &caller.namespace.key()).await.ok_or_else(busy)?;
    let found = harvest(&app, id, attempt, input.steps.len()).await?;
    let branch = Branch { name: input.branch.name.clone(), target: Commit { oid: job.commit } };
    input.branch = branch;
    let mounts = mounts(&app, id, &input, &spec.files).await?;
    let problem = problem(&found, state);
    let results = found
        .results
        .into_iter()
        .map(|(index, found)| StepResultView {
            step_index: index,
            cache_key: mounts.as_deref().and_then(|mounts| key(&input, index, mounts)),
            reported_cache_key: Some(found.key).filter(|key| !key.is_empty()),
            result: found.result,
        })
        .collect();
    Ok(Json(ResultsView { job: id.0, attempt, state, results, problem }))
}

async fn harvest(app: &App, id: JobId, attempt: u32, steps: usize) -> Result<Found, Refusal> {
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
            harvest.push(&text);
        }
        harvest.end_entry();
    }
    Ok(harvest.finish())
}

/// Where the values of secrets would be part of it, whoever ran the step knows the key, and we don't.
fn key(input: &ExecutionInput, index: usize, mounts: &[MountMetadata]) -> Option<String> {
    let steps = input.steps.get(..=index)?;
    let is_known = steps.iter().all(|step| step.env.outer().next().is_none());
    is_known.then(|| cache_key(input, index, &BTreeMap::new(), mounts)).flatten()
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

fn problem(found: &Found, state: JobState) -> Option<String> {
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
