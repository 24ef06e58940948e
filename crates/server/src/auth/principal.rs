//! Who makes a call of the public API, and what its route asks of them.
//!
//! The middleware in [`super::api`] proves who it is and puts the [`Principal`] into the request; the guard of a route
//! ([`Needs`]) looks at what they may; the handler takes the [`Caller`] and asks what they may see.

use crate::peer::Peer;
use crate::public_api::Refusal;
use axum::extract::{FromRequestParts, Request};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::request::Parts;
pub(crate) use jobs::{Namespace, Principal, Role};
use std::net::IpAddr;
use std::ops::Deref;

/// What a route asks of its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Needs {
    /// What they must at least be.
    pub(crate) role: Role,
    /// Whether it is about the installation as a whole, and so nothing for whoever is of one namespace.
    pub(crate) global: bool,
}

impl Needs {
    /// At least this role, in any namespace.
    pub(crate) const fn role(role: Role) -> Self {
        Self { role, global: false }
    }

    /// At least this role, in the global namespace.
    pub(crate) const fn global(role: Role) -> Self {
        Self { role, global: true }
    }

    fn check(self, caller: &Principal) -> Result<(), Refusal> {
        let forbidden = |detail: String| {
            Err(Refusal::new(StatusCode::FORBIDDEN, "forbidden", "The token may not do this", detail))
        };
        if caller.role < self.role {
            return forbidden(format!(
                "this takes the role {}, and the token {:?} has the role {}: use one that may",
                self.role, caller.name, caller.role
            ));
        }
        if self.global && caller.namespace != Namespace::Global {
            return forbidden(format!(
                "this takes a token of the namespace global, and the token {:?} is of {}: use one that may",
                caller.name, caller.namespace
            ));
        }
        Ok(())
    }

    /// Lets a request through when its caller may make it.
    pub(crate) async fn guard(self, caller: Caller, request: Request, next: Next) -> Response {
        match self.check(&caller) {
            Ok(()) => next.run(request).await,
            Err(refusal) => refusal.into_response(),
        }
    }
}

/// What shows who somebody is, for as long as it is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Proof {
    /// The file `api-token`.
    Root,
    /// A token of the public API.
    Token(i64),
    /// A session of the pages.
    Session(i64),
}

/// Who makes the call: what handlers of the public API take.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    pub(crate) principal: Principal,
    /// What showed that.
    pub(crate) proof: Proof,
    /// Where the call comes from: behind a proxy that was not named, the proxy.
    pub(crate) from: IpAddr,
}

impl Caller {
    /// The host that the call comes from.
    pub(crate) fn peer(&self) -> Peer {
        Peer::of(self.from)
    }
}

/// The holder of the file `api-token`, who may everything.
pub(crate) fn root() -> Principal {
    Principal { name: jobs::name::ROOT.to_owned(), role: Role::Admin, namespace: Namespace::Global }
}

impl Deref for Caller {
    type Target = Principal;
    fn deref(&self) -> &Principal {
        &self.principal
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        parts.extensions.get::<Self>().cloned().ok_or_else(|| {
            // No route is reached without the middleware: this is the last line behind it.
            let detail = "nobody has looked at who calls: this is a fault of the server, please report it";
            Refusal::new(StatusCode::UNAUTHORIZED, "unauthorized", "Nobody knows who calls", detail)
        })
    }
}
