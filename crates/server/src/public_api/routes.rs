//! Every route of the public API, with what it asks of its caller.

use super::{
    artifacts, audit, batch, executors, explain, files, input, jobs, logs, metrics, openapi, queues,
    registrations, repositories, results, secrets, sent, stream, tokens, uploads, users, version,
};
use crate::api::RouteView;
use crate::app::App;
use crate::auth::principal::{Caller, Needs, Role};
use axum::extract::Request;
use axum::middleware::{self, Next};
use axum::routing::{MethodRouter, delete, get, patch, post, put};
use http::Method;
use std::collections::BTreeSet;

/// A method on a path, with the guard in front of its handler.
pub(super) struct Route {
    pub(super) method: Method,
    pub(super) path: &'static str,
    pub(super) needs: Needs,
    handler: MethodRouter<App>,
    /// Whether it answers with many things, or counts many: such answers are made in turns.
    is_list: bool,
}

impl Route {
    fn new(method: Method, path: &'static str, needs: Needs, handler: MethodRouter<App>) -> Self {
        Self { method, path, needs, handler, is_list: false }
    }

    fn listing(self) -> Self {
        Self { is_list: true, ..self }
    }

    /// The handler behind its guard. What a handler takes of a query it looks at itself; where it takes nothing, something
    /// would be passed over in silence.
    pub(super) fn guarded(
        self,
        app: &App,
        without_query: &BTreeSet<(&'static str, &'static str)>,
    ) -> (&'static str, MethodRouter<App>) {
        let needs = self.needs;
        let is_list = self.is_list;
        let handler = if without_query.contains(&(self.method.as_str(), self.path)) {
            self.handler.route_layer(middleware::from_fn(input::no_parameters))
        } else {
            self.handler
        };
        let handler = if is_list {
            handler.route_layer(middleware::from_fn_with_state(app.clone(), sent::in_turn))
        } else {
            handler
        };
        let handler = handler.route_layer(middleware::from_fn_with_state(app.clone(), sent::in_room));
        let guard = middleware::from_fn(move |caller: Caller, request: Request, next: Next| {
            needs.guard(caller, request, next)
        });
        (self.path, handler.route_layer(guard))
    }
}

impl From<&Route> for RouteView {
    fn from(route: &Route) -> Self {
        Self {
            method: route.method.to_string(),
            path: route.path.to_owned(),
            role: route.needs.role,
            global: route.needs.global,
        }
    }
}

/// All of them. What is not here is not served: a test walks through them with every role.
pub(super) fn all() -> Vec<Route> {
    let reader = Needs::role(Role::Reader);
    let submitter = Needs::role(Role::Submitter);
    let operator = Needs::role(Role::Operator);
    let admin = Needs::role(Role::Admin);
    let global_admin = Needs::global(Role::Admin);
    let global_reader = Needs::global(Role::Reader);
    let global_operator = Needs::global(Role::Operator);
    let get_ = |path, needs, handler| Route::new(Method::GET, path, needs, handler);
    let post_ = |path, needs, handler| Route::new(Method::POST, path, needs, handler);
    let put_ = |path, needs, handler| Route::new(Method::PUT, path, needs, handler);
    let patch_ = |path, needs, handler| Route::new(Method::PATCH, path, needs, handler);
    let delete_ = |path, needs, handler| Route::new(Method::DELETE, path, needs, handler);
    vec![
        post_("/api/v1/jobs", submitter, post(jobs::submit)),
        get_("/api/v1/jobs", reader, get(jobs::list)).listing(),
        post_("/api/v1/jobs/batch", submitter, post(batch::submit)),
        get_("/api/v1/jobs/{id}", reader, get(jobs::show)),
        get_("/api/v1/jobs/{id}/explain", reader, get(explain::explain)),
        post_("/api/v1/jobs/{id}/cancel", submitter, post(jobs::cancel)),
        get_("/api/v1/jobs/{id}/logs", reader, get(logs::list)).listing(),
        get_("/api/v1/jobs/{id}/logs/stream", reader, get(stream::open)),
        get_("/api/v1/jobs/{id}/logs/{entry}/text", reader, get(logs::text)),
        get_("/api/v1/jobs/{id}/results", reader, get(results::show)),
        get_("/api/v1/jobs/{id}/artifacts", reader, get(artifacts::list)).listing(),
        get_("/api/v1/jobs/{id}/artifacts/{*file}", reader, get(artifacts::content)),
        post_("/api/v1/files", submitter, post(files::upload)),
        get_("/api/v1/repositories", reader, get(repositories::list)).listing(),
        post_("/api/v1/repositories", operator, post(repositories::add)),
        delete_("/api/v1/repositories/{*name}", operator, delete(repositories::remove)),
        get_("/api/v1/queues", reader, get(queues::list)).listing(),
        get_("/api/v1/queues/{name}", reader, get(queues::show)).listing(),
        patch_("/api/v1/queues/{name}", global_operator, patch(queues::change)),
        get_("/api/v1/executors", global_reader, get(executors::list)).listing(),
        patch_("/api/v1/executors/{name}", global_operator, patch(executors::change)),
        get_("/api/v1/whoami", reader, get(tokens::whoami)),
        get_("/api/v1/tokens", admin, get(tokens::list)).listing(),
        post_("/api/v1/tokens", admin, post(tokens::create)),
        delete_("/api/v1/tokens/{id}", admin, delete(tokens::revoke)),
        get_("/api/v1/registration-tokens", global_admin, get(registrations::list)).listing(),
        post_("/api/v1/registration-tokens", global_admin, post(registrations::create)),
        delete_("/api/v1/registration-tokens/{id}", global_admin, delete(registrations::revoke)),
        get_("/api/v1/identities", global_operator, get(registrations::identities)).listing(),
        delete_("/api/v1/identities/{name}", global_operator, delete(registrations::revoke_identity)),
        get_("/api/v1/audit", admin, get(audit::list)).listing(),
        get_("/api/v1/secrets", reader, get(secrets::list)).listing(),
        post_("/api/v1/secrets", submitter, post(secrets::add)),
        put_("/api/v1/secrets", submitter, put(secrets::set)),
        get_("/api/v1/secrets/{id}", reader, get(secrets::show)),
        delete_("/api/v1/secrets/{id}", submitter, delete(secrets::remove)),
        get_("/api/v1/secrets/{id}/access", reader, get(secrets::accesses)).listing(),
        get_("/api/v1/uploads", reader, get(uploads::list)).listing(),
        get_("/api/v1/uploads/{id}", reader, get(uploads::show)),
        get_("/api/v1/uploads/{id}/content", reader, get(uploads::content)),
        get_("/api/v1/users", admin, get(users::list)).listing(),
        post_("/api/v1/users", admin, post(users::create)),
        delete_("/api/v1/users/{name}", admin, delete(users::remove)),
        put_("/api/v1/users/{name}/password", admin, put(users::set_password)),
        get_("/api/v1/version", reader, get(version)),
        get_("/api/v1/openapi.json", reader, get(openapi)),
        get_("/metrics", global_reader, get(metrics::all)),
        get_("/metrics/queues", reader, get(metrics::queues)),
    ]
}
