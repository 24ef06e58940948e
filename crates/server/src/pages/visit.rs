//! A visit of somebody who signed in, and what it asks of the public API.

use super::Pages;
use super::fault::Fault;
use super::frame::Frame;
use super::parts::pager;
use super::plain::plain_value;
use super::session::{Csrf, Fields, IsPerson};
use crate::api::{self, Problem};
use crate::auth::principal::Caller;
use crate::body;
use crate::peer::{Peer, Remote};
use crate::public_api::logs::Begun;
use axum::body::Body;
use axum::extract::{FromRequestParts, RawPathParams};
use axum::response::Response;
use http::header::{CONTENT_TYPE, RANGE, USER_AGENT};
use http::request::Parts;
use http::{HeaderMap, Method, Request, StatusCode};
use jobs::{Namespace, Role};
use maud::{Markup, html};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::str::FromStr;
use std::time::Duration;
use tower::ServiceExt;
use url::form_urlencoded;

/// Items of a list on a page.
const LISTED: &str = "100";
/// Bytes of an answer of the public API at most, and how long it may take to come.
const MAX_ANSWER: usize = 16 << 20;
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// Who visits which page with what.
pub(super) struct Visit {
    pub(super) pages: Pages,
    pub(super) caller: Caller,
    pub(super) peer: Peer,
    pub(super) headers: HeaderMap,
    /// They signed in with a password.
    pub(super) is_person: bool,
    csrf: Csrf,
    path: String,
    params: Vec<(String, String)>,
    query: Vec<(String, String)>,
    fields: Fields,
}

impl FromRequestParts<Pages> for Visit {
    type Rejection = StatusCode;

    async fn from_request_parts(parts: &mut Parts, pages: &Pages) -> Result<Self, StatusCode> {
        let missing = StatusCode::INTERNAL_SERVER_ERROR;
        let params = RawPathParams::from_request_parts(parts, pages).await;
        let params = params.map_err(|_| StatusCode::NOT_FOUND)?;
        let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        let query = form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes());
        Ok(Self {
            pages: pages.clone(),
            // No page is reached without the middleware, which puts all of it there.
            caller: parts.extensions.get::<Caller>().cloned().ok_or(missing)?,
            peer: parts.extensions.get::<Peer>().copied().ok_or(missing)?,
            csrf: parts.extensions.get::<Csrf>().cloned().ok_or(missing)?,
            is_person: parts.extensions.get::<IsPerson>().is_some_and(|is| is.0),
            fields: parts.extensions.remove::<Fields>().unwrap_or_default(),
            headers: parts.headers.clone(),
            path: parts.uri.path().to_owned(),
            params: params.iter().map(owned).collect(),
            query: query.into_owned().collect(),
        })
    }
}

impl Visit {
    /// What is around the page.
    pub(super) fn frame(&self) -> Frame {
        let done = self.query("done").map(str::to_owned);
        Frame { principal: self.caller.principal.clone(), csrf: self.csrf.clone(), done }
    }

    /// A form that does something, with what proves that it is ours.
    pub(super) fn form(&self, action: &str, inner: &Markup) -> Markup {
        html! {
            form method="post" action=(action) {
                input type="hidden" name="csrf" value=(self.csrf.0);
                (inner)
            }
        }
    }

    /// Whether the visitor's role is at least this one.
    pub(super) fn may(&self, role: Role) -> bool {
        self.caller.role >= role
    }

    /// The same, of the installation as a whole.
    pub(super) fn may_globally(&self, role: Role) -> bool {
        self.may(role) && self.caller.namespace == Namespace::Global
    }

    /// A part of the path, encoded as it has to be in another one.
    pub(super) fn param(&self, name: &str) -> String {
        let found = self.params.iter().find(|(known, _)| known == name);
        encoded(found.map(|(_, value)| value.as_str()).unwrap_or_default())
    }

    /// The job's number in the path.
    pub(super) fn number(&self, name: &str) -> Result<i64, Fault> {
        self.param(name).parse().map_err(|_| {
            let detail = format!("nothing is served at {}", self.path);
            Fault::new(StatusCode::NOT_FOUND, "There is no such page", detail)
        })
    }

