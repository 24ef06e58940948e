//! Finding results in a log.
//!
//! They are events, one JSON object a line, among whatever else a job writes. Anything may be there, so what can't be read is
//! passed over, and memory is bounded.

use super::result::AfterStepResult;
use jiff::Timestamp;
use serde::Deserialize;
use std::collections::BTreeMap;

/// Bytes of one line at most; what is longer is no result.
pub const MAX_LINE: usize = 8 << 20;
/// Bytes of the lines of all results together at most.
pub const MAX_RESULTS: usize = 16 << 20;

/// What the text of a log entry begins each line of the standard output with.
const STDOUT: &[u8] = b"stdout: ";
/// The only event that tells a result.
const OPERATION: &str = "CACHE_AFTER_STEP_RESULT";

/// Whether results are looked for in a log entry of this key: those of the helper's second part, and of src.
pub fn may_hold_results(key: &str) -> bool {
    key.rsplit_once('.').is_some_and(|(_, last)| last == "post")
        || matches!(key, "step.src.0" | "step.src.batch-exec")
}

/// A result that a log tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepResult {
    /// The key under which whoever ran the step would keep it.
    pub key: String,
    /// The result.
    pub result: AfterStepResult,
}

/// What a log had.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Results by the index of their step; of several of one step the last.
    pub results: BTreeMap<usize, StepResult>,
    /// How many there were that are too large to be kept.
    pub too_large: u64,
    /// How many there were whose changes can't be read: something in them was blanked out as a secret, for instance.
    pub damaged: u64,
}

/// Collects results out of the texts of a job's log, entry by entry.
#[derive(Debug)]
pub struct Harvest {
    steps: usize,
    line: Vec<u8>,
    /// The line at hand is too long to be kept, and whether it looked like a result.
    overlong: Option<bool>,
    kept: BTreeMap<usize, (StepResult, usize)>,
    bytes: usize,
    too_large: u64,
    damaged: u64,
}

#[derive(Deserialize)]
struct Event {
    operation: String,
    #[serde(default)]
    #[expect(dead_code, reason = "an event whose time can't be read is none")]
    timestamp: Option<Timestamp>,
    #[serde(default)]
    metadata: Metadata,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Metadata {
    key: String,
    value: Option<AfterStepResult>,
}

impl Harvest {
    /// For a job of so many steps: a result of any other step is none.
    pub fn new(steps: usize) -> Self {
        Self {
            steps,
            line: Vec::new(),
            overlong: None,
            kept: BTreeMap::new(),
            bytes: 0,
            too_large: 0,
            damaged: 0,
        }
    }

    /// Takes the next bytes of an entry's text.
    pub fn push(&mut self, text: &[u8]) {
        for piece in text.split_inclusive(|byte| *byte == b'\n') {
            let (rest, ends) = piece.strip_suffix(b"\n").map_or((piece, false), |rest| (rest, true));
            if self.overlong.is_none() && self.line.len() + rest.len() > MAX_LINE {
                self.overlong = Some(looks_like_a_result(&self.line));
                self.line = Vec::new();
            }
            if self.overlong.is_none() {
                self.line.extend_from_slice(rest);
            }
            if ends {
                self.end_line();
            }
        }
    }

    /// The entry's text is over: what follows is another one's.
    pub fn end_entry(&mut self) {
        self.end_line();
    }

    /// What there was.
    pub fn finish(mut self) -> Found {
        self.end_line();
        let results = self.kept.into_iter().map(|(index, (result, _))| (index, result)).collect();
        Found { results, too_large: self.too_large, damaged: self.damaged }
    }

    fn end_line(&mut self) {
        if let Some(was_result) = self.overlong.take() {
            self.too_large += u64::from(was_result);
            return;
        }
        let line = std::mem::take(&mut self.line);
        match read(&line).filter(|found| found.result.step_index < self.steps) {
            Some(found) if found.result.diff_bytes().is_ok() => self.keep(found, line.len()),
            Some(_) => self.damaged += 1,
            None => {}
        }
        // The buffer is good for the next line.
        self.line = line;
        self.line.clear();
    }

