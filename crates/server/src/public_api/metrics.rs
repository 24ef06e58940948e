//! Metrics, for scrapers and for whatever starts and stops executors.
//!
//! They are served where all else is, with a token: who may connect to this server is known already, what is told names
//! executors and says how much there is to do, and scrapers can send a header. So there is no second port to close.

use super::input::Parameters;
use super::problem::Refusal;
use crate::app::App;
use crate::metrics;
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use exposition::{CONTENT_TYPE, Text};
use http::StatusCode;
use http::header::CONTENT_TYPE as HEADER;
use serde::Deserialize;

/// `GET /metrics`
pub(super) async fn all(State(app): State<App>) -> Response {
    ([(HEADER, CONTENT_TYPE)], metrics::text(&app).await).into_response()
}

/// How queues are told.
#[derive(Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Format {
    #[default]
    Prometheus,
    Json,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct As {
    #[serde(default)]
    format: Format,
}

/// `GET /metrics/queues`
pub(super) async fn queues(
    State(app): State<App>,
    Parameters(As { format }): Parameters<As>,
) -> Result<Response, Refusal> {
    let seen = app.depths.look(&app).await;
    if seen.queues.is_empty() {
        let detail =
            "the database does not tell how long the queues are, and the server's log tells why: try again";
        let title = "The queues can't be looked at";
        return Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "queues_unknown", title, detail));
    }
    Ok(match format {
        Format::Json => Json(seen.to_json()).into_response(),
        Format::Prometheus => {
            let mut text = Text::default();
            seen.write(&mut text);
            ([(HEADER, CONTENT_TYPE)], text.into_string()).into_response()
        }
    })
}
