//! Sessions: the cookie, who it proves to be here, and what proves that a form is ours.

use super::fault::Fault;
use super::origin;
use super::{Pages, frame, visit};
use crate::auth::principal::{Caller, Principal, Proof, root};
use crate::body;
use crate::peer::Remote;
use crate::slots::Turn;
use crate::way::Way;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use http::header::{COOKIE, SET_COOKIE};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use jiff::SignedDuration;
use secrecy::ExposeSecret;
use sha2::{Digest, Sha256};
use std::sync::Arc;
use store::{SessionOf, StoreError};
use subtle::ConstantTimeEq;
use url::form_urlencoded;

/// The cookie's name; with the prefix, browsers take it by https only, and from this very host.
const COOKIE_NAME: &str = "executor";
const SECURE_COOKIE_NAME: &str = "__Host-executor";
/// Characters of a session's secret.
const SECRET_LENGTH: usize = 64;
/// Bytes of a form of a session at most: a secret of 64 KiB takes three times that when it is encoded.
const MAX_FORM: usize = 256 << 10;

/// What each form of a session holds, which no page of others' can know.
#[derive(Clone)]
pub(super) struct Csrf(pub(super) String);

/// A form that was sent.
#[derive(Clone, Default)]
pub(super) struct Fields {
    sent: Vec<(String, String)>,
    /// For as long as it is in memory.
    _turn: Option<Arc<Turn>>,
}

impl Fields {
    /// One field.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.sent.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Reads a small form of up to `limit` bytes.
    pub(super) async fn read(pages: &Pages, body: Body, limit: usize) -> Result<Self, Fault> {
        Ok(Self::of(&body::read(body, limit, pages.app.limits.body_read).await?, None))
    }

    /// Reads a form of somebody's session.
    async fn read_of(pages: &Pages, caller: &Caller, body: Body) -> Result<Self, Fault> {
        let (from, of) = (caller.peer(), caller.namespace.key());
        let (bytes, turn) = pages.app.forms.read(from, &of, body, MAX_FORM).await?;
        Ok(Self::of(&bytes, turn))
    }

    fn of(bytes: &[u8], turn: Option<Turn>) -> Self {
        Self { sent: form_urlencoded::parse(bytes).into_owned().collect(), _turn: turn.map(Arc::new) }
    }
}

impl Csrf {
    /// That of the session with this secret, which it tells nothing of.
    fn of(secret: &str) -> Self {
        let digest = Sha256::new().chain_update(b"a form of the session ").chain_update(secret).finalize();
        Self(hex::encode(digest))
    }

    fn is(&self, shown: &str) -> bool {
        self.0.as_bytes().ct_eq(shown.as_bytes()).into()
    }
}

/// Lets a request through when its cookie is that of a good session, and when a form is ours; notes whose it is.
pub(super) async fn require(State(pages): State<Pages>, request: Request, next: Next) -> Response {
    let extensions = request.extensions();
    let (Some(way), Some(&Remote(from))) = (extensions.get::<Way>().cloned(), extensions.get::<Remote>())
    else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let secret = secret(request.headers(), way.secure).map(str::to_owned);
    let found = match &secret {
        Some(secret) => find(&pages, secret).await,
        None => Ok(None),
    };
    let (found, secret) = match (found, secret) {
        (Ok(Some(found)), Some(secret)) => (found, secret),
        (Err(fault), _) => return frame::alone(&fault.into()),
        _ => return nobody(&request),
    };
    let csrf = Csrf::of(&secret);
    let caller = Caller { principal: found.principal, proof: Proof::Session(found.id), from };
    match prepared(&pages, request, &way, (&caller, &csrf)).await {
        Ok(mut request) => {
            request.extensions_mut().insert(caller);
            request.extensions_mut().insert(csrf);
            request.extensions_mut().insert(IsPerson(found.is_person));
            next.run(request).await
        }
        Err(fault) => frame::alone(&fault),
    }
}

/// The request, with its form if it has one and that is ours.
async fn prepared(
    pages: &Pages,
    request: Request,
    way: &Way,
    (caller, csrf): (&Caller, &Csrf),
) -> Result<Request, Fault> {
    if request.method() != Method::POST {
        return Ok(request);
    }
    let (parts, body) = request.into_parts();
    let not_ours = |detail| Fault::new(StatusCode::FORBIDDEN, "The form is not one of this session", detail);
    if !origin::is_ours(&parts.headers, way) {
        return Err(not_ours(
            "the browser does not say that a page of this server sent it: reload the page and send it again; behind a \
             proxy, see that it passes the header Host on, and with https that it sets X-Forwarded-Proto and is named with \
             --trusted-proxy",
        ));
    }
    let fields = Fields::read_of(pages, caller, body).await?;
    if !csrf.is(fields.get("csrf").unwrap_or_default()) {
        return Err(not_ours("it was made for another session: go back, reload the page and send it again"));
    }
    let mut request = Request::from_parts(parts, Body::empty());
    request.extensions_mut().insert(fields);
    Ok(request)
}

