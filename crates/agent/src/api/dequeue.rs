//! Asking for a job.

use super::{Api, ApiError, Reply};
use crate::boot_time::BootTime;
use crate::config::AgentConfig;
use crate::random;
use http::{Method, StatusCode};
use jobs::tenure::Tenure;
use reqwest::RequestBuilder;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::collections::HashMap;
use std::time::{Duration, Instant};
use wire::additions::{
    DEQUEUE, HELD, INCARNATION, ISOLATION, LABELS, Labels, MORE, MOST, PREFER, PREFERENCE_APPLIED, SETTINGS,
    Settings, TERM_PREFERENCE, parse_held, prefer_wait,
};
use wire::paths::{MULTI_DEQUEUE, QueueCall};
use wire::{DequeueRequest, Job, JobId};

/// How much longer than it was asked to hold a dequeue the control plane may take.
const MARGIN: Duration = Duration::from_secs(15);

/// What came of a dequeue.
pub(crate) struct Answer {
    pub(crate) dequeued: Dequeued,
    /// What came besides, to an agent that asked for more than one job.
    pub(crate) more: Vec<Dequeued>,
    /// The control plane held the request for as long as it was asked to.
    pub(crate) held: bool,
    /// When the answer was complete.
    pub(crate) at: Instant,
    /// When a job in it was claimed for us: not later than it was.
    pub(crate) claimed: BootTime,
}

pub(crate) enum Dequeued {
    Nothing,
    Job(Box<Job>),
    /// A job was assigned to us, but we can't read it.
    Undecodable(Undecodable),
}

/// What can be told of a payload that can't be decoded.
#[derive(Debug)]
pub(crate) struct Undecodable {
    pub(crate) fault: serde_json::Error,
    /// Enough to report it, if at least that could be read.
    pub(crate) job: Option<(JobId, String, Option<String>)>,
}

impl Api {
    /// Asks once, for up to `most` jobs.
    pub(crate) async fn dequeue(&self, most: usize) -> Result<Answer, ApiError> {
        let config = self.config();
        let path = match config.queues.as_slice() {
            [queue] if !config.multi_queue => QueueCall::Dequeue.path(queue),
            _ => MULTI_DEQUEUE.to_owned(),
        };
        let body = DequeueRequest {
            queues: if config.multi_queue { config.queues.clone() } else { Vec::new() },
            executor_name: config.name.clone(),
            version: config.version.clone(),
            num_cpus: config.announced.cpus,
            memory: config.announced.memory.clone(),
            disk_space: config.announced.disk.clone(),
        };
        let longest = config.long_poll.as_secs();
        let wait = if self.is_ours() { at_most(longest) } else { longest };
        let preferences = format!("{}, {TERM_PREFERENCE}", prefer_wait(wait));
        let mut request = self.as_agent(Method::POST, &path).header(PREFER, preferences);
        let asked = config.start.as_ref().filter(|_| self.is_ours()).map(|start| (start, start.ask()));
        if let Some((start, asked)) = &asked {
            let incarnation = start.incarnation(false).to_header();
            request = request.header(INCARNATION, incarnation).header(DEQUEUE, asked.number);
        }
        if self.is_ours() {
            request = promising(request, config);
            if most > 1 {
                request = request.header(MOST, most);
            }
        }
        let sent = BootTime::now();
        let reply = self.call(QueueCall::Dequeue, request, &body, config.long_poll + MARGIN).await;
        // One that is too large would be so the next time.
        if let (Some((_, asked)), Ok(_) | Err(ApiError::TooLarge { .. })) = (asked, &reply) {
            asked.answered();
        }
        let reply = reply?;
        self.learn(&reply, true);
        Ok(Answer {
            at: Instant::now(),
            claimed: claimed(&reply, sent),
            held: reply.headers.contains_key(PREFERENCE_APPLIED),
            dequeued: read(&reply),
            more: if most > 1 { others(&reply.body, most - 1) } else { Vec::new() },
        })
    }
}

/// For how many seconds to be held, of so many: up to a quarter less, so that agents that once asked together don't always do.
fn at_most(longest: u64) -> u64 {
    longest - (random::fraction() * (longest / 4 + 1) as f64) as u64
}

/// Tells what jobs may rely on here.
fn promising(mut request: RequestBuilder, config: &AgentConfig) -> RequestBuilder {
    if let Some(isolation) = config.isolation {
        request = request.header(ISOLATION, isolation.name());
    }
    if !config.labels.is_empty() {
        request = request.header(LABELS, Labels(config.labels.clone()).to_header());
    }
    request.header(SETTINGS, settings(config).to_header())
}

/// How the agent is set up, for people who look at it from afar. No text of an operator's, which may hold secrets.
fn settings(config: &AgentConfig) -> Settings {
    let count = |count: u64| count.to_string();
    let seconds = |time: Duration| format!("{}s", time.as_secs());
    let limits = &config.limits;
    let told = [
        ("slots", Some(config.max_jobs.to_string())),
        ("runtime", config.runtime.map(str::to_owned)),
        ("job-cpus", limits.cpus.map(|cpus| cpus.to_string())),
        ("job-memory", limits.memory.map(count)),
        ("job-disk", limits.disk.map(count)),
        ("job-processes", limits.pids.map(count)),
        ("job-time", config.max_runtime.map(seconds)),
        ("disk-floor", config.disk_floor.map(count)),
        ("jobs-in-all", config.num_total_jobs.map(count)),
        ("active-time", config.max_active_time.map(seconds)),
        ("drain-limit", config.drain_limit.map(seconds)),
        ("keeps-workspaces", config.keep_workspaces.then(|| "yes".to_owned())),
        ("src-steps", config.src_steps.then(|| "yes".to_owned())),
    ];
    Settings(told.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect())
}

