//! The browser's protocol: messages of JSON, each ended by a zero byte; answers by number, and events.

use serde_json::{Value, json};
use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{ChildStdin, ChildStdout};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long an answer may take: the machine may be busy.
const ANSWER: Duration = Duration::from_mins(1);

/// Everything that was heard.
#[derive(Default)]
struct Heard {
    answers: HashMap<u64, Value>,
    /// Of each session, all events.
    events: HashMap<String, Vec<Value>>,
    ended: bool,
}

/// A browser at the other end.
pub(super) struct Pipe {
    to: Mutex<ChildStdin>,
    next: AtomicU64,
    heard: Arc<(Mutex<Heard>, Condvar)>,
}

impl Pipe {
    pub(super) fn new(to: ChildStdin, from: ChildStdout) -> Self {
        let heard = Arc::<(Mutex<Heard>, Condvar)>::default();
        let listening = Arc::clone(&heard);
        std::thread::spawn(move || listen(from, &listening));
        Self { to: Mutex::new(to), next: AtomicU64::new(1), heard }
    }

    /// Asks for something without waiting for the answer; gives its number.
    pub(super) fn send(&self, session: Option<&str>, method: &str, parameters: &Value) -> u64 {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let mut message = json!({"id": id, "method": method, "params": parameters});
        if let Some(session) = session {
            message["sessionId"] = json!(session);
        }
        let mut bytes = message.to_string().into_bytes();
        bytes.push(0);
        // Should it be gone, no answer comes, which is told then.
        let _ = self.to.lock().unwrap_or_else(PoisonError::into_inner).write_all(&bytes);
        id
    }

    /// Asks for something and gives what came of it.
    pub(super) fn call(&self, session: Option<&str>, method: &str, parameters: &Value) -> Value {
        let answer = self.ask(session, method, parameters);
        answer.unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    /// The same of what may fail.
    pub(super) fn ask(
        &self,
        session: Option<&str>,
        method: &str,
        parameters: &Value,
    ) -> Result<Value, Value> {
        let id = self.send(session, method, parameters);
        let answer = self.wait(&format!("an answer to {method}"), |heard| heard.answers.remove(&id));
        if answer["error"].is_null() { Ok(answer["result"].clone()) } else { Err(answer["error"].clone()) }
    }

    /// The events of a session so far.
    pub(super) fn events(&self, session: &str) -> Vec<Value> {
        let heard = self.heard.0.lock().unwrap_or_else(PoisonError::into_inner);
        heard.events.get(session).cloned().unwrap_or_default()
    }

    /// Waits for an event after the first `seen` of a session that `is` it.
    pub(super) fn event(&self, session: &str, seen: usize, what: &str, is: impl Fn(&Value) -> bool) {
        self.wait(what, |heard| {
            let events = heard.events.get(session)?;
            events.iter().skip(seen).any(&is).then_some(())
        });
    }

    fn wait<T>(&self, what: &str, mut found: impl FnMut(&mut Heard) -> Option<T>) -> T {
        let (heard, changed) = &*self.heard;
        let deadline = Instant::now() + ANSWER;
        let mut guard = heard.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(found) = found(&mut guard) {
                return found;
            }
            assert!(!guard.ended, "the browser is gone; waited for {what}");
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "waited {ANSWER:?} for {what}");
            guard = changed.wait_timeout(guard, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

fn listen(from: ChildStdout, heard: &(Mutex<Heard>, Condvar)) {
    let mut from = BufReader::new(from);
    let mut message = Vec::new();
    while matches!(from.read_until(0, &mut message), Ok(read) if read > 0) {
        message.pop();
        if let Ok(value) = serde_json::from_slice::<Value>(&message) {
            let mut guard = heard.0.lock().unwrap_or_else(PoisonError::into_inner);
            match (value["id"].as_u64(), value["sessionId"].as_str().map(str::to_owned)) {
                (Some(id), _) => drop(guard.answers.insert(id, value)),
                (None, Some(session)) => guard.events.entry(session).or_default().push(value),
                (None, None) => {}
            }
            heard.1.notify_all();
        }
        message.clear();
    }
    heard.0.lock().unwrap_or_else(PoisonError::into_inner).ended = true;
    heard.1.notify_all();
}
