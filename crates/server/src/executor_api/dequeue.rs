//! Giving out jobs.

use super::given::{self, Given};
use super::queue::Queue;
use super::version::payload_version;
use super::{Failure, bounds, capacity, claims, job_builder, long_poll, payload, term};
use crate::app::App;
use crate::auth::shared::SharedAuth;
use crate::delivery::{self, Unflushed};
use crate::fairness::{Candidate, order, random_below};
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use http::{HeaderMap, StatusCode};
use jobs::claims::Start;
use jobs::{Capacity, EndReason};
use std::time::Duration;
use store::{Asking, Claimed, Finish};
use wire::additions::{CAPABILITIES, LOG_APPEND};
use wire::paths::QUEUES;
use wire::{DequeueRequest, PayloadVersion};

/// Takes a job from the queue in the path.
pub(super) async fn single(
    State(app): State<App>,
    Queue(queue): Queue,
    _: SharedAuth,
    Extension(unflushed): Extension<Unflushed>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Failure> {
    let request: DequeueRequest = payload::read(&app, body, app.limits.call_body).await?;
    let asked = Asked::new(request, vec![queue], false, &app, &headers)?;
    answer(&app, &headers, &asked, unflushed).await
}

/// Takes a job from one of the queues in the body.
pub(super) async fn multi(
    State(app): State<App>,
    _: SharedAuth,
    Extension(unflushed): Extension<Unflushed>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Failure> {
    let mut request: DequeueRequest = payload::read(&app, body, app.limits.call_body).await?;
    let mut queues = std::mem::take(&mut request.queues);
    queues.sort_unstable();
    queues.dedup();
    refuse_unknown(&queues)?;
    let asked = Asked::new(request, queues, true, &app, &headers)?;
    answer(&app, &headers, &asked, unflushed).await
}

fn refuse_unknown(queues: &[String]) -> Result<(), Failure> {
    let unknown: Vec<_> = queues.iter().map(String::as_str).filter(|name| !QUEUES.contains(name)).collect();
    if unknown.is_empty() {
        return Ok(());
    }
    Err(Failure::internal(format!(
        "Invalid queue name(s) '{}' found. Supported queue names are '{}'.",
        unknown.join(", "),
        QUEUES.join(", ")
    )))
}

/// A dequeue request that was checked.
pub(super) struct Asked {
    executor: String,
    payload: PayloadVersion,
    pub(super) queues: Vec<String>,
    /// Whether the executor left the choice of the queue to us: then the answer must tell it.
    multi: bool,
    /// How long a job lasts for this executor without a heartbeat.
    lease: Duration,
    /// What it gives a job.
    capacity: Capacity,
    /// Which dequeue of which start of an agent it is, if that was told.
    dequeue: Option<(Start, u64)>,
}

impl Asked {
    /// Checks everything before a job is claimed, so that a bad request costs no job its place.
    fn new(
        request: DequeueRequest,
        queues: Vec<String>,
        multi: bool,
        app: &App,
        headers: &HeaderMap,
    ) -> Result<Self, Failure> {
        bounds::check_name(&request.executor_name)?;
        let (lease, dequeue) = (term::of(app, headers), claims::dequeue_of(headers));
        let payload =
            payload_version(&request.version).map_err(|fault| Failure::internal(fault.to_string()))?;
        let capacity = capacity::of(&request, headers);
        Ok(Self { executor: request.executor_name, payload, queues, multi, lease, capacity, dequeue })
    }
}

async fn answer(
    app: &App,
    headers: &HeaderMap,
    asked: &Asked,
    unflushed: Unflushed,
) -> Result<Response, Failure> {
    capacity::note(app, &asked.executor, &asked.capacity).await;
    let long_poll::Outcome { given, waited, held } = long_poll::claim(app, headers, asked).await?;
    let mut response = match given {
        None => StatusCode::NO_CONTENT.into_response(),
        Some(given) => {
            let mut answer = job_answer(app, asked, given, unflushed).await?;
            term::tell_held(&mut answer, held);
            answer
        }
    };
    response.headers_mut().insert(CAPABILITIES, http::HeaderValue::from_static(LOG_APPEND));
    term::tell(&mut response, asked.lease);
    long_poll::acknowledge(&mut response, waited);
    Ok(response)
}

async fn job_answer(
    app: &App,
    asked: &Asked,
    Given { claimed, undelivered }: Given,
    unflushed: Unflushed,
) -> Result<Response, Failure> {
    if let Err(cause) = can_be_run(app, &claimed).await? {
        fail_for_good(app, &claimed, &cause).await?;
        undelivered.call_off();
        return Err(Failure::internal(format!("RecordTransformer: {cause}")));
    }
    tracing::info!(
        job = %claimed.job.id,
        queue = claimed.job.queue,
        executor = asked.executor,
        attempt = claimed.job.record.attempt(),
        "gave out a job"
    );
    let queue = asked.multi.then(|| claimed.job.queue.clone());
    let answer = Json(job_builder::build(claimed, asked.payload, queue)).into_response();
    Ok(delivery::with(answer, undelivered, unflushed))
}

/// Tries the queues in a fair order until one has a job.
pub(super) async fn claim(app: &App, asked: &Asked) -> Result<Option<Given>, Failure> {
    for queue in in_fair_order(app, &asked.queues) {
        if let Some(given) = claim_from(app, &queue, asked).await? {
            if !given.claimed.secrets.is_empty() {
                app.secret_jobs.note(given.claimed.job.id);
            }
            // Where the executor named the queue itself there was nothing to share.
            if asked.multi {
                app.fairness.note(&queue, app.clock.now());
            }
            return Ok(Some(given));
        }
    }
    Ok(None)
}

/// Claims in a task of its own: a claim that is under way when the client hangs up gets to its end, and
/// then nobody takes it.
async fn claim_from(app: &App, queue: &str, asked: &Asked) -> Result<Option<Given>, Failure> {
    let (running, dequeue) = (app.clone(), asked.dequeue.clone());
    let asking = Asking {
        queues: vec![queue.to_owned()],
        executor: asked.executor.clone(),
        capacity: asked.capacity.clone(),
        lease: asked.lease,
        most: 1,
    };
    let claimed = app.see_through(async move {
        let claimed = running.store.claim(&asking).await?.pop();
        Ok(claimed.map(|claimed| {
            running.claims.note(&claimed, dequeue);
            Given::new(&running, claimed)
        }))
    });
    claimed.await?.map_err(|fault| Failure::store("dbworkerstore.Dequeue", &fault))
}

fn in_fair_order(app: &App, queues: &[String]) -> Vec<String> {
    let (site, now) = (app.site.current(), app.clock.now());
    let candidate = |queue: &String| Candidate {
        queue: queue.clone(),
        given: app.fairness.given(queue, now),
        share: site.share(queue),
    };
    order(queues.iter().map(candidate).collect(), random_below)
}

/// Whether what the job needs is still there.
async fn can_be_run(app: &App, claimed: &Claimed) -> Result<Result<(), String>, Failure> {
    let Some(name) = &claimed.job.repo else { return Ok(Ok(())) };
    let found =
        app.store.repository(name).await.map_err(|fault| Failure::store("dbworkerstore.Dequeue", &fault))?;
    Ok(found.map(drop).ok_or_else(|| format!("repository {name:?} was removed after the job was submitted")))
}

async fn fail_for_good(app: &App, claimed: &Claimed, cause: &str) -> Result<(), Failure> {
    let lease = given::lease(claimed);
    let message = format!("failed to transform record: {cause}");
    let finish = Finish::Fail { reason: EndReason::BadJob, message };
    let (store, id) = (app.store.clone(), claimed.job.id);
    app.see_through(async move { store.finish(id, &lease, finish).await })
        .await?
        .map_err(|fault| Failure::store("dbworkerstore.MarkFailed", &fault))?;
    Ok(())
}