/// To where whoever has no session can get one.
fn nobody(request: &Request) -> Response {
    if request.method() != Method::GET {
        let detail = "your session is over: sign in, and do it again";
        return frame::alone(&Fault::new(StatusCode::UNAUTHORIZED, "Nobody is signed in", detail));
    }
    let here = request.uri().path_and_query().map_or("/", |here| here.as_str());
    // The cookie may be there, and be sent once it is a page of ours that leads here.
    if origin::is_led_by_others(request.headers()) {
        return frame::bounce(here);
    }
    let next = Some(here).filter(|here| *here != "/jobs");
    Redirect::to(&visit::with_query("/sign-in", &[("next", next)])).into_response()
}

/// Whose a session is.
pub(super) struct Found {
    principal: Principal,
    /// The session's id.
    pub(super) id: i64,
    is_person: bool,
}

/// That a session is of somebody with a password.
#[derive(Clone, Copy)]
pub(super) struct IsPerson(pub(super) bool);

/// Whose session it is, if it is good.
pub(super) async fn find(pages: &Pages, secret: &str) -> Result<Option<Found>, StoreError> {
    let app = &pages.app;
    let Some(session) = app.store.session(secret, app.limits.sessions()).await? else { return Ok(None) };
    let is_person = matches!(session.of, SessionOf::Person(_));
    let principal = match session.of {
        SessionOf::Person(principal) | SessionOf::Token(principal) => Some(principal),
        // The file may have another token by now.
        SessionOf::Root(digest) => bool::from(digest.ct_eq(&root_digest(pages))).then(root),
    };
    Ok(principal.map(|principal| Found { principal, id: session.id, is_person }))
}

/// What a session is bound to that came of the file `api-token`.
pub(super) fn root_digest(pages: &Pages) -> Vec<u8> {
    Sha256::digest(pages.app.api_token.expose_secret()).to_vec()
}

/// The secret in the session's cookie. Of several, which none of our pages sets, none counts.
pub(super) fn secret(headers: &HeaderMap, secure: bool) -> Option<&str> {
    let name = if secure { SECURE_COOKIE_NAME } else { COOKIE_NAME };
    let lines = headers.get_all(COOKIE).iter().filter_map(|line| line.to_str().ok());
    let mut found = lines.flat_map(|line| line.split(';')).filter_map(|cookie| {
        let (known, value) = cookie.trim().split_once('=')?;
        (known == name).then_some(value)
    });
    let only = found.next().filter(|_| found.next().is_none());
    only.filter(|secret| secret.len() == SECRET_LENGTH && secret.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// Has the browser keep a session's secret, or with none forget it.
pub(super) fn keep(response: &mut Response, secret: Option<&str>, secure: bool, longest: SignedDuration) {
    let (name, more) = if secure { (SECURE_COOKIE_NAME, "; Secure") } else { (COOKIE_NAME, "") };
    let age = if secret.is_some() { longest.as_secs() } else { 0 };
    let value = secret.unwrap_or_default();
    let cookie = format!("{name}={value}; Path=/; Max-Age={age}; HttpOnly; SameSite=Strict{more}");
    if let Ok(cookie) = HeaderValue::try_from(cookie) {
        response.headers_mut().append(SET_COOKIE, cookie);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_taken_only_as_it_was_given() {
        let good = "0123456789abcdef".repeat(4);
        let with = |lines: &[&str]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(COOKIE, line.replace("GOOD", &good).parse().unwrap());
            }
            [false, true].map(|secure| secret(&headers, secure).is_some())
        };
        assert_eq!(with(&["executor=GOOD"]), [true, false]);
        assert_eq!(with(&["a=b; __Host-executor=GOOD; c=d"]), [false, true]);
        assert_eq!(with(&["executor=GOOD; __Host-executor=GOOD"]), [true, true]);
        assert_eq!(with(&["executor=GOOD; executor=GOOD"]), [false, false]);
        assert_eq!(with(&["executor=GOOD", "executor=x"]), [false, false]);
        assert_eq!(with(&["executor=x"]), [false, false]);
        assert_eq!(with(&[]), [false, false]);
    }

    #[test]
    fn forms_of_one_session_are_none_of_another() {
        let csrf = Csrf::of("a");
        assert!(csrf.is(&Csrf::of("a").0) && !csrf.is(&Csrf::of("b").0) && !csrf.is(""));
    }
}
