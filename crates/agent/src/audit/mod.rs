//! Writes down which jobs ran here: a line when one begins, and a line when it ended.
//!
//! Texts of the payload pass the job's redaction, and have limits. What can't be written is told in the
//! agent's own log; no job waits or fails for it.

mod file;
mod payload;

use crate::account::Account;
use crate::api::JobAuth;
use crate::config::AgentConfig;
use crate::error::AgentError;
use crate::job::redactor;
use crate::text::begin;
use file::AuditFile;
use jiff::Timestamp;
use runtimes::Limits;
use serde::Serialize;
use std::path::PathBuf;
use std::time::Duration;
use tracing::warn;
use wire::additions::EndDetail;
use wire::{Job, JobId};

/// Images and steps of a job that are named.
const MOST_NAMES: usize = 200;
/// Bytes of a text of the payload.
const LONGEST_TEXT: usize = 500;

/// What is written down, and where.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Audit {
    /// Write each job that is taken into the agent's own log, as documented.
    pub in_log: bool,
    /// Write a line of JSON for each job that begins or ended into this file.
    pub file: Option<PathBuf>,
}

/// Writes it down.
#[derive(Debug)]
pub(crate) struct AuditLog {
    in_log: bool,
    file: Option<AuditFile>,
}

/// A line of the file.
#[derive(Serialize)]
struct Line<'a> {
    time: Timestamp,
    executor: &'a str,
    job: JobId,
    queue: &'a str,
    #[serde(flatten)]
    event: Event<'a>,
}

#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Event<'a> {
    Begun {
        repository: String,
        commit: String,
        images: Vec<String>,
        steps: Vec<String>,
        /// What src was asked to do on this host.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        src_steps: Vec<String>,
        limits: Limited,
    },
    Ended {
        completed: bool,
        reason: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        end: Option<&'a EndDetail>,
        seconds: f64,
        usage: Used,
    },
}

/// What a job may use; `null` is without limit.
#[derive(Serialize)]
struct Limited {
    cpus: Option<f64>,
    memory_bytes: Option<u64>,
    disk_bytes: Option<u64>,
    pids: Option<u64>,
    seconds: Option<f64>,
}

/// What it did use.
#[derive(Serialize)]
struct Used {
    steps: u64,
    cpu_seconds: f64,
    peak_memory_bytes: u64,
}

impl AuditLog {
    /// Opens what `config` asks for.
    pub(crate) fn open(config: &AgentConfig) -> Result<Self, AgentError> {
        let Audit { in_log, file } = config.audit.clone();
        Ok(Self { in_log, file: file.map(AuditFile::open).transpose()? })
    }

    /// Opens the file alone, if there is to be one: for who runs a job that somebody else took.
    pub(crate) fn of_file(config: &AgentConfig) -> Result<Option<Self>, AgentError> {
        let Some(file) = config.audit.file.clone() else { return Ok(None) };
        Ok(Some(Self { in_log: false, file: Some(AuditFile::open(file)?) }))
    }

    /// A job was taken: it is told in the agent's own log, if that is asked for.
    pub(crate) fn taken(&self, config: &AgentConfig, job: &Job, auth: &JobAuth) {
        if self.in_log {
            let payload = payload::told(job, &redactor(job, auth, config));
            warn!(job = %job.id, queue = auth.queue, payload, "Received new job to process");
        }
    }

    /// A job begins.
    pub(crate) fn begins(&self, config: &AgentConfig, job: &Job, auth: &JobAuth) {
        if self.file.is_none() {
            return;
        }
        let redactor = redactor(job, auth, config);
        let text = |text: &str| {
            let clean = redactor.redact(text);
            begin(&clean, LONGEST_TEXT).to_owned()
        };
        let named = || job.docker_steps.iter().take(MOST_NAMES).enumerate();
        let mut images: Vec<String> = named().map(|(_, step)| text(&step.image)).collect();
        images.sort();
        images.dedup();
        let key = |(index, step): (usize, &wire::DockerStep)| match step.key.as_str() {
            "" => index.to_string(),
            key => text(key),
        };
        let event = Event::Begun {
            repository: text(&job.repository_name),
            commit: text(&job.commit),
            images,
            steps: named().map(key).collect(),
            src_steps: job
                .cli_steps
                .iter()
                .take(MOST_NAMES)
                .map(|step| text(&step.command.join(" ")))
                .collect(),
            limits: Limited::of(&config.limits, config.max_runtime),
        };
        self.write(config, job.id, &auth.queue, event);
    }

    /// It ended, after `took`.
    pub(crate) fn ended(
        &self,
        config: &AgentConfig,
        job: JobId,
        queue: &str,
        account: &Account,
        completed: bool,
        took: Duration,
    ) {
        let usage = Used {
            steps: account.steps,
            cpu_seconds: Duration::from_millis(account.cpu_ms).as_secs_f64(),
            peak_memory_bytes: account.peak_memory,
        };
        let (reason, end) = (account.reason(), account.end.as_deref());
        let event = Event::Ended { completed, reason, end, seconds: took.as_secs_f64(), usage };
        self.write(config, job, queue, event);
    }

    fn write(&self, config: &AgentConfig, job: JobId, queue: &str, event: Event<'_>) {
        let Some(file) = &self.file else { return };
        let line = Line { time: Timestamp::now(), executor: &config.name, job, queue, event };
        // Only numbers, texts and lists are in it.
        if let Ok(mut line) = serde_json::to_vec(&line) {
            line.push(b'\n');
            file.write(&line);
        }
    }
}

impl Limited {
    fn of(limits: &Limits, max_runtime: Option<Duration>) -> Self {
        Self {
            cpus: limits.cpus,
            memory_bytes: limits.memory,
            disk_bytes: limits.disk,
            pids: limits.pids,
            seconds: max_runtime.map(|limit| limit.as_secs_f64()),
        }
    }
}

#[cfg(test)]
mod tests;
