//! Signing in and out.

use super::fault::Fault;
use super::session::{self, Fields};
use super::visit::with_query;
use super::{Pages, frame, origin};
use crate::acts::{Act, Action, note};
use crate::auth::api::whose;
use crate::auth::principal::{Principal, Proof, root};
use crate::peer::{Peer, Remote};
use crate::way::Way;
use axum::Extension;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Redirect, Response};
use http::{HeaderMap, Method, StatusCode};
use maud::{Markup, html};
use store::NewSession;
use url::form_urlencoded;

/// Where whoever signed in goes, unless they wanted to go elsewhere.
const HOME: &str = "/jobs";
/// Bytes of the door's form at most: it is held in memory before anybody is proved.
const MAX_DOOR_FORM: usize = 8 << 10;

/// Who wants to sign in, and how their request came.
struct Door {
    pages: Pages,
    way: Way,
    peer: Peer,
    from: Remote,
    headers: HeaderMap,
}

/// `GET /sign-in`: with a code in it, whoever has it is signed in.
pub(super) async fn show(
    State(pages): State<Pages>,
    Extension(way): Extension<Way>,
    Extension(peer): Extension<Peer>,
    Extension(from): Extension<Remote>,
    method: Method,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Response {
    let query: Vec<(String, String)> =
        form_urlencoded::parse(query.unwrap_or_default().as_bytes()).into_owned().collect();
    let of = |name: &str| query.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
    let door = Door { pages, way, peer, from, headers };
    let next = local(of("next"));
    // Whoever only looks whether a link leads anywhere must not use it up.
    let code = of("code").filter(|_| method != Method::HEAD);
    let Some(code) = code else { return form(StatusCode::OK, &next, "", None) };
    match door.by_code(code).await {
        // The browser sends the cookie once it is a page of ours that leads on.
        Ok(secret) => door.welcome(&secret, frame::bounce(HOME)).await,
        Err(fault) => fault.told_in(form(fault.status, &next, "", Some(&fault))),
    }
}

/// `POST /sign-in`: by name and password, or by a token.
pub(super) async fn sign_in(
    State(pages): State<Pages>,
    Extension(way): Extension<Way>,
    Extension(peer): Extension<Peer>,
    Extension(from): Extension<Remote>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let door = Door { pages, way, peer, from, headers };
    if !origin::is_ours(&door.headers, &door.way) {
        let detail = "the browser does not say that a page of this server sent the form: open the page and send it again; \
                      behind a proxy, see that it passes the header Host on, and with https that it sets \
                      X-Forwarded-Proto and is named with --trusted-proxy";
        return frame::alone(&Fault::new(
            StatusCode::FORBIDDEN,
            "The form is not one of this server",
            detail,
        ));
    }
    let fields = match Fields::read(&door.pages, body, MAX_DOOR_FORM).await {
        Ok(fields) => fields,
        Err(fault) => return frame::alone(&fault),
    };
    let next = local(fields.get("next"));
    let name = fields.get("name").unwrap_or_default().trim();
    let proved = match fields.get("token").map(str::trim).filter(|token| !token.is_empty()) {
        Some(token) => door.by_token(token).await,
        None => door.by_password(name, fields.get("password").unwrap_or_default()).await,
    };
    match proved {
        Ok(secret) => door.welcome(&secret, Redirect::to(&next).into_response()).await,
        Err(fault) => fault.told_in(form(fault.status, &next, name, Some(&fault))),
    }
}

/// `POST /sign-out`
pub(super) async fn sign_out(
    State(pages): State<Pages>,
    Extension(way): Extension<Way>,
    headers: HeaderMap,
) -> Response {
    if !origin::is_ours(&headers, &way) {
        let detail = "a page of somebody else's sent this: nothing was done";
        return frame::alone(&Fault::new(StatusCode::FORBIDDEN, "You are still signed in", detail));
    }
    end(&pages, &way, &headers).await;
    let mut response = Redirect::to("/sign-in").into_response();
    session::keep(&mut response, None, way.secure, pages.app.limits.session);
    response
}

/// Ends the session that the browser has.
async fn end(pages: &Pages, way: &Way, headers: &HeaderMap) {
    let Some(secret) = session::secret(headers, way.secure) else { return };
    let Ok(Some(found)) = session::find(pages, secret).await else { return };
    if let Err(fault) = pages.app.store.end_session(found.id).await {
        tracing::error!(error = &fault as &dyn std::error::Error, "a session can't be ended");
    }
}

impl Door {
    async fn by_code(&self, code: &str) -> Result<String, Fault> {
        let attempt = self.pages.app.attempts.begin_password(self.peer).await?;
        let good = self.pages.app.first_code.take(code);
        attempt.end(good);
        if !good {
            return Err(refused(
                "this link was used, or is older than ten minutes: start the server anew for another one, or sign in with the token \
                 in the file api-token of its data directory",
            ));
        }
        self.begin(
            root(),
            NewSession::Root(session::root_digest(&self.pages)),
            "with the link of the terminal",
        )
        .await
    }

    async fn by_token(&self, shown: &str) -> Result<String, Fault> {
        let attempt = self.pages.app.attempts.begin(self.peer, shown).await?;
        let (attempt, proved) = attempt.looked_up(whose(&self.pages.app, shown).await)?;
        attempt.end(proved.is_some());
        let (principal, of) = match proved {
            Some((principal, Proof::Token(id))) => (principal, NewSession::Token(id)),
            Some((principal, _)) => (principal, NewSession::Root(session::root_digest(&self.pages))),
            None => return Err(refused("the token is unknown, expired or revoked")),
        };
        self.begin(principal, of, "with a token").await
    }

    /// Takes as long whether there is somebody of that name or not.
    async fn by_password(&self, name: &str, password: &str) -> Result<String, Fault> {
        let app = &self.pages.app;
        let attempt = app.attempts.begin_password(self.peer).await?;
        // What can't be a name is nobody's.
        let found = match jobs::name::check_user_name(name) {
            Ok(()) => app.store.person(name).await,
            Err(_) => Ok(None),
        };
        let (attempt, found) = attempt.looked_up(found)?;
        let hash = found.as_ref().map(|(_, hash)| hash.clone());
        let verified = app.passwords.verify(self.peer, password.into(), hash).await;
        let (attempt, good) = attempt
            .looked_up(verified)
            .map_err(|fault| Fault::from(crate::public_api::Refusal::from(fault)))?;
        attempt.end(good);
        match found {
            Some((row, password)) if good => {
                let principal = Principal { name: row.name, role: row.role, namespace: row.namespace };
                let of = NewSession::Person { id: row.id, password };
                self.begin(principal, of, "with a password").await
            }
            _ => Err(refused("the name or the password is wrong")),
        }
    }

    /// A new session, in place of the one that the browser may have.
    async fn begin(&self, who: Principal, of: NewSession, how: &str) -> Result<String, Fault> {
        let app = &self.pages.app;
        let begun = app.store.begin_session(of).await?;
        let secret = begun.ok_or_else(|| refused("it was changed just now: try again"))?;
        let act = Act::of(who.namespace.clone(), Action::SignIn, &who.name, how);
        note(app, &who, self.from.0, act).await;
        Ok(secret)
    }

    async fn welcome(&self, secret: &str, mut response: Response) -> Response {
        end(&self.pages, &self.way, &self.headers).await;
        session::keep(&mut response, Some(secret), self.way.secure, self.pages.app.limits.session);
        response
    }
}

fn refused(detail: &str) -> Fault {
    Fault::new(StatusCode::UNAUTHORIZED, "You are not signed in", detail)
}

/// A place of ours, whatever was asked for.
fn local(next: Option<&str>) -> String {
    let is_ours = |next: &str| {
        next.starts_with('/')
            && !next.starts_with("//")
            && next.bytes().all(|b| b.is_ascii_graphic() && b != b'\\')
            && !next.starts_with("/sign-")
    };
    next.filter(|next| is_ours(next)).unwrap_or(HOME).to_owned()
}

fn form(status: StatusCode, next: &str, name: &str, fault: Option<&Fault>) -> Response {
    let next = Some(next).filter(|next| *next != HOME);
    frame::door(status, "Sign in", &fields(next, name, fault))
}

fn fields(next: Option<&str>, name: &str, fault: Option<&Fault>) -> Markup {
    let action = with_query("/sign-in", &[]);
    let goes_on = html! { @if let Some(next) = next { input type="hidden" name="next" value=(next); } };
    html! {
        h1 { "Sign in" }
        @if let Some(fault) = fault {
            p.alert role="alert" { strong { (fault.title) ": " } (fault.detail) }
        }
        form method="post" action=(action) {
            (goes_on)
            label for="name" { "Name" }
            input #name name="name" autocomplete="username" autocapitalize="none" spellcheck="false" required value=(name) autofocus[name.is_empty()];
            label for="password" { "Password" }
            input #password name="password" type="password" autocomplete="current-password" required autofocus[!name.is_empty()];
            button.primary { "Sign in" }
        }
        details open[fault.is_some() && name.is_empty()] {
            summary { "Sign in with a token" }
            form method="post" action=(action) {
                (goes_on)
                label for="token" { "API token" }
                input #token name="token" type="password" autocomplete="off" spellcheck="false" required aria-describedby="token-help";
                p.hint #token-help { "One that " code { "executor token create" } " made, or the one in the file " code { "api-token" } " of the server’s data directory." }
                button { "Sign in with the token" }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_led_elsewhere() {
        for here in ["/jobs/7?x=1", "/secrets", "/"] {
            assert_eq!(local(Some(here)), here);
        }
        for elsewhere in [
            "",
            "jobs",
            "//evil.example",
            "/\\evil.example",
            "https://evil.example",
            "/a\nb",
            "/ä",
            "/sign-out",
        ] {
            assert_eq!(local(Some(elsewhere)), HOME, "{elsewhere:?}");
        }
        assert_eq!(local(None), HOME);
    }
}
