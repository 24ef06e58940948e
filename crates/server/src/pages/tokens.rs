//! Tokens of the API, and those that executors get an identity for.

use super::fault::Fault;
use super::frame::{Answer, Page, Section};
use super::jobs::namespace;
use super::parts::{ago, nothing, select, table, twice};
use super::visit::Visit;
use crate::api::{
    CreateRegistration, CreateToken, CreatedRegistration, CreatedToken, RegistrationView, TokenView,
};
use http::Method;
use jiff::{SignedDuration, Timestamp};
use jobs::{Namespace, Role};
use maud::{Markup, html};

/// How long tokens can be good, in hours.
const LIFETIMES: [(&str, &str); 5] =
    [("", "until revoked"), ("24", "a day"), ("168", "a week"), ("720", "30 days"), ("8760", "a year")];
const INVITATIONS: [(&str, &str); 4] =
    [("1", "an hour"), ("24", "a day"), ("168", "a week"), ("720", "30 days")];

/// `GET /tokens`
pub(super) async fn list(visit: Visit) -> Result<Answer, Fault> {
    let (tokens, pager) = visit.listed("/api/v1/tokens", "cursor").await?;
    let globally = visit.may_globally(Role::Admin);
    let (invitations, more_invitations) = if globally {
        visit.listed("/api/v1/registration-tokens", "invitations").await?
    } else {
        (Vec::new(), Markup::default())
    };
    let now = visit.pages.app.clock.now();
    let rows: Vec<_> = tokens.iter().map(|token| row(&visit, token, now)).collect();
    let head = ["Name", "Role", "Namespace", "Made by", "Made", "Expires", "Last used", "Revoke"];
    let body = html! {
        h1 { "Tokens" }
        @if rows.is_empty() { (nothing("No tokens yet.")) } @else { (table("Tokens", &head, &rows)) }
        (pager)
        (form(&visit))
        @if globally { (invited(&visit, &invitations, &more_invitations, now)) }
    };
    Ok(Answer::Page(Page::new(Section::Tokens, "Tokens", body)))
}

fn row(visit: &Visit, token: &TokenView, now: Timestamp) -> Vec<Markup> {
    vec![
        html! { bdi.name { (token.name) } },
        html! { (token.role) },
        namespace(&token.namespace),
        html! { bdi { (token.created_by) } },
        ago(token.created_at, now),
        html! { @match token.expires_at { Some(at) => (ago(at, now)), None => span.none { "never" } } },
        html! { @match token.last_used_at { Some(at) => (ago(at, now)), None => span.none { "never" } } },
        twice(
            "Revoke …",
            &visit.form(
                &format!("/tokens/{}/revoke", token.id),
                &html! {
                    button.danger { "Revoke " (token.name) }
                },
            ),
        ),
    ]
}

/// What is asked of whoever is let in: tokens and users alike.
pub(super) fn whose(visit: &Visit) -> Markup {
    let roles: Vec<_> = Role::ALL.into_iter().filter(|role| *role <= visit.caller.role).collect();
    let roles: Vec<_> = roles.iter().map(|role| (role.name(), role.name())).collect();
    html! {
        div { (select("role", "role", "Role", &roles, None)) }
        @if visit.caller.is_everywhere() {
            div {
                label for="namespace" { "Namespace" }
                input #namespace name="namespace" spellcheck="false" autocapitalize="none" placeholder="global" aria-describedby="namespace-help";
                p.hint #namespace-help { "global, user:NAME or org:NAME" }
            }
        }
    }
}

