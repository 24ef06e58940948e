//! An executor of ours gets an identity of its own: an addition to the protocol.

use super::{Failure, payload};
use crate::acts::{self, Act, Action};
use crate::app::App;
use crate::auth::registration::Invited;
use crate::peer::Remote;
use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use http::StatusCode;
use jobs::{Namespace, Principal, Role};
use store::{IdentityRow, StoreError};
use wire::additions::{IDENTITY_PREFIX, Register};

/// Hexadecimal digits of an identity after its prefix.
const DIGITS: usize = 64;
/// Bytes of the body: it is held in memory before anybody is proved.
const MOST: usize = 4 << 10;

/// `POST /.executors/register`, with a registration token. Made again it does no more, so whoever does not hear the answer
/// asks again.
pub(super) async fn register(
    State(app): State<App>,
    invited: Invited,
    Extension(Remote(from)): Extension<Remote>,
    body: Body,
) -> Result<StatusCode, Failure> {
    let Register { executor_name: name, identity } = payload::read(&app, body, MOST).await?;
    jobs::name::check_executor_name(&name)
        .map_err(|fault| Failure::text(StatusCode::BAD_REQUEST, &fault.to_string()))?;
    let digits = identity.strip_prefix(IDENTITY_PREFIX).unwrap_or_default();
    if digits.len() != DIGITS || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        let form = format!("an identity is {IDENTITY_PREFIX} and {DIGITS} hexadecimal digits");
        return Err(Failure::text(StatusCode::BAD_REQUEST, &form));
    }
    let running = app.clone();
    let registered = app.see_through(async move {
        let registered = running.store.register(&invited.shown, &name, &identity).await;
        // Here and not where the answer is waited for: whoever hangs up before it comes has tried as well.
        invited.end(proved(&registered));
        // Else whoever has an identity could fill the audit log with it.
        if let (row, true) = registered? {
            let who = Principal {
                name: row.registration.clone(),
                role: Role::Reader,
                namespace: Namespace::Global,
            };
            let act = Act::global(Action::RegisterExecutor, row.name, format!("with {}", row.registration));
            acts::note(&running, &who, from, act).await;
        }
        Ok(())
    });
    let outcome: Result<(), StoreError> = registered.await?;
    match outcome {
        Ok(()) => Ok(StatusCode::NO_CONTENT),
        Err(fault @ StoreError::BadRegistration) => {
            Err(Failure::text(StatusCode::UNAUTHORIZED, &fault.to_string()))
        }
        Err(
            fault @ (StoreError::IdentityExists(_)
            | StoreError::IdentityRevoked(_)
            | StoreError::IdentityTaken(_)
            | StoreError::Outdated),
        ) => Err(Failure::text(StatusCode::CONFLICT, &fault.to_string())),
        Err(fault @ StoreError::TooMany { .. }) => {
            Err(Failure::text(StatusCode::INSUFFICIENT_STORAGE, &fault.to_string()))
        }
        Err(fault) => Err(Failure::store("identities.Register", &fault)),
    }
}

/// Whether the registration token was good; `None` where it was not looked at.
fn proved(registered: &Result<(IdentityRow, bool), StoreError>) -> Option<bool> {
    match registered {
        Ok((_, true))
        | Err(
            StoreError::IdentityExists(_) | StoreError::IdentityRevoked(_) | StoreError::IdentityTaken(_),
        ) => Some(true),
        Err(StoreError::BadRegistration) => Some(false),
        Ok((_, false)) | Err(_) => None,
    }
}
