//! Submitting, listing, showing and stopping jobs.

use super::asked::{Asked, Commits};
use super::input::{Numbered, Parameters, invalid_query, large, parsed};
use super::paging::Paging;
use super::planned::Planned;
use super::problem::Refusal;
use super::search::Wanted;
use super::sent::InShort;
use super::{search, seen, views};
use crate::acts::{Act, Action};
use crate::api::{JobView, Page};
use crate::app::App;
use crate::auth::principal::Caller;
use crate::disk_floor::Growing;
use crate::slots::Slot;
use axum::body::Body;
use axum::extract::State;
use axum::{Extension, Json};
use http::header::{LOCATION, USER_AGENT};
use http::{HeaderMap, HeaderValue, StatusCode};
use jobs::{Canceler, JobId, JobSpec, Namespace, Record, State as JobState};
use serde::Deserialize;
use store::{JobFilter, JobRow, TryRow};
use tokio::time::Instant;
use wire::additions::IDEMPOTENCY_KEY;

/// `POST /jobs`
pub(super) async fn submit(
    caller: Caller,
    State(app): State<App>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, HeaderMap, Extension<InShort>, Json<JobView>), Refusal> {
    let (bytes, large) = large(&app, &caller, body, app.limits.api_body).await?;
    let idempotency_key = idempotency_key(&headers)?;
    // The turn begins when all of it is here: a body that never comes keeps nobody else waiting.
    let (spec, slot) = in_turn(&app, &caller, |_| 1, || read(&bytes)).await?;
    // Those that wait are as many as may be read; those that have their turn are counted by that.
    drop((bytes, large));
    let planned = Planned::of(&spec, &app.site.current());
    let (running, namespace) = (app.clone(), caller.principal.namespace);
    let submitted = async move {
        let job = enqueue(&running, namespace, Asked { spec, idempotency_key }).await;
        drop(slot);
        job
    };
    let job = app.see_through(submitted).await??;
    tracing::info!(job = %job.id, queue = job.queue, "a job was submitted");
    let mut headers = HeaderMap::new();
    if let Ok(location) = HeaderValue::try_from(format!("/api/v1/jobs/{}", job.id)) {
        headers.insert(LOCATION, location);
    }
    let in_short = views::in_short(job.clone());
    // It is done: that it can't be told whole is no refusal.
    let whole = with_planned(&app, job, planned).await.unwrap_or_else(|_| in_short.clone());
    Ok((StatusCode::CREATED, headers, Extension(InShort(in_short)), Json(whole)))
}

/// What the job in a body is, if it could be run.
fn read(bytes: &[u8]) -> Result<JobSpec, Refusal> {
    runnable(parsed(bytes, "invalid_job")?)
}

/// What is asked for, and so many turns to submit it. What can't be submitted is refused before it waits; what waits is only its
/// body, for it may be far larger in memory than it was there.
pub(super) async fn in_turn<T>(
    app: &App,
    caller: &Caller,
    turns: impl Fn(&T) -> usize,
    read: impl Fn() -> Result<T, Refusal>,
) -> Result<(T, Slot), Refusal> {
    let asked = read()?;
    let turns = turns(&asked);
    if let Some(slot) = app.submits.try_take_several(caller.peer(), turns) {
        return Ok((asked, slot));
    }
    drop(asked);
    let slot = app.submits.take_several(caller.peer(), turns, app.limits.submit_queue).await;
    let slot = slot.ok_or_else(busy)?;
    Ok((read()?, slot))
}

/// As many are being submitted as may be.
fn busy() -> Refusal {
    let detail = "too many jobs are being submitted at one time: try again";
    Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "too_many_submits", "The server is busy", detail)
}

/// A job as everybody looks at it, if it could be run.
pub(super) fn runnable(spec: JobSpec) -> Result<JobSpec, Refusal> {
    spec.check().map_err(|fault| {
        let title = "The job can't be run as it is";
        Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_job", title, fault.to_string())
    })?;
    Ok(spec.with_execution_named())
}

/// What tells a submission that is made again, if its client wants it told.
fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Refusal> {
    let Some(value) = headers.get(IDEMPOTENCY_KEY) else { return Ok(None) };
    let key = String::from_utf8_lossy(value.as_bytes()).into_owned();
    check_key(&key)?;
    Ok(Some(key))
}

pub(super) fn check_key(key: &str) -> Result<(), Refusal> {
    jobs::name::check_idempotency_key(key).map_err(|fault| {
        let title = "The idempotency key can't be used";
        Refusal::new(StatusCode::BAD_REQUEST, "invalid_idempotency_key", title, fault.to_string())
    })
}

