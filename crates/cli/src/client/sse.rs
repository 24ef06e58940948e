//! Following a job: Server-Sent Events that resume where they were cut.

use super::Client;
use super::sending::{NotFound, is_elsewhere, refusal, refusal_and_problem};
use crate::exit::Failure;
use reqwest::{Method, Response};
use server::api::LogEvent;
use std::time::{Duration, Instant};

/// How long to try to get back to a server that went away.
const PATIENCE: Duration = Duration::from_mins(1);
/// Pause between two tries.
const RETRY_PAUSE: Duration = Duration::from_millis(500);
/// Silence after which a connection counts as cut; the server sends something every 15 s.
const SILENCE: Duration = Duration::from_secs(45);
/// A connection that was there for so long was no try to get back.
const LASTING: Duration = Duration::from_secs(10);
/// Bytes of one event at most.
const MAX_EVENT: usize = 16 << 20;

/// A log being followed.
#[derive(Debug)]
pub(crate) struct Follow {
    client: Client,
    path: String,
    response: Option<Response>,
    buffer: Vec<u8>,
    cursor: Option<String>,
    ended: bool,
    /// How long to try.
    patience: Duration,
    connected_at: Option<Instant>,
    /// Since when it tries to get back, and where it was then.
    cut: Option<(Instant, Option<String>)>,
}

impl Follow {
    pub(super) fn new(client: Client, path: String) -> Self {
        Self {
            client,
            path,
            response: None,
            buffer: Vec::new(),
            cursor: None,
            ended: false,
            patience: PATIENCE,
            connected_at: None,
            cut: None,
        }
    }

    /// The next event; `None` after [`LogEvent::End`].
    pub(crate) async fn next(&mut self) -> Result<Option<LogEvent>, Failure> {
        while !self.ended {
            if let Some(event) = self.take_event()? {
                self.ended = matches!(event, LogEvent::End(_));
                return Ok(Some(event));
            }
            match self.read_more().await {
                Ok(()) => {}
                Err(Cut::Final(failure)) => return Err(failure),
                Err(Cut::Retry(failure)) => {
                    self.response = None;
                    self.buffer.clear();
                    if self.tried_for() > self.patience {
                        return Err(failure);
                    }
                    tokio::time::sleep(RETRY_PAUSE).await;
                }
            }
        }
        Ok(None)
    }

    /// For how long it has tried to get on. A connection that breaks off again at the same place is no progress, whatever was
    /// said over it.
    fn tried_for(&mut self) -> Duration {
        let lasted = self.connected_at.take().is_some_and(|at| at.elapsed() > LASTING);
        let (since, at) = self.cut.get_or_insert_with(|| (Instant::now(), self.cursor.clone()));
        if lasted || *at != self.cursor {
            (*since, *at) = (Instant::now(), self.cursor.clone());
        }
        since.elapsed()
    }

    async fn read_more(&mut self) -> Result<(), Cut> {
        if self.response.is_none() {
            self.response = Some(self.connect().await?);
            self.connected_at = Some(Instant::now());
        }
        let Some(response) = &mut self.response else { return Ok(()) };
        let cut = |text: &str| Cut::Retry(Failure::system(format!("the log stream was cut: {text}")));
        match tokio::time::timeout(SILENCE, response.chunk()).await {
            Err(_) => Err(cut("the control plane went silent")),
            Ok(Err(fault)) => Err(cut(&fault.to_string())),
            Ok(Ok(None)) => Err(cut("the control plane closed it")),
            Ok(Ok(Some(bytes))) if self.buffer.len() + bytes.len() > MAX_EVENT => {
                Err(Cut::Final(Failure::system("an event of the log stream is too large")))
            }
            Ok(Ok(Some(bytes))) => {
                self.buffer.extend_from_slice(&bytes);
                Ok(())
            }
        }
    }

