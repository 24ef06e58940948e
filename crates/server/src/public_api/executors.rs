//! Listing executors.

use super::problem::Refusal;
use super::views;
use crate::api::ExecutorView;
use crate::app::App;
use axum::Json;
use axum::extract::State;

/// `GET /executors`: those heard of last come first.
pub(super) async fn list(State(app): State<App>) -> Result<Json<Vec<ExecutorView>>, Refusal> {
    let now = app.clock.now();
    let rows = app.store.executors().await?;
    Ok(Json(rows.into_iter().map(|row| views::executor(row, now)).collect()))
}
