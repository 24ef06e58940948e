//! Secrets that are kept: their keys, and who was given them. Never their values.

use super::fault::Fault;
use super::frame::{Answer, Page, Section};
use super::jobs::namespace;
use super::parts::{ago, badge, nothing, pager, select, table, time, twice};
use super::visit::{Visit, with_query};
use crate::api::{self, SecretAccessView, SecretView, SetSecret};
use http::Method;
use jiff::Timestamp;
use jobs::secrets::Scope;
use jobs::{Namespace, Role};
use maud::{Markup, html};
use wire::paths::QUEUES;

/// Secrets on a page, and notes on one.
const PAGE: &str = "100";

/// `GET /secrets`
pub(super) async fn list(visit: Visit) -> Result<Answer, Fault> {
    let asked = [("limit", Some(PAGE)), ("cursor", visit.query("cursor"))];
    let page: api::Page<SecretView> = visit.get(&with_query("/api/v1/secrets", &asked)).await?;
    let now = visit.pages.app.clock.now();
    let rows: Vec<_> = page.items.iter().map(|secret| row(secret, now)).collect();
    let next = page.next_cursor.as_deref().map(|next| visit.here_with(&[("cursor", Some(next))]));
    let first = visit.query("cursor").map(|_| "/secrets");
    let body = html! {
        h1 { "Secrets" }
        p.hint { "Jobs that ask for a key get its value. Nobody is shown it, and no log has it." }
        @if rows.is_empty() { (nothing("No secrets yet.")) }
        @else { (table("Secrets", &["Key", "For jobs of", "Namespace", "By", "Set", "Note"], &rows)) }
        (pager(first, next.as_deref(), ["First", "More"]))
        @if visit.may(Role::Submitter) { (form(&visit)) }
    };
    Ok(Answer::Page(Page::new(Section::Secrets, "Secrets", body)))
}

fn row(secret: &SecretView, now: Timestamp) -> Vec<Markup> {
    vec![
        html! { a href={ "/secrets/" (secret.id) } { code { (secret.key) } } },
        html! { (secret.scope) },
        namespace(&secret.namespace),
        html! { bdi { (secret.creator) } },
        ago(secret.updated_at, now),
        html! { @if secret.overwrites_global { "in place of the global one" } @else { span.none.dash { "–" } } },
    ]
}

fn form(visit: &Visit) -> Markup {
    let scopes = QUEUES.map(|queue| (queue, queue));
    html! {
        section.card aria-labelledby="add" {
            h2 #add { "Keep a secret" }
            (visit.form("/secrets", &html! {
                div.fields {
                    div {
                        label for="key" { "Key" }
                        input #key name="key" required pattern="[A-Z][A-Z0-9_]*" maxlength="255" spellcheck="false" autocapitalize="characters" autocomplete="off" aria-describedby="key-help";
                        p.hint #key-help { "The variable that steps find it in: capital letters, digits and _." }
                    }
                    div { (select("scope", "scope", "For jobs of", &scopes, None)) }
                    @if visit.caller.is_everywhere() {
                        div {
                            label for="namespace" { "Namespace" }
                            input #namespace name="namespace" spellcheck="false" autocapitalize="none" placeholder="global" aria-describedby="namespace-help";
                            p.hint #namespace-help { "global, user:NAME or org:NAME" }
                        }
                    }
                }
                label for="value" { "Value" }
                textarea #value name="value" rows="3" required spellcheck="false" autocomplete="off" {}
                p { label.check { input type="checkbox" name="replace" value="true"; " In place of the one that may be there" } }
                button.primary { "Keep it" }
            }))
        }
    }
}

/// `POST /secrets`
pub(super) async fn set(visit: Visit) -> Result<Answer, Fault> {
    let secret = SetSecret {
        scope: visit.parsed::<Scope>("scope")?.unwrap_or_default(),
        namespace: visit.parsed::<Namespace>("namespace")?,
        key: visit.field("key").unwrap_or_default().to_owned(),
        // Browsers send lines as the network has them; jobs are to have what was typed.
        value: visit.raw_field("value").replace("\r\n", "\n"),
    };
    let method = if visit.field("replace").is_some() { Method::PUT } else { Method::POST };
    let _: SecretView = visit.send(method, "/api/v1/secrets", &secret).await?;
    Ok(Answer::Go("/secrets?done=secret".to_owned()))
}

/// `GET /secrets/{id}`: who was given it.
pub(super) async fn show(visit: Visit) -> Result<Answer, Fault> {
    let id = visit.param("id");
    let secret: SecretView = visit.get(&format!("/api/v1/secrets/{id}")).await?;
    let asked = [("limit", Some(PAGE)), ("cursor", visit.query("cursor"))];
    let path = with_query(&format!("/api/v1/secrets/{id}/access"), &asked);
    let page: api::Page<SecretAccessView> = visit.get(&path).await?;
    let now = visit.pages.app.clock.now();
    let rows: Vec<_> = page.items.iter().map(|access| access_row(access, now)).collect();
    let next = page.next_cursor.as_deref().map(|next| visit.here_with(&[("cursor", Some(next))]));
    let made = secret.created_at;
    let body = html! {
        div.heading {
            h1 { "Secret " code { (secret.key) } }
            @if may_write(&visit, &secret) {
                (twice("Delete …", &visit.form(&format!("/secrets/{id}/delete"), &html! {
                    p { "Jobs that ask for it are refused from then on." }
                    button.danger { "Delete " (secret.key) }
                })))
            }
        }
        dl.facts {
            div { dt { "Value" } dd { (badge("good", "kept")) " " span.hint { "never shown" } } }
            div { dt { "For jobs of" } dd { (secret.scope) } }
            div { dt { "Namespace" } dd { bdi { (secret.namespace) } } }
            div { dt { "Made" } dd { (time(made, &made.strftime("%Y-%m-%d").to_string())) " by " bdi { (secret.creator) } } }
            div { dt { "Value set" } dd { (ago(secret.updated_at, now)) } }
        }
        h2 { "Who was given it" }
        @if rows.is_empty() { (nothing("No job was given it.")) }
        @else { (table("Accesses", &["When", "Job", "Try", "Of", "Executor"], &rows)) }
        (pager(None, next.as_deref(), ["", "Older"]))
    };
    Ok(Answer::Page(Page::new(Section::Secrets, format!("Secret {}", secret.key), body)))
}

/// Whether the public API would let them; it decides.
fn may_write(visit: &Visit, secret: &SecretView) -> bool {
    let own = visit.caller.namespace == secret.namespace && secret.namespace != Namespace::Global;
    (own && visit.may(Role::Submitter)) || visit.may_globally(Role::Admin)
}

fn access_row(access: &SecretAccessView, now: Timestamp) -> Vec<Markup> {
    vec![
        ago(access.at, now),
        html! { a href={ "/jobs/" (access.job) } { "#" (access.job) } },
        html! { (access.attempt) },
        namespace(&access.owner),
        html! { bdi.name { (access.executor) } },
    ]
}

/// `POST /secrets/{id}/delete`
pub(super) async fn remove(visit: Visit) -> Result<Answer, Fault> {
    visit.delete(&format!("/api/v1/secrets/{}", visit.param("id"))).await?;
    Ok(Answer::Go("/secrets?done=unsecret".to_owned()))
}
