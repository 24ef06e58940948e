//! What there is to say of this host.

use crate::env::EnvReader;
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;
use tokio::time::timeout;
use wire::heartbeat::Telemetry;

/// How long git may take to say its version: no start waits for more than that.
const GIT_LIMIT: Duration = Duration::from_secs(5);

/// What the control plane is told of this host.
pub(crate) async fn telemetry() -> Telemetry {
    Telemetry {
        os: std::env::consts::OS.to_owned(),
        architecture: go_architecture().to_owned(),
        executor_version: env!("CARGO_PKG_VERSION").to_owned(),
        git_version: git_version().await.unwrap_or_default(),
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

async fn git_version() -> Option<String> {
    let mut git = Command::new("git");
    git.arg("version").stdin(Stdio::null()).kill_on_drop(true);
    let output = timeout(GIT_LIMIT, git.output()).await.ok()?.ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    text.trim().strip_prefix("git version ").map(str::to_owned)
}

/// The host's name: `HOSTNAME`, or the system's.
pub(crate) fn host_name(env: &EnvReader<'_>) -> String {
    env.text("HOSTNAME").unwrap_or_else(|| rustix::system::uname().nodename().to_string_lossy().into_owned())
}
