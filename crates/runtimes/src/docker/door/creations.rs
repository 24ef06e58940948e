//! The containers that a job's programs had made, and those that the engine is making for them.
//!
//! An engine makes a container to the end, whether or not its client waits for that. So this goes on as well, and
//! counts it: who hangs up gets no more than who waits.

use super::passage::{Passage, Tasks};
use super::{Body, CONNECTIONS, Shut};
use crate::docker::error::EngineError;
use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::Request;
use hyper::http::response::Parts;
use serde_json::Value;
use std::collections::BTreeMap;
use std::error::Error;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Bytes of a container's description, and of the answer to it.
const LONGEST_DESCRIPTION: usize = 4 << 20;
const MAKE: &str = "create a container";

/// How many containers a job's programs may have made.
#[derive(Debug, Clone, Copy)]
pub(super) struct Most {
    /// Each name and id of them is remembered.
    in_all: usize,
    /// Each holds a connection to the engine, and what was said over it.
    at_a_time: usize,
}

impl Default for Most {
    fn default() -> Self {
        Self { in_all: 10_000, at_a_time: CONNECTIONS }
    }
}

/// A container that was made here.
#[derive(Debug, Clone)]
pub(super) struct Made {
    pub(super) id: String,
    /// What of this host it sees.
    pub(super) sources: Arc<[PathBuf]>,
}

pub(super) struct Creations {
    passage: Passage,
    most: Most,
    made: Arc<Mutex<AllMade>>,
    /// Those that the engine is making; none are made any more once this is gone.
    making: Mutex<Option<JoinSet<()>>>,
}

#[derive(Default)]
struct AllMade {
    /// By their ids and names.
    known: BTreeMap<String, Made>,
    /// Those that are being made are among them.
    number: usize,
}

impl Creations {
    pub(super) fn new(passage: Passage, most: Most) -> Self {
        Self { passage, most, made: Arc::default(), making: Mutex::new(Some(JoinSet::new())) }
    }

    /// The container that was made here under this name or id.
    pub(super) fn find(&self, name: &str) -> Option<Made> {
        all(&self.made).known.get(name).cloned()
    }

    /// Has the engine make a container called `name` that sees `sources`, to the end even if nobody waits for that any
    /// more: the engine lists it only once it has made it.
    pub(super) async fn make(
        &self,
        request: Request<Body>,
        name: Option<String>,
        sources: Vec<PathBuf>,
    ) -> Result<(Parts, Bytes), Shut> {
        let over = || Shut::Refused("the job is over".to_owned());
        let (passage, made) = (self.passage.clone(), Arc::clone(&self.made));
        let (tell, told) = oneshot::channel();
        {
            let mut making = self.making();
            let making = making.as_mut().ok_or_else(over)?;
            while making.try_join_next().is_some() {}
            self.count_one_more(making.len())?;
            making.spawn(async move {
                let answer = ask(&passage, request).await;
                all(&made).note(&answer, name, sources.into());
                // Nobody may be there to be told.
                let _ = tell.send(answer);
            });
        }
        told.await.unwrap_or_else(|_| Err(over()))
    }

    /// Refuses what would be too many.
    fn count_one_more(&self, in_making: usize) -> Result<(), Shut> {
        let Most { in_all, at_a_time } = self.most;
        let mut made = all(&self.made);
        if made.number >= in_all {
            return Err(Shut::Refused(format!("a job may make no more than {in_all} containers")));
        }
        if in_making >= at_a_time {
            let rule = format!("a job may have {at_a_time} containers made at a time; wait for the engine");
            return Err(Shut::Refused(rule));
        }
        made.number += 1;
        Ok(())
    }

    /// Has no more containers made, and waits until none is being made.
    pub(super) async fn finish(&self, limit: Duration) -> Result<(), EngineError> {
        let Some(mut making) = self.making().take() else { return Ok(()) };
        let all = async { while making.join_next().await.is_some() {} };
        let late = |_| EngineError::Late { what: MAKE, limit };
        timeout(limit, all).await.map_err(late)
    }

