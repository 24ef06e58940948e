//! The executor protocol under `/.executors`, as stock executors expect it: with 500 for many a
//! caller's fault, with bare integers and with `null`.

mod answer;
mod artifacts;
mod batch;
mod bounds;
mod capacity;
mod claims;
mod dequeue;
mod execution;
mod files;
mod git;
mod given;
mod heartbeat;
mod index_job;
mod job_builder;
mod job_call;
mod kept;
mod logs;
mod long_poll;
mod marks;
mod payload;
mod queue;
mod register;
mod term;
mod uploads;
mod version;

pub(crate) use answer::Failure;
pub(crate) use bounds::MAX_COMMAND;
pub(crate) use capacity::Capacities;
pub(crate) use claims::Claims;
pub(crate) use version::refuses;

use crate::app::App;
use crate::auth::executor::Executor;
use axum::Router;
use axum::routing::{any, get, post};
use tower_http::decompression::RequestDecompressionLayer;
use wire::additions::artifacts_path;
use wire::paths::{self, QueueCall};

/// Every route of the protocol that we serve.
pub(crate) fn router() -> Router<App> {
    let on_queue = |call: QueueCall| call.path("{queue}");
    Router::new()
        .route(paths::TEST_AUTH, get(test_auth))
        .route(wire::additions::REGISTER, post(register::register))
        .route(paths::MULTI_DEQUEUE, post(dequeue::multi))
        .route(paths::MULTI_HEARTBEAT, post(heartbeat::multi))
        .route(&on_queue(QueueCall::Dequeue), post(dequeue::single))
        .route(&on_queue(QueueCall::Heartbeat), post(heartbeat::single))
        .route(&on_queue(QueueCall::AddLogEntry), post(logs::add))
        .route(&on_queue(QueueCall::UpdateLogEntry), post(logs::update))
        .route(&on_queue(QueueCall::AppendLog), post(logs::append))
        .route(&on_queue(QueueCall::MarkComplete), post(marks::complete))
        .route(&on_queue(QueueCall::MarkErrored), post(marks::errored))
        .route(&on_queue(QueueCall::MarkFailed), post(marks::failed))
        .route(&format!("{}/{{bucket}}/{{*key}}", paths::FILES), get(files::download))
        .route(paths::LSIF_UPLOAD, post(uploads::upload).head(uploads::probe))
        .route(paths::SCIP_UPLOAD, post(uploads::upload).head(uploads::probe))
        .route(&format!("{}/{{name}}/{{*path}}", artifacts_path("{queue}")), post(artifacts::keep))
        .merge(git())
}

/// Git's requests alone may be compressed: git does so by itself with large ones.
fn git() -> Router<App> {
    Router::new()
        .route(&format!("{}/{{*path}}", paths::GIT), any(git::serve))
        .layer(RequestDecompressionLayer::new())
}

async fn test_auth(_: Executor) -> &'static str {
    "ok"
}
