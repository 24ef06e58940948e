//! People who sign in.

use super::fault::Fault;
use super::frame::{Answer, Page, Section};
use super::jobs::namespace;
use super::parts::{ago, nothing, table, twice};
use super::tokens::whose;
use super::visit::{Visit, encoded};
use crate::api::{CreateUser, SetPassword, UserView};
use http::Method;
use jiff::Timestamp;
use jobs::{Namespace, Role};
use maud::{Markup, html};

/// `GET /users`
pub(super) async fn list(visit: Visit) -> Result<Answer, Fault> {
    let (users, pager) = visit.listed("/api/v1/users", "cursor").await?;
    let now = visit.pages.app.clock.now();
    let rows: Vec<_> = users.iter().map(|user| row(&visit, user, now)).collect();
    let body = html! {
        h1 { "Users" }
        @if rows.is_empty() { (nothing("Nobody has an account yet: who signs in does so with a token.")) }
        @else { (table("Users", &["Name", "Role", "Namespace", "Let in by", "Last here", "Password", "Remove"], &rows)) }
        (pager)
        (form(&visit))
    };
    Ok(Answer::Page(Page::new(Section::Users, "Users", body)))
}

fn row(visit: &Visit, user: &UserView, now: Timestamp) -> Vec<Markup> {
    let path = format!("/users/{}", encoded(&user.name));
    let id = format!("new-{}", user.name);
    vec![
        html! { bdi.name { (user.name) } },
        html! { (user.role) },
        namespace(&user.namespace),
        html! { bdi { (user.created_by) } " " (ago(user.created_at, now)) },
        html! { @match user.last_used_at { Some(at) => (ago(at, now)), None => span.none { "never" } } },
        twice("Set …", &visit.form(&format!("{path}/password"), &html! {
            input type="text" name="name" value=(user.name) autocomplete="username" hidden;
            label for=(id) { "New password" }
            input id=(id) name="password" type="password" required minlength="10" autocomplete="new-password";
            button { "Set password" }
        })),
        twice("Remove …", &visit.form(&format!("{path}/delete"), &html! {
            p { "Their sessions end at once." }
            button.danger { "Remove " (user.name) }
        })),
    ]
}

fn form(visit: &Visit) -> Markup {
    html! {
        section.card aria-labelledby="let-in" {
            h2 #let-in { "Let somebody in" }
            (visit.form("/users", &html! {
                div.fields {
                    div { label for="name" { "Name" } input #name name="name" required maxlength="60" spellcheck="false" autocapitalize="none" autocomplete="off"; }
                    div {
                        label for="password" { "Password" }
                        input #password name="password" type="password" required minlength="10" autocomplete="new-password" aria-describedby="password-help";
                        p.hint #password-help { "At least 10 characters." }
                    }
                    (whose(visit))
                }
                button.primary { "Let them in" }
            }))
        }
    }
}

/// `POST /users`
pub(super) async fn create(visit: Visit) -> Result<Answer, Fault> {
    let asked = CreateUser {
        name: visit.field("name").unwrap_or_default().to_owned(),
        password: visit.raw_field("password").to_owned(),
        role: visit.parsed("role")?.unwrap_or(Role::Reader),
        namespace: visit.parsed::<Namespace>("namespace")?,
    };
    let _: UserView = visit.send(Method::POST, "/api/v1/users", &asked).await?;
    Ok(Answer::Go("/users?done=user".to_owned()))
}

/// `POST /users/{name}/password`
pub(super) async fn set_password(visit: Visit) -> Result<Answer, Fault> {
    let path = format!("/api/v1/users/{}/password", visit.param("name"));
    let asked = SetPassword { password: visit.raw_field("password").to_owned() };
    let _: UserView = visit.send(Method::PUT, &path, &asked).await?;
    Ok(Answer::Go("/users?done=password".to_owned()))
}

/// `POST /users/{name}/delete`
pub(super) async fn remove(visit: Visit) -> Result<Answer, Fault> {
    visit.delete(&format!("/api/v1/users/{}", visit.param("name"))).await?;
    Ok(Answer::Go("/users?done=unuser".to_owned()))
}
