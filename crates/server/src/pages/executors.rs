//! Executors: who there is, what each runs, gives a job, and whether it goes with this server.

use super::fault::Fault;
use super::frame::{Answer, Page, Section};
use super::parts::{ago, badge, nothing, select, table, time, twice};
use super::visit::{Visit, encoded};
use crate::api::{ChangeExecutor, ExecutorView, IdentityView};
use crate::executor_api::refuses;
use http::Method;
use jiff::Timestamp;
use jobs::{Role, shown_size};
use maud::{Markup, html};
use wire::additions::TakesNone;

/// The page is brought up to date this often, in seconds.
const REFRESH: u32 = 5;
/// What the list can be asked for, here as in the API.
const FILTER: [&str; 2] = ["active", "text"];

/// `GET /executors`
pub(super) async fn list(visit: Visit) -> Result<Answer, Fault> {
    let (executors, pager) = visit.listed_of::<ExecutorView>("/api/v1/executors", &FILTER, "cursor").await?;
    let is_filtered = FILTER.iter().any(|name| visit.query(name).is_some());
    let (identities, more_identities) = if visit.may_globally(Role::Operator) {
        visit.listed("/api/v1/identities", "identities").await?
    } else {
        (Vec::new(), Markup::default())
    };
    let now = visit.pages.app.clock.now();
    let body = html! {
        h1 { "Executors" }
        @if !executors.is_empty() || is_filtered { (filters(&visit)) }
        @if executors.is_empty() {
            (nothing(if is_filtered { "No executor is like that." } else { "None was heard of yet. Start one with: executor run" }))
        }
        div.cards {
            @for executor in &executors { (card(&visit, executor, now)) }
        }
        (pager)
        @if !identities.is_empty() { (known(&visit, &identities, &more_identities, now)) }
    };
    Ok(Answer::Page(Page::new(Section::Executors, "Executors", body).live(REFRESH)))
}

fn filters(visit: &Visit) -> Markup {
    let active = [("", "All"), ("true", "Active"), ("false", "Silent")];
    html! {
        form.filters method="get" action="/executors" role="search" {
            div { (select("active", "active", "Heard of", &active, visit.query("active"))) }
            div.wide {
                label for="text" { "Text" }
                input #text name="text" type="search" placeholder="name, queue, version, label …" value=(visit.query("text").unwrap_or_default());
            }
            div { button { "Filter" } }
        }
    }
}

fn card(visit: &Visit, executor: &ExecutorView, now: Timestamp) -> Markup {
    html! {
        section.card aria-label={ "Executor " (executor.name) } {
            div.heading {
                h2 { bdi.name { (executor.name) } }
                @if executor.active { (badge("good", "active")) } @else { (badge("warning", "silent")) }
                @if executor.maintenance_at.is_some() { " " (badge("paused", "in maintenance")) }
                @if let Some(why) = &executor.takes_none { " " (takes_none(why)) }
            }
            dl.facts {
                div { dt { "Last seen" } dd { (ago(executor.last_seen_at, now)) } }
                div { dt { "Queues" } dd { @for queue in &executor.queues { span.tag { bdi { (queue) } } " " } } }
                div { dt { "Runs now" } dd { (runs(executor)) } }
                div { dt { "Slots" } dd { (slots(executor)) } }
                div { dt { "Gives a job" } dd { (gives(executor)) } }
                div { dt { "Runtime" } dd { (runtime(executor)) } }
                div { dt { "Version" } dd { (version(executor, &visit.pages.app.version)) } }
            }
            details {
                summary { "Settings and surroundings" }
                (settings(executor))
            }
            @if visit.may_globally(Role::Operator) { div.actions { (maintenance(visit, executor)) } }
        }
    }
}

/// Why it asks for no jobs, as it says itself.
fn takes_none(why: &str) -> Markup {
    match TakesNone::parse(why) {
        Some(TakesNone::DiskFloor) => badge("warning", "too little room on its disk: takes no jobs"),
        Some(TakesNone::Draining) => badge("paused", "draining: takes no jobs"),
        None => badge("paused", "takes no jobs"),
    }
}

fn runs(executor: &ExecutorView) -> Markup {
    let unnamed = executor.running.saturating_sub(executor.jobs.len() as u64);
    html! {
        @if executor.running == 0 { span.none { "nothing" } }
        @for id in &executor.jobs { a href={ "/jobs/" (id) } { "#" (id) } " " }
        @if unnamed > 0 { "and " (unnamed) " more" }
    }
}

