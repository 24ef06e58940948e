//! `executor agent`.

use super::{invite, print};
use crate::args::{AgentArgs, AgentCommand};
use crate::client::Client;
use crate::exit::Outcome;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use server::api::{ChangeExecutor, ExecutorView};

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
            state(agent).to_owned(),
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

const fn state(agent: &ExecutorView) -> &'static str {
    match (agent.active, agent.maintenance_at.is_some()) {
        (true, false) => "active",
        (true, true) => "draining",
        (false, false) => "silent",
        (false, true) => "silent, draining",
    }
}