fn form(visit: &Visit) -> Markup {
    html! {
        section.card aria-labelledby="make" {
            h2 #make { "Make a token" }
            (visit.form("/tokens", &html! {
                div.fields {
                    div { label for="name" { "Name" } input #name name="name" required maxlength="60" spellcheck="false" autocapitalize="none" autocomplete="off" placeholder="ci"; }
                    (whose(visit))
                    div { (select("hours", "hours", "Good for", &LIFETIMES, Some("720"))) }
                }
                button.primary { "Make it" }
            }))
        }
    }
}

/// `POST /tokens`: the page after it shows the token, once.
pub(super) async fn create(visit: Visit) -> Result<Answer, Fault> {
    let asked = CreateToken {
        name: visit.field("name").unwrap_or_default().to_owned(),
        role: visit.parsed("role")?.unwrap_or(Role::Reader),
        namespace: visit.parsed::<Namespace>("namespace")?,
        expires_at: expiry(&visit)?,
    };
    let made: CreatedToken = visit.send(Method::POST, "/api/v1/tokens", &asked).await?;
    let TokenView { name, role, namespace, .. } = &made.about;
    let what = format!("Token {name}: {role} of {namespace}");
    Ok(shown_once(&what, &made.token, "Set it as EXECUTOR_API_TOKEN where the client runs."))
}

fn expiry(visit: &Visit) -> Result<Option<Timestamp>, Fault> {
    let Some(hours) = visit.parsed::<u32>("hours")? else { return Ok(None) };
    let later = visit.pages.app.clock.now().checked_add(SignedDuration::from_hours(i64::from(hours)));
    later.map(Some).map_err(|_| Fault::field(format!("{hours} hours are too long: name less")))
}

fn shown_once(what: &str, token: &str, help: &str) -> Answer {
    let body = html! {
        h1 { (what) }
        p { strong { "It is shown now and never again." } " " (help) }
        label for="made" { "Token" }
        input.secret #made readonly value=(token) spellcheck="false" autocomplete="off" autofocus;
        p { a href="/tokens" { "Back to the tokens" } }
    };
    Answer::Page(Page::new(Section::Tokens, "A new token", body))
}

/// `POST /tokens/{id}/revoke`
pub(super) async fn revoke(visit: Visit) -> Result<Answer, Fault> {
    visit.delete(&format!("/api/v1/tokens/{}", visit.param("id"))).await?;
    Ok(Answer::Go("/tokens?done=token".to_owned()))
}

fn invited(visit: &Visit, invitations: &[RegistrationView], pager: &Markup, now: Timestamp) -> Markup {
    let row = |invitation: &RegistrationView| {
        vec![
            html! { bdi.name { (invitation.name) } },
            html! { (invitation.uses) " of " (invitation.max_uses) },
            html! { bdi { (invitation.created_by) } },
            ago(invitation.expires_at, now),
            twice(
                "Revoke …",
                &visit.form(
                    &format!("/registration-tokens/{}/revoke", invitation.id),
                    &html! {
                        button.danger { "Revoke " (invitation.name) }
                    },
                ),
            ),
        ]
    };
    let rows: Vec<_> = invitations.iter().map(row).collect();
    html! {
        section aria-labelledby="invitations" {
            h2 #invitations { "Registration tokens" }
            p.hint { "An executor gets an identity of its own for one: EXECUTOR_REGISTRATION_TOKEN." }
            @if rows.is_empty() { (nothing("None is good.")) }
            @else { (table("Registration tokens", &["Name", "Used", "Made by", "Expires", "Revoke"], &rows)) }
            (pager)
            div.card {
                h3 { "Make a registration token" }
                (visit.form("/registration-tokens", &html! {
                    div.fields {
                        div { label for="invite-name" { "Name" } input #invite-name name="name" required maxlength="60" spellcheck="false" autocapitalize="none" autocomplete="off" placeholder="rack-7"; }
                        div { label for="uses" { "For so many executors" } input #uses name="uses" type="number" min="1" max="10000" value="1" required; }
                        div { (select("invite-hours", "hours", "Good for", &INVITATIONS, Some("24"))) }
                    }
                    button { "Make it" }
                }))
            }
        }
    }
}

/// `POST /registration-tokens`
pub(super) async fn invite(visit: Visit) -> Result<Answer, Fault> {
    let asked = CreateRegistration {
        name: visit.field("name").unwrap_or_default().to_owned(),
        uses: visit.parsed("uses")?.unwrap_or(1),
        expires_at: expiry(&visit)?,
    };
    let made: CreatedRegistration = visit.send(Method::POST, "/api/v1/registration-tokens", &asked).await?;
    let what = format!("Registration token {}", made.about.name);
    Ok(shown_once(&what, &made.token, "Set it as EXECUTOR_REGISTRATION_TOKEN of the executors."))
}

/// `POST /registration-tokens/{id}/revoke`
pub(super) async fn revoke_invitation(visit: Visit) -> Result<Answer, Fault> {
    visit.delete(&format!("/api/v1/registration-tokens/{}", visit.param("id"))).await?;
    Ok(Answer::Go("/tokens?done=token".to_owned()))
}
