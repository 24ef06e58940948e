//! Taking files that jobs leave, from executors of ours: with the job's token, while it is theirs.

use super::Failure;
use crate::app::App;
use crate::auth::job::{Caller, Scope, authenticate};
use crate::intake::{self, IntakeFault};
use crate::peer::Peer;
use crate::share::{Room, Total};
use crate::slots::sharing;
use crate::uploads::of_store;
use axum::Json;
use axum::body::{Body, HttpBody};
use axum::extract::{FromRequestParts, Path, Request, State};
use http::StatusCode;
use jobs::artifacts::{MAX_ARTIFACT_BYTES, is_artifact_path};
use jobs::{JobId, Lease, Namespace};
use store::{HeldJob, NewArtifact, StoreError};
use wire::additions::KeptArtifact;

/// What keys of artifacts begin with.
const KEYS: &str = "artifacts";

/// `POST`: the body is the file. The same again takes the place of the first.
pub(super) async fn keep(State(app): State<App>, request: Request) -> Result<Json<KeptArtifact>, Failure> {
    let (mut parts, body) = request.into_parts();
    let Path((queue, name, path)) = Path::<(String, String, String)>::from_request_parts(&mut parts, &app)
        .await
        .map_err(|_| Failure::text(StatusCode::NOT_FOUND, "404 page not found"))?;
    let &from = parts.extensions.get::<Peer>().ok_or_else(|| Failure::empty(StatusCode::UNAUTHORIZED))?;
    let Caller::Job(held) = authenticate(&app, from, &parts.headers, Scope::Queue(&queue)).await? else {
        let told = "a file is taken with its job's token, and not in an executor's own name";
        return Err(Failure::text(StatusCode::FORBIDDEN, told));
    };
    check_declared(&app, held.id, &name, &path).await?;
    let slot = app.results_in.take(from, sharing(&held.owner), app.limits.upload_queue).await;
    let slot = slot.ok_or_else(|| Failure::unavailable("too many results are being uploaded: try again"))?;
    let running = app.clone();
    let kept = app.see_through(async move {
        let _slot = slot;
        take(&running, held, name, path, body).await
    });
    kept.await?.map(Json)
}

/// The job must have declared it.
async fn check_declared(app: &App, id: JobId, name: &str, path: &str) -> Result<(), Failure> {
    let spec = app.store.spec(id).await.map_err(|fault| Failure::store("artifacts.Add", &fault))?;
    let is_declared = spec.artifacts.iter().any(|spec| spec.name == name && spec.matches(path));
    if is_artifact_path(path) && is_declared {
        return Ok(());
    }
    Err(Failure::text(StatusCode::NOT_FOUND, "the job declares no artifact that this file is of"))
}

async fn take(
    app: &App,
    held: HeldJob,
    name: String,
    path: String,
    body: Body,
) -> Result<KeptArtifact, Failure> {
    let Room { bytes, beyond } = room(app, &held.owner).await.map_err(|fault| failure(&fault))?;
    let full = || Failure::error(StatusCode::INSUFFICIENT_STORAGE, beyond.to_string());
    let limit = MAX_ARTIFACT_BYTES.min(bytes);
    if limit == 0 || (limit < MAX_ARTIFACT_BYTES && body.size_hint().lower() > limit) {
        return Err(full());
    }
    let beginning = format!("{KEYS}/{}/{}", held.id.0 / 1_000, held.id);
    let object = match intake::receive(app, body, (&beginning, ""), limit).await {
        Ok(object) => object,
        Err(IntakeFault::TooLarge { .. }) if limit < MAX_ARTIFACT_BYTES => return Err(full()),
        Err(IntakeFault::Store(fault)) => return Err(failure(&fault)),
        Err(fault @ IntakeFault::TooLarge { .. }) => {
            return Err(Failure::error(StatusCode::PAYLOAD_TOO_LARGE, fault.to_string()));
        }
        Err(fault @ IntakeFault::BelowFloor(_)) => {
            return Err(Failure::error(StatusCode::INSUFFICIENT_STORAGE, fault.to_string()));
        }
        Err(fault @ IntakeFault::TooSlow { .. }) => {
            return Err(Failure::error(StatusCode::REQUEST_TIMEOUT, fault.to_string()));
        }
        Err(fault @ IntakeFault::Broken) => {
            return Err(Failure::error(StatusCode::BAD_REQUEST, fault.to_string()));
        }
    };
    let told = KeptArtifact { size: object.size, sha256: object.sha256.clone() };
    let key = object.key.clone();
    let lease = Lease { epoch: held.epoch, executor: held.executor };
    match app.store.add_artifact(held.id, &lease, NewArtifact { name, path, object }).await {
        Ok(()) => Ok(told),
        Err(fault) => {
            intake::give_up(app, &key).await;
            Err(failure(&fault))
        }
    }
}

/// What still fits of what the namespace with this key leaves.
async fn room(app: &App, owner: &str) -> Result<Room, StoreError> {
    let (limit, kept) = (app.limits.artifacts_total, app.store.artifacts_size().await?);
    // What can't be read is nobody's, and has no share.
    let of = Namespace::from_key(owner).unwrap_or(Namespace::Global);
    let total = Total { what: "artifacts", limit, kept };
    total.room(&of, MAX_ARTIFACT_BYTES, app.store.artifacts_size_of(&of)).await
}

fn failure(fault: &StoreError) -> Failure {
    match fault {
        StoreError::UnknownJob(_) | StoreError::Rejected(_) => Failure::unknown_job(),
        StoreError::TooManyArtifacts { .. } | StoreError::ArtifactsTooLarge { .. } => {
            Failure::error(StatusCode::PAYLOAD_TOO_LARGE, fault.to_string())
        }
        fault => match of_store(fault) {
            StatusCode::INTERNAL_SERVER_ERROR => Failure::store("artifacts.Add", fault),
            status => Failure::error(status, fault.to_string()),
        },
    }
}
