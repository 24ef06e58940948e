//! Queues: what they hold, and how their jobs are given out.

use super::input::{Named, json};
use super::problem::Refusal;
use super::views;
use crate::api::{ChangeQueue, QueueView};
use crate::app::App;
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use http::StatusCode;
use store::QueueChange;
use wire::paths::QUEUES;

/// `GET /queues`
pub(super) async fn list(State(app): State<App>) -> Result<Json<Vec<QueueView>>, Refusal> {
    let mut queues = Vec::new();
    for name in QUEUES {
        queues.push(views::queue(app.store.queue(name, u64::MAX).await?));
    }
    Ok(Json(queues))
}

/// `GET /queues/{name}`
pub(super) async fn show(State(app): State<App>, Named(name): Named) -> Result<Json<QueueView>, Refusal> {
    check(&name)?;
    Ok(Json(views::queue(app.store.queue(&name, u64::MAX).await?)))
}

/// `PATCH /queues/{name}`
pub(super) async fn change(
    State(app): State<App>,
    Named(name): Named,
    body: Body,
) -> Result<Json<QueueView>, Refusal> {
    check(&name)?;
    let change: ChangeQueue = json(&app, body, app.limits.api_body, "invalid_queue_change").await?;
    let ChangeQueue { paused, max_running } = change;
    tracing::info!(queue = name, paused, max_running, "somebody changes a queue's rules");
    let (store, queue) = (app.store.clone(), name.clone());
    let change = QueueChange { paused, max_running };
    app.see_through(async move { store.change_queue(&queue, change).await }).await??;
    Ok(Json(views::queue(app.store.queue(&name, u64::MAX).await?)))
}

fn check(name: &str) -> Result<(), Refusal> {
    jobs::name::check_queue(name).map_err(|fault| {
        Refusal::new(StatusCode::NOT_FOUND, "unknown_queue", "There is no such queue", fault.to_string())
    })
}