fn maintenance(visit: &Visit, executor: &ExecutorView) -> Markup {
    let action = format!("/executors/{}", encoded(&executor.name));
    visit.form(
        &action,
        &html! {
            @if executor.maintenance_at.is_some() { button name="maintenance" value="false" { "Resume" } }
            @else { button name="maintenance" value="true" { "Drain" } }
        },
    )
}

fn setting<'a>(executor: &'a ExecutorView, name: &str) -> Option<&'a str> {
    executor.capacity.settings.get(name).map(String::as_str)
}

/// How many jobs it may run at a time, which stock executors do not tell.
fn slots(executor: &ExecutorView) -> Markup {
    html! {
        @match setting(executor, "slots") {
            Some(slots) => { (executor.running) " of " bdi { (slots) } " in use" }
            None => span.none { "not told" }
        }
    }
}

fn gives(executor: &ExecutorView) -> Markup {
    let capacity = &executor.capacity;
    let cpus = capacity.cpus.map(|cpus| format!("{cpus} {}", if cpus == 1 { "CPU" } else { "CPUs" }));
    let memory = capacity.memory.map(|memory| format!("{} memory", shown_size(memory)));
    let disk = capacity.disk.map(|disk| format!("{} disk", shown_size(disk)));
    let told: Vec<_> = [cpus, memory, disk].into_iter().flatten().collect();
    html! { @if told.is_empty() { span.none { "not told" } } @else { (told.join(", ")) } }
}

fn runtime(executor: &ExecutorView) -> Markup {
    let isolation = executor.capacity.isolation.map(jobs::Isolation::name);
    let told: Vec<_> = [setting(executor, "runtime"), isolation].into_iter().flatten().collect();
    html! { @if told.is_empty() { span.none { "not told" } } @else { bdi { (told.join(", isolation ")) } } }
}

/// What people call a setting, and its value in their units. What a later release tells keeps its name.
fn named<'a>(name: &'a str, value: &'a str) -> (&'a str, String) {
    let size = || value.parse().map_or_else(|_| value.to_owned(), shown_size);
    match name {
        "job-cpus" => ("CPUs of a job, at most", value.to_owned()),
        "job-memory" => ("Memory of a job, at most", size()),
        "job-disk" => ("Disk of a job, at most", size()),
        "job-processes" => ("Processes of a job, at most", value.to_owned()),
        "job-time" => ("Time of a job, at most", value.to_owned()),
        "disk-floor" => ("Disk that stays free", size()),
        "jobs-in-all" => ("Leaves after so many jobs", value.to_owned()),
        "active-time" => ("Takes jobs for", value.to_owned()),
        "drain-limit" => ("Waits for jobs when it leaves", value.to_owned()),
        "keeps-workspaces" => ("Keeps workspaces", value.to_owned()),
        "src-steps" => ("Runs src on its host", value.to_owned()),
        other => (other, value.to_owned()),
    }
}

/// What it gives a job, and what is around it.
fn settings(executor: &ExecutorView) -> Markup {
    let told =
        |text: Option<String>| text.filter(|text| !text.is_empty()).unwrap_or_else(|| "not told".to_owned());
    let capacity = &executor.capacity;
    let facts = [
        ("Labels", told(Some(capacity.labels.iter().cloned().collect::<Vec<_>>().join(", ")))),
        ("Platform", told(Some(executor.platform.clone()))),
        ("git", told(Some(executor.git_version.clone()))),
        ("Docker", told(Some(executor.docker_version.clone()))),
        ("src", told(Some(executor.src_version.clone()))),
    ];
    let shown_above = ["slots", "runtime"];
    let settings = capacity.settings.iter().filter(|(name, _)| !shown_above.contains(&name.as_str()));
    html! {
        dl.facts {
            @for (name, value) in settings {
                @let (name, value) = named(name, value);
                div { dt { bdi { (name) } } dd { bdi { (value) } } }
            }
            @for (name, value) in facts { div { dt { (name) } dd { bdi { (value) } } } }
            div { dt { "First seen" } dd { (time(executor.first_seen_at, &executor.first_seen_at.strftime("%Y-%m-%d").to_string())) } }
        }
    }
}

fn version(executor: &ExecutorView, ours: &str) -> Markup {
    let told = if executor.version.is_empty() { "not told" } else { &executor.version };
    html! {
        bdi { (told) } " "
        @match fit(&executor.version, ours) {
            Fit::Same => (badge("good", "up to date")),
            Fit::Behind => (badge("warning", "outdated: upgrade the executor")),
            Fit::Ahead => (badge("warning", "ahead: upgrade this server")),
            Fit::Refused => (badge("bad", "version skew: given no jobs")),
            Fit::Other => span.hint { "not compared" },
        }
    }
}

