//! What a stock instance reads out of each call: its keys, their types, and the headers around them.

use super::request::Request;
use serde_json::Value;

/// What a value may be.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Text,
    /// RFC 3339, and it was set.
    Time,
    Integer,
    /// A list of strings.
    Texts,
    /// The same, or `null`.
    TextsOrNull,
    /// A list of integers, or `null`.
    IntegersOrNull,
    /// Job ids by queue.
    Groups,
    /// An addition that a stock instance ignores.
    Ignored,
}

use Kind::{Groups, Ignored, Integer, IntegersOrNull, Text, Texts, TextsOrNull, Time};

/// A key, what it holds, and whether it may be left out.
type Key = (&'static str, Kind, bool);

const ALWAYS: bool = true;
const MAYBE: bool = false;

const DEQUEUE: &[Key] = &[
    ("queues", Texts, MAYBE),
    ("executorName", Text, ALWAYS),
    ("version", Text, ALWAYS),
    ("numCPUs", Integer, MAYBE),
    ("memory", Text, MAYBE),
    ("diskSpace", Text, MAYBE),
];
const TELEMETRY: &[Key] = &[
    ("version", Text, ALWAYS),
    ("executorName", Text, ALWAYS),
    ("os", Text, ALWAYS),
    ("architecture", Text, ALWAYS),
    ("dockerVersion", Text, ALWAYS),
    ("executorVersion", Text, ALWAYS),
    ("gitVersion", Text, ALWAYS),
    ("igniteVersion", Text, ALWAYS),
    ("srcCliVersion", Text, ALWAYS),
    ("prometheusMetrics", Text, ALWAYS),
];
const ONE_QUEUE: &[Key] = &[("jobIds", IntegersOrNull, ALWAYS)];
const MANY_QUEUES: &[Key] = &[("queueNames", Texts, ALWAYS), ("jobIdsByQueue", Groups, MAYBE)];
const PING: &[Key] = &[("queueNames", Texts, MAYBE)];
const JOB: &[Key] = &[("executorName", Text, ALWAYS), ("jobId", Integer, ALWAYS)];
const ENTRY: &[Key] = &[
    ("key", Text, ALWAYS),
    ("command", TextsOrNull, ALWAYS),
    ("startTime", Time, ALWAYS),
    ("exitCode", Integer, MAYBE),
    ("out", Text, MAYBE),
    ("durationMs", Integer, MAYBE),
];
const ENTRY_ID: &[Key] = &[("entryId", Integer, ALWAYS)];
const MESSAGE: &[Key] = &[("errorMessage", Text, ALWAYS), ("end", Ignored, MAYBE)];

/// The keys of a call's body; none where it has none of its own.
fn keys(request: &Request) -> Option<Vec<Key>> {
    let many = request.path().ends_with("/.executors/queue/heartbeat");
    let parts: &[&[Key]] = match request.call() {
        "dequeue" => &[DEQUEUE],
        "ping" => &[TELEMETRY, PING],
        "heartbeat" if many => &[TELEMETRY, MANY_QUEUES],
        "heartbeat" => &[TELEMETRY, ONE_QUEUE],
        "addExecutionLogEntry" => &[JOB, ENTRY],
        "updateExecutionLogEntry" => &[JOB, ENTRY, ENTRY_ID],
        "markComplete" => &[JOB],
        "markErrored" | "markFailed" => &[JOB, MESSAGE],
        _ => return None,
    };
    Some(parts.concat())
}

/// What is wrong with a request, in words.
pub(super) fn check(request: &Request) -> Vec<String> {
    let mut wrong = Vec::new();
    if let Some(agent) = request.header("user-agent") {
        wrong.push(format!("a User-Agent, {agent:?}, where there is none"));
    }
    let Some(keys) = keys(request) else { return wrong };
    if request.header("content-type") != Some("application/json") {
        wrong.push(format!("its Content-Type is {:?}", request.header("content-type")));
    }
    let body = request.json();
    let Some(members) = body.as_object() else {
        wrong.push(format!("its body is not an object: {}", request.text()));
        return wrong;
    };
    for (name, value) in members {
        match keys.iter().find(|(key, ..)| key == name) {
            None => wrong.push(format!("the key {name:?} is not documented")),
            Some((_, kind, _)) if !kind.holds(value) => {
                wrong.push(format!("{name} is {value}, not {kind:?}"));
            }
            Some(_) => {}
        }
    }
    let missing = keys.iter().filter(|(key, _, always)| *always && !members.contains_key(*key));
    wrong.extend(missing.map(|(key, ..)| format!("the key {key:?} is missing")));
    if members.contains_key("exitCode") != members.contains_key("durationMs") {
        wrong.push("exit code and duration come together".to_owned());
    }
    if members.contains_key("jobId") {
        wrong.extend(check_job(request, &body));
    }
    wrong
}

/// The headers of a call about a job say the same as its body.
fn check_job(request: &Request, body: &Value) -> Option<String> {
    let said = (request.header("X-Sourcegraph-Job-ID"), request.header("X-Sourcegraph-Executor-Name"));
    let id = body["jobId"].to_string();
    (said != (Some(id.as_str()), body["executorName"].as_str())).then(|| format!("its headers say {said:?}"))
}

impl Kind {
    fn holds(self, value: &Value) -> bool {
        let list = |of: fn(&Value) -> bool| value.as_array().is_some_and(|all| all.iter().all(of));
        match self {
            Text => value.is_string(),
            Time => value
                .as_str()
                .is_some_and(|text| text.parse::<jiff::Timestamp>().is_ok_and(|time| time.as_second() > 0)),
            Integer => value.is_i64(),
            Texts => list(Value::is_string),
            TextsOrNull => value.is_null() || list(Value::is_string),
            IntegersOrNull => value.is_null() || list(Value::is_i64),
            Groups => list(|group| {
                let names =
                    group.as_object().map(|group| group.keys().map(String::as_str).collect::<Vec<_>>());
                let ids = group["jobIds"].as_array().is_some_and(|ids| ids.iter().all(Value::is_string));
                names.as_deref() == Some(&["jobIds", "queueName"]) && group["queueName"].is_string() && ids
            }),
            Ignored => true,
        }
    }
}
