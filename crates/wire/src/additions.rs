//! What we add to the protocol. All of it is negotiated or ignorable: a peer that knows nothing of
//! it never notices.
//!
//! A control plane of ours lists what it can do in [`CAPABILITIES`] on its answers to dequeue; an
//! agent uses a capability only after it has seen it there.

use crate::JobId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// Response header of dequeue and heartbeat: comma-separated capability names.
pub const CAPABILITIES: &str = "Executors-Capabilities";
/// Capability: [`crate::paths::QueueCall::AppendLog`] exists.
pub const LOG_APPEND: &str = "log-append";
/// Response header of dequeue and heartbeat: for how many milliseconds a job stays the executor's after
/// it was given out or a heartbeat named it. Until then nobody else gets it. See [`lease_term`].
pub const LEASE_TERM: &str = "Executors-Lease-Term";
/// Response header of a dequeue that gives a job: for how many milliseconds the control plane had the request before it
/// claimed the job. The job's lease so begins no sooner than that long after the request was sent, however long the
/// answer takes. See [`held`].
pub const HELD: &str = "Executors-Held";
/// Response header of dequeue and heartbeat: over how many milliseconds executors should spread, each at random, what they all do
/// at once because a call was cut off or refused: asking for jobs again. It grows with how many there are.
pub const SPREAD: &str = "Executors-Spread";
/// Request header (RFC 7240). `wait=N` asks the control plane to hold a dequeue that would find
/// nothing for up to N seconds; the answer then carries [`PREFERENCE_APPLIED`]. [`TERM_PREFERENCE`], on
/// dequeues and heartbeats, tells that the executor keeps to [`LEASE_TERM`].
pub const PREFER: &str = "Prefer";
/// Preference of an executor that ends a job of its own accord before the job's lease is over. Others have a lease
/// of 25 s, however long the control plane gives to those that ask.
pub const TERM_PREFERENCE: &str = "lease-term";
/// Preference of calls about a job: one that comes for a try after the job was taken back is to be answered with status 409
/// and [`TRY_IS_OVER`]. Others are told what they would be told of any token that is not good.
pub const LATE_PREFERENCE: &str = "late-conflict";
/// What a call that came too late is told, as plain text.
pub const TRY_IS_OVER: &str = "this try of the job is over: the job was taken back when its lease ended";
/// Response header: the control plane honoured [`PREFER`], so there is no need to pause before
/// the next dequeue.
pub const PREFERENCE_APPLIED: &str = "Preference-Applied";

/// Request header (W3C Trace Context) of calls about a job: the span that the job is, where somebody collects
/// traces.
pub const TRACE_PARENT: &str = "traceparent";

/// Request header of dequeues and heartbeats: which start of an agent speaks, as an [`Incarnation`]. Sent to control
/// planes of ours only.
pub const INCARNATION: &str = "Executors-Incarnation";
/// Request header of a dequeue with an [`INCARNATION`]: its number, which that start uses once.
pub const DEQUEUE: &str = "Executors-Dequeue";
/// Request header of a heartbeat with an [`INCARNATION`]: the [`LostDequeues`] of that start.
pub const LOST_DEQUEUES: &str = "Executors-Lost-Dequeues";

/// Request header of a dequeue: how many jobs the executor has places for, where that is more than one. Sent to control planes
/// of ours only. They may give up to so many, the first as ever and the others as a list under its key [`MORE`].
pub const MOST: &str = "Executors-Most";
/// See [`MOST`].
pub const MORE: &str = "more";
/// Jobs that one dequeue may be given at most.
pub const MOST_AT_ONCE: u32 = 16;

/// Request header of a dequeue: how well the executor keeps jobs apart from its host: `none`, `container`, `user-kernel` or
/// `vm`. Sent to control planes of ours only, as the next one.
pub const ISOLATION: &str = "Executors-Isolation";
/// Request header of a dequeue: what else its operator says of the executor, as [`Labels`].
pub const LABELS: &str = "Executors-Labels";
/// Request header of a dequeue: how the executor is set up, as [`Settings`], for people to see. Nothing is decided by it.
pub const SETTINGS: &str = "Executors-Settings";
/// Request header of a heartbeat: why the executor asks for no jobs for now, as a [`TakesNone`]. Without it, it asks. Sent to
/// control planes of ours only: who makes no dequeue is else taken for one that has no room.
pub const TAKES_NONE: &str = "Executors-Takes-None";
/// Request header of a submission: the same key means the same submission made again.
pub const IDEMPOTENCY_KEY: &str = "Idempotency-Key";

