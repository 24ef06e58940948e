//! Sending requests, again where that may help, and telling in words why one failed.

use super::Client;
use crate::exit::{Failure, chain};
use crate::shown;
use reqwest::{Request, RequestBuilder, Response, StatusCode};
use server::api::{Problem, RESULT_ELSEWHERE};
use std::time::Duration;
use tls::Mismatch;
use wire::additions::IDEMPOTENCY_KEY;

/// How often it is tried to meet the server that has a result. Whoever calls one server by its address is told the same each
/// time, and is not to wait for it.
const MOST_ELSEWHERE: u32 = 8;
/// Pause between two such tries.
const ELSEWHERE_PAUSE: Duration = Duration::from_millis(50);

impl Client {
    pub(super) async fn send(&self, request: RequestBuilder) -> Result<Response, Failure> {
        let again = request.try_clone();
        let response = send(request, Again::AsTold).await.map_err(|fault| self.unreachable(fault))?;
        if response.status().is_success() {
            return Ok(response);
        }
        match (refusal_and_problem(response).await, again) {
            ((failure, problem), Some(again)) if is_elsewhere(problem.as_ref()) => {
                self.send_elsewhere(again, failure).await.map_err(|not_found| not_found.failure)
            }
            ((failure, _), _) => Err(failure),
        }
    }

    /// Looks for the server that has what others refused with `failure`, as they said that another one has it: such a request
    /// changed nothing. One that is away is passed over, since it need not be the one that is looked for.
    pub(super) async fn send_elsewhere(
        &self,
        request: RequestBuilder,
        mut failure: Failure,
    ) -> Result<Response, NotFound> {
        let mut some_away = false;
        let (_, request) = request.build_split();
        let request = request.map_err(|fault| NotFound { failure: self.unreachable(fault), some_away })?;
        // Of what was cut off nobody knows whether it changed something.
        let tries = if may_be_repeated(&request) { MOST_ELSEWHERE } else { 1 };
        for _ in 1..tries {
            tokio::time::sleep(ELSEWHERE_PAUSE).await;
            let Some(again) = request.try_clone() else { break };
            let response = match self.anew.execute(again).await {
                Ok(response) if response.status().is_success() => return Ok(response),
                Ok(response) => response,
                Err(fault) => {
                    some_away = true;
                    if took_too_long(&fault) {
                        // The others might take as long each.
                        break;
                    }
                    continue;
                }
            };
            let may_pass = is_passing(response.status());
            let (said, problem) = refusal_and_problem(response).await;
            if is_elsewhere(problem.as_ref()) {
                failure = said;
            } else if may_pass {
                some_away = true;
            } else {
                return Err(NotFound { failure: said, some_away: false });
            }
        }
        Err(NotFound { failure, some_away })
    }

    pub(super) fn unreachable(&self, fault: reqwest::Error) -> Failure {
        // The URL is already told.
        let fault = fault.without_url();
        let (base, why) = (&self.base, chain(&fault));
        Failure::system(if let Some(mismatch) = Mismatch::of(&fault) {
            format!("the control plane at {base} can't be called: {}", mismatch.told())
        } else if tls::comes_of_tls(&fault) {
            format!(
                "the control plane at {base} can't be trusted over TLS: {why}; if its certificate is of a private \
                 authority, name that one's by SSL_CERT_FILE, or add it to the certificates of this machine"
            )
        } else if took_too_long(&fault) {
            format!(
                "the control plane at {base} took the request and did not answer in time: {why}; its log tells what \
                 it does, and the request may still be done"
            )
        } else {
            format!(
                "no answer from the control plane at {base}: {why}; is `executor up` or `executor server` running there?"
            )
        })
    }

    pub(super) fn unreadable(&self, fault: &reqwest::Error) -> Failure {
        Failure::system(format!("the answer of {} can't be read: {}", self.base, chain(fault)))
    }
}

/// Why no server was met that has what was asked for.
pub(super) struct NotFound {
    /// What the others said.
    pub(super) failure: Failure,
    /// Some could not be asked: it may be one of those.
    pub(super) some_away: bool,
}

/// Whether sending a request twice does no harm.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Again {
    Harmless,
    /// The method or a header tells.
    AsTold,
}

/// Sends a request. Where sending it twice does no harm, a connection that was closed before any byte of
/// the answer came is no reason to give up: a proxy may have closed it while it was idle.
pub(super) async fn send(request: RequestBuilder, again_is: Again) -> reqwest::Result<Response> {
    let again = request.try_clone();
    match (request.send().await, again) {
        (Err(fault), Some(again)) if was_cut(&fault) => {
            let again = again.build_split();
            match again {
                (client, Ok(again)) if again_is == Again::Harmless || may_be_repeated(&again) => {
                    client.execute(again).await
                }
                _ => Err(fault),
            }
        }
        (sent, _) => sent,
    }
}

fn may_be_repeated(request: &Request) -> bool {
    request.method().is_idempotent() || request.headers().contains_key(IDEMPOTENCY_KEY)
}

/// The connection was there, and ended before the answer began.
fn was_cut(fault: &reqwest::Error) -> bool {
    fault.is_request() && !fault.is_connect() && !fault.is_timeout() && !fault.is_builder()
}

/// The server was there, and did not answer in time.
fn took_too_long(fault: &reqwest::Error) -> bool {
    fault.is_timeout() && !fault.is_connect()
}

/// Whether the same may be answered otherwise in a moment.
fn is_passing(status: StatusCode) -> bool {
    status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS
}

