//! What a stock instance keeps, and which of its parts serves a request.

use super::answer::{Answer, Fault};
use super::payload::StockJob;
use super::request::Request;
use super::{auth, git, job_calls, queue_calls, shapes};
use serde_json::{Value, json};
use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;

/// The version of its command line client that an instance recommends, to whoever asks.
pub const RECOMMENDED_SRC: &str = "5.5.0";

/// Which job: its queue and its id, which is unique only there.
pub(super) type Key = (String, i64);

/// Where a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// An executor has it.
    Processing,
    /// By `markComplete`.
    Completed,
    /// By `markErrored`: it may be tried again.
    Errored,
    /// By `markFailed`.
    Failed,
    /// By `markFailed` or `markErrored` after somebody canceled it.
    Canceled,
}

/// A log entry as an instance keeps it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Entry {
    /// Such as `setup.git.init`.
    pub key: String,
    /// The argument vector, or `null`.
    pub command: Value,
    /// As it was sent.
    pub start_time: String,
    /// The whole text so far.
    pub out: String,
    /// None while it runs.
    pub exit_code: Option<i64>,
    /// None while it runs.
    pub duration_ms: Option<i64>,
    /// How often it was replaced.
    pub updates: usize,
}

/// A job that was handed out.
#[derive(Debug, Clone)]
pub struct Record {
    /// Where it stands.
    pub state: State,
    /// The name of the executor that has it.
    pub owner: String,
    /// Somebody wants it to end.
    pub cancel: bool,
    /// Its log, in the order in which entries were opened.
    pub entries: Vec<Entry>,
    /// What the final call said, if it said something.
    pub message: Option<String>,
    pub(super) token: Option<String>,
    pub(super) repository: String,
}

impl Record {
    /// The entries' keys.
    pub fn keys(&self) -> Vec<&str> {
        self.entries.iter().map(|entry| entry.key.as_str()).collect()
    }

    /// The last entry of this key: the one that counts, should there be two.
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().rfind(|entry| entry.key == key)
    }
}

pub(super) struct Instance {
    pub(super) secret: String,
    /// What the paths of the instance begin with.
    pub(super) base: String,
    pub(super) queued: VecDeque<StockJob>,
    pub(super) records: BTreeMap<Key, Record>,
    pub(super) files: BTreeMap<String, Vec<u8>>,
    pub(super) repositories: Option<PathBuf>,
    pub(super) faults: BTreeMap<String, VecDeque<Fault>>,
    pub(super) requests: Vec<Request>,
    /// What in the requests a stock instance would not have understood.
    pub(super) objections: Vec<String>,
}

impl Instance {
    pub(super) fn new(secret: &str, base: &str) -> Self {
        Self {
            secret: secret.to_owned(),
            base: base.to_owned(),
            queued: VecDeque::new(),
            records: BTreeMap::new(),
            files: BTreeMap::new(),
            repositories: None,
            faults: BTreeMap::new(),
            requests: Vec::new(),
            objections: Vec::new(),
        }
    }

    /// Takes note of a request, and tells what is to go wrong with it.
    pub(super) fn note(&mut self, request: &Request) -> Fault {
        self.requests.push(request.clone());
        let objections = shapes::check(request);
        self.objections.extend(objections.into_iter().map(|what| format!("{}: {what}", request.call())));
        let planned = self.faults.get_mut(request.call()).and_then(VecDeque::pop_front);
        planned.unwrap_or(Fault::None)
    }

    /// Does what is asked, or says who else does.
    pub(super) fn serve(&mut self, request: &Request) -> Served {
        let answer = match self.route(request) {
            Ok(served) => return served,
            Err(answer) => answer,
        };
        Served::Answered(answer)
    }

    /// What is refused on the way is an error.
    fn route(&mut self, request: &Request) -> Result<Served, Answer> {
        let missing = || Answer::status(404).body("404 page not found\n");
        let path = request.path().strip_prefix(&self.base).ok_or_else(missing)?;
        if (request.method.as_str(), path) == ("GET", "/.api/src-cli/version") {
            return Ok(Served::Answered(Answer::json(&json!({ "version": RECOMMENDED_SRC }))));
        }
        let path = path.strip_prefix("/.executors/").ok_or_else(missing)?.to_owned();
        let parts: Vec<&str> = path.split('/').collect();
        let answer = match (request.method.as_str(), &parts[..]) {
            ("GET", ["test", "auth"]) => {
                auth::shared(self, request)?;
                Answer::text("ok")
            }
            ("POST", ["queue", call @ ("dequeue" | "heartbeat")]) => {
                auth::shared(self, request)?;
                queue_calls::serve(self, None, call, &request.json())
            }
            ("POST", ["queue", queue @ ("batches" | "codeintel"), call @ ("dequeue" | "heartbeat")]) => {
                auth::shared(self, request)?;
                queue_calls::serve(self, Some(queue), call, &request.json())
            }
            ("POST", ["queue", queue @ ("batches" | "codeintel"), call]) if job_calls::exists(call) => {
                auth::job(self, request, queue)?;
                job_calls::serve(self, queue, call, &request.json())
            }
            ("GET" | "HEAD", ["files", bucket, key @ ..]) => {
                auth::job(self, request, "batches")?;
                let name = format!("{bucket}/{}", key.join("/"));
                let content = self.files.get(&name).cloned();
                content.map_or_else(
                    || Answer::status(404).body("workspace file does not exist\n"),
                    |content| Answer::status(200).body(content),
                )
            }
            (_, ["git", repository @ .., "info", "refs"] | ["git", repository @ .., "git-upload-pack"]) => {
                auth::git(self, request, &repository.join("/"))?;
                let root = self.repositories.clone().ok_or_else(missing)?;
                let below = path["git".len()..].to_owned();
                return Ok(Served::ByGit(git::Backend { root, below }));
            }
            _ => {
                let what = format!("there is no such call: {} {}", request.method, request.target);
                self.objections.push(what);
                return Err(missing());
            }
        };
        Ok(Served::Answered(answer))
    }
}

/// Who answers.
pub(super) enum Served {
    Answered(Answer),
    /// Git does, while others are served.
    ByGit(git::Backend),
}
