//! What is around every page, and what comes of a visit.

use super::assets::{ICON, LIVE, LOG, STYLE};
use super::fault::Fault;
use super::session::Csrf;
use axum::response::{Html, IntoResponse, Redirect, Response};
use http::StatusCode;
use jobs::{Namespace, Principal, Role};
use maud::{DOCTYPE, Markup, html};

/// Where a page belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Section {
    Jobs,
    Queues,
    Executors,
    Secrets,
    Repositories,
    Tokens,
    Users,
    Audit,
    Account,
}

impl Section {
    const ALL: [Self; 8] = [
        Self::Jobs,
        Self::Queues,
        Self::Executors,
        Self::Secrets,
        Self::Repositories,
        Self::Tokens,
        Self::Users,
        Self::Audit,
    ];

    const fn link(self) -> (&'static str, &'static str) {
        match self {
            Self::Jobs => ("/jobs", "Jobs"),
            Self::Queues => ("/queues", "Queues"),
            Self::Executors => ("/executors", "Executors"),
            Self::Secrets => ("/secrets", "Secrets"),
            Self::Repositories => ("/repositories", "Repositories"),
            Self::Tokens => ("/tokens", "Tokens"),
            Self::Users => ("/users", "Users"),
            Self::Audit => ("/audit", "Audit"),
            Self::Account => ("/account", "Account"),
        }
    }

    /// Whether the public API would tell them anything there.
    fn is_for(self, who: &Principal) -> bool {
        match self {
            Self::Executors => who.namespace == Namespace::Global,
            Self::Tokens | Self::Users | Self::Audit => who.role >= Role::Admin,
            _ => true,
        }
    }
}

/// A page.
pub(super) struct Page {
    pub(super) title: String,
    pub(super) section: Section,
    pub(super) body: Markup,
    /// It is brought up to date this often, in seconds.
    pub(super) refresh: Option<u32>,
    /// It follows a log.
    pub(super) follows: bool,
    /// That log. It is not brought up to date with the rest.
    log: Option<Markup>,
}

impl Page {
    /// One that stays as it is.
    pub(super) fn new(section: Section, title: impl Into<String>, body: Markup) -> Self {
        Self { title: title.into(), section, body, refresh: None, follows: false, log: None }
    }

    /// One with a log below it.
    pub(super) fn with_log(self, log: Markup) -> Self {
        Self { follows: true, log: Some(log), ..self }
    }

    /// One that is brought up to date.
    pub(super) fn live(self, seconds: u32) -> Self {
        Self { refresh: Some(seconds), ..self }
    }
}

/// What comes of a visit.
pub(super) enum Answer {
    /// A page.
    Page(Page),
    /// Another page, after something was done.
    Go(String),
    /// Something else.
    Raw(Response),
}

impl Answer {
    /// As it is sent.
    pub(super) fn respond(self, frame: &Frame) -> Response {
        match self {
            Self::Page(page) => frame.page(StatusCode::OK, &page),
            Self::Go(to) => Redirect::to(&to).into_response(),
            Self::Raw(response) => response,
        }
    }
}

/// Who is here, and what was done just now.
pub(super) struct Frame {
    pub(super) principal: Principal,
    pub(super) csrf: Csrf,
    pub(super) done: Option<String>,
}

impl Frame {
    /// A page that tells why there is no other.
    pub(super) fn fault(&self, fault: &Fault) -> Response {
        let body = html! {
            h1 { (fault.title) }
            p.alert role="alert" { (fault.detail) }
            p { a href="/jobs" { "To the jobs" } }
        };
        let page = Page::new(Section::Account, fault.title.clone(), body);
        fault.told_in(self.page(fault.status, &page))
    }

