//! What there is to say of this host.

use crate::commands::validate;
use crate::env::EnvReader;
use sha2::{Digest, Sha256};
use std::path::Path;
use std::time::Duration;
use wire::heartbeat::Telemetry;

/// How long git may take to say its version: no start waits for more than that.
const GIT_LIMIT: Duration = Duration::from_secs(5);

/// What the control plane is told of this host, whose programs get `tool_env`.
pub(crate) async fn telemetry(tool_env: &[(String, String)]) -> Telemetry {
    let environment = tool_env.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    Telemetry {
        os: std::env::consts::OS.to_owned(),
        architecture: go_architecture().to_owned(),
        executor_version: env!("CARGO_PKG_VERSION").to_owned(),
        git_version: validate::git_version(environment, GIT_LIMIT).await.unwrap_or_default(),
        ..Telemetry::default()
    }
}

/// The architecture as Go names it.
fn go_architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// The host's name: `HOSTNAME`, or the system's.
pub(crate) fn host_name(env: &EnvReader<'_>) -> String {
    env.text("HOSTNAME").unwrap_or_else(|| rustix::system::uname().nodename().to_string_lossy().into_owned())
}

/// A new name for an executor on `host`.
pub(crate) fn executor_name(host: &str) -> String {
    format!("{host}-{}", uuid::Uuid::new_v4())
}

/// Whose sandboxes they are, among all on this host: those of one state directory.
pub(super) fn owner(state_dir: &Path) -> String {
    hex::encode(&Sha256::digest(state_dir.as_os_str().as_encoded_bytes())[..6])
}
