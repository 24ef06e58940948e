//! Whether the server lives, and whether it can do its work: asked by whoever starts it, and by balancers. Without a token.

use crate::app::App;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use std::time::{Duration, Instant};
use tokio::sync::Mutex;
use tokio::time::timeout;

/// How long the database may take to answer: who asks gives up soon themselves.
const PATIENCE: Duration = Duration::from_millis(1_500);
/// How long an answer holds: anybody may ask, and the database is not theirs to keep busy.
const HOLDS: Duration = Duration::from_millis(500);

/// What the database last answered, and when.
#[derive(Debug, Default)]
pub(crate) struct Readiness(Mutex<Option<(Instant, bool)>>);

impl Readiness {
    async fn database_answers(&self, app: &App) -> bool {
        let mut known = self.0.lock().await;
        if let Some((at, answers)) = *known
            && at.elapsed() < HOLDS
        {
            return answers;
        }
        let answers = matches!(timeout(PATIENCE, app.store.answers()).await, Ok(Ok(())));
        *known = Some((Instant::now(), answers));
        answers
    }
}

/// `GET /healthz`: 200 while the server takes work, 503 from the moment it begins to stop. It says nothing of the database:
/// who starts servers anew when this fails would do so for no use.
pub(super) async fn live(State(app): State<App>) -> Response {
    if app.stop.is_cancelled() { not_now("stopping") } else { "ok".into_response() }
}

/// `GET /readyz`: 200 while requests can be served, else 503 and why.
pub(super) async fn ready(State(app): State<App>) -> Response {
    if app.stop.is_cancelled() {
        return not_now("stopping");
    }
    if !app.readiness.database_answers(&app).await {
        return not_now("database: it does not answer");
    }
    // It is read from all the same, and nobody's lease can be renewed.
    if app.disk_floor.is_exhausted() { not_now("disk full") } else { "ok".into_response() }
}

fn not_now(why: &'static str) -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, why).into_response()
}