    fn making(&self) -> MutexGuard<'_, Option<JoinSet<()>>> {
        self.making.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AllMade {
    /// What came of one that was counted. If it is not known what came of it, it stays counted.
    fn note(&mut self, answer: &Result<(Parts, Bytes), Shut>, name: Option<String>, sources: Arc<[PathBuf]>) {
        let Ok((head, said)) = answer else { return };
        if !head.status.is_success() {
            self.number -= 1;
            return;
        }
        let created = serde_json::from_slice::<Value>(said).unwrap_or_default();
        let Some(id) = created["Id"].as_str() else { return };
        let container = Made { id: id.to_owned(), sources };
        // A name may be spelled as somebody's id: what it means here is this container.
        if let Some(name) = name.filter(|name| !name.is_empty()) {
            self.known.entry(name).or_insert(container.clone());
        }
        self.known.insert(id.to_owned(), container);
    }
}

fn all(made: &Mutex<AllMade>) -> MutexGuard<'_, AllMade> {
    made.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn ask(passage: &Passage, request: Request<Body>) -> Result<(Parts, Bytes), Shut> {
    let tasks = Tasks::default();
    let (head, body) = passage.forward(request, &tasks).await?.into_parts();
    let said = read(body).await.map_err(|source| EngineError::Broken { what: MAKE, source })?;
    Ok((head, said))
}

/// A description, or the answer to one, as a whole.
pub(super) async fn read<B>(body: B) -> Result<Bytes, Box<dyn Error + Send + Sync>>
where
    B: hyper::body::Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>>,
{
    Ok(Limited::new(body, LONGEST_DESCRIPTION).collect().await?.to_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::docker::Endpoint;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{UnixListener, UnixStream};
    use tokio::sync::mpsc;

    /// A fake of an engine, which answers when it is told what.
    struct FakeEngine {
        asked: mpsc::UnboundedReceiver<UnixStream>,
        creations: Creations,
        _dir: tempfile::TempDir,
    }

    impl FakeEngine {
        fn new(most: Most) -> Self {
            let dir = tempfile::tempdir().unwrap();
            let socket = dir.path().join("engine.sock");
            let listener = UnixListener::bind(&socket).unwrap();
            let (ask, asked) = mpsc::unbounded_channel();
            tokio::spawn(async move {
                while let Ok((mut stream, _)) = listener.accept().await {
                    let _ = stream.read(&mut [0; 4096]).await.unwrap();
                    ask.send(stream).unwrap();
                }
            });
            let endpoint = Endpoint::Unix(socket);
            Self { asked, creations: Creations::new(Passage(endpoint), most), _dir: dir }
        }

        async fn make(&self, name: &str) -> Result<(Parts, Bytes), Shut> {
            let request =
                Request::post("/containers/create").body(super::super::whole(Bytes::new())).unwrap();
            self.creations.make(request, Some(name.to_owned()), Vec::new()).await
        }

        /// Has one made for somebody who does not wait for it.
        async fn make_for_nobody(&mut self, name: &str) -> UnixStream {
            let request =
                Request::post("/containers/create").body(super::super::whole(Bytes::new())).unwrap();
            tokio::select! {
                _ = self.creations.make(request, Some(name.to_owned()), Vec::new()) => panic!("nobody answered"),
                stream = self.asked.recv() => stream.unwrap(),
            }
        }

        async fn made(&self) {
            while self.creations.making().as_mut().is_some_and(|making| {
                while making.try_join_next().is_some() {}
                !making.is_empty()
            }) {
                tokio::task::yield_now().await;
            }
        }
    }

    async fn answer(mut stream: UnixStream, status: &str, id: &str) {
        let body = format!(r#"{{"Id":"{id}"}}"#);
        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        stream.write_all(answer.as_bytes()).await.unwrap();
    }

    fn refusal(made: Result<(Parts, Bytes), Shut>) -> String {
        match made {
            Err(Shut::Refused(why)) => why,
            _ => panic!("it was let pass"),
        }
    }

    #[tokio::test]
    async fn who_hangs_up_gets_no_more_containers_than_who_waits() {
        let mut engine = FakeEngine::new(Most { in_all: 3, at_a_time: 2 });
        let first = engine.make_for_nobody("a").await;
        let second = engine.make_for_nobody("b").await;
        assert!(refusal(engine.make("c").await).contains("2 containers made at a time"));

        answer(first, "201 Created", "1").await;
        answer(second, "201 Created", "2").await;
        tokio::time::timeout(Duration::from_secs(30), engine.made()).await.unwrap();
        for (name, id) in [("a", "1"), ("b", "2"), ("1", "1")] {
            assert_eq!(engine.creations.find(name).unwrap().id, id, "it is the job's");
        }

        let third = engine.make_for_nobody("c").await;
        assert!(refusal(engine.make("d").await).contains("no more than 3 containers"));
        answer(third, "409 Conflict", "").await;
        tokio::time::timeout(Duration::from_secs(30), engine.made()).await.unwrap();
        let last = engine.make_for_nobody("d").await;
        assert!(refusal(engine.make("e").await).contains("no more than 3 containers"), "what is not made");
        drop(last);
        engine.creations.finish(Duration::from_secs(30)).await.unwrap();
        assert!(refusal(engine.make("e").await).contains("over"));
    }
}
