//! The visitor's own account.

use super::fault::Fault;
use super::frame::{Answer, Page, Section};
use super::visit::Visit;
use crate::public_api::Refusal;
use crate::public_api::users::change_password;
use http::StatusCode;
use maud::{Markup, html};
use store::PersonRow;

/// `GET /account`
pub(super) async fn show(visit: Visit) -> Result<Answer, Fault> {
    let person = person(&visit).await?;
    let body = html! {
        h1 { "Account" }
        dl.facts {
            div { dt { "Name" } dd { bdi.name { (visit.caller.name) } } }
            div { dt { "Role" } dd { (visit.caller.role) } }
            div { dt { "Namespace" } dd { bdi { (visit.caller.namespace) } } }
            div { dt { "Signed in with" } dd { @if person.is_some() { "a password" } @else { "a token" } } }
        }
        @if person.is_some() { (form(&visit)) }
    };
    Ok(Answer::Page(Page::new(Section::Account, "Account", body)))
}

/// The visitor's row, if they signed in with a password.
async fn person(visit: &Visit) -> Result<Option<(PersonRow, String)>, Fault> {
    if !visit.is_person {
        return Ok(None);
    }
    Ok(visit.pages.app.store.person(&visit.caller.name).await?)
}

fn form(visit: &Visit) -> Markup {
    html! {
        section.card aria-labelledby="change" {
            h2 #change { "Change your password" }
            (visit.form("/account/password", &html! {
                input type="text" name="name" value=(visit.caller.name) autocomplete="username" hidden;
                div.fields {
                    div { label for="present" { "Present password" } input #present name="present" type="password" required autocomplete="current-password"; }
                    div {
                        label for="password" { "New password" }
                        input #password name="password" type="password" required minlength="10" autocomplete="new-password" aria-describedby="password-help";
                        p.hint #password-help { "At least 10 characters. All your sessions end: sign in again with it." }
                    }
                }
                button.primary { "Change it" }
            }))
        }
    }
}

/// `POST /account/password`
pub(super) async fn set_password(visit: Visit) -> Result<Answer, Fault> {
    let forbidden = |detail: &str| Fault::new(StatusCode::FORBIDDEN, "The password stays as it is", detail);
    let Some((row, hash)) = person(&visit).await? else {
        return Err(forbidden("you signed in with a token, which has none"));
    };
    let app = &visit.pages.app;
    let attempt = app.attempts.begin_password(visit.peer).await?;
    let verified = app.passwords.verify(visit.peer, visit.raw_field("present").into(), Some(hash)).await;
    let (attempt, good) = attempt.looked_up(verified).map_err(|fault| Fault::from(Refusal::from(fault)))?;
    attempt.end(good);
    if !good {
        return Err(forbidden("the present password is wrong"));
    }
    let new = visit.raw_field("password").to_owned();
    change_password(app, &visit.caller, row.name, new).await?;
    Ok(Answer::Go("/sign-in".to_owned()))
}
