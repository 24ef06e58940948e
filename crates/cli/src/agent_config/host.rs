//! What there is to say of this host.

use crate::env::EnvReader;
use wire::heartbeat::Telemetry;

/// What the control plane is told of this host.
pub(crate) fn telemetry() -> Telemetry {
    Telemetry {
        os: std::env::consts::OS.to_owned(),
        architecture: go_architecture().to_owned(),
        executor_version: env!("CARGO_PKG_VERSION").to_owned(),
        git_version: git_version().unwrap_or_default(),
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

fn git_version() -> Option<String> {
    let output = std::process::Command::new("git").arg("version").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    text.trim().strip_prefix("git version ").map(str::to_owned)
}

/// The host's name: `HOSTNAME`, or the system's.
pub(crate) fn host_name(env: &EnvReader<'_>) -> String {
    env.text("HOSTNAME").unwrap_or_else(|| rustix::system::uname().nodename().to_string_lossy().into_owned())
}
