//! Giving out jobs.

use super::execution::Form;
use super::given::{self, Given};
use super::index_job::{Resources, Surroundings};
use super::job_builder::Reader;
use super::kept::Kept;
use super::queue::Queue;
use super::version::{has_binary_diffs, payload_version};
use super::{Failure, batch, bounds, capacity, claims, job_builder, kept, long_poll, payload, term};
use crate::app::App;
use crate::auth::executor::Executor;
use crate::delivery::{self, Unflushed};
use crate::fairness::{Candidate, order, random_below};
use crate::peer::Peer;
use crate::site_config::Executions;
use crate::way::Way;
use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode};
use jobs::claims::Start;
use jobs::{Capacity, EndReason, Namespace};
use std::time::Duration;
use store::{Asking, Claimed, Finish};
use wire::additions::{CAPABILITIES, LOG_APPEND};
use wire::paths::QUEUES;
use wire::{DequeueRequest, PayloadVersion};

/// Takes a job from the queue in the path.
pub(super) async fn single(
    State(app): State<App>,
    Queue(queue): Queue,
    who: Executor,
    Extension(unflushed): Extension<Unflushed>,
    (Extension(from), Extension(way)): (Extension<Peer>, Extension<Way>),
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Failure> {
    let (request, slot): (DequeueRequest, _) =
        payload::read_large(&app.of_executors, from, body, app.limits.call_body).await?;
    let asked = Asked::new((who, way), request, vec![queue], false, &app, &headers).await?;
    // What is left of it is small, and may wait for a job for long.
    drop(slot);
    answer(&app, &headers, &asked, unflushed).await
}

/// Takes a job from one of the queues in the body.
pub(super) async fn multi(
    State(app): State<App>,
    who: Executor,
    Extension(unflushed): Extension<Unflushed>,
    (Extension(from), Extension(way)): (Extension<Peer>, Extension<Way>),
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Failure> {
    let (mut request, slot): (DequeueRequest, _) =
        payload::read_large(&app.of_executors, from, body, app.limits.call_body).await?;
    let mut queues = std::mem::take(&mut request.queues);
    queues.sort_unstable();
    queues.dedup();
    refuse_unknown(&queues)?;
    let asked = Asked::new((who, way), request, queues, true, &app, &headers).await?;
    drop(slot);
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
    pub(super) who: Executor,
    /// How it reached us.
    pub(super) way: Way,
    executor: String,
    payload: PayloadVersion,
    /// Whether its src writes results that hold any bytes.
    binary_diffs: bool,
    pub(super) queues: Vec<String>,
    /// Whether the executor left the choice of the queue to us: then the answer must tell it.
    multi: bool,
    /// How long a job lasts for this executor without a heartbeat.
    lease: Duration,
    /// Whether it is one of ours.
    pub(super) ours: bool,
    /// What it gives a job.
    capacity: Capacity,
    /// The same, as it said it.
    pub(super) resources: Resources,
    /// For how many jobs it has a place.
    most: u32,
    /// Which dequeue of which start of an agent it is, if that was told.
    dequeue: Option<(Start, u64)>,
}

impl Asked {
    /// Checks everything before a job is claimed, so that a bad request costs no job its place.
    async fn new(
        (who, way): (Executor, Way),
        request: DequeueRequest,
        queues: Vec<String>,
        multi: bool,
        app: &App,
        headers: &HeaderMap,
    ) -> Result<Self, Failure> {
        bounds::check_name(&request.executor_name)?;
        who.check_name(app, &request.executor_name).await?;
        let (lease, dequeue) = (term::of(app, headers), claims::dequeue_of(headers));
        let ours = term::is_kept_to(headers);
        let payload =
            payload_version(&request.version).map_err(|fault| Failure::internal(fault.to_string()))?;
        let resources = Resources::of(&request);
        let binary_diffs = has_binary_diffs(&request.version);
        let (capacity, most) = (capacity::of(&request, headers), batch::most_of(headers));
        Ok(Self {
            who,
            way,
            executor: request.executor_name,
            payload,
            binary_diffs,
            queues,
            multi,
            lease,
            ours,
            capacity,
            resources,
            most,
            dequeue,
        })
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
    let mut response = if given.is_empty() {
        StatusCode::NO_CONTENT.into_response()
    } else {
        let mut answer = job_answer(app, asked, given, unflushed).await?;
        term::tell_held(&mut answer, held);
        answer
    };
    response.headers_mut().insert(CAPABILITIES, http::HeaderValue::from_static(LOG_APPEND));
    term::tell(&mut response, asked.lease);
    app.fleet.tell(&mut response);
    long_poll::acknowledge(&mut response, waited);
    Ok(response)
}

async fn job_answer(
    app: &App,
    asked: &Asked,
    given: Vec<Given>,
    unflushed: Unflushed,
) -> Result<Response, Failure> {
    let (mut jobs, mut delivered, mut spoiled) = (Vec::new(), Vec::new(), None);
    let site = app.site.current();
    let Executions { native, helper } = &site.executions;
    for Given { claimed, undelivered } in given {
        match what_it_needs(app, asked, &claimed).await? {
            Ok((kept, index)) => {
                tracing::info!(
                    job = %claimed.job.id,
                    queue = claimed.job.queue,
                    executor = asked.executor,
                    attempt = claimed.job.record.attempt(),
                    "gave out a job"
                );
                count(app, &claimed);
                let queue = asked.multi.then(|| claimed.job.queue.clone());
                let executions = Form::of(asked.payload, *native, helper, asked.binary_diffs);
                let reader = Reader { version: asked.payload, queue, is_ours: asked.ours, executions };
                jobs.push(job_builder::build(claimed, kept, index, reader));
                delivered.push(undelivered);
            }
            Err(cause) => {
                fail_for_good(app, &claimed, &cause).await?;
                undelivered.call_off();
                spoiled = Some(cause);
            }
        }
    }
    match (jobs.is_empty(), spoiled) {
        (true, Some(cause)) => Err(Failure::internal(format!("RecordTransformer: {cause}"))),
        _ => Ok(delivery::with(batch::answer(jobs), delivered, unflushed)),
    }
}

fn count(app: &App, Claimed { job, .. }: &Claimed) {
    let waited = job.started_at.map(|at| at.duration_since(job.queued_at));
    let waited = waited.filter(|_| job.record.attempt() == 1).and_then(|waited| waited.try_into().ok());
    app.metrics.given(&job.queue, waited);
}

/// Tries the queues in a fair order until one has jobs.
pub(super) async fn claim(app: &App, asked: &Asked) -> Result<Vec<Given>, Failure> {
    asked.who.check_still(app).await?;
    for queue in in_fair_order(app, &asked.queues) {
        let given = claim_from(app, &queue, asked).await?;
        for Given { claimed, .. } in &given {
            if !claimed.secrets.is_empty() {
                app.secret_jobs.note(claimed.job.id);
            }
            // Where the executor named the queue itself there was nothing to share.
            if asked.multi {
                app.fairness.note(&queue, app.clock.now());
            }
        }
        if !given.is_empty() {
            return Ok(given);
        }
    }
    Ok(Vec::new())
}

/// Claims in a task of its own: a claim that is under way when the client hangs up gets to its end, and
/// then nobody takes it.
async fn claim_from(app: &App, queue: &str, asked: &Asked) -> Result<Vec<Given>, Failure> {
    let (running, dequeue) = (app.clone(), asked.dequeue.clone());
    let asking = Asking {
        queues: vec![queue.to_owned()],
        executor: asked.executor.clone(),
        capacity: asked.capacity.clone(),
        lease: asked.lease,
        most: asked.most,
    };
    let claimed = app.see_through(async move {
        let claimed = running.store.claim(&asking).await?.into_iter();
        let given = claimed.map(|claimed| {
            running.claims.note(&claimed, dequeue.clone());
            Given::new(&running, claimed)
        });
        Ok(given.collect())
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

/// What the job is given besides what it brought, if all that it needs is still there.
async fn what_it_needs(
    app: &App,
    asked: &Asked,
    claimed: &Claimed,
) -> Result<Result<(Kept, Option<Surroundings>), String>, Failure> {
    if let Err(cause) = repository_is_there(app, claimed).await? {
        return Ok(Err(cause));
    }
    let index = match Surroundings::of(app, asked, claimed) {
        Ok(index) => index,
        Err(cause) => return Ok(Err(cause)),
    };
    Ok(kept::open(app, claimed).await?.map(|kept| (kept, index)))
}

async fn repository_is_there(app: &App, claimed: &Claimed) -> Result<Result<(), String>, Failure> {
    let Some(name) = &claimed.job.repo else { return Ok(Ok(())) };
    let lookup = async {
        let Ok(of) = Namespace::from_key(&claimed.job.owner) else { return Ok(None) };
        app.store.repository(&of, name).await
    };
    let found = lookup.await.map_err(|fault| Failure::store("dbworkerstore.Dequeue", &fault))?;
    Ok(found.map(drop).ok_or_else(|| format!("repository {name:?} was removed after the job was submitted")))
}

async fn fail_for_good(app: &App, claimed: &Claimed, cause: &str) -> Result<(), Failure> {
    let lease = given::lease(claimed);
    let message = format!("failed to transform record: {cause}");
    let finish = Finish::Fail { reason: EndReason::BadJob, message };
    let (store, id) = (app.store.clone(), claimed.job.id);
    let ended = app.see_through(async move { store.finish(id, &lease, finish).await }).await?;
    let job = ended.map_err(|fault| Failure::store("dbworkerstore.MarkFailed", &fault))?;
    app.metrics.ended(&job);
    Ok(())
}
