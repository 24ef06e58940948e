//! What is looked at on behalf of the manager: an agent, a control plane, or both.

use agent::Monitor;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// An agent's heartbeat, each of which may take 10 s, moves at least so often, whether or not it is answered.
const MOVES: Duration = Duration::from_secs(45);
/// How long a control plane may take to answer a question.
const ANSWERS: Duration = Duration::from_secs(10);
/// A question that costs nothing. Any answer will do.
const QUESTION: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
const ANSWER: &[u8] = b"HTTP/1.1 ";
/// What whoever speaks TLS alone answers to it: that this was none.
const ALERT: u8 = 21;

/// What is there to be looked at.
#[derive(Debug, Clone, Default)]
pub(crate) struct Watched {
    pub(crate) agent: Option<Monitor>,
    /// Where the control plane listens.
    pub(crate) server: Option<SocketAddr>,
}

impl Watched {
    /// Whether the service has begun to do its work. A control plane has when it listens.
    pub(crate) fn is_ready(&self) -> bool {
        self.agent.as_ref().is_none_or(Monitor::was_answered)
    }

    /// One line for people.
    pub(crate) fn status(&self, stopping: bool) -> String {
        let Some(agent) = &self.agent else {
            let doing = if stopping { "finishing requests" } else { "answering requests" };
            return self.server.map(|address| format!("{doing} on {address}")).unwrap_or_default();
        };
        let running = agent.running();
        match (agent.was_answered(), stopping) {
            (false, false) => "waiting for the control plane to answer".to_owned(),
            (_, true) => format!("draining: {running} jobs run"),
            (true, false) => format!("{running} jobs run"),
        }
    }

    /// Whether nothing is stuck.
    pub(crate) async fn moves(&self) -> bool {
        let agent = self.agent.as_ref().is_none_or(|agent| agent.still_for() < MOVES);
        agent
            && match self.server {
                Some(address) => matches!(timeout(ANSWERS, answers(address)).await, Ok(Ok(true))),
                None => true,
            }
    }
}

async fn answers(address: SocketAddr) -> io::Result<bool> {
    let mut stream = TcpStream::connect(reachable(address)).await?;
    stream.write_all(QUESTION).await?;
    let mut begun = [0; ANSWER.len()];
    stream.read_exact(&mut begun[..1]).await?;
    if begun[0] == ALERT {
        return Ok(true);
    }
    stream.read_exact(&mut begun[1..]).await?;
    Ok(begun == ANSWER)
}

/// Where one who listens everywhere is found on this host.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    async fn says(words: &'static [u8]) -> bool {
        let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
        let server = Some(listener.local_addr().unwrap());
        let answering = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut question = vec![0; QUESTION.len()];
            stream.read_exact(&mut question).await.unwrap();
            stream.write_all(words).await.unwrap();
        });
        let moves = Watched { server, agent: None }.moves().await;
        answering.await.unwrap();
        moves
    }

    #[tokio::test]
    async fn whatever_a_control_plane_answers_it_moves() {
        assert!(says(b"HTTP/1.1 404 Not Found\r\n\r\n").await);
        assert!(!says(b"SSH-2.0-x").await);
        assert!(!says(b"").await);
        assert!(says(b"\x15\x03\x03\x00\x02\x02\x32").await, "it speaks TLS");
        let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        assert!(!Watched { server: Some(nobody), agent: None }.moves().await);
    }

    #[test]
    fn a_status_tells_what_is_done() {
        let agent = Watched { agent: Some(Monitor::default()), server: None };
        assert_eq!(agent.status(false), "waiting for the control plane to answer");
        assert_eq!(agent.status(true), "draining: 0 jobs run");
        assert!(!agent.is_ready());
        let server = Watched { server: Some("127.0.0.1:7080".parse().unwrap()), agent: None };
        assert_eq!(server.status(false), "answering requests on 127.0.0.1:7080");
        assert!(server.is_ready());
    }
}