/// What tokens of a control plane of ours begin with, so that people, and programs that look for secrets where they should not
/// be, can tell them: of its public API, for the registration of an executor, and what such an executor then has of its own.
pub const API_TOKEN_PREFIX: &str = "executor_api_";
/// See [`API_TOKEN_PREFIX`].
pub const REGISTRATION_TOKEN_PREFIX: &str = "executor_reg_";
/// See [`API_TOKEN_PREFIX`].
pub const IDENTITY_PREFIX: &str = "executor_id_";

/// Gives an executor of ours an identity of its own: POST [`Register`] with a registration token in place of the shared secret.
/// 204: from now on it is known by that. 404: the control plane does not know of this.
pub const REGISTER: &str = "/.executors/register";

/// The body of a call of [`REGISTER`]. The same again does no more.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Register {
    /// The executor's name. It can act under no other from then on, and nobody else under it.
    pub executor_name: String,
    /// What it will show in place of the shared secret: [`IDENTITY_PREFIX`] and 64 random hexadecimal digits. It was made, and
    /// written down, by the executor, so that no answer that gets lost costs it.
    pub identity: String,
}

/// The identity is a secret.
impl std::fmt::Debug for Register {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Register").field("executor_name", &self.executor_name).finish_non_exhaustive()
    }
}

/// A file, or several, that a job is to leave: in payloads of control planes of ours for executors of ours, under `artifacts`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artifact {
    /// What it is called: letters, digits, `.`, `_` and `-`.
    pub name: String,
    /// A path below the workspace, whose parts may be patterns.
    pub path: String,
    /// Whether there need be none.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub optional: bool,
}

/// Where files that jobs leave are delivered: POST of the file, with its job's token, below this path and the artifact's
/// name. 200 with a [`KeptArtifact`]; the same again takes the place of the first.
pub fn artifacts_path(queue: &str) -> String {
    format!("/.executors/queue/{queue}/artifacts")
}

/// The answer to a file that was delivered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptArtifact {
    /// Its bytes.
    pub size: u64,
    /// SHA-256 of them, in hexadecimal digits.
    pub sha256: String,
}

/// Labels that are read at most.
const MOST_LABELS: usize = 100;

/// Labels of an executor: `gpu, zone=b`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Labels(pub Vec<String>);

impl Labels {
    /// The value of [`LABELS`].
    pub fn to_header(&self) -> String {
        self.0.join(", ")
    }

    /// Reads such a value.
    pub fn parse(value: &str) -> Self {
        let labels = value.split(',').map(str::trim).filter(|label| !label.is_empty());
        Self(labels.map(str::to_owned).take(MOST_LABELS).collect())
    }
}

/// Settings that are read at most, and bytes of a name and of a value.
const MOST_SETTINGS: usize = 32;
const LONGEST_SETTING: (usize, usize) = (40, 100);

/// How an executor is set up, by name: `job-time=1800s; runtime=oci; slots=4`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings(pub BTreeMap<String, String>);

impl Settings {
    /// The value of [`SETTINGS`].
    pub fn to_header(&self) -> String {
        self.0.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ")
    }

    /// Reads such a value. What is no setting is passed over.
    pub fn parse(value: &str) -> Self {
        let (name, text) = LONGEST_SETTING;
        let is_name = |it: &str| {
            (1..=name).contains(&it.len()) && it.bytes().all(|b| b.is_ascii_lowercase() || b == b'-')
        };
        let is_value = |it: &str| (1..=text).contains(&it.len()) && it.bytes().all(|b| b.is_ascii_graphic());
        let settings = value.split(';').filter_map(|setting| setting.trim().split_once('='));
        let settings = settings.filter(|(name, value)| is_name(name) && is_value(value));
        Self(settings.map(|(name, value)| (name.to_owned(), value.to_owned())).take(MOST_SETTINGS).collect())
    }
}

/// Why an executor that is there, and may well have places free, asks for no jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TakesNone {
    /// It was told to leave, or is done, and waits for those that it has.
    Draining,
    /// Less room is free on a disk of its host than is to stay free.
    DiskFloor,
}

impl TakesNone {
    /// The value of [`TAKES_NONE`].
    pub const fn name(self) -> &'static str {
        match self {
            Self::Draining => "draining",
            Self::DiskFloor => "disk-floor",
        }
    }

    /// Reads such a value. A word of a later release is none.
    pub fn parse(value: &str) -> Option<Self> {
        [Self::Draining, Self::DiskFloor].into_iter().find(|why| why.name() == value.trim())
    }
}

/// The longest name of a place, in bytes.
const LONGEST_PLACE: usize = 128;
/// How many lost dequeues are read.
const MOST_LOST: usize = 64;

/// One start of an agent: `place=6b1f.2a.91; start=3; settled`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incarnation {
    /// The same for all starts with one state directory during one boot of its host: letters, digits, `.` and `-`.
    pub place: String,
    /// Later starts there have larger numbers.
    pub start: u64,
    /// In heartbeats: nothing of an earlier start is left there, nor will be, but the jobs that are named.
    pub settled: bool,
}

