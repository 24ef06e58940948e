//! Queues: what they hold, and how their jobs are given out.

use super::input::json;
use super::problem::Refusal;
use super::views;
use crate::api::{ChangeQueue, QueueView};
use crate::app::App;
use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use http::StatusCode;
use wire::paths::QUEUES;

/// `GET /queues`
pub(super) async fn list(State(app): State<App>) -> Result<Json<Vec<QueueView>>, Refusal> {
    let mut queues = Vec::new();
    for name in QUEUES {
        queues.push(views::queue(app.store.queue(name).await?));
    }
    Ok(Json(queues))
}

/// `GET /queues/{name}`
pub(super) async fn show(
    State(app): State<App>,
    Path(name): Path<String>,
) -> Result<Json<QueueView>, Refusal> {
    check(&name)?;
    Ok(Json(views::queue(app.store.queue(&name).await?)))
}

/// `PATCH /queues/{name}`
pub(super) async fn change(
    State(app): State<App>,
    Path(name): Path<String>,
    body: Body,
) -> Result<Json<QueueView>, Refusal> {
    check(&name)?;
    let change: ChangeQueue = json(&app, body, app.limits.api_body, "invalid_queue_change").await?;
    let mut rules = app.store.queue(&name).await?.rules;
    match change.paused {
        // It stays paused since when it was.
        Some(true) => rules.paused_at = rules.paused_at.or_else(|| Some(app.clock.now())),
        Some(false) => rules.paused_at = None,
        None => {}
    }
    if let Some(max_running) = change.max_running {
        rules.max_running = (max_running > 0).then_some(max_running);
    }
    tracing::info!(
        queue = name,
        paused = rules.paused_at.is_some(),
        max_running = rules.max_running,
        "a queue's rules changed"
    );
    let (store, queue) = (app.store.clone(), name.clone());
    app.see_through(async move { store.set_queue_rules(&queue, rules).await }).await??;
    Ok(Json(views::queue(app.store.queue(&name).await?)))
}

fn check(name: &str) -> Result<(), Refusal> {
    jobs::name::check_queue(name).map_err(|fault| {
        Refusal::new(StatusCode::NOT_FOUND, "unknown_queue", "There is no such queue", fault.to_string())
    })
}
