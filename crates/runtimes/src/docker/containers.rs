//! The calls about containers.

use super::client::{Ask, Client};
use super::error::{EngineError, told};
use super::labels;
use super::percent_encoded;
use super::pump::Paused;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::io::{AsyncRead, AsyncWrite};

/// How long starting may take: networks and slow disks are part of it.
const START_LIMIT: Duration = Duration::from_mins(2);

/// A container that was made.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Created {
    pub(super) id: String,
    /// What the engine leaves out of what was asked for.
    #[serde(default)]
    pub(super) warnings: Option<Vec<String>>,
}

/// A container in a list.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Listed {
    pub(super) id: String,
    #[serde(default)]
    pub(super) labels: Option<BTreeMap<String, String>>,
}

/// How a container is.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct State {
    /// The number of its first process as the engine's host counts; 0 when it does not run.
    pub(super) pid: u32,
    #[serde(rename = "OOMKilled")]
    pub(super) oom_killed: bool,
}

/// How a container ended.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Ended {
    pub(super) status_code: i64,
    #[serde(default)]
    error: Option<WaitError>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct WaitError {
    message: String,
}

impl Client {
    /// Makes a container, under a name of the engine's if it is given none.
    pub(super) async fn create(
        &self,
        name: Option<&str>,
        container: &impl Serialize,
    ) -> Result<Created, EngineError> {
        let name = name.map(|name| format!("?name={}", percent_encoded(name))).unwrap_or_default();
        let path = format!("/containers/create{name}");
        self.read(Ask::post(path, "create a container").json(container)?).await
    }

    /// The output of a container that does not run yet, from its first byte.
    pub(super) async fn attach(
        &self,
        id: &str,
    ) -> Result<impl AsyncRead + AsyncWrite + Unpin + use<>, EngineError> {
        let path = format!("/containers/{id}/attach?stream=1&stdout=1&stderr=1");
        self.take_over(Ask::post(path, "pass on a container's output")).await
    }

    pub(super) async fn start(&self, id: &str) -> Result<(), EngineError> {
        let ask = Ask::post(format!("/containers/{id}/start"), "start a container");
        let what = "start a container";
        let started = tokio::time::timeout(START_LIMIT, self.tell(ask.without_limit())).await;
        started.unwrap_or(Err(EngineError::Late { what, limit: START_LIMIT }))
    }

    /// Waits until a container that was started has ended.
    pub(super) async fn wait(&self, id: &str) -> Result<i64, EngineError> {
        let what = "wait for a container";
        let path = format!("/containers/{id}/wait?condition=not-running");
        let ended: Ended = self.read(Ask::post(path, what).without_limit()).await?;
        match ended.error.map(|error| error.message).filter(|message| !message.is_empty()) {
            Some(why) => Err(EngineError::Odd { what, why }),
            None => Ok(ended.status_code),
        }
    }

    pub(super) async fn state(&self, id: &str) -> Result<State, EngineError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Inspected {
            state: State,
        }
        let ask = Ask::get(format!("/containers/{id}/json"), "look at a container");
        Ok(self.read::<Inspected>(ask).await?.state)
    }

    /// Whether the engine heard that the container's memory ran out. Its [`State`] tells that only if the
    /// engine heard so before it heard of the container's end.
    pub(super) async fn ran_out_of_memory(&self, id: &str) -> Result<bool, EngineError> {
        let filters = serde_json::json!({ "container": [id], "event": ["oom"] }).to_string();
        // With an end that has passed, the engine sends what it knows and no more.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let until = format!("{}.{:09}", now.as_secs(), now.subsec_nanos());
        let path = format!("/events?since=1&until={until}&filters={}", percent_encoded(&filters));
        Ok(!self.bytes(Ask::get(path, "read the engine's events")).await?.trim_ascii().is_empty())
    }

    /// Sends a signal to a container's first process. One that has ended hears nothing.
    pub(super) async fn signal(&self, id: &str, signal: &'static str) -> Result<(), EngineError> {
        let ask = Ask::post(format!("/containers/{id}/kill?signal={signal}"), "signal a container");
        match allow(&[404, 409], self.tell(ask).await) {
            // Podman's words for it.
            Err(EngineError::Refused { said, .. }) if said.contains("can only kill running containers") => {
                Ok(())
            }
            told => told,
        }
    }

    /// Keeps a container from running. It is told whether that worked.
    pub(super) async fn pause(&self, id: &str) -> Paused {
        let ask = Ask::post(format!("/containers/{id}/pause"), "pause a container");
        match self.tell(ask).await {
            Ok(()) => Paused::Yes,
            Err(EngineError::Refused { said, .. }) if said.contains("not running") => Paused::Ended,
            Err(error) => {
                tracing::debug!(container = id, error = told(&error), "a container can't be paused");
                Paused::No
            }
        }
    }

    /// Lets a container run again. One that does already hears nothing.
    pub(super) async fn go_on(&self, id: &str) {
        let ask = Ask::post(format!("/containers/{id}/unpause"), "let a container go on");
        if let Err(error) = self.tell(ask).await {
            tracing::debug!(container = id, error = told(&error), "a container was not paused");
        }
    }

    /// Kills a container and removes it with its volumes. One that is gone or going is none to remove.
    pub(super) async fn remove(&self, id: &str) -> Result<(), EngineError> {
        let ask = Ask::delete(format!("/containers/{id}?force=1&v=1"), "remove a container");
        allow(&[404], self.tell(ask).await)
    }

    /// Containers with all these labels, also those that don't run.
    pub(super) async fn list(&self, labels: &[(&str, &str)]) -> Result<Vec<Listed>, EngineError> {
        let path = format!("/containers/json?all=1&filters={}", labels::filter(labels));
        self.read(Ask::get(path, "list containers")).await
    }
}

fn allow(statuses: &[u16], done: Result<(), EngineError>) -> Result<(), EngineError> {
    done.or_else(|error| match error.status() {
        Some(status) if statuses.contains(&status) => Ok(()),
        _ => Err(error),
    })
}
