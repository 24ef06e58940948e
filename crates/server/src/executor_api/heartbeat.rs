//! Hearing which jobs are alive.

use super::queue::Queue;
use super::{Failure, bounds, claims, payload, term};
use crate::app::App;
use crate::auth::executor::Executor;
use crate::peer::Peer;
use crate::slots::Turn;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use http::HeaderMap;
use jobs::JobId;
use std::collections::BTreeMap;
use wire::additions::{CAPABILITIES, LOG_APPEND, TAKES_NONE, TakesNone};
use wire::heartbeat::HeartbeatReceived;
use wire::{HeartbeatResponse, IdText};

const SINGLE: &str = "dbworkerstore.UpsertHeartbeat";
const MULTI: &str = "multiqueue.UpsertHeartbeat";

/// The jobs of the queue in the path.
pub(super) async fn single(
    State(app): State<App>,
    Queue(queue): Queue,
    who: Executor,
    Extension(from): Extension<Peer>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Failure> {
    let (heartbeat, _slot) = read(&app, &who, from, body).await?;
    let mut ids = BTreeMap::new();
    for text in &heartbeat.job_ids {
        ids.insert(job_id(text, SINGLE)?, IdText(text.0.clone()));
    }
    register(&app, &heartbeat, &[queue], &headers).await;
    renew(&app, &heartbeat, &ids, &headers, SINGLE).await
}

/// The jobs of several queues. Their ids are answered with the queue: `12-batches`.
pub(super) async fn multi(
    State(app): State<App>,
    who: Executor,
    Extension(from): Extension<Peer>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Failure> {
    let (heartbeat, _slot) = read(&app, &who, from, body).await?;
    let queues = queue_names(&heartbeat)?;
    let mut ids = BTreeMap::new();
    for of_queue in &heartbeat.job_ids_by_queue {
        for text in &of_queue.job_ids {
            let id = job_id(text, MULTI)?;
            ids.insert(id, IdText::new(id, Some(&of_queue.queue_name)));
        }
    }
    register(&app, &heartbeat, &queues, &headers).await;
    renew(&app, &heartbeat, &ids, &headers, MULTI).await
}

/// What it says, and the turn for that if it is much.
async fn read(
    app: &App,
    who: &Executor,
    from: Peer,
    body: Body,
) -> Result<(HeartbeatReceived, Option<Turn>), Failure> {
    let limit = app.limits.call_body;
    let (mut heartbeat, slot): (HeartbeatReceived, _) =
        payload::read_large(&app.of_executors, from, body, limit).await?;
    bounds::check_name(&heartbeat.executor_name)?;
    who.check_name(app, &heartbeat.executor_name).await?;
    app.forwarded.note(&heartbeat.executor_name, &std::mem::take(&mut heartbeat.prometheus_metrics));
    Ok((heartbeat, slot))
}

/// The executor's queues, sorted. Every queue with jobs must be among them.
fn queue_names(heartbeat: &HeartbeatReceived) -> Result<Vec<String>, Failure> {
    let names = &heartbeat.queue_names;
    if names.is_empty() {
        return Err(Failure::internal("queueNames must be set for multi-queue heartbeats"));
    }
    bounds::check_queues(names)?;
    let with_jobs = heartbeat.job_ids_by_queue.iter().map(|of_queue| of_queue.queue_name.as_str());
    let strangers: Vec<_> = with_jobs.filter(|&name| !names.iter().any(|known| known == name)).collect();
    if !strangers.is_empty() {
        return Err(Failure::internal(format!(
            "unsupported queue name(s) '{}' submitted in queueJobIds, executor is configured for queues '{}'",
            strangers.join(", "),
            names.join(", ")
        )));
    }
    let mut names = names.clone();
    names.sort_unstable();
    names.dedup();
    Ok(names)
}

fn job_id(text: &IdText, operation: &str) -> Result<JobId, Failure> {
    match text.split() {
        Some((id, _)) => Ok(id),
        None => Err(Failure::internal(format!("{operation}: {:?} is no job id", text.0))),
    }
}

/// Notes the executor. A failure costs nothing but a stale list of executors, so it is only logged.
async fn register(app: &App, heartbeat: &HeartbeatReceived, queues: &[String], headers: &HeaderMap) {
    let telemetry = bounds::shortened(&heartbeat.telemetry);
    let takes_none = headers.get(TAKES_NONE).and_then(|value| TakesNone::parse(value.to_str().ok()?));
    let noted = app.store.upsert_executor(&heartbeat.executor_name, queues, &telemetry, takes_none).await;
    if let Err(fault) = noted {
        tracing::error!(
            executor = heartbeat.executor_name,
            error = &fault as &dyn std::error::Error,
            "can't note the executor"
        );
    }
}

/// Renews the leases; `ids` tells how each job is named in the answer.
async fn renew(
    app: &App,
    heartbeat: &HeartbeatReceived,
    ids: &BTreeMap<JobId, IdText>,
    headers: &HeaderMap,
    operation: &str,
) -> Result<Response, Failure> {
    let lease = term::of(app, headers);
    let asked: Vec<JobId> = ids.keys().copied().collect();
    let answer = app.store.heartbeat(&heartbeat.executor_name, &asked, lease).await.map_err(|fault| {
        app.unheard.note();
        Failure::store(operation, &fault)
    })?;
    claims::heard(app, &heartbeat.executor_name, &asked, claims::word_of(headers).as_ref());
    let named = |found: Vec<JobId>| found.iter().filter_map(|id| ids.get(id).cloned()).collect();
    let answer = HeartbeatResponse { known_ids: named(answer.known), cancel_ids: named(answer.cancel) };
    let mut response = ([(CAPABILITIES, LOG_APPEND)], Json(answer)).into_response();
    term::tell(&mut response, lease);
    app.fleet.tell(&mut response);
    Ok(response)
}
