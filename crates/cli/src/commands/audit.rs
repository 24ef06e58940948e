//! `executor audit`.

use super::print;
use crate::args::AuditArgs;
use crate::client::{Client, with_query};
use crate::exit::Outcome;
use server::api::{ActView, Page};

const HEAD: [&str; 9] = ["NUMBER", "WHEN", "WHO", "OF", "ACTION", "WHAT", "WHOSE", "FROM", "DETAIL"];

pub(crate) async fn run(client: &Client, args: AuditArgs) -> Outcome {
    let asked = [
        ("limit", Some(args.limit.to_string())),
        ("action", args.action),
        ("reads", args.without_reads.then(|| "false".to_owned())),
        ("namespace", args.namespace.map(|of| of.to_string())),
        ("cursor", args.before),
    ];
    let page: Page<ActView> = client.get(&with_query("/api/v1/audit", asked)).await?;
    print::page(args.json, &page, &HEAD, "nothing was done yet", row)
}

fn row(act: &ActView) -> Vec<String> {
    vec![
        act.id.to_string(),
        print::moment(act.at),
        act.actor.clone(),
        act.actor_namespace.to_string(),
        act.action.clone(),
        act.subject.clone(),
        act.namespace.to_string(),
        act.from.clone(),
        act.detail.clone(),
    ]
}
