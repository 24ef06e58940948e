//! The protocol of `sd_notify(3)`: lines in a datagram to the socket that the manager named.

use crate::env::EnvReader;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::time::Duration;
use tracing::{debug, warn};

/// A way to the manager, if there is one. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Notifier {
    way: Option<Arc<(UnixDatagram, SocketAddr)>>,
    /// How long the manager waits for a sign of life.
    watchdog: Option<Duration>,
}

impl Notifier {
    /// Finds out who wants to be told.
    pub(crate) fn read(env: &EnvReader<'_>) -> Self {
        let Some(name) = env.text("NOTIFY_SOCKET") else { return Self::default() };
        let way = address(&name).and_then(|address| {
            let socket = UnixDatagram::unbound()?;
            // A manager that does not read must not hold the service up.
            socket.set_nonblocking(true)?;
            Ok((socket, address))
        });
        match way {
            Ok(way) => Self { way: Some(Arc::new(way)), watchdog: watchdog(env) },
            Err(fault) => {
                warn!(socket = name, %fault, "systemd can't be told anything");
                Self::default()
            }
        }
    }

    /// Whether anybody listens.
    pub(crate) fn is_heard(&self) -> bool {
        self.way.is_some()
    }

    /// How long the manager waits for a sign of life; `None` when it does not wait for any.
    pub(crate) fn watchdog(&self) -> Option<Duration> {
        self.watchdog
    }

    /// Tells one thing. Says whether it was told: a manager that has much to do has no room for it at times.
    #[must_use]
    pub(crate) fn send(&self, message: &str) -> bool {
        let Some((socket, address)) = self.way.as_deref() else { return false };
        let sent = socket.send_to_addr(message.as_bytes(), address);
        if let Err(fault) = &sent {
            debug!(message, %fault, "systemd was not told");
        }
        sent.is_ok()
    }
}

/// A path, or a name in the abstract namespace, which is written with an `@`.
fn address(name: &str) -> io::Result<SocketAddr> {
    match name.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name),
        None if name.starts_with('/') => SocketAddr::from_pathname(name),
        None => Err(io::Error::new(io::ErrorKind::InvalidInput, "it is neither a path nor an abstract name")),
    }
}

/// The limit, if it is meant for this process.
fn watchdog(env: &EnvReader<'_>) -> Option<Duration> {
    let ours = env.text("WATCHDOG_PID").is_none_or(|pid| pid == std::process::id().to_string());
    let micros = env.text("WATCHDOG_USEC")?.parse().ok()?;
    (ours && micros > 0).then(|| Duration::from_micros(micros))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::Variables;

    fn read(pairs: &[(&str, &str)]) -> Notifier {
        let variables = Variables::of(pairs);
        Notifier::read(&EnvReader::new(&variables, "executor"))
    }

    fn heard(socket: &UnixDatagram) -> String {
        let mut bytes = [0; 100];
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let length = socket.recv(&mut bytes).unwrap();
        String::from_utf8(bytes[..length].to_vec()).unwrap()
    }

    #[test]
    fn paths_and_abstract_names_are_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let by_path = UnixDatagram::bind(&path).unwrap();
        assert!(read(&[("NOTIFY_SOCKET", path.to_str().unwrap())]).send("READY=1"));
        assert_eq!(heard(&by_path), "READY=1");

        let name = format!("executor-test-{}", std::process::id());
        let by_name = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        assert!(read(&[("NOTIFY_SOCKET", &format!("@{name}"))]).send("STOPPING=1"));
        assert_eq!(heard(&by_name), "STOPPING=1");
    }

    #[test]
    fn without_a_manager_nothing_is_told() {
        assert!(!read(&[]).is_heard());
        assert!(!read(&[("NOTIFY_SOCKET", "relative")]).is_heard());
        let gone = read(&[("NOTIFY_SOCKET", "/nowhere/notify")]);
        assert!(!gone.send("READY=1"));
        assert_eq!(gone.watchdog(), None);
    }

    #[test]
    fn a_watchdog_is_for_the_process_it_names() {
        let own = std::process::id().to_string();
        for (usec, pid, expect) in [
            ("3000000", Some(own.as_str()), Some(Duration::from_secs(3))),
            ("3000000", None, Some(Duration::from_secs(3))),
            ("3000000", Some("1"), None),
            ("0", None, None),
            ("x", None, None),
        ] {
            let mut pairs = vec![("NOTIFY_SOCKET", "/run/x"), ("WATCHDOG_USEC", usec)];
            pairs.extend(pid.map(|pid| ("WATCHDOG_PID", pid)));
            assert_eq!(read(&pairs).watchdog(), expect, "{usec} {pid:?}");
        }
    }
}
