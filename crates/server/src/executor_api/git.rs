//! Fetching from a repository: git's smart HTTP protocol, without push.

use super::Failure;
use crate::app::App;
use crate::auth::job::{Caller, Scope, authenticate};
use crate::git::upload_pack::{self, Transfer};
use crate::peer::Peer;
use crate::repository;
use crate::slots::Turn;
use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, EXPIRES, PRAGMA};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use store::RepositoryRow;

/// The only service there is.
const UPLOAD_PACK: &str = "git-upload-pack";
/// What every advertisement begins with: a packet that names the service, and a flush.
const SERVICE_HEADER: &[u8] = b"001e# service=git-upload-pack\n0000";

/// What a client asks of a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Call {
    /// Which refs are there.
    InfoRefs,
    /// These objects, please.
    UploadPack,
}

/// Answers everything under the git prefix.
pub(super) async fn serve(
    State(app): State<App>,
    Extension(from): Extension<Peer>,
    Path(path): Path<String>,
    RawQuery(query): RawQuery,
    method: Method,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Failure> {
    let Some((name, call)) = split(&path) else {
        return Err(Failure::text(StatusCode::NOT_FOUND, "404 page not found"));
    };
    let caller = authenticate(&app, from, &headers, Scope::Repository(name)).await?;
    check_service(call, query.as_deref())?;
    let call = match (call, method) {
        (Asked::Fetch(Call::InfoRefs), Method::GET) => Call::InfoRefs,
        (Asked::Fetch(Call::UploadPack), Method::POST) => Call::UploadPack,
        _ => return Err(Failure::empty(StatusCode::METHOD_NOT_ALLOWED)),
    };
    // Who has the shared secret, and so may take any job there is, is of no namespace.
    let owner = match &caller {
        Caller::Job(held) => Some(held.owner.as_str()),
        Caller::Executor(_) => None,
    };
    let found = repository::meant(&app, owner, name).await;
    let found = found.map_err(|fault| Failure::store("git", &fault))?;
    let row = found.ok_or_else(|| Failure::text(StatusCode::NOT_FOUND, "repository not found"))?;
    ready(&app, &caller, &row).await?;
    let slot = slot(&app, from, caller.share()).await?;
    let transfer = transfer(&app, &row, call, &headers, body, slot);
    let answer = upload_pack::serve(transfer, &app.tasks).map_err(|fault| {
        tracing::error!(error = %fault, "can't run git upload-pack");
        Failure::internal("git can't be run: see the server's log")
    })?;
    Ok((uncached(call), answer).into_response())
}

/// Has this server catch up with the one that added the repository, or resolved what the job is to run on.
async fn ready(app: &App, caller: &Caller, row: &RepositoryRow) -> Result<(), Failure> {
    if app.repositories.is_at_hand(row) {
        return Ok(());
    }
    let commit = match caller {
        Caller::Job(held) => {
            let job = app.store.job(held.id).await.map_err(|fault| Failure::store("git", &fault))?;
            Some(job.commit)
        }
        Caller::Executor(_) => None,
    };
    let (running, wanted) = (app.clone(), row.clone());
    let ready = async move { running.repositories.ready(&wanted, commit.as_deref()).await };
    app.see_through(ready).await?.map_err(|fault| {
        tracing::error!(repository = row.name, error = %fault, "can't mirror a repository that another server added");
        let told = "this server can't mirror the repository now: see its log, and try again";
        Failure::text(StatusCode::SERVICE_UNAVAILABLE, told)
    })
}

/// A path below the prefix, by its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    Fetch(Call),
    Push,
}

fn split(path: &str) -> Option<(&str, Asked)> {
    let ends = [
        ("/info/refs", Asked::Fetch(Call::InfoRefs)),
        ("/git-upload-pack", Asked::Fetch(Call::UploadPack)),
        ("/git-receive-pack", Asked::Push),
    ];
    let found = ends.into_iter().find_map(|(end, asked)| Some((path.strip_suffix(end)?, asked)));
    found.filter(|(name, _)| !name.contains('\0'))
}

fn check_service(asked: Asked, query: Option<&str>) -> Result<(), Failure> {
    match asked {
        Asked::Push => Err(Failure::text(StatusCode::FORBIDDEN, "push is not possible")),
        Asked::Fetch(Call::UploadPack) => Ok(()),
        Asked::Fetch(Call::InfoRefs) => {
            let mut pairs = url::form_urlencoded::parse(query.unwrap_or_default().as_bytes());
            if pairs.any(|(key, value)| key == "service" && value == UPLOAD_PACK) {
                return Ok(());
            }
            Err(Failure::text(StatusCode::BAD_REQUEST, "only the service git-upload-pack is supported"))
        }
    }
}

async fn slot(app: &App, client: Peer, share: Option<&str>) -> Result<Turn, Failure> {
    let busy = || Failure::text(StatusCode::SERVICE_UNAVAILABLE, "too many git transfers: try again");
    app.git_transfers.take(client, share, app.limits.git_queue).await.ok_or_else(busy)
}

fn transfer(
    app: &App,
    row: &RepositoryRow,
    call: Call,
    headers: &HeaderMap,
    body: Body,
    slot: Turn,
) -> Transfer {
    let mut command = app.repositories.upload_pack(row);
    if let Some(protocol) = git_protocol(headers) {
        command.env("GIT_PROTOCOL", protocol);
    }
    let (preamble, request) = match call {
        Call::InfoRefs => {
            command.arg("--advertise-refs");
            (SERVICE_HEADER, Body::empty())
        }
        Call::UploadPack => (&[][..], body),
    };
    command.arg("--").arg(app.repositories.mirror_dir(row));
    let (pace, idle) = (app.limits.git_pace(), app.limits.git_idle);
    Transfer { command, preamble, request, max_request: app.limits.git_body, pace, idle, slot }
}

/// The protocol version the client asks for, if it is one: the value ends up in an environment.
fn git_protocol(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get("Git-Protocol")?.to_str().ok()?;
    ["version=0", "version=1", "version=2"].contains(&value).then_some(value)
}

/// What a client must not keep.
fn uncached(call: Call) -> HeaderMap {
    let content_type = match call {
        Call::InfoRefs => "application/x-git-upload-pack-advertisement",
        Call::UploadPack => "application/x-git-upload-pack-result",
    };
    HeaderMap::from_iter([
        (CONTENT_TYPE, HeaderValue::from_static(content_type)),
        (CACHE_CONTROL, HeaderValue::from_static("no-cache, max-age=0, must-revalidate")),
        (PRAGMA, HeaderValue::from_static("no-cache")),
        (EXPIRES, HeaderValue::from_static("Fri, 01 Jan 1980 00:00:00 GMT")),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repository_name_may_hold_slashes() {
        assert_eq!(split("github.com/a/b/info/refs"), Some(("github.com/a/b", Asked::Fetch(Call::InfoRefs))));
        assert_eq!(split("demo/git-upload-pack"), Some(("demo", Asked::Fetch(Call::UploadPack))));
        assert_eq!(split("demo/git-receive-pack"), Some(("demo", Asked::Push)));
        assert_eq!(split("demo/HEAD"), None);
    }

    #[test]
    fn only_protocol_versions_pass() {
        let header = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert("Git-Protocol", HeaderValue::from_static(value));
            git_protocol(&headers).map(str::to_owned)
        };
        assert_eq!(header("version=2").as_deref(), Some("version=2"));
        for other in ["version=3", "version=2:x=y", "", "object-format=sha256"] {
            assert_eq!(header(other), None, "{other}");
        }
    }
}