    async fn connect(&self) -> Result<Response, Cut> {
        let mut request = self.client.request(Method::GET, &self.path);
        if let Some(cursor) = &self.cursor {
            request = request.header("Last-Event-ID", cursor);
        }
        let again = request.try_clone();
        let response = request.send().await.map_err(|fault| Cut::Retry(self.client.unreachable(fault)))?;
        match response.status() {
            status if status.is_success() => Ok(response),
            status if status.is_server_error() => match refusal_and_problem(response).await {
                // Who has it may be met by another connection, and is looked for a few times. Where all say that they don't have it
                // anybody would wait for a minute to be told what is the matter.
                (failure, problem) if is_elsewhere(problem.as_ref()) => match again {
                    Some(again) => self.client.send_elsewhere(again, failure).await.map_err(Cut::from),
                    None => Err(Cut::Final(failure)),
                },
                (failure, _) => Err(Cut::Retry(failure)),
            },
            _ => Err(Cut::Final(refusal(response).await)),
        }
    }

    /// Takes one whole event out of the buffer, and remembers where to resume.
    fn take_event(&mut self) -> Result<Option<LogEvent>, Failure> {
        while let Some(end) = self.buffer.windows(2).position(|pair| pair == b"\n\n") {
            let block: Vec<u8> = self.buffer.drain(..end + 2).collect();
            let block = String::from_utf8_lossy(&block);
            let field =
                |name: &str| block.lines().find_map(|line| line.strip_prefix(name)).map(str::trim_start);
            if let Some(cursor) = field("id:") {
                self.cursor = Some(cursor.to_owned());
            }
            let Some(data) = field("data:") else { continue };
            let event = serde_json::from_str(data)
                .map_err(|fault| Failure::system(format!("the log stream can't be read: {fault}")))?;
            return Ok(Some(event));
        }
        Ok(None)
    }
}

/// Why there is no more to read.
enum Cut {
    /// Trying again may help.
    Retry(Failure),
    /// It won't.
    Final(Failure),
}

impl From<NotFound> for Cut {
    fn from(NotFound { failure, some_away }: NotFound) -> Self {
        if some_away { Self::Retry(failure) } else { Self::Final(failure) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::fake::{BUSY, ELSEWHERE, FakeServer, FakeServers, NOBODY};

    /// As of a log of which no more can be read: whoever comes back is told the same again.
    #[tokio::test]
    async fn a_stream_that_breaks_off_at_the_same_place_is_given_up() {
        let event =
            "id: 1.0\ndata: {\"type\":\"text\",\"attempt\":1,\"entry\":1,\"offset\":0,\"text\":\"\"}\n\n";
        let answer = format!("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{event}");
        let server = FakeServer::that_says(answer, "http").await;
        let mut follow = Follow { patience: Duration::from_millis(10), ..server.client.follow(1) };
        let mut told = 0;
        let failure = loop {
            match follow.next().await {
                Ok(event) => told += usize::from(event.is_some()),
                Err(failure) => break failure,
            }
            assert!(told < 10, "it does not give up");
        };
        assert!(failure.message.contains("the log stream was cut"), "{}", failure.message);
    }

    /// The server that has a log is away for longer than it is looked for, and comes back.
    #[tokio::test]
    async fn a_log_is_followed_once_the_server_that_has_it_is_back() {
        let away = [ELSEWHERE, NOBODY, BUSY, BUSY, ELSEWHERE, NOBODY, NOBODY, ELSEWHERE];
        let found =
            (200, "", "data: {\"type\":\"text\",\"attempt\":1,\"entry\":1,\"offset\":0,\"text\":\"\"}\n\n");
        let servers = FakeServers::behind_a_balancer(&[&away[..], &[ELSEWHERE, found]].concat()).await;
        let event =
            servers.client.follow(1).next().await.unwrap_or_else(|failure| panic!("{}", failure.message));
        assert!(matches!(event, Some(LogEvent::Text { .. })), "{event:?}");
    }

    #[tokio::test]
    async fn who_follows_a_log_that_no_server_has_is_told_which_to_ask() {
        let servers = FakeServers::behind_a_balancer(&[ELSEWHERE]).await;
        assert_eq!(servers.client.follow(1).next().await.unwrap_err().message, "it is not here");
        // Some could not be asked, and it looks again before it gives up.
        let servers = FakeServers::behind_a_balancer(&[ELSEWHERE, BUSY, ELSEWHERE]).await;
        let mut follow = Follow { patience: Duration::ZERO, ..servers.client.follow(1) };
        assert_eq!(follow.next().await.unwrap_err().message, "it is not here");
    }
}
