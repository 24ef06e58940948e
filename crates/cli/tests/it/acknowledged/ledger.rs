//! What was acknowledged.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Mutex;

/// What keys of secrets begin with, and of nothing else that is written over.
pub(super) const SECRET: &str = "KEPT_";

/// A log entry and all of its text, in the try that ended its job.
#[derive(Debug, Clone)]
pub(super) struct Ended {
    pub(super) entry: i64,
    pub(super) text: String,
}

/// What has a name, comes and goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Token,
    Person,
    Repository,
}

/// Something that is written over: its writes are numbered from 1, and one begins when the one before was acknowledged.
#[derive(Debug, Clone, Copy, Default)]
struct Written {
    begun: u64,
    acknowledged: u64,
}

/// The last acknowledged writes of all that is written over, at one time.
pub(super) type Numbers = BTreeMap<String, u64>;

#[derive(Debug, Default)]
struct Book {
    /// The ids that each idempotency key was answered with.
    jobs: BTreeMap<String, BTreeSet<i64>>,
    /// Two with one call: how many were acknowledged, and of those that were cut off how many were there then, and were not.
    pairs: u64,
    cut_pairs: [u64; 2],
    /// Those that had not begun, and so have ended by it, and the others, which may complete first.
    canceled: BTreeMap<i64, bool>,
    completed: BTreeMap<i64, Vec<Ended>>,
    /// Each file with its job, its id and its content.
    files: Vec<(i64, String, String)>,
    /// What jobs left: in which try is not told to who runs them.
    artifacts: Vec<(i64, String)>,
    indexes: BTreeMap<i64, Vec<u8>>,
    written: BTreeMap<String, Written>,
    /// The newest value of each secret that a job was given.
    handed_out: Numbers,
    there: BTreeMap<Kind, BTreeSet<String>>,
    gone: BTreeMap<Kind, BTreeSet<String>>,
    /// Calls that had to be repeated, because no answer came or one that says to try again.
    repeated: u64,
    unique: u64,
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

    pub(super) fn pair(&self) {
        self.note(|book| book.pairs += 1);
    }

    /// Such a call was cut off, and the jobs of it are there, or not.
    pub(super) fn cut_pair(&self, are_there: bool) {
        self.note(|book| book.cut_pairs[usize::from(!are_there)] += 1);
    }

    pub(super) fn cancel(&self, id: i64, has_ended: bool) {
        self.note(|book| book.canceled.insert(id, has_ended));
    }

    pub(super) fn complete(&self, id: i64, ended: Ended) {
        self.note(|book| book.completed.entry(id).or_default().push(ended));
    }

    pub(super) fn brought(&self, job: i64, file: String, content: String) {
        self.note(|book| book.files.push((job, file, content)));
    }

    pub(super) fn left(&self, job: i64, content: String) {
        self.note(|book| book.artifacts.push((job, content)));
    }

    pub(super) fn indexed(&self, id: i64, content: Vec<u8>) {
        self.note(|book| book.indexes.insert(id, content));
    }

    pub(super) fn made(&self, kind: Kind, name: &str) {
        self.note(|book| book.there.entry(kind).or_default().insert(name.to_owned()));
    }

    /// It is about to be removed: until that is acknowledged it may be there or not.
    pub(super) fn doubt(&self, kind: Kind, name: &str) {
        self.note(|book| book.there.entry(kind).or_default().remove(name));
    }

    pub(super) fn removed(&self, kind: Kind, name: String) {
        self.note(|book| book.gone.entry(kind).or_default().insert(name));
    }

    pub(super) fn again(&self) {
        self.note(|book| book.repeated += 1);
    }