    fn keep(&mut self, found: StepResult, bytes: usize) {
        let index = found.result.step_index;
        let before = self.kept.get(&index).map_or(0, |(_, bytes)| *bytes);
        if self.bytes - before + bytes > MAX_RESULTS {
            self.too_large += 1;
            return;
        }
        self.bytes = self.bytes - before + bytes;
        self.kept.insert(index, (found, bytes));
    }
}

fn read(line: &[u8]) -> Option<StepResult> {
    let text = line.strip_prefix(STDOUT).filter(|_| looks_like_a_result(line))?;
    let event: Event =
        serde_json::from_slice(text).ok().filter(|event: &Event| event.operation == OPERATION)?;
    let Metadata { key, value } = event.metadata;
    Some(StepResult { key, result: value? })
}

/// Reading all lines as JSON would take long; few have the word.
fn looks_like_a_result(line: &[u8]) -> bool {
    line.starts_with(STDOUT) && line.windows(OPERATION.len()).any(|part| part == OPERATION.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(index: usize, diff: &str) -> String {
        format!(
            r#"{{"operation":"CACHE_AFTER_STEP_RESULT","timestamp":"2023-01-02T03:04:05.678Z","status":"SUCCESS","metadata":{{"key":"k{index}","value":{{"stepIndex":{index},"diff":"{diff}"}}}}}}"#
        )
    }

    fn harvest(text: &str, piece: usize) -> Found {
        let mut harvest = Harvest::new(3);
        for piece in text.as_bytes().chunks(piece) {
            harvest.push(piece);
        }
        harvest.finish()
    }

    #[test]
    fn only_entries_of_helper_and_src_are_looked_into() {
        for key in
            ["step.docker.step.0.post", "step.kubernetes.step.12.post", "step.src.0", "step.src.batch-exec"]
        {
            assert!(may_hold_results(key), "{key}");
        }
        for key in
            ["step.docker.step.0.pre", "step.docker.step.0.run", "step.src.1", "setup.git", "step.src.batch"]
        {
            assert!(!may_hold_results(key), "{key}");
        }
    }

    #[test]
    fn results_are_found_among_anything_else() {
        let (first, second) = (event(0, "one"), event(1, "two"));
        let bad_time = event(2, "x").replace("2023-01-02T", "yesterday ");
        let junk = [
            format!("stderr: {}", event(2, "x")),
            event(2, "x"),
            format!(" stdout: {}", event(2, "x")),
            format!("stdout: {}", event(3, "no such step")),
            format!(
                "stdout: {}",
                event(2, "x").replace("CACHE_AFTER_STEP_RESULT", "CACHE_AFTER_STEP_RESULTS")
            ),
            format!("stdout: {}", event(2, "x").replace("\"stepIndex\"", "\"version\":2,\"stepIndex\"")),
            format!("stdout: {}", &event(2, "x")[1..]),
            format!("stdout: > {}", event(2, "x")),
            format!("stdout: {bad_time}"),
            r#"stdout: {"operation":"CACHE_AFTER_STEP_RESULT","status":"SUCCESS"}"#.to_owned(),
            r#"stdout: {"operation":"TASK_STEP","metadata":{"key":"CACHE_AFTER_STEP_RESULT"}}"#.to_owned(),
            "stdout: \u{fffd}\0[".to_owned(),
            String::new(),
        ];
        let old = event(1, "old");
        let text = format!("stdout: {old}\n{}\nstdout: {first}\r\nstdout: {second}", junk.join("\n"));
        for piece in [1, 7, text.len()] {
            let found = harvest(&text, piece);
            let diffs: Vec<_> = found
                .results
                .values()
                .map(|found| (found.key.as_str(), found.result.diff.as_str()))
                .collect();
            assert_eq!(diffs, [("k0", "one"), ("k1", "two")]);
            assert_eq!((found.too_large, found.damaged), (0, 1));
        }
    }

    #[test]
    fn an_entrys_last_line_is_not_the_beginning_of_the_next_entrys_first() {
        let text = format!("stdout: {}", event(0, "one"));
        let (one, other) = text.split_at(40);
        let mut harvest = Harvest::new(1);
        harvest.push(one.as_bytes());
        harvest.end_entry();
        harvest.push(other.as_bytes());
        assert_eq!(harvest.finish(), Found::default());
    }

    #[test]
    fn what_is_too_large_is_told_and_takes_no_memory() {
        let large = "x".repeat(MAX_LINE - 1_000);
        let mut harvest = Harvest::new(3);
        for index in [0, 1, 2, 2] {
            harvest.push(format!("stdout: {}\n", event(index, &large)).as_bytes());
        }
        // In place of an earlier one of the same step there is room.
        harvest.push(format!("stdout: {}\n", event(1, "small")).as_bytes());
        for piece in format!("stdout: {}\nstdout: {}", event(0, &large.repeat(3)), "y".repeat(MAX_LINE + 1))
            .as_bytes()
            .chunks(65_536)
        {
            harvest.push(piece);
            assert!(harvest.line.len() <= MAX_LINE);
        }
        let found = harvest.finish();
        assert_eq!(found.too_large, 3);
        let sizes: Vec<_> =
            found.results.iter().map(|(index, found)| (*index, found.result.diff.len())).collect();
        assert_eq!(sizes, [(0, large.len()), (1, 5)]);
    }
}
