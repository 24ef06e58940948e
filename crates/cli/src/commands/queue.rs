//! `executor queue`.

use super::print;
use crate::args::{QueueArgs, QueueCommand};
use crate::client::Client;
use crate::exit::{Exit, Failure, Outcome};
use server::api::{ChangeQueue, QueueView};

pub(crate) async fn run(client: &Client, command: QueueCommand) -> Outcome {
    let pause = |paused| ChangeQueue { paused: Some(paused), max_running: None };
    match command {
        QueueCommand::List { json } => list(client, json).await,
        QueueCommand::Show(args) => show(client, &args).await,
        QueueCommand::Pause(QueueArgs { name, json }) => change(client, &name, &pause(true), json).await,
        QueueCommand::Resume(QueueArgs { name, json }) => change(client, &name, &pause(false), json).await,
        QueueCommand::Limit { name, max_running, json } => {
            let limit = ChangeQueue { paused: None, max_running: Some(max_running) };
            change(client, &name, &limit, json).await
        }
    }
}

async fn list(client: &Client, json: bool) -> Outcome {
    let queues: Vec<QueueView> = client.get("/api/v1/queues").await?;
    let head = ["QUEUE", "WAITING", "HELD", "RUNNING", "TO RETRY", "OLDEST", "STATE"];
    print::list(json, &queues, &head, "no queues", |queue| {
        vec![
            queue.name.clone(),
            queue.queued.to_string(),
            queue.held.to_string(),
            queue.running.to_string(),
            queue.errored.to_string(),
            queue.oldest_queued_at.map_or(String::new(), print::ago),
            state(queue),
        ]
    })
}

async fn show(client: &Client, args: &QueueArgs) -> Outcome {
    jobs::name::check_queue(&args.name).map_err(Failure::usage)?;
    let queue: QueueView = client.get(&format!("/api/v1/queues/{}", args.name)).await?;
    if args.json {
        print::json(&queue)?;
        return Ok(Exit::Success);
    }
    let ended = format!(
        "{} within an hour of those that ran, {} of them failed",
        queue.ended_within_hour, queue.failed_within_hour
    );
    let mut facts = vec![
        ("queue", queue.name.clone()),
        ("state", state(&queue)),
        ("waiting", queue.queued.to_string()),
        ("held", queue.held.to_string()),
        ("running", queue.running.to_string()),
        ("to retry", queue.errored.to_string()),
        ("ended", ended),
    ];
    facts.extend(queue.oldest_queued_at.map(|at| ("oldest", format!("queued {}", print::ago(at)))));
    print::facts(facts)?;
    Ok(Exit::Success)
}

async fn change(client: &Client, name: &str, change: &ChangeQueue, json: bool) -> Outcome {
    jobs::name::check_queue(name).map_err(Failure::usage)?;
    let queue: QueueView = client.patch(&format!("/api/v1/queues/{name}"), change).await?;
    print::tell(json, &queue, &format!("queue {}: {}", queue.name, state(&queue)))
}

fn state(queue: &QueueView) -> String {
    let paused = queue.paused_at.map(|since| format!("paused {}", print::ago(since)));
    let limit = queue.max_running.map(|limit| format!("at most {limit} at once"));
    let told: Vec<String> = [paused, limit].into_iter().flatten().collect();
    if told.is_empty() { "open".to_owned() } else { told.join(", ") }
}
