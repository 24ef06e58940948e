//! Uploaded files, read by the jobs that name them and by nobody else.

use super::Failure;
use crate::answers::{self, Reader, Room};
use crate::app::App;
use crate::auth::job::{Caller, Scope, authenticate};
use crate::body;
use crate::peer::Peer;
use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, Method, StatusCode};
use jobs::JobId;
use jobs::files::is_file_id;
use tokio::time::timeout;
use wire::paths::FILES_BUCKET;

/// Answers GET, and without a body HEAD.
pub(super) async fn download(
    State(app): State<App>,
    Extension(from): Extension<Peer>,
    Path((bucket, key)): Path<(String, String)>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let caller = authenticate(&app, from, &headers, Scope::Files).await?;
    let reader = Reader::sharing(from, caller.share().map(str::to_owned));
    let (job, id) = split(&key)?;
    let of_caller = match caller {
        Caller::Job(held) => held.id.to_string() == job,
        // It may take any job there is, and so read its files.
        Caller::Executor(_) => true,
    };
    if !of_caller || bucket != FILES_BUCKET || !is_file_id(id) {
        return Err(not_there());
    }
    let job = JobId(job.parse().map_err(|_| not_there())?);
    let found =
        app.store.job_file(job, id).await.map_err(|fault| Failure::store("workspaceFiles.Get", &fault))?;
    let row = found.ok_or_else(not_there)?;
    let room = match method {
        Method::HEAD => Room::of_little(),
        _ => room(&app, &reader, row.size).await?,
    };
    let (content, length) = app.files.content(&row).await.map_err(|fault| {
        tracing::error!(file = id, error = %fault, "can't open an uploaded file");
        Failure::internal("the file can't be read: see the server's log")
    })?;
    let content = match method {
        Method::HEAD => Body::empty(),
        _ => answers::in_room(body::streamed(content, app.limits.body_read, &app.tasks), room),
    };
    let headers = [(CONTENT_LENGTH, length.to_string()), (CONTENT_TYPE, "application/octet-stream".into())];
    Ok((headers, content).into_response())
}

/// Room for what of a file is in memory while it is sent. It is not that of the public API's readers: no job waits for them.
async fn room(app: &App, reader: &Reader, length: u64) -> Result<Room, Failure> {
    let room = app.files_out.room_in_time(reader, body::held(app, length));
    timeout(app.limits.file_read_queue, room).await.map_err(|_| {
        Failure::text(
            StatusCode::SERVICE_UNAVAILABLE,
            "too many files are being read at one time: read those that were asked for, then try again",
        )
    })
}

/// What a payload of ours names a file by.
pub(super) fn key(job: JobId, id: &str) -> String {
    format!("{job}/{id}")
}

/// A key's two parts.
fn split(key: &str) -> Result<(&str, &str), Failure> {
    let parts = key.split_once('/').filter(|(job, id)| !job.is_empty() && !id.is_empty());
    let form = format!("the path must be {FILES_BUCKET}/{{job}}/{{file}}");
    parts.ok_or_else(|| Failure::text(StatusCode::BAD_REQUEST, &form))
}

/// The answer for a file of another job as well: nobody is to learn what others have.
fn not_there() -> Failure {
    Failure::text(StatusCode::NOT_FOUND, "workspace file does not exist")
}