    /// A text that no other is like.
    pub(super) fn unique(&self, text: &str) -> String {
        self.note(|book| {
            book.unique += 1;
            format!("{text}, {}\n", book.unique)
        })
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

    pub(super) fn files(&self) -> Vec<(i64, String, String)> {
        self.note(|book| book.files.clone())
    }

    pub(super) fn artifacts(&self) -> Vec<(i64, String)> {
        self.note(|book| book.artifacts.clone())
    }

    pub(super) fn indexes(&self) -> BTreeMap<i64, Vec<u8>> {
        self.note(|book| book.indexes.clone())
    }

    pub(super) fn there_and_gone(&self, kind: Kind) -> (BTreeSet<String>, BTreeSet<String>) {
        self.note(|book| {
            let of = |all: &BTreeMap<Kind, BTreeSet<String>>| all.get(&kind).cloned().unwrap_or_default();
            (of(&book.there), of(&book.gone))
        })
    }

    /// A storm in which nothing was done, or nothing was cut off, shows nothing.
    pub(super) fn is_worth_looking_at(&self) {
        self.note(|book| {
            let jobs = book.jobs.len() > 20 && book.pairs > 0;
            let jobs = jobs && book.completed.len() > 10 && !book.canceled.is_empty();
            let bytes = !book.files.is_empty() && !book.artifacts.is_empty() && !book.indexes.is_empty();
            let named = [Kind::Token, Kind::Person, Kind::Repository].iter();
            let named = named.filter(|kind| book.there.contains_key(kind) && book.gone.contains_key(kind));
            let over = book.written.values().any(|written| written.acknowledged > 1);
            let enough = jobs && bytes && named.count() == 3 && over && book.repeated > 0;
            assert!(enough, "too little was done, or nothing was cut off: {book:?}");
        });
    }
}

/// What is written over.
impl Ledger {
    /// A write begins; returns its number.
    pub(super) fn begin(&self, what: &str) -> u64 {
        self.note(|book| {
            let written = book.written.entry(what.to_owned()).or_default();
            written.begun += 1;
            written.begun
        })
    }

    pub(super) fn written(&self, what: &str, number: u64) {
        self.note(|book| book.written.entry(what.to_owned()).or_default().acknowledged = number);
    }

    pub(super) fn numbers(&self) -> Numbers {
        self.note(|book| {
            book.written.iter().map(|(what, written)| (what.clone(), written.acknowledged)).collect()
        })
    }

    /// Refuses what none of the writes left that may be in force: of those from the one acknowledged last when the look began,
    /// to the one that may be under way now that it ended. Before the first it is as nobody wrote it.
    pub(super) fn must_be(
        &self,
        what: &str,
        when_begun: &Numbers,
        is_it: impl Fn(u64) -> bool,
        seen: impl fmt::Display,
    ) {
        let since = when_begun.get(what).copied().unwrap_or_default();
        let until = self.note(|book| book.written.get(what).map_or(0, |written| written.begun));
        assert!((since..=until).any(is_it), "{what} was written {since} to {until} times, and is {seen}");
    }

    /// The keys of the secrets that are there.
    pub(super) fn secrets(&self) -> Vec<String> {
        let written = self.numbers().into_iter();
        let secrets = written.filter(|(what, number)| *number > 0 && what.starts_with(SECRET));
        secrets.map(|(key, _)| key).collect()
    }

    pub(super) fn handed_out(&self, secret: &str, number: u64) {
        self.note(|book| {
            let newest = book.handed_out.entry(secret.to_owned()).or_default();
            *newest = number.max(*newest);
        });
    }

    /// A job was given each secret as it was written last.
    pub(super) fn all_secrets_were_handed_out(&self) {
        let numbers = self.numbers();
        let last = self.secrets().into_iter().map(|key| (key.clone(), numbers[&key])).collect();
        assert_eq!(
            self.note(|book| book.handed_out.clone()),
            last,
            "secrets that jobs were given, and their last writes"
        );
    }
}

impl fmt::Display for Ledger {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.note(|book| {
            let writes = |is_it: fn(&str) -> bool| -> u64 {
                let of = book.written.iter().filter(|(what, _)| is_it(what));
                of.map(|(_, written)| written.acknowledged).sum()
            };
            let named = |kind| [&book.there, &book.gone].map(|all| all.get(&kind).map_or(0, BTreeSet::len));
            write!(
                out,
                "{} submissions, {} of two with one call (cut off: {} when they were there, {} when not), \
                 {} ends with their logs, {} cancellations, {} files, {} artifacts, {} indexes in parts, \
                 {} writes of secrets, {} of queue and executor; there and removed: tokens {:?}, people {:?}, \
                 repositories {:?}; {} calls were made again",
                book.jobs.len(),
                book.pairs,
                book.cut_pairs[0],
                book.cut_pairs[1],
                book.completed.len(),
                book.canceled.len(),
                book.files.len(),
                book.artifacts.len(),
                book.indexes.len(),
                writes(|what| what.starts_with(SECRET)),
                writes(|what| !what.starts_with(SECRET)),
                named(Kind::Token),
                named(Kind::Person),
                named(Kind::Repository),
                book.repeated
            )
        })
    }
}
