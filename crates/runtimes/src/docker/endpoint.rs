//! Where the engine listens, as `DOCKER_HOST` names it.

use super::error::EngineError;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

/// Where engines listen that were told nothing else.
const DEFAULT: &str = "unix:///var/run/docker.sock";
/// The port of an engine without TLS.
const PORT: u16 = 2375;
/// How long connecting may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// An engine's address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// A socket on this host.
    Unix(PathBuf),
    /// A host and a port, without encryption.
    Tcp(String, u16),
}

/// What an engine can be talked to over.
pub(super) trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

impl Endpoint {
    pub(super) async fn connect(&self) -> Result<Box<dyn Wire>, EngineError> {
        let connecting = async {
            Ok::<Box<dyn Wire>, io::Error>(match self {
                Self::Unix(path) => Box::new(UnixStream::connect(path).await?),
                Self::Tcp(host, port) => {
                    let stream = TcpStream::connect((host.as_str(), *port)).await?;
                    stream.set_nodelay(true)?;
                    Box::new(stream)
                }
            })
        };
        let connected = tokio::time::timeout(CONNECT_LIMIT, connecting).await;
        let connected = connected.unwrap_or_else(|late| Err(late.into()));
        connected.map_err(|source| EngineError::Unreachable { endpoint: self.to_string(), source })
    }

    /// Whether what is sent can be read on the way.
    pub(super) fn is_exposed(&self) -> bool {
        let local = |host: &str| host == "localhost" || host == "::1" || host.starts_with("127.");
        matches!(self, Self::Tcp(host, _) if !local(host))
    }
}

impl Default for Endpoint {
    fn default() -> Self {
        Self::Unix(DEFAULT.trim_start_matches("unix://").into())
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(out, "unix://{}", path.display()),
            Self::Tcp(host, port) if host.contains(':') => write!(out, "tcp://[{host}]:{port}"),
            Self::Tcp(host, port) => write!(out, "tcp://{host}:{port}"),
        }
    }
}

/// Why a text names no engine.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("invalid DOCKER_HOST {value:?}: {rule}; write unix:///path/of/socket or tcp://host:port")]
pub struct BadEndpoint {
    value: String,
    rule: &'static str,
}

impl FromStr for Endpoint {
    type Err = BadEndpoint;

    fn from_str(value: &str) -> Result<Self, BadEndpoint> {
        let bad = |rule| BadEndpoint { value: value.to_owned(), rule };
        if value.is_empty() {
            return Ok(Self::default());
        }
        let (scheme, rest) = value.split_once("://").ok_or_else(|| bad("it has no scheme"))?;
        match scheme {
            "unix" if rest.starts_with('/') => Ok(Self::Unix(rest.into())),
            "unix" => Err(bad("a socket's path is absolute")),
            "tcp" | "http" => tcp(rest.trim_end_matches('/')).map_err(bad),
            "https" => Err(bad("engines behind TLS are not supported; use a socket or a tunnel")),
            "ssh" => Err(bad("engines behind ssh are not supported; forward their socket with `ssh -L`")),
            _ => Err(bad("its scheme is not known")),
        }
    }
}

fn tcp(rest: &str) -> Result<Endpoint, &'static str> {
    const EMPTY: &str = "it names no host";
    let bracketed = rest.strip_prefix('[').and_then(|rest| rest.split_once(']'));
    let (host, port) = match bracketed {
        Some((host, port)) => (host, port.strip_prefix(':').unwrap_or(port)),
        None => rest.split_once(':').unwrap_or((rest, "")),
    };
    if host.is_empty() {
        return Err(EMPTY);
    }
    let port = if port.is_empty() { Ok(PORT) } else { port.parse().map_err(|_| "its port is no number") };
    Ok(Endpoint::Tcp(host.to_owned(), port?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_written() {
        for (text, whole) in [
            ("", "unix:///var/run/docker.sock"),
            ("unix:///run/user/1000/podman/podman.sock", "unix:///run/user/1000/podman/podman.sock"),
            ("tcp://dind", "tcp://dind:2375"),
            ("tcp://127.0.0.1:2376/", "tcp://127.0.0.1:2376"),
            ("http://[::1]:80", "tcp://[::1]:80"),
        ] {
            let endpoint: Endpoint = text.parse().unwrap();
            assert_eq!(endpoint.to_string(), whole);
            assert_eq!(whole.parse::<Endpoint>().unwrap(), endpoint);
        }
    }

    #[test]
    fn what_can_not_be_reached_is_refused_with_the_rule() {
        for (text, rule) in [
            ("/var/run/docker.sock", "scheme"),
            ("unix://docker.sock", "absolute"),
            ("tcp://", "no host"),
            ("tcp://host:docker", "port"),
            ("ssh://root@host", "ssh -L"),
            ("https://host:2376", "TLS"),
            ("npipe:////./pipe/docker_engine", "not known"),
        ] {
            let error = text.parse::<Endpoint>().unwrap_err().to_string();
            assert!(error.contains(rule) && error.contains("DOCKER_HOST"), "{error}");
        }
    }

    #[test]
    fn only_addresses_of_other_hosts_are_exposed() {
        for (text, exposed) in [("", false), ("tcp://127.0.0.1", false), ("tcp://dind", true)] {
            assert_eq!(text.parse::<Endpoint>().unwrap().is_exposed(), exposed, "{text}");
        }
    }
}