/// Whether another server has what was asked for.
pub(super) fn is_elsewhere(problem: Option<&Problem>) -> bool {
    problem.is_some_and(|problem| problem.code == RESULT_ELSEWHERE)
}

/// What the control plane says it refused. Faults of the request are the caller's to mend.
pub(super) async fn refusal(response: Response) -> Failure {
    refusal_and_problem(response).await.0
}

/// The same, with all of it that programs understand.
pub(super) async fn refusal_and_problem(response: Response) -> (Failure, Option<Problem>) {
    let status = response.status();
    let text = response.text().await.unwrap_or_default();
    if tls::wants_tls(status, &text) {
        let told = format!("the control plane can't be called: {}", Mismatch::NoHttp.told());
        return (Failure::system(told), None);
    }
    let beginning =
        || format!("the control plane answered {status}: {}", text.chars().take(300).collect::<String>());
    let problem = serde_json::from_str::<Problem>(&text).ok();
    let message = problem.as_ref().map_or_else(beginning, |problem| problem.detail.clone());
    // A refusal is one line, whatever the control plane, or whoever stands in its place, says.
    let message = shown::line(&message);
    let failure = if status.is_client_error() { Failure::usage(message) } else { Failure::system(message) };
    (failure, problem)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::fake::{BUSY, ELSEWHERE, FOUND, FakeServer, FakeServers, GONE, NOBODY};
    use reqwest::Method;
    use tls::Roots;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    /// A server that hangs up on so many requests before it answers one; counts all of them.
    async fn rude_server(listener: TcpListener, mut hang_ups: u32) -> u32 {
        let mut seen = 0;
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.windows(4).any(|part| part == b"\r\n\r\n") {
                assert_ne!(stream.read_buf(&mut request).await.unwrap(), 0);
            }
            seen += 1;
            if hang_ups == 0 {
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n7").await.unwrap();
                return seen;
            }
            hang_ups -= 1;
        }
    }

    async fn call(method: Method, hang_ups: u32) -> Result<(String, u32), Failure> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let server = tokio::spawn(rude_server(listener, hang_ups));
        let client = Client::new(base, "token".into(), &Roots::default()).unwrap();
        let response = client.send(client.request(method, "/x")).await?;
        Ok((response.text().await.unwrap(), server.await.unwrap()))
    }

    /// What whoever calls a server by `scheme` is told, which says `says` to everybody.
    async fn told_by(scheme: &str, says: &[u8]) -> String {
        let server = FakeServer::that_says(says, scheme).await;
        server.client.get::<serde_json::Value>("/x").await.unwrap_err().message
    }

    #[tokio::test]
    async fn plain_http_and_tls_taken_for_each_other_are_told_in_words() {
        let plain = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n";
        let told = told_by("https", plain).await;
        assert!(told.contains("speaks no TLS: begin the URL with http://"), "{told}");
        // The alert of TLS that is sent back for what is none.
        let told = told_by("http", b"\x15\x03\x01\x00\x02\x02\x46").await;
        assert!(told.contains("begin the URL with https://"), "{told}");
        let go = b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n";
        let told = told_by("http", go).await;
        assert!(told.contains("begin the URL with https://"), "{told}");
    }

    #[tokio::test]
    async fn the_server_that_has_a_result_is_looked_for_a_few_times() {
        let servers = FakeServers::behind_a_balancer(&[ELSEWHERE, ELSEWHERE, FOUND]).await;
        assert_eq!((servers.client.get_text("/x").await.unwrap().as_str(), servers.met()), ("7", 3));
        let servers = FakeServers::behind_a_balancer(&[ELSEWHERE]).await;
        assert_eq!(servers.client.get_text("/x").await.unwrap_err().message, "it is not here");
        assert_eq!(servers.met(), MOST_ELSEWHERE as usize);
    }

    #[tokio::test]
    async fn who_is_away_meanwhile_is_passed_over_where_a_result_is_looked_for() {
        let servers = FakeServers::behind_a_balancer(&[ELSEWHERE, NOBODY, BUSY, FOUND]).await;
        assert_eq!((servers.client.get_text("/x").await.unwrap().as_str(), servers.met()), ("7", 4));
        // The first is the one who knows which to ask.
        for away in [NOBODY, BUSY] {
            let servers = FakeServers::behind_a_balancer(&[ELSEWHERE, away]).await;
            assert_eq!(servers.client.get_text("/x").await.unwrap_err().message, "it is not here");
            assert_eq!(servers.met(), MOST_ELSEWHERE as usize);
        }
        let servers = FakeServers::behind_a_balancer(&[ELSEWHERE, BUSY, GONE]).await;
        assert_eq!(servers.client.get_text("/x").await.unwrap_err().message, "it is gone");
        assert_eq!(servers.met(), 3);
    }

    #[tokio::test]
    async fn what_may_not_be_repeated_is_looked_for_nowhere_else() {
        let servers = FakeServers::behind_a_balancer(&[ELSEWHERE, FOUND]).await;
        let failure = servers.client.post::<u8>("/x", &()).await.unwrap_err();
        assert_eq!((failure.message.as_str(), servers.met()), ("it is not here", 1));
    }

    #[tokio::test]
    async fn a_call_that_was_cut_is_made_once_more_where_that_does_no_harm() {
        for method in [Method::GET, Method::DELETE] {
            assert_eq!(call(method, 1).await.unwrap(), ("7".to_owned(), 2));
        }
        assert!(call(Method::GET, 2).await.is_err(), "once is enough");
        assert!(call(Method::POST, 1).await.is_err(), "a job would be submitted twice");
        assert_eq!(call(Method::POST, 0).await.unwrap(), ("7".to_owned(), 1));
    }
}
