//! Executors: who there is, and who is given no jobs.

use super::input::{MAX_SMALL, Named, Parameters, json};
use super::paging::Part;
use super::problem::Refusal;
use super::{search, views};
use crate::acts::{Act, Action};
use crate::api::{ChangeExecutor, ExecutorView, Page};
use crate::app::App;
use crate::auth::principal::Caller;
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use serde::Deserialize;

/// Which executors are asked for.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    /// Those that were heard of lately, or those that were not.
    active: Option<bool>,
    text: Option<String>,
    limit: Option<u32>,
    cursor: Option<String>,
}

/// Jobs of one executor that are named.
const MOST_JOBS: u32 = 12;

/// `GET /executors`
pub(super) async fn list(
    State(app): State<App>,
    Parameters(Asked { active, text, limit, cursor }): Parameters<Asked>,
) -> Result<Json<Page<ExecutorView>>, Refusal> {
    search::check("text", text.as_deref())?;
    let text = text.map(|text| text.to_lowercase());
    let now = app.clock.now();
    let all = app.store.executors().await?.into_iter();
    let views = all.map(|row| views::executor(row, app.leases, now));
    let asked_for = |view: &ExecutorView| {
        active.is_none_or(|active| view.active == active) && text.as_ref().is_none_or(|text| has(view, text))
    };
    let found = views.filter(asked_for).collect();
    let part = Part::new(limit, cursor);
    let mut page = part.of(found, |view: &ExecutorView| view.name.clone(), |view| view)?;
    look_up_running(&app, &mut page.items).await?;
    Ok(Json(page))
}

/// What these executors run.
async fn look_up_running(app: &App, executors: &mut [ExecutorView]) -> Result<(), Refusal> {
    let names: Vec<String> = executors.iter().map(|executor| executor.name.clone()).collect();
    let running = app.store.running_of(&names, MOST_JOBS).await?;
    for (executor, row) in executors.iter_mut().zip(running) {
        executor.running = row.count;
        executor.jobs = row.latest.iter().map(|id| id.0).collect();
    }
    Ok(())
}

/// Whether it is in what a list shows.
fn has(view: &ExecutorView, text: &str) -> bool {
    let isolation = view.capacity.isolation.map(jobs::Isolation::name);
    let shown = [view.name.as_str(), &view.version, &view.platform].into_iter();
    let shown = shown.chain(isolation);
    let mut shown = shown.chain(view.queues.iter().chain(&view.capacity.labels).map(String::as_str));
    shown.any(|shown| shown.to_lowercase().contains(text))
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
    let mut changed = views::executor(app.store.executor(&name).await?, app.leases, now);
    look_up_running(&app, std::slice::from_mut(&mut changed)).await?;
    Ok(Json(changed))
}
