//! Dequeue and heartbeat.

use super::answer::Answer;
use super::instance::{Instance, Record, State};
use serde_json::{Value, json};

pub(super) fn serve(instance: &mut Instance, queue: Option<&str>, call: &str, body: &Value) -> Answer {
    let executor = body["executorName"].as_str().unwrap_or_default();
    if executor.is_empty() {
        return Answer::error(500, "worker hostname cannot be empty");
    }
    match call {
        "dequeue" => dequeue(instance, queue, executor, body),
        _ => heartbeat(instance, queue, executor, body),
    }
}

fn dequeue(instance: &mut Instance, queue: Option<&str>, executor: &str, body: &Value) -> Answer {
    let wanted: Vec<&str> = match queue {
        Some(queue) => vec![queue],
        None => body["queues"].as_array().into_iter().flatten().filter_map(Value::as_str).collect(),
    };
    let Some(place) = instance.queued.iter().position(|job| wanted.contains(&job.queue.as_str())) else {
        return Answer::status(204);
    };
    let Some(job) = instance.queued.remove(place) else { return Answer::status(204) };
    let record = Record {
        state: State::Processing,
        owner: executor.to_owned(),
        cancel: false,
        entries: Vec::new(),
        message: None,
        token: Some(job.token.clone()),
        repository: job.repository(),
    };
    let answer = Answer::text(job.text(queue.is_none()));
    instance.records.insert((job.queue, job.id), record);
    answer
}

fn heartbeat(instance: &Instance, queue: Option<&str>, executor: &str, body: &Value) -> Answer {
    let id = |id: &Value| id.as_i64().or_else(|| id.as_str()?.parse().ok());
    let named: Vec<(String, i64)> = match queue {
        Some(queue) => {
            let ids = body["jobIds"].as_array().into_iter().flatten();
            ids.filter_map(id).map(|id| (queue.to_owned(), id)).collect()
        }
        None if body["queueNames"].as_array().is_none_or(Vec::is_empty) => {
            return Answer::error(500, "queueNames must be set for multi-queue heartbeats");
        }
        None => {
            let groups = body["jobIdsByQueue"].as_array().into_iter().flatten();
            let jobs = groups.flat_map(|group| {
                let ids = group["jobIds"].as_array().into_iter().flatten();
                ids.filter_map(id).map(|id| (group["queueName"].as_str().unwrap_or_default().to_owned(), id))
            });
            jobs.collect()
        }
    };
    let shown = |(of, id): &(String, i64)| match queue {
        Some(_) => id.to_string(),
        None => format!("{id}-{of}"),
    };
    let ours: Vec<_> = named
        .iter()
        .filter_map(|key| instance.records.get(key).map(|record| (key, record)))
        .filter(|(_, record)| record.state == State::Processing && record.owner == executor)
        .collect();
    let known: Vec<String> = ours.iter().map(|(key, _)| shown(key)).collect();
    let cancel: Vec<String> =
        ours.iter().filter(|(_, record)| record.cancel).map(|(key, _)| shown(key)).collect();
    // A list that was never filled is `null` there.
    let or_null = |list: Vec<String>| if list.is_empty() { Value::Null } else { json!(list) };
    Answer::text(format!("{{\"knownIds\":{},\"cancelIds\":{}}}", or_null(known), or_null(cancel)))
}
