//! Why a job waits.

use super::input::Numbered;
use super::jobs::with_planned;
use super::planned::Planned;
use super::problem::Refusal;
use super::{seen, sent, views};
use crate::api::{ExplainView, ObstacleView};
use crate::app::App;
use crate::auth::principal::Caller;
use crate::executor_api::refuses;
use axum::Json;
use axum::extract::State;
use jiff::Timestamp;
use jobs::explain::{Executor, Facts, MOST_COUNTED, Obstacle, obstacles};
use jobs::{JobId, LeasePolicy, Namespace};
use store::{ExecutorRow, Hold, QueueRow, StoredSpec};

/// `GET /jobs/{id}/explain`
pub(super) async fn explain(
    caller: Caller,
    State(app): State<App>,
    Numbered(id): Numbered<JobId>,
) -> Result<Json<ExplainView>, Refusal> {
    let job = seen::job(&app, &caller, id).await?;
    let StoredSpec { spec, is_for_newer } = app.store.stored_spec(id).await?;
    let planned = Planned::of(&spec, &app.site.current());
    drop(spec);
    let queue = counted(&app, &caller, &job.queue).await?;
    let now = app.clock.now();
    let serving = app.store.executors_serving(&job.queue).await?;
    let executors: Vec<Executor> = serving.into_iter().map(|row| executor(row, app.leases, now)).collect();
    let key = planned.concurrency.as_ref().map(|of| (of.key.as_str(), of.limit));
    let found = obstacles(&Facts {
        state: job.record.state,
        queue: &job.queue,
        needs: &planned.needs,
        is_for_newer,
        not_before: match job.hold {
            Some(Hold::Until(due)) => Some(due),
            _ => None,
        },
        key: key.filter(|_| job.hold == Some(Hold::Key)),
        retry_at: job.retry_at,
        had_last: job.record.executor.as_deref(),
        same_executor_later: app.same_executor_later,
        own_failures: (job.record.failures, job.retries),
        paused_at: queue.rules.paused_at,
        running: (queue.running, queue.rules.max_running),
        waiting: queue.queued.saturating_sub(queue.held),
        executors: &executors,
        now,
    });
    // As with the list of executors.
    let may_know_executors = caller.namespace == Namespace::Global;
    let obstacles = found.iter().map(|obstacle| view(obstacle, may_know_executors)).collect();
    Ok(Json(ExplainView { job: with_planned(&app, job, planned).await?, obstacles }))
}

/// A queue, counted as far as matters.
async fn counted(app: &App, caller: &Caller, name: &str) -> Result<QueueRow, Refusal> {
    let most = u64::from(MOST_COUNTED);
    let queue = app.store.queue(name, most + 1).await?;
    let among_many = queue.queued > most && queue.held > 0;
    if among_many || queue.rules.max_running.is_some_and(|limit| limit > MOST_COUNTED) {
        let _turn = sent::turn(app, caller).await?;
        return Ok(app.store.queue(name, u64::MAX).await?);
    }
    Ok(queue)
}

fn executor(row: ExecutorRow, leases: LeasePolicy, now: Timestamp) -> Executor {
    Executor {
        active: views::is_active(&row, leases, now),
        in_maintenance: row.maintenance_at.is_some(),
        takes_none: row.takes_none,
        refused_version: refuses(&row.telemetry.executor_version)
            .then(|| row.telemetry.executor_version.clone()),
        capacity: row.capacity,
        name: row.name,
    }
}

fn view(obstacle: &Obstacle, with_names: bool) -> ObstacleView {
    let text = if with_names { obstacle.to_string() } else { obstacle.without_names() };
    ObstacleView { code: obstacle.code().to_owned(), text }
}