/// How an executor's version goes with this server's.
#[derive(Debug, PartialEq, Eq)]
enum Fit {
    /// No more than a minor release apart.
    Same,
    Behind,
    Ahead,
    /// It can't be read, so nobody can tell which jobs it reads, and it is given none.
    Refused,
    /// A development build, or of another product whose releases are numbered otherwise.
    Other,
}

fn fit(theirs: &str, ours: &str) -> Fit {
    let release = |version: &str| {
        let numbers = version.split(['-', '+']).next().unwrap_or_default();
        let mut numbers = numbers.split('.').map(|number| number.parse::<u64>().ok());
        Some((numbers.next()??, numbers.next()??))
    };
    if refuses(theirs) {
        return Fit::Refused;
    }
    let (Some(theirs), Some(ours)) = (release(theirs), release(ours)) else { return Fit::Other };
    match (theirs, ours) {
        _ if theirs == (0, 0) => Fit::Other,
        // Releases of stock executors begin there, ours are far from it.
        ((3.., _), (major, _)) if major < 3 => Fit::Other,
        ((theirs, minor), (ours, our_minor)) if theirs == ours && minor.abs_diff(our_minor) <= 1 => Fit::Same,
        _ if theirs < ours => Fit::Behind,
        _ => Fit::Ahead,
    }
}

fn known(visit: &Visit, identities: &[IdentityView], pager: &Markup, now: Timestamp) -> Markup {
    let row = |identity: &IdentityView| {
        let action = format!("/identities/{}/revoke", encoded(&identity.name));
        vec![
            html! { bdi.name { (identity.name) } },
            html! { @if identity.revoked_at.is_some() { (badge("canceled", "revoked")) } @else { (badge("good", "good")) } },
            html! { bdi { (identity.registration) } },
            ago(identity.created_at, now),
            ago(identity.last_used_at, now),
            html! {
                @if identity.revoked_at.is_none() {
                    (twice("Revoke …", &visit.form(&action, &html! {
                        p { "Its calls are refused at once, its jobs given to others." }
                        button.danger { "Revoke" }
                    })))
                }
            },
        ]
    };
    let shown: Vec<_> = identities.iter().map(row).collect();
    let head = ["Executor", "Identity", "Registered with", "Since", "Last used", "Revoke"];
    html! {
        section aria-labelledby="identities" {
            h2 #identities { "Identities" }
            p.hint { "Executors that have an identity of their own." }
            (table("Identities", &head, &shown))
            (pager)
        }
    }
}

/// `POST /executors/{name}`: drains or resumes it.
pub(super) async fn change(visit: Visit) -> Result<Answer, Fault> {
    let maintenance = visit.parsed("maintenance")?.unwrap_or(false);
    let path = format!("/api/v1/executors/{}", visit.param("name"));
    let _: ExecutorView = visit.send(Method::PATCH, &path, &ChangeExecutor { maintenance }).await?;
    Ok(Answer::Go(format!("/executors?done={}", if maintenance { "drained" } else { "resumed" })))
}

/// `POST /identities/{name}/revoke`
pub(super) async fn revoke(visit: Visit) -> Result<Answer, Fault> {
    visit.delete(&format!("/api/v1/identities/{}", visit.param("name"))).await?;
    Ok(Answer::Go("/executors?done=identity".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_where_they_can_be() {
        for (theirs, ours, told) in [
            ("0.1.0", "0.1.0", Fit::Same),
            ("0.2.5", "0.1.0", Fit::Same),
            ("0.1.0", "0.3.0", Fit::Behind),
            ("1.0.0", "0.3.0", Fit::Ahead),
            ("0.9.0", "1.0.0", Fit::Behind),
            ("0.0.0+dev", "0.1.0", Fit::Other),
            ("5.2.0", "0.1.0", Fit::Other),
            ("dev", "0.1.0", Fit::Other),
            ("", "0.1.0", Fit::Other),
            ("210_2022-11-24_abcdef0", "0.1.0", Fit::Other),
            ("built by hand", "0.1.0", Fit::Refused),
            ("0.2.0.1", "0.1.0", Fit::Refused),
        ] {
            assert_eq!(fit(theirs, ours), told, "{theirs} with {ours}");
        }
    }
}