/// When a job was claimed at the earliest, for a request that was sent at `sent`.
fn claimed(reply: &Reply, sent: BootTime) -> BootTime {
    let held = reply.headers.get(HELD).and_then(|value| value.to_str().ok()).and_then(parse_held);
    Tenure::claimed(sent, held, reply.began)
}

fn read(reply: &Reply) -> Dequeued {
    if reply.status == StatusCode::NO_CONTENT || reply.body.is_empty() {
        return Dequeued::Nothing;
    }
    read_job(&reply.body)
}

fn read_job(body: &[u8]) -> Dequeued {
    match serde_json::from_slice(body) {
        Ok(job) => Dequeued::Job(Box::new(job)),
        Err(fault) => Dequeued::Undecodable(Undecodable { fault, job: salvage(body) }),
    }
}

/// The jobs that came with the first one.
fn others(body: &[u8], most: usize) -> Vec<Dequeued> {
    let answer: HashMap<String, &RawValue> = serde_json::from_slice(body).unwrap_or_default();
    let list = answer.get(MORE).map_or("[]", |list| list.get());
    let list: Vec<&RawValue> = serde_json::from_str(list).unwrap_or_default();
    list.into_iter().take(most).map(|job| read_job(job.get().as_bytes())).collect()
}

/// Looks for id, token and queue in a payload that is wrong elsewhere.
fn salvage(body: &[u8]) -> Option<(JobId, String, Option<String>)> {
    let value: serde_json::Value = serde_json::from_slice(body).ok()?;
    let of = |key: &str| {
        let keys_in_any_case = || value.as_object()?.iter().find(|(name, _)| name.eq_ignore_ascii_case(key));
        value.get(key).or_else(|| keys_in_any_case().map(|(_, value)| value))
    };
    let id = JobId::deserialize(of("id")?).ok()?;
    let text = |key| of(key).and_then(serde_json::Value::as_str).filter(|text| !text.is_empty());
    Some((id, text("token")?.to_owned(), text("queue").map(str::to_owned)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agents_do_not_ask_in_step() {
        let mut waits: Vec<u64> = (0..1_000).map(|_| at_most(20)).collect();
        waits.sort_unstable();
        waits.dedup();
        assert_eq!(waits, [15, 16, 17, 18, 19, 20]);
        assert_eq!([0, 1, 3].map(at_most), [0, 1, 3]);
    }

    #[test]
    fn a_lease_begins_no_later_than_its_job_was_claimed() {
        let sent = BootTime::now();
        let second = Duration::from_secs(1);
        let began = sent + 20 * second;
        let claimed = |held: Option<&str>| {
            let headers =
                held.map(|held| (http::HeaderName::from_static("executors-held"), held.parse().unwrap()));
            let reply = Reply {
                status: StatusCode::OK,
                headers: headers.into_iter().collect(),
                body: "".into(),
                began,
            };
            claimed(&reply, sent)
        };
        assert_eq!(claimed(Some("18000")), sent + 18 * second, "the answer took two seconds");
        assert_eq!(claimed(Some("0")), sent);
        for unlikely in [Some("99000"), Some("x"), None] {
            assert_eq!(claimed(unlikely), began, "{unlikely:?}");
        }
    }

    #[test]
    fn what_comes_with_the_first_job_is_read_one_by_one() {
        let body =
            br#"{"id":1,"token":"t","more":[{"id":2,"token":"u"},{"id":3,"token":"v","files":7},{"id":4}]}"#;
        let ids = |most| {
            let id = |one: &Dequeued| match one {
                Dequeued::Job(job) => Some(job.id.0),
                Dequeued::Undecodable(payload) => payload.job.as_ref().map(|(id, ..)| -id.0),
                Dequeued::Nothing => None,
            };
            others(body, most).iter().map(id).collect::<Vec<_>>()
        };
        assert_eq!(ids(2), [Some(2), Some(-3)], "the one that can't be read costs the others nothing");
        assert_eq!(ids(0), []);
        for without in [&br#"{"id":1}"#[..], b"", b"[]", br#"{"more":7}"#] {
            assert!(others(without, 9).is_empty());
        }
    }

    #[test]
    fn id_and_token_are_found_in_a_payload_that_is_wrong_elsewhere() {
        let found = salvage(br#"{"id":7,"token":"t","queue":"batches","files":{"a":{"content":"%"}}}"#);
        assert_eq!(found, Some((JobId(7), "t".to_owned(), Some("batches".to_owned()))));
        let cased = salvage(br#"{"ID":7,"Token":"t","QUEUE":"batches","Files":{"a":{"content":"%"}}}"#);
        assert_eq!(cased, found, "keys come in any letter case");
        for hopeless in [&b"{"[..], b"[]", br#"{"id":"x","token":"t"}"#, br#"{"id":7}"#] {
            assert_eq!(salvage(hopeless), None);
        }
    }
}
