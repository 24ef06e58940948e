//! `executor audit`.

use super::print;
use crate::args::AuditArgs;
use crate::client::Client;
use crate::exit::{Exit, Outcome};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use server::api::{ActView, Page};
use std::fmt::Write;

pub(crate) async fn run(client: &Client, args: AuditArgs) -> Outcome {
    let mut path = format!("/api/v1/audit?limit={}", args.limit);
    let named = [("action", args.action), ("namespace", args.namespace.map(|of| of.to_string()))];
    for (key, value) in named.into_iter().chain([("cursor", args.before.map(|id| id.to_string()))]) {
        if let Some(value) = value {
            let _ = write!(path, "&{key}={}", utf8_percent_encode(&value, NON_ALPHANUMERIC));
        }
    }
    let page: Page<ActView> = client.get(&path).await?;
    if args.json {
        print::json(&page)?;
        return Ok(Exit::Success);
    }
    let rows = page.items.iter().map(|act| {
        vec![
            act.id.to_string(),
            act.at.strftime("%Y-%m-%d %H:%M:%SZ").to_string(),
            act.actor.clone(),
            act.actor_namespace.to_string(),
            act.action.clone(),
            act.subject.clone(),
            act.namespace.to_string(),
            act.from.clone(),
            act.detail.clone(),
        ]
    });
    let head = ["NUMBER", "WHEN", "WHO", "OF", "ACTION", "WHAT", "WHOSE", "FROM", "DETAIL"];
    print::table(&head, rows.collect(), "nothing was done yet")?;
    if let Some(cursor) = page.next_cursor {
        print::line(&format!("there is more: --before {cursor}"))?;
    }
    Ok(Exit::Success)
}