async fn enqueue(app: &App, namespace: Namespace, asked: Asked) -> Result<JobRow, Refusal> {
    let owner = namespace.key();
    // What it names may be gone since.
    if let Some(key) = &asked.idempotency_key
        && let Some(Some(id)) = app.store.submitted(&owner, &[(key, &asked.spec)]).await?.pop().transpose()?
    {
        return Ok(app.store.job(id).await?);
    }
    app.disk_floor.check(Growing::Database)?;
    let mut commits = Commits::asked_for(app, Instant::now());
    let new = asked.look_up(app, &namespace, &mut commits).await?;
    let (queue, with_secrets) = (new.spec.queue.clone(), !new.spec.secrets.is_empty());
    let id = app.store.submit(new).await?;
    app.metrics.submitted(&queue);
    if with_secrets {
        app.secret_jobs.note(id);
    }
    Ok(app.store.job(id).await?)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Filter {
    queue: Option<String>,
    state: Option<JobState>,
    namespace: Option<Namespace>,
    text: Option<String>,
    executor: Option<String>,
    limit: Option<u32>,
    cursor: Option<i64>,
}

/// `GET /jobs`
pub(super) async fn list(
    caller: Caller,
    State(app): State<App>,
    Parameters(filter): Parameters<Filter>,
) -> Result<Json<Page<JobView>>, Refusal> {
    let paging = Paging::of(filter.limit)?;
    if let Some(queue) = &filter.queue {
        jobs::name::check_queue(queue).map_err(|fault| invalid_query(fault.to_string()))?;
    }
    let before = filter.cursor.map(JobId);
    let owner = seen::listed(&caller, filter.namespace)?.as_ref().map(Namespace::key);
    let text = filter.text.filter(|text| !text.is_empty());
    let executor = filter.executor.filter(|name| !name.is_empty());
    let filter =
        JobFilter { queue: filter.queue, state: filter.state, owner, before, limit: paging.look_for() };
    if text.is_some() || executor.is_some() {
        let wanted = Wanted::new(text.as_deref(), executor)?;
        return Ok(Json(search::jobs(&app, filter, paging, &wanted).await?));
    }
    let rows = app.store.jobs(filter).await?;
    Ok(Json(paging.page(rows, |last| last.id.to_string(), views::job)))
}

/// `GET /jobs/{id}`
pub(super) async fn show(
    caller: Caller,
    State(app): State<App>,
    Numbered(id): Numbered<JobId>,
) -> Result<Json<JobView>, Refusal> {
    let job = seen::job(&app, &caller, id).await?;
    Ok(Json(with_steps(&app, job).await?))
}

/// `POST /jobs/{id}/cancel`
pub(super) async fn cancel(
    caller: Caller,
    State(app): State<App>,
    Numbered(id): Numbered<JobId>,
    headers: HeaderMap,
) -> Result<(Extension<InShort>, Json<JobView>), Refusal> {
    let client = headers.get(USER_AGENT).and_then(|value| value.to_str().ok());
    let canceler = Canceler::api(caller.from, client).named(&caller.name);
    seen::job(&app, &caller, id).await?;
    tracing::info!(job = %id, from = %caller.from, client = canceler.client, "somebody asks for a job to stop");
    let store = app.store.clone();
    let job = app
        .act(&caller, async move { store.cancel(id, canceler).await }, |job| {
            let namespace = Namespace::from_key(&job.owner).unwrap_or_default();
            let detail = format!("queue {}, then {}", job.queue, job.record.state);
            Some(Act::of(namespace, Action::CancelJob, format!("job {}", job.id), detail))
        })
        .await?;
    // One that runs is counted when it has stopped.
    if job.record.state.is_terminal() {
        app.metrics.ended(&job);
    }
    let in_short = views::in_short(job.clone());
    // It is done: that it can't be told whole is no refusal.
    let whole = with_steps(&app, job).await.unwrap_or_else(|_| in_short.clone());
    Ok((Extension(InShort(in_short)), Json(whole)))
}

/// The job with the steps of its latest try, and how earlier ones ended.
pub(super) async fn with_steps(app: &App, job: JobRow) -> Result<JobView, Refusal> {
    let stored = app.store.stored_spec(job.id).await?;
    let planned = Planned::of(&stored.spec, &app.site.current());
    drop(stored);
    with_planned(app, job, planned).await
}

/// The same where it is known what was asked for.
pub(super) async fn with_planned(app: &App, job: JobRow, planned: Planned) -> Result<JobView, Refusal> {
    let entries = match job.record.epoch {
        0 => Vec::new(),
        epoch => app.store.log_outline(job.id, epoch, 0, u32::MAX).await?,
    };
    let earlier = earlier_tries(app, &job).await?;
    Ok(views::whole_job(job, planned, &entries, earlier))
}

/// The job as lists show it, and how its earlier tries ended.
pub(super) async fn with_earlier_tries(app: &App, job: JobRow) -> Result<JobView, Refusal> {
    let earlier = earlier_tries(app, &job).await?;
    Ok(views::tried_job(job, earlier))
}

async fn earlier_tries(app: &App, job: &JobRow) -> Result<Vec<TryRow>, Refusal> {
    match job.record {
        // Most jobs are tried once.
        Record { resets: 0, faults: 0, failures: 0, .. } => Ok(Vec::new()),
        _ => Ok(app.store.earlier_tries(job.id).await?),
    }
}