    /// A parameter of the query that is there and not empty.
    pub(super) fn query(&self, name: &str) -> Option<&str> {
        let found = self.query.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.trim()).filter(|value| !value.is_empty())
    }

    /// This page with other parameters in its query; those that are empty are left out.
    pub(super) fn here_with(&self, parameters: &[(&str, Option<&str>)]) -> String {
        with_query(&self.path, parameters)
    }

    /// A page of a list of the public API, with links to the next one and back to the first. `name`: the parameter of this page
    /// that tells where in the list it is.
    pub(super) async fn listed<T: DeserializeOwned>(
        &self,
        path: &str,
        name: &str,
    ) -> Result<(Vec<T>, Markup), Fault> {
        self.listed_of(path, &[], name).await
    }

    /// The same of what `filter` leaves in it, which has the same names here as there.
    pub(super) async fn listed_of<T: DeserializeOwned>(
        &self,
        path: &str,
        filter: &[&str],
        name: &str,
    ) -> Result<(Vec<T>, Markup), Fault> {
        let cursor = self.query(name);
        let kept: Vec<_> = filter.iter().map(|name| (*name, self.query(name))).collect();
        let asked = [&kept[..], &[("limit", Some(LISTED)), ("cursor", cursor)]].concat();
        let page: api::Page<T> = self.get(&with_query(path, &asked)).await?;
        let next = |next| self.here_with(&[&kept[..], &[(name, Some(next))]].concat());
        let next = page.next_cursor.as_deref().map(next);
        let first = cursor.map(|_| self.here_with(&kept));
        Ok((page.items, pager(first.as_deref(), next.as_deref(), ["First", "Next"])))
    }

    /// A field of the form that is there and not empty.
    pub(super) fn field(&self, name: &str) -> Option<&str> {
        self.fields.get(name).map(str::trim).filter(|value| !value.is_empty())
    }

    /// The same as it was sent.
    pub(super) fn raw_field(&self, name: &str) -> &str {
        self.fields.get(name).unwrap_or_default()
    }

    /// A field that means something else than text, where it was filled in.
    pub(super) fn parsed<T: FromStr<Err: std::fmt::Display>>(&self, name: &str) -> Result<Option<T>, Fault> {
        let parsed = self.field(name).map(str::parse).transpose();
        parsed.map_err(|fault: T::Err| Fault::field(fault.to_string()))
    }

    /// What the public API answers.
    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Fault> {
        self.read(self.ask(Method::GET, path, None).await?).await
    }

    /// The same where something is done.
    pub(super) async fn send<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        what: &impl Serialize,
    ) -> Result<T, Fault> {
        let body = serde_json::to_vec(what).map_err(|fault| Fault::internal(&fault))?;
        self.read(self.ask(method, path, Some(body)).await?).await
    }

    /// The same where nothing is answered.
    pub(super) async fn delete(&self, path: &str) -> Result<(), Fault> {
        self.ask(Method::DELETE, path, None).await.map(drop)
    }

    /// An answer that is no refusal.
    pub(super) async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<Vec<u8>>,
    ) -> Result<Response, Fault> {
        self.asked(self.request(method, path, body)?).await
    }

    /// The same for more of a page that is being sent, and waits for it.
    pub(super) async fn ask_for_more(&self, path: &str) -> Result<Response, Fault> {
        let mut request = self.request(Method::GET, path, None)?;
        request.extensions_mut().insert(Begun);
        self.asked(request).await
    }

    fn request(&self, method: Method, path: &str, body: Option<Vec<u8>>) -> Result<Request<Body>, Fault> {
        let mut request =
            Request::builder().method(method).uri(path).header(CONTENT_TYPE, "application/json");
        if let Some(client) = self.headers.get(USER_AGENT) {
            request = request.header(USER_AGENT, client);
        }
        // Whoever saves a large file goes on where it was cut.
        if let Some(range) = self.headers.get(RANGE) {
            request = request.header(RANGE, range);
        }
        let body = body.map_or_else(Body::empty, Body::from);
        let mut request = request.body(body).map_err(|fault| Fault::internal(&fault))?;
        let extensions = request.extensions_mut();
        extensions.insert(self.caller.clone());
        extensions.insert(self.peer);
        extensions.insert(Remote(self.caller.from));
        Ok(request)
    }

    async fn asked(&self, request: Request<Body>) -> Result<Response, Fault> {
        let Ok(response) = self.pages.api.clone().oneshot(request).await;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let problem = self.read::<Problem>(response).await;
        Err(problem.map_or_else(|_| Fault::new(status, "The request was refused", ""), Fault::from))
    }

    /// Nothing that is read can look like anything else than text.
    async fn read<T: DeserializeOwned>(&self, response: Response) -> Result<T, Fault> {
        let bytes = body::gathered(response.into_body(), MAX_ANSWER, ANSWER_WITHIN).await;
        let bytes = bytes.map_err(|fault| Fault::unread(&fault))?;
        let bytes = if bytes.is_empty() { b"null".as_slice() } else { &bytes };
        let mut value: Value = serde_json::from_slice(bytes).map_err(|fault| Fault::internal(&fault))?;
        plain_value(&mut value);
        serde_json::from_value(value).map_err(|fault| Fault::internal(&fault))
    }
}

/// Text as it has to be in a path or query.
pub(super) fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

/// A path with those parameters that are there.
pub(super) fn with_query(path: &str, parameters: &[(&str, Option<&str>)]) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    for (name, value) in parameters {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            query.append_pair(name, value);
        }
    }
    match query.finish() {
        query if query.is_empty() => path.to_owned(),
        query => format!("{path}?{query}"),
    }
}
