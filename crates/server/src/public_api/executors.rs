//! Executors: who there is, and who is given no jobs.

use super::input::{MAX_SMALL, Named, Parameters, json};
use super::paging::Part;
use super::problem::Refusal;
use super::views;
use crate::acts::{Act, Action};
use crate::api::{ChangeExecutor, ExecutorView, Page};
use crate::app::App;
use crate::auth::principal::Caller;
use axum::Json;
use axum::body::Body;
use axum::extract::State;

/// `GET /executors`
pub(super) async fn list(
    State(app): State<App>,
    Parameters(part): Parameters<Part>,
) -> Result<Json<Page<ExecutorView>>, Refusal> {
    let now = app.clock.now();
    let rows = app.store.executors().await?;
    part.of(rows, |row| row.name.clone(), |row| views::executor(row, app.leases, now)).map(Json)
}

/// `PATCH /executors/{name}`
pub(super) async fn change(
    caller: Caller,
    State(app): State<App>,
    Named(name): Named,
    body: Body,
) -> Result<Json<ExecutorView>, Refusal> {
    let change: ChangeExecutor = json(&app, body, MAX_SMALL, "invalid_executor_change").await?;
    let now = app.clock.now();
    let present = app.store.executor(&name).await?;
    // It stays in maintenance since when it was.
    let since = change.maintenance.then(|| present.maintenance_at.unwrap_or(now));
    let (store, executor) = (app.store.clone(), name.clone());
    let action = if change.maintenance { Action::DrainExecutor } else { Action::ResumeExecutor };
    let act = Act::global(action, name.clone(), "");
    app.act(&caller, async move { store.set_maintenance(&executor, since).await }, |()| Some(act)).await?;
    Ok(Json(views::executor(app.store.executor(&name).await?, app.leases, now)))
}
