//! What was acknowledged.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Mutex;

/// A log entry and all of its text, in the try that ended its job.
#[derive(Debug, Clone)]
pub(super) struct Ended {
    pub(super) entry: i64,
    pub(super) text: String,
}

#[derive(Debug, Default)]
struct Book {
    /// The ids that each idempotency key was answered with.
    jobs: BTreeMap<String, BTreeSet<i64>>,
    /// Those that had not begun, and so have ended by it, and the others, which may complete first.
    canceled: BTreeMap<i64, bool>,
    completed: BTreeMap<i64, Vec<Ended>>,
    secrets: BTreeSet<String>,
    /// Tokens that are good, and those that were revoked.
    tokens: BTreeSet<String>,
    revoked: BTreeSet<String>,
    /// Calls that had to be repeated, because no answer came or one that says to try again.
    repeated: u64,
}

/// All that was acknowledged, by whomever.
#[derive(Debug, Default)]
pub(super) struct Ledger(Mutex<Book>);

impl Ledger {
    fn note<T>(&self, note: impl FnOnce(&mut Book) -> T) -> T {
        note(&mut self.0.lock().unwrap())
    }

    pub(super) fn job(&self, key: &str, id: i64) {
        self.note(|book| book.jobs.entry(key.to_owned()).or_default().insert(id));
    }

    pub(super) fn cancel(&self, id: i64, has_ended: bool) {
        self.note(|book| book.canceled.insert(id, has_ended));
    }

    pub(super) fn complete(&self, id: i64, ended: Ended) {
        self.note(|book| book.completed.entry(id).or_default().push(ended));
    }

    pub(super) fn secret(&self, key: String) {
        self.note(|book| book.secrets.insert(key));
    }

    pub(super) fn token(&self, token: String) {
        self.note(|book| book.tokens.insert(token));
    }

    pub(super) fn revoke(&self, token: String) {
        self.note(|book| book.revoked.insert(token));
    }

    /// A token is about to be revoked: until that is acknowledged it may be good or not.
    pub(super) fn doubt(&self, token: &str) {
        self.note(|book| book.tokens.remove(token));
    }

    pub(super) fn again(&self) {
        self.note(|book| book.repeated += 1);
    }

    pub(super) fn submitted(&self) -> BTreeSet<i64> {
        self.note(|book| book.jobs.values().flatten().copied().collect())
    }

    pub(super) fn keys(&self) -> BTreeMap<String, BTreeSet<i64>> {
        self.note(|book| book.jobs.clone())
    }

    pub(super) fn canceled(&self) -> BTreeMap<i64, bool> {
        self.note(|book| book.canceled.clone())
    }

    pub(super) fn completed(&self) -> BTreeMap<i64, Vec<Ended>> {
        self.note(|book| book.completed.clone())
    }

    pub(super) fn secrets(&self) -> BTreeSet<String> {
        self.note(|book| book.secrets.clone())
    }

    pub(super) fn tokens(&self) -> (BTreeSet<String>, BTreeSet<String>) {
        self.note(|book| (book.tokens.clone(), book.revoked.clone()))
    }

    /// A storm in which nothing was done, or nothing was cut off, shows nothing.
    pub(super) fn is_worth_looking_at(&self) {
        self.note(|book| {
            let jobs = book.jobs.len() > 20 && book.completed.len() > 10 && !book.canceled.is_empty();
            let kept = !book.secrets.is_empty() && !book.revoked.is_empty();
            assert!(jobs && kept && book.repeated > 0, "too little was done, or nothing was cut off");
        });
    }
}

impl fmt::Display for Ledger {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.note(|book| {
            let (jobs, completed, canceled) = (book.jobs.len(), book.completed.len(), book.canceled.len());
            let (secrets, tokens) = (book.secrets.len(), book.tokens.len() + book.revoked.len());
            write!(
                out,
                "{jobs} submissions, {completed} ends with their logs, {canceled} cancellations, {secrets} secrets, \
                 {tokens} tokens; {} calls were made again",
                book.repeated
            )
        })
    }
}