impl Incarnation {
    /// The value of [`INCARNATION`].
    pub fn to_header(&self) -> String {
        let settled = if self.settled { "; settled" } else { "" };
        format!("place={}; start={}{settled}", self.place, self.start)
    }

    /// Reads such a value. What a later release adds is passed over.
    pub fn parse(value: &str) -> Option<Self> {
        let items = || value.split(';').map(str::trim);
        let place = items().find_map(|item| item.strip_prefix("place="))?;
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-".contains(&byte);
        if place.is_empty() || place.len() > LONGEST_PLACE || !place.bytes().all(is_plain) {
            return None;
        }
        let start = items().find_map(|item| item.strip_prefix("start="))?.parse().ok()?;
        Some(Self { place: place.to_owned(), start, settled: items().any(|item| item == "settled") })
    }
}

/// Numbers of dequeues whose answers nobody reads any more: `3, 7`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LostDequeues(pub Vec<u64>);

impl LostDequeues {
    /// The value of [`LOST_DEQUEUES`].
    pub fn to_header(&self) -> String {
        let numbers: Vec<String> = self.0.iter().map(u64::to_string).collect();
        numbers.join(", ")
    }

    /// Reads such a value; what is no number is passed over.
    pub fn parse(value: &str) -> Self {
        Self(value.split(',').filter_map(|number| number.trim().parse().ok()).take(MOST_LOST).collect())
    }
}

/// The preference that asks for a wait of `seconds`.
pub fn prefer_wait(seconds: u64) -> String {
    format!("wait={seconds}")
}

/// Whether a `Prefer` header value has one such as [`TERM_PREFERENCE`] or [`LATE_PREFERENCE`], among others.
pub fn prefers(value: &str, preference: &str) -> bool {
    value.split([',', ';']).any(|item| item.trim() == preference)
}

/// Reads the seconds out of a `Prefer` header value, among other preferences.
pub fn parse_prefer_wait(value: &str) -> Option<u64> {
    value.split([',', ';']).find_map(|item| item.trim().strip_prefix("wait=")?.trim().parse().ok())
}

/// The value of [`LEASE_TERM`].
pub fn lease_term(term: Duration) -> String {
    term.as_millis().to_string()
}

/// Reads a value of [`LEASE_TERM`]; a term of nothing is none.
pub fn parse_lease_term(value: &str) -> Option<Duration> {
    value.trim().parse().ok().filter(|millis| *millis > 0).map(Duration::from_millis)
}

/// The value of [`HELD`].
pub fn held(held: Duration) -> String {
    held.as_millis().to_string()
}

/// Reads a value of [`HELD`].
pub fn parse_held(value: &str) -> Option<Duration> {
    value.trim().parse().ok().map(Duration::from_millis)
}

/// Adds bytes to a log entry at a byte offset.
///
/// The same bytes may be sent again: what lies before the entry's end is ignored. A gap is refused
/// with 409 and the [`AppendedLog`] that tells where the entry ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AppendLog {
    /// The executor that runs the job.
    pub executor_name: String,
    /// The job.
    pub job_id: JobId,
    /// The entry's number.
    pub entry_id: i64,
    /// Where `chunk` begins, in bytes of the entry's UTF-8 text.
    pub offset: u64,
    /// The text; may be empty when only the fields below have news.
    pub chunk: String,
    /// How the command ended; absent while it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// How long it took in milliseconds; absent while it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<i64>,
}

/// What ends the text of a log entry of which the control plane took no more.
pub const OUTPUT_REFUSED: &str = "\n[executor: the control plane takes no more output of this entry]\n";

/// What a call with text of a log is told, as plain text with status 503, while the disk of the control plane has too little room
/// for it. Once there is more, the same call is taken.
pub const NO_ROOM: &str = "there is too little room for more text of logs: try again later";

/// Where a log entry ends now, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppendedLog {
    /// The entry's length.
    pub length: u64,
}

/// Why a job ended, for programs. `reason` is one of the names in `jobs::reason`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EndDetail {
    /// The reason's name.
    pub reason: String,
    /// The step's key, where a step was the cause.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// The step's exit code, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// The limit that was hit: bytes, milliseconds or a count, as the reason says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// What was seen against that limit, in the same unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed: Option<u64>,
    /// The place on the executor's host that the reason is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// What kind of fault it was, where the reason has several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    /// Who wanted it, or found it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// The address that this was asked for from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The name of the token that was shown for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// What the client called itself that asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
    /// Which of the job's artifacts is meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact: Option<String>,
}

#[cfg(test)]
mod tests;
