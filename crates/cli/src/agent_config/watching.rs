//! How an agent is watched: where it tells its health, whose metrics it carries, where it writes down its jobs.

use crate::env::EnvReader;
use crate::systemd::Notifier;
use agent::{Audit, Exporters, Tracing};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use url::Url;

/// All of it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Watching {
    pub(crate) health: Option<SocketAddr>,
    pub(crate) exporters: Exporters,
    pub(crate) audit: Audit,
    pub(crate) tracing: Option<Tracing>,
    pub(crate) systemd: Notifier,
}

/// Reads it. An exporter's address that is none is a warning, as everything about exporters is: it goes into
/// `warnings`.
pub(super) fn read(env: &mut EnvReader<'_>, warnings: &mut Vec<String>) -> Watching {
    let health = env.text("EXECUTOR_HEALTH_SERVER_ADDR").and_then(|text| {
        let address = address(&text);
        if address.is_none() {
            env.fault(format!(
                "invalid address {text:?} for EXECUTOR_HEALTH_SERVER_ADDR: use HOST:PORT or :PORT, with an IP address or \
                 localhost as HOST"
            ));
        }
        address
    });
    let mut exporter = |name| {
        let text = env.text(name)?;
        let url = text.parse::<Url>().ok().filter(|url| url.has_host() && url.scheme().starts_with("http"));
        if url.is_none() {
            // The text may hold a password.
            warnings.push(format!("{name} is no URL, so no metrics come from there: use scheme://host:port"));
        }
        url
    };
    let exporters = Exporters {
        node: exporter("NODE_EXPORTER_URL"),
        registry: exporter("DOCKER_REGISTRY_NODE_EXPORTER_URL"),
    };
    let audit = Audit {
        in_log: env.bool("EXECUTOR_ENABLE_JOB_AUDIT_LOGGING"),
        file: env.text("EXECUTOR_JOB_AUDIT_FILE").map(PathBuf::from),
    };
    let tracing = super::tracing::read(env, warnings);
    Watching { health, exporters, audit, tracing, systemd: Notifier::read(env) }
}

/// `HOST:PORT`, or `:PORT` for every address of this host.
fn address(text: &str) -> Option<SocketAddr> {
    let (host, port) = text.rsplit_once(':')?;
    let port = port.parse().ok()?;
    let host = match host {
        "" => Ipv6Addr::UNSPECIFIED.into(),
        "localhost" => Ipv4Addr::LOCALHOST.into(),
        host => host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().ok()?,
    };
    Some(SocketAddr::new(host, port))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent_config::tests::{faults, read};

    #[test]
    fn an_address_may_leave_out_its_host() {
        for (text, expect) in [
            (":8080", "[::]:8080"),
            ("127.0.0.1:8080", "127.0.0.1:8080"),
            ("localhost:0", "127.0.0.1:0"),
            ("[::1]:80", "[::1]:80"),
        ] {
            assert_eq!(address(text), Some(expect.parse().unwrap()), "{text}");
        }
        for bad in ["8080", ":", "host:80", "127.0.0.1", ":65536", "http://127.0.0.1:80"] {
            let faults = faults(&[("EXECUTOR_HEALTH_SERVER_ADDR", bad)]);
            assert!(faults.len() == 1 && faults[0].contains("HOST:PORT"), "{bad}: {faults:?}");
        }
    }

    #[test]
    fn an_exporter_that_is_none_is_a_warning_without_its_text() {
        let (_, settings) = read(&[("NODE_EXPORTER_URL", "http://127.0.0.1:9100")]).unwrap();
        assert_eq!(settings.watching.exporters.node.unwrap().as_str(), "http://127.0.0.1:9100/");
        assert_eq!(settings.conflicts.warnings, [""; 0]);
        let (_, settings) = read(&[("DOCKER_REGISTRY_NODE_EXPORTER_URL", "jane:hunter2@registry")]).unwrap();
        let warnings = settings.conflicts.warnings;
        assert!(warnings.len() == 1 && !warnings[0].contains("hunter2"), "{warnings:?}");
        let strictly = faults(&[("NODE_EXPORTER_URL", "registry:9999/x y"), ("EXECUTOR_STRICT", "true")]);
        assert_eq!(strictly.len(), 1, "{strictly:?}");
    }
}
