//! Queues: what they hold, and how their jobs are given out.

use super::input::{MAX_SMALL, Named, json};
use super::problem::Refusal;
use super::{sent, views};
use crate::acts::{Act, Action};
use crate::api::{ChangeQueue, QueueView};
use crate::app::App;
use crate::auth::principal::Caller;
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use store::{EndedRow, QueueChange};
use wire::paths::QUEUES;

/// Jobs that are counted of those that ended: more would take too long.
const MOST_ENDED: u64 = 20_000;

/// `GET /queues`
pub(super) async fn list(State(app): State<App>) -> Result<Json<Vec<QueueView>>, Refusal> {
    let ended = ended(&app).await?;
    let mut queues = Vec::new();
    for name in QUEUES {
        queues.push(views::queue(app.store.queue(name, u64::MAX).await?, &ended));
    }
    Ok(Json(queues))
}

/// `GET /queues/{name}`
pub(super) async fn show(State(app): State<App>, Named(name): Named) -> Result<Json<QueueView>, Refusal> {
    check(&name)?;
    one(&app, &name).await
}

/// `PATCH /queues/{name}`
pub(super) async fn change(
    caller: Caller,
    State(app): State<App>,
    Named(name): Named,
    body: Body,
) -> Result<Json<QueueView>, Refusal> {
    check(&name)?;
    let change: ChangeQueue = json(&app, body, MAX_SMALL, "invalid_queue_change").await?;
    // Before it is done: whoever is refused has changed nothing.
    let _turn = sent::turn(&app, &caller).await?;
    let act = Act::global(Action::ChangeQueue, name.clone(), told(&change));
    let ChangeQueue { paused, max_running } = change;
    let (store, queue) = (app.store.clone(), name.clone());
    let change = QueueChange { paused, max_running };
    app.act(&caller, async move { store.change_queue(&queue, change).await }, |()| Some(act)).await?;
    one(&app, &name).await
}

async fn one(app: &App, name: &str) -> Result<Json<QueueView>, Refusal> {
    Ok(Json(views::queue(app.store.queue(name, u64::MAX).await?, &ended(app).await?)))
}

/// What ended within the last hour.
async fn ended(app: &App) -> Result<Vec<EndedRow>, Refusal> {
    let since = app.clock.now().saturating_sub(SignedDuration::from_hours(1)).unwrap_or(Timestamp::MIN);
    Ok(app.store.ended_since(since, MOST_ENDED).await?)
}

/// What was asked for, in words.
fn told(change: &ChangeQueue) -> String {
    let paused = change.paused.map(|paused| if paused { "pause".to_owned() } else { "resume".to_owned() });
    let limit = change.max_running.map(|limit| match limit {
        0 => "any number at once".to_owned(),
        limit => format!("at most {limit} at once"),
    });
    [paused, limit].into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn check(name: &str) -> Result<(), Refusal> {
    jobs::name::check_queue(name).map_err(|fault| {
        Refusal::new(StatusCode::NOT_FOUND, "unknown_queue", "There is no such queue", fault.to_string())
    })
}
