//! Whether the server lives, and whether it can do its work: asked by whoever starts it, and by balancers. Without a token.

use crate::app::App;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use std::borrow::Cow;
use std::time::{Duration, Instant};
use store::StoreError;
use tokio::sync::Mutex;
use tokio::time::timeout;

/// How long the database may take to answer: who asks gives up soon themselves.
const PATIENCE: Duration = Duration::from_millis(1_500);
/// How long an answer holds: anybody may ask, and the database is not theirs to keep busy.
const HOLDS: Duration = Duration::from_millis(500);

/// Why requests can't be served.
type NotReady = Cow<'static, str>;

/// What was last found of the database, and when.
#[derive(Debug, Default)]
pub(crate) struct Readiness(Mutex<Option<(Instant, Result<(), NotReady>)>>);

impl Readiness {
    async fn of_the_database(&self, app: &App) -> Result<(), NotReady> {
        let mut known = self.0.lock().await;
        if let Some((at, found)) = &*known
            && at.elapsed() < HOLDS
        {
            return found.clone();
        }
        let found = match timeout(PATIENCE, app.store.answers()).await {
            Ok(Ok(())) => Ok(()),
            // Where there is another server, it is the one to ask for jobs that need their secrets.
            Ok(Err(fault @ (StoreError::UnknownSealingKey { .. } | StoreError::WrongSealingKey { .. }))) => {
                Err(format!("sealing key: {fault}").into())
            }
            _ => Err("database: it does not answer".into()),
        };
        *known = Some((Instant::now(), found.clone()));
        found
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
    if let Err(why) = app.readiness.of_the_database(&app).await {
        return not_now(why);
    }
    // It is read from all the same, and nobody's lease can be renewed.
    if app.disk_floor.is_exhausted() { not_now("disk full") } else { "ok".into_response() }
}

fn not_now(why: impl Into<NotReady>) -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, why.into()).into_response()
}