    fn page(&self, status: StatusCode, page: &Page) -> Response {
        let done = self.done.as_deref().and_then(done);
        let body = html! {
            a.skip href="#main" { "Skip to the content" }
            (self.header(page.section))
            main #main tabindex="-1" {
                @if let Some(done) = done { p.done role="status" { (done) } }
                div #live data-refresh=[page.refresh] { (page.body) }
                @if let Some(log) = &page.log { (log) }
            }
        };
        let scripts = html! {
            @if page.refresh.is_some() || page.follows { script type="module" src=(*LIVE.path) {} }
            @if page.follows { script type="module" src=(*LOG.path) {} }
        };
        (status, Html(document(&page.title, &scripts, &body).into_string())).into_response()
    }

    fn header(&self, here: Section) -> Markup {
        let (who, is_account) = (&self.principal, here == Section::Account);
        html! {
            header.top {
                a.brand href="/jobs" { (mark()) span { "executor" } }
                nav aria-label="Sections" {
                    ul {
                        @for section in Section::ALL.into_iter().filter(|section| section.is_for(who)) {
                            @let (href, name) = section.link();
                            li { a href=(href) aria-current=[(section == here).then_some("page")] { (name) } }
                        }
                    }
                }
                div.account {
                    a href="/account" aria-current=[is_account.then_some("page")] {
                        span.who { (who.name) } " " span.role { (who.role) " of " (who.namespace) }
                    }
                    form method="post" action="/sign-out" {
                        input type="hidden" name="csrf" value=(self.csrf.0);
                        button.quiet { "Sign out" }
                    }
                }
            }
        }
    }
}

/// A page for whoever is not signed in.
pub(super) fn door(status: StatusCode, title: &str, inner: &Markup) -> Response {
    let body = html! {
        main.door #main {
            p.brand { (mark()) span { "executor" } }
            (inner)
        }
    };
    (status, Html(document(title, &html! {}, &body).into_string())).into_response()
}

/// Why there is no page, to whoever may not be signed in.
pub(super) fn alone(fault: &Fault) -> Response {
    let inner = html! {
        h1 { (fault.title) }
        p.alert role="alert" { (fault.detail) }
        p { a href="/jobs" { "To the jobs" } " · " a href="/sign-in" { "Sign in" } }
    };
    fault.told_in(door(fault.status, &fault.title, &inner))
}

/// A page that leads on to another of ours: from here the browser sends the session's cookie.
pub(super) fn bounce(to: &str) -> Response {
    let head = html! { meta http-equiv="refresh" content={ "0; url=" (to) }; };
    let body = html! {
        main.door #main {
            p.brand { (mark()) span { "executor" } }
            h1 { "One moment" }
            p { a href=(to) { "Go on" } }
        }
    };
    Html(document("One moment", &head, &body).into_string()).into_response()
}

fn document(title: &str, head: &Markup, body: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " · executor" }
                link rel="stylesheet" href=(*STYLE.path);
                link rel="icon" href=(*ICON.path) type="image/svg+xml";
                (head)
            }
            body { (body) }
        }
    }
}

/// The product's mark.
fn mark() -> Markup {
    html! {
        svg.mark viewBox="0 0 20 20" aria-hidden="true" {
            path d="M3 5.5 10 1.8l7 3.7v8.9l-7 3.8-7-3.8z" {}
            path.play d="m8.2 7 4.8 3-4.8 3z" {}
        }
    }
}

/// What was done, as the query of the page after it says.
fn done(what: &str) -> Option<&'static str> {
    Some(match what {
        "canceled" => "The job was asked to stop.",
        "queue" => "The queue was changed.",
        "drained" => "The executor is given no more jobs; those it has go on.",
        "resumed" => "The executor is given jobs again.",
        "identity" => "The executor’s identity was revoked.",
        "secret" => "The secret is kept. Its value is shown to nobody.",
        "unsecret" => "The secret is kept no more.",
        "token" => "The token was revoked.",
        "user" => "The user can sign in now.",
        "password" => "The password was set; the user’s sessions have ended.",
        "unuser" => "The user can’t sign in any more.",
        _ => return None,
    })
}
