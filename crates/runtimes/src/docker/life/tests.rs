use super::*;
use crate::docker::endpoint::Endpoint;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

/// No container anywhere is called so.
const ID: &str = "a-container-of-a-fake-engine";
/// How long the step may take to end. It never does by itself.
const GRACE: Duration = Duration::from_mins(1);
/// What is left of a lease of 3 s when it is lost, less what it takes to hear of that.
const LEFT: Duration = Duration::from_millis(450);

const NONE: &str = "204 No Content\r\ncontent-length: 0";
const REFUSED: &str = "500 Internal Server Error\r\ncontent-length: 0";
/// Podman's answer for a container that it does not kill.
const NOT_RUNNING: &str = "409 Conflict\r\ncontent-length: 0";

/// What an engine makes of a signal.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Signaled {
    /// It is passed on.
    Answered,
    Refused,
    /// It is passed on, and nothing is said of that.
    Silent,
}

/// A fake: no real engine hangs when it is asked to. It has one container, which heeds nothing but SIGKILL.
struct Engine {
    asked: Signaled,
    killed: Signaled,
    paused: AtomicBool,
    dead: CancellationToken,
}

impl Engine {
    async fn serve(self: Arc<Self>, listener: UnixListener) {
        while let Ok((connection, _)) = listener.accept().await {
            tokio::spawn(Arc::clone(&self).answer(connection));
        }
    }

    async fn answer(self: Arc<Self>, mut connection: UnixStream) {
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            if connection.read_buf(&mut request).await.unwrap_or(0) == 0 {
                return;
            }
        }
        let answer = self.said_to(&String::from_utf8(request).unwrap()).await;
        let _ = connection.write_all(format!("HTTP/1.1 {answer}").as_bytes()).await;
    }

    async fn said_to(&self, request: &str) -> String {
        let json = |body: &str| format!("200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        let path = request.split_whitespace().nth(1).unwrap();
        if path == "/version" {
            return json(r#"{"Version":"1","ApiVersion":"1.41"}"#);
        }
        if path.contains("/wait") {
            self.dead.cancelled().await;
            return json(r#"{"StatusCode":137}"#);
        }
        let said = if path.ends_with("/unpause") {
            self.paused.store(false, Ordering::SeqCst);
            NONE
        } else if path.ends_with("SIGKILL") {
            if self.paused.load(Ordering::SeqCst) {
                NOT_RUNNING
            } else {
                self.dead.cancel();
                signaled(self.killed).await
            }
        } else {
            signaled(self.asked).await
        };
        format!("{said}\r\n\r\n")
    }
}

async fn signaled(how: Signaled) -> &'static str {
    match how {
        Signaled::Answered => NONE,
        Signaled::Refused => REFUSED,
        Signaled::Silent => std::future::pending().await,
    }
}

/// How long after `at_once` has fired the container has ended; before that, it was asked to end for a while.
async fn ends_within(engine: Engine) -> Duration {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("socket");
    tokio::spawn(Arc::new(engine).serve(UnixListener::bind(&socket).unwrap()));
    let client = Client::new(Endpoint::Unix(socket));
    client.engine().await.unwrap();
    let (stop, at_once) = (CancellationToken::new(), CancellationToken::new());
    let life = Life::new(&client, ID, Grace { time: GRACE, at_once: at_once.clone() }, false);
    stop.cancel();
    let asked = Instant::now();
    let lost = async {
        tokio::time::sleep(GRACE / 4).await;
        at_once.cancel();
        std::future::pending::<()>().await;
    };
    let ended = tokio::select! {
        ended = life.end(&stop) => ended.unwrap(),
        () = lost => unreachable!(),
    };
    assert_eq!(ended, (137, true));
    asked.elapsed().saturating_sub(GRACE / 4)
}

fn engine(asked: Signaled, killed: Signaled) -> Engine {
    Engine { asked, killed, paused: AtomicBool::new(false), dead: CancellationToken::new() }
}

#[tokio::test(start_paused = true)]
async fn one_that_is_asked_to_end_already_is_killed_when_there_is_no_time_any_more() {
    let took = ends_within(engine(Signaled::Answered, Signaled::Answered)).await;
    assert!(took < LEFT, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_hangs_while_it_asks_one_to_end_keeps_it_from_being_killed_no_longer() {
    let took = ends_within(engine(Signaled::Silent, Signaled::Answered)).await;
    assert!(took < LEFT, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn one_that_the_engine_does_not_ask_to_end_is_killed() {
    let took = ends_within(engine(Signaled::Refused, Signaled::Answered)).await;
    assert!(took < LEFT, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_does_not_say_that_it_has_killed_is_not_waited_for() {
    let took = ends_within(engine(Signaled::Answered, Signaled::Silent)).await;
    assert!(took < LEFT, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn one_that_was_paused_is_killed_as_soon() {
    let paused = AtomicBool::new(true);
    let took = ends_within(Engine { paused, ..engine(Signaled::Answered, Signaled::Answered) }).await;
    assert!(took < LEFT, "{took:?}");
}
