//! An agent between a control plane and a runtime, both scripted.

use super::{Act, ControlPlane, FakeRuntime, Plan, eventually};
use agent::{AgentConfig, AgentError, Orders, Summary};
use secrecy::SecretString;
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub(crate) struct Harness {
    pub(crate) plane: ControlPlane,
    pub(crate) runtime: FakeRuntime,
    pub(crate) drain: CancellationToken,
    pub(crate) stop: CancellationToken,
    /// Held for its end.
    _work_dir: tempfile::TempDir,
    agent: JoinHandle<Result<Summary, AgentError>>,
}

impl Harness {
    /// Starts an agent for one queue, `batches`.
    pub(crate) fn start(plan: Plan, steps: Vec<Vec<Act>>) -> Self {
        Self::start_with(plan, steps, |_| {})
    }

    pub(crate) fn start_with(
        plan: Plan,
        steps: Vec<Vec<Act>>,
        configure: impl FnOnce(&mut AgentConfig),
    ) -> Self {
        Self::start_in(&std::env::temp_dir(), plan, steps, configure)
    }

    /// Starts an agent whose jobs have their workspaces in `place`.
    pub(crate) fn start_in(
        place: &Path,
        plan: Plan,
        steps: Vec<Vec<Act>>,
        configure: impl FnOnce(&mut AgentConfig),
    ) -> Self {
        // A second test of the same process finds it installed.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let plane = ControlPlane::start(plan);
        let runtime = FakeRuntime::new(steps, place);
        let work_dir = tempfile::tempdir().unwrap();
        let url = plane.url().parse().unwrap();
        let secret = SecretString::from("hunter2hunter2");
        let mut config = AgentConfig::new(url, secret, "batches", "agent-1", work_dir.path().join("work"));
        "5.6.0".clone_into(&mut config.version);
        config.disk_floor = Some(0);
        config.poll_interval = Duration::from_millis(20);
        config.heartbeat_interval = Duration::from_millis(20);
        configure(&mut config);
        let (drain, stop) = (CancellationToken::new(), CancellationToken::new());
        let orders = Orders { drain: drain.clone(), stop: stop.clone(), ..Orders::default() };
        let agent = tokio::spawn(agent::run(config, Arc::new(runtime.clone()), orders));
        Self { plane, runtime, drain, stop, _work_dir: work_dir, agent }
    }

    /// Waits for the first final call: its name and its body.
    pub(crate) async fn marked(&self) -> (String, Value) {
        let call = eventually("a final call", || self.plane.plan().marks().first().cloned()).await;
        (call.name().to_owned(), call.body)
    }

    /// Lets the agent drain and waits until it has left.
    pub(crate) async fn end(self) -> Summary {
        self.drain.cancel();
        self.left().await
    }

    /// Waits until the agent has left by itself.
    pub(crate) async fn left(self) -> Summary {
        let left = tokio::time::timeout(super::LIMIT, self.agent).await;
        left.expect("the agent leaves").expect("it does not panic").expect("it works")
    }
}

/// A payload with these steps.
pub(crate) fn job(id: i64, steps: &[Value]) -> Value {
    json!({
        "version": 2, "id": id, "token": "job-token-0123", "repositoryName": "", "commit": "",
        "files": null, "dockerSteps": steps, "cliSteps": null, "redactedValues": {}, "dockerAuthConfig": {}
    })
}

/// A step called `key`.
pub(crate) fn step(key: &str) -> Value {
    json!({"key": key, "image": "alpine:3", "commands": ["echo hi"], "dir": "", "env": null})
}
