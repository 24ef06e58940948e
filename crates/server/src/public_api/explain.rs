//! Why a job waits.

use super::input::Numbered;
use super::jobs::with_steps_of;
use super::problem::Refusal;
use super::views;
use crate::api::{ExplainView, ObstacleView};
use crate::app::App;
use axum::Json;
use axum::extract::State;
use jiff::Timestamp;
use jobs::JobId;
use jobs::explain::{Executor, Facts, MOST_COUNTED, Obstacle, obstacles};
use store::{ExecutorRow, Hold};

/// `GET /jobs/{id}/explain`
pub(super) async fn explain(
    State(app): State<App>,
    Numbered(id): Numbered<JobId>,
) -> Result<Json<ExplainView>, Refusal> {
    let job = app.store.job(id).await?;
    let spec = app.store.spec(id).await?;
    let queue = app.store.queue(&job.queue, u64::from(MOST_COUNTED) + 1).await?;
    let now = app.clock.now();
    let serving = app.store.executors().await?.into_iter().filter(|row| row.queues.contains(&job.queue));
    let executors: Vec<Executor> = serving.map(|row| executor(row, now)).collect();
    let key = spec.concurrency.as_ref().map(|of| (of.key.as_str(), of.limit));
    let found = obstacles(&Facts {
        state: job.record.state,
        queue: &job.queue,
        needs: &spec.needs,
        not_before: match job.hold {
            Some(Hold::Until(due)) => Some(due),
            _ => None,
        },
        key: key.filter(|_| job.hold == Some(Hold::Key)),
        retry_at: job.retry_at,
        paused_at: queue.rules.paused_at,
        running: (queue.running, queue.rules.max_running),
        waiting: queue.queued.saturating_sub(queue.held),
        executors: &executors,
        now,
    });
    let obstacles = found.iter().map(view).collect();
    Ok(Json(ExplainView { job: with_steps_of(&app, job, &spec).await?, obstacles }))
}

fn executor(row: ExecutorRow, now: Timestamp) -> Executor {
    Executor {
        active: views::is_active(&row, now),
        in_maintenance: row.maintenance_at.is_some(),
        capacity: row.capacity,
        name: row.name,
    }
}

fn view(obstacle: &Obstacle) -> ObstacleView {
    ObstacleView { code: obstacle.code().to_owned(), text: obstacle.to_string() }
}
