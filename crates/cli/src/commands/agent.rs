//! `executor agent`.

use super::{invite, print};
use crate::args::{AgentArgs, AgentCommand};
use crate::client::Client;
use crate::exit::Outcome;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use server::api::{ChangeExecutor, ExecutorView};
use wire::additions::TakesNone;

pub(crate) async fn run(client: &Client, command: AgentCommand) -> Outcome {
    match command {
        AgentCommand::List { active, silent, text, json } => {
            let active = (active || silent).then_some(active);
            list(client, active, text, json).await
        }
        AgentCommand::Drain(args) => change(client, args, true).await,
        AgentCommand::Resume(args) => change(client, args, false).await,
        AgentCommand::Invite(command) => invite::run(client, command).await,
        AgentCommand::Identities { json } => invite::identities(client, json).await,
        AgentCommand::Revoke(args) => invite::revoke(client, &args).await,
    }
}

async fn list(client: &Client, active: Option<bool>, text: Option<String>, json: bool) -> Outcome {
    let is_filtered = active.is_some() || text.is_some();
    let filter = [("active", active.map(|active| active.to_string())), ("text", text)];
    let agents: Vec<ExecutorView> = client.all_of("/api/v1/executors", filter).await?;
    let head = ["NAME", "STATE", "QUEUES", "VERSION", "PLATFORM", "ISOLATION", "LABELS", "LAST SEEN"];
    let none =
        if is_filtered { "no such agents" } else { "no agents were heard of: start one with `executor run`" };
    print::list(json, &agents, &head, none, |agent| {
        vec![
            agent.name.clone(),
            state(agent),
            agent.queues.join(","),
            agent.version.clone(),
            agent.platform.clone(),
            agent.capacity.isolation.map_or("", jobs::Isolation::name).to_owned(),
            agent.capacity.labels.iter().cloned().collect::<Vec<_>>().join(","),
            print::ago(agent.last_seen_at),
        ]
    })
}

async fn change(client: &Client, args: AgentArgs, maintenance: bool) -> Outcome {
    let name = utf8_percent_encode(&args.name, NON_ALPHANUMERIC);
    let path = format!("/api/v1/executors/{name}");
    let agent: ExecutorView = client.patch(&path, &ChangeExecutor { maintenance }).await?;
    let told = if maintenance {
        format!("agent {} is given no more jobs; those it has go on", agent.name)
    } else {
        format!("agent {} is given jobs again", agent.name)
    };
    print::tell(args.json, &agent, &told)
}

/// It drains by an operator's word or by its own.
fn state(agent: &ExecutorView) -> String {
    let said = agent.takes_none.as_deref();
    let drains = agent.maintenance_at.is_some() || said == Some(TakesNone::Draining.name());
    let said = said.filter(|why| *why != TakesNone::Draining.name());
    let words = [(!agent.active).then_some("silent"), drains.then_some("draining"), said];
    let words: Vec<&str> = words.into_iter().flatten().collect();
    if words.is_empty() { "active".to_owned() } else { words.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_agent_that_takes_no_jobs_is_told_to_be_so_whoever_says_it() {
        let at = "2030-01-01T00:00:00Z";
        let told = |active: bool, maintenance: bool, takes_none: Option<&str>| {
            let agent = json!({"name": "host-1", "queues": ["batches"], "active": active, "version": "1", "platform": "",
                               "firstSeenAt": at, "lastSeenAt": at, "maintenanceAt": maintenance.then_some(at),
                               "takesNone": takes_none});
            state(&serde_json::from_value(agent).unwrap())
        };
        for (active, maintenance, takes_none, expected) in [
            (true, false, None, "active"),
            (true, true, None, "draining"),
            (true, false, Some("draining"), "draining"),
            (true, true, Some("draining"), "draining"),
            (true, false, Some("disk-floor"), "disk-floor"),
            (true, true, Some("disk-floor"), "draining, disk-floor"),
            (true, false, Some("of-a-later-release"), "of-a-later-release"),
            (false, false, None, "silent"),
            (false, true, None, "silent, draining"),
        ] {
            assert_eq!(told(active, maintenance, takes_none), expected);
        }
    }
}
