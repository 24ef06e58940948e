//! Every page that takes a session. What it shows and does, the public API allows or refuses.

use super::fault::Fault;
use super::frame::Answer;
use super::visit::Visit;
use super::{
    Pages, account, audit, executors, job, jobs, log, queues, repositories, results, secrets, tokens, users,
};
use crate::answers::Reader;
use axum::routing::{MethodRouter, get, post};
use futures_util::future::BoxFuture;

/// What comes of a visit.
type Shown = BoxFuture<'static, Result<Answer, Fault>>;

/// A method on a path.
pub(super) struct Route {
    pub(super) method: &'static str,
    pub(super) path: &'static str,
    show: fn(Visit) -> Shown,
}

impl Route {
    /// What serves it: a page, wherever it leads, or one that tells why there is none. Each is made in its turn, for what it is made
    /// of may be far more than it is, and has its room until it was sent.
    pub(super) fn served(self) -> MethodRouter<Pages> {
        let (show, only_reads) = (self.show, self.method == "GET");
        let handler = async move |visit: Visit| {
            let (frame, app) = (visit.frame(), visit.pages.app.clone());
            let reader = Reader::from(&visit.caller);
            let turn = app
                .pages
                .take(visit.peer, visit.caller.namespace.key().as_str(), app.limits.read_queue)
                .await;
            let Some(turn) = turn else { return frame.fault(&Fault::no_turn(app.limits.read_queue)) };
            let response = match show(visit).await {
                Ok(answer) => answer.respond(&frame),
                Err(fault) => frame.fault(&fault),
            };
            drop(turn);
            match app.answers.hold(&reader, response).await {
                Err(_) if only_reads => frame.fault(&Fault::no_room()),
                // What was done leads to another page, or is told with a small one.
                Ok(response) | Err(response) => response,
            }
        };
        if only_reads { get(handler) } else { post(handler) }
    }
}

/// All of them.
pub(super) fn all() -> Vec<Route> {
    let shown = |path, show| Route { method: "GET", path, show };
    let done = |path, show| Route { method: "POST", path, show };
    vec![
        shown("/jobs", |visit| Box::pin(jobs::list(visit))),
        shown("/jobs/{id}", |visit| Box::pin(job::show(visit))),
        done("/jobs/{id}/cancel", |visit| Box::pin(job::cancel(visit))),
        shown("/jobs/{id}/log", |visit| Box::pin(log::show(visit))),
        shown("/jobs/{id}/log/text", |visit| Box::pin(log::download(visit))),
        shown("/jobs/{id}/log/stream", |visit| Box::pin(log::stream(visit))),
        shown("/jobs/{id}/artifacts/{*file}", |visit| Box::pin(results::artifact(visit))),
        shown("/uploads/{id}/content", |visit| Box::pin(results::index(visit))),
        shown("/queues", |visit| Box::pin(queues::list(visit))),
        done("/queues/{name}", |visit| Box::pin(queues::change(visit))),
        shown("/executors", |visit| Box::pin(executors::list(visit))),
        done("/executors/{name}", |visit| Box::pin(executors::change(visit))),
        done("/identities/{name}/revoke", |visit| Box::pin(executors::revoke(visit))),
        shown("/secrets", |visit| Box::pin(secrets::list(visit))),
        done("/secrets", |visit| Box::pin(secrets::set(visit))),
        shown("/secrets/{id}", |visit| Box::pin(secrets::show(visit))),
        done("/secrets/{id}/delete", |visit| Box::pin(secrets::remove(visit))),
        shown("/repositories", |visit| Box::pin(repositories::list(visit))),
        shown("/tokens", |visit| Box::pin(tokens::list(visit))),
        done("/tokens", |visit| Box::pin(tokens::create(visit))),
        done("/tokens/{id}/revoke", |visit| Box::pin(tokens::revoke(visit))),
        done("/registration-tokens", |visit| Box::pin(tokens::invite(visit))),
        done("/registration-tokens/{id}/revoke", |visit| Box::pin(tokens::revoke_invitation(visit))),
        shown("/users", |visit| Box::pin(users::list(visit))),
        done("/users", |visit| Box::pin(users::create(visit))),
        done("/users/{name}/password", |visit| Box::pin(users::set_password(visit))),
        done("/users/{name}/delete", |visit| Box::pin(users::remove(visit))),
        shown("/audit", |visit| Box::pin(audit::list(visit))),
        shown("/account", |visit| Box::pin(account::show(visit))),
        done("/account/password", |visit| Box::pin(account::set_password(visit))),
    ]
}
