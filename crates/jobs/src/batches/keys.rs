//! Under which keys the results of steps are good for other executions.
//!
//! The key of a step is a digest of all steps up to it, and of what else the execution is. Those of many steps are made
//! together, so that what they begin with is written and hashed once; what follows each step's number is not the same for any
//! two and is hashed for each, which has a bound.

use super::input::{ExecutionInput, Step};
use super::mounts::MountMetadata;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};

/// Bytes of the digest that are used.
const DIGEST: usize = 16;
/// Bytes that are hashed for the keys of one execution at most: a second's work.
const MAX_HASHED: usize = 256 << 20;

/// Keys of an execution's results.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct CacheKeys {
    /// By the steps' indexes.
    pub keys: BTreeMap<usize, String>,
    /// How many more there are, which would take too long to make.
    pub left_out: usize,
}

/// The repository as keys have it.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct KeyedRepository<'a> {
    #[serde(rename = "ID")]
    id: &'a str,
    name: &'a str,
    base_ref: &'a str,
    base_rev: &'a str,
    file_matches: Option<Vec<&'a str>>,
}

/// The keys of the results of several steps, as far as there are such steps.
///
/// `outer` are the variables that come from outside, `mounts` is told of the mounts of all steps.
pub fn cache_keys(
    input: &ExecutionInput,
    wanted: &BTreeSet<usize>,
    outer: &BTreeMap<String, String>,
    mounts: &[MountMetadata],
) -> CacheKeys {
    keys_within(MAX_HASHED, input, wanted, outer, mounts)
}

fn keys_within(
    mut budget: usize,
    input: &ExecutionInput,
    wanted: &BTreeSet<usize>,
    outer: &BTreeMap<String, String>,
    mounts: &[MountMetadata],
) -> CacheKeys {
    let (mut found, mut text) = (CacheKeys::default(), Text::of(input, mounts));
    let there = input.steps.len();
    let needed = wanted.range(..there).next_back().map_or(0, |last| last + 1);
    for (index, step) in input.steps.iter().enumerate().take(needed) {
        text.add(step, outer);
        if !wanted.contains(&index) {
            continue;
        }
        let work = text.hashed + text.rest();
        // The first one is always made: it is hashed as often as it was sent.
        if work > budget && !found.keys.is_empty() {
            found.left_out = wanted.range(index..there).count();
            return found;
        }
        budget = budget.saturating_sub(work);
        text.hashed = 0;
        found.keys.insert(index, text.key(index));
    }
    found
}

/// What keys are made of. Stock peers make them of the same text, so neither an order nor a name may change.
struct Text {
    /// What all keys to come begin with: all that stands before the steps, and those that were added.
    begin: Sha256,
    /// Bytes of that since somebody looked.
    hashed: usize,
    /// Steps that were added.
    steps: usize,
    /// What stands between the steps and the index of the last one.
    attributes: String,
    /// The environments of the steps that were added.
    environments: String,
    /// What follows the environments.
    end: String,
}

impl Text {
    fn of(input: &ExecutionInput, mounts: &[MountMetadata]) -> Self {
        let mut file_matches: Option<Vec<&str>> =
            input.search_result_paths.as_ref().map(|paths| paths.iter().map(String::as_str).collect());
        if let Some(paths) = &mut file_matches {
            paths.sort_unstable();
        }
        let repository = KeyedRepository {
            id: &input.repository.id,
            name: &input.repository.name,
            base_ref: &input.branch.name,
            base_rev: &input.branch.target.oid,
            file_matches,
        };
        let begin = format!(
            r#"{{"Repository":{},"Path":{},"OnlyFetchWorkspace":{},"Steps":["#,
            written(&repository),
            written(&input.path),
            written(&input.is_sparse()),
        );
        let attributes = written(&input.batch_change_attributes);
        let end = if mounts.is_empty() {
            "]}".to_owned()
        } else {
            format!(r#"],"MountsMetadata":{}}}"#, written(&mounts))
        };
        let mut text = Self {
            begin: Sha256::new(),
            hashed: 0,
            steps: 0,
            attributes: format!(r#"],"BatchChangeAttributes":{attributes},"StepIndex":"#),
            environments: String::new(),
            end,
        };
        text.hash(&begin);
        text
    }

    fn add(&mut self, step: &Step, outer: &BTreeMap<String, String>) {
        if self.steps > 0 {
            self.hash(",");
            self.environments.push(',');
        }
        self.hash(&written(step));
        self.environments.push_str(&written(&step.env.resolved(outer)));
        self.steps += 1;
    }

    fn hash(&mut self, text: &str) {
        self.begin.update(text);
        self.hashed += text.len();
    }

    /// Bytes that the next key takes besides.
    fn rest(&self) -> usize {
        self.attributes.len() + self.environments.len() + self.end.len()
    }

    fn key(&self, index: usize) -> String {
        let digest = self
            .begin
            .clone()
            .chain_update(&self.attributes)
            .chain_update(index.to_string())
            .chain_update(r#","Environments":["#)
            .chain_update(&self.environments)
            .chain_update(&self.end)
            .finalize();
        format!("{}-step-{index}", URL_SAFE_NO_PAD.encode(&digest[..DIGEST]))
    }
}

/// A value as stock peers write it. None of these can't be written: their keys are names, and nothing in them may fail.
fn written(value: &impl Serialize) -> String {
    serde_json::to_string(value).map(|json| as_go_writes_it(&json)).unwrap_or_default()
}

/// Go's JSON can stand in HTML. None of these is in compact JSON but within a string.
fn as_go_writes_it(json: &str) -> String {
    let mut written = String::with_capacity(json.len());
    for c in json.chars() {
        match c {
            '<' => written.push_str(r"\u003c"),
            '>' => written.push_str(r"\u003e"),
            '&' => written.push_str(r"\u0026"),
            '\u{2028}' => written.push_str(r"\u2028"),
            '\u{2029}' => written.push_str(r"\u2029"),
            other => written.push(other),
        }
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batches::{BatchChangeAttributes, Mount, StepEnv, Variable};

    /// A key's text as one piece, as it is documented.
    #[derive(Serialize)]
    #[serde(rename_all = "PascalCase")]
    struct Keyed<'a> {
        repository: KeyedRepository<'a>,
        path: &'a str,
        only_fetch_workspace: bool,
        steps: &'a [Step],
        batch_change_attributes: &'a BatchChangeAttributes,
        step_index: usize,
        environments: Vec<BTreeMap<&'a str, &'a str>>,
        #[serde(skip_serializing_if = "<[_]>::is_empty")]
        mounts_metadata: &'a [MountMetadata],
    }

    /// The key of the result of step `index`; `None` where there is no such step.
    fn cache_key(
        input: &ExecutionInput,
        index: usize,
        outer: &BTreeMap<String, String>,
        mounts: &[MountMetadata],
    ) -> Option<String> {
        cache_keys(input, &BTreeSet::from([index]), outer, mounts).keys.remove(&index)
    }

    fn hello() -> ExecutionInput {
        let step = Step { run: "echo hello world".to_owned(), ..Step::default() };
        ExecutionInput { steps: vec![step], ..ExecutionInput::default() }
    }

    fn key(input: &ExecutionInput, index: usize, outer: &[(&str, &str)]) -> String {
        let outer = outer.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        cache_key(input, index, &outer, &[]).unwrap()
    }

    #[test]
    fn the_references_own_vectors_come_out() {
        let mut input = hello();
        assert_eq!(key(&input, 0, &[]), "deZzMP85HWs6lfhWRnMVBA-step-0");
        input.steps[0].files = [("file1.txt".to_owned(), "hello world".to_owned())].into();
        assert_eq!(key(&input, 0, &[]), "4qXjs4-Arh1VpWWfWhqm3A-step-0");
        assert_eq!(cache_key(&input, 1, &BTreeMap::new(), &[]), None);
    }

    #[test]
    fn it_is_made_of_what_go_would_write() {
        let written = as_go_writes_it("{\"a\":\"<b> & \u{2028}\u{2029}ä\\n\"}");
        assert_eq!(written, "{\"a\":\"\\u003cb\\u003e \\u0026 \\u2028\\u2029ä\\n\"}");
        let mut input = hello();
        input.steps[0].mount = vec![Mount { mountpoint: "/m".to_owned(), path: "m".to_owned() }];
        input.search_result_paths = Some(vec!["b".to_owned(), "a".to_owned()]);
        let step = serde_json::to_string(&input.steps[0]).unwrap();
        assert_eq!(step, r#"{"run":"echo hello world","env":{},"mount":[{"mountpoint":"/m","path":"m"}]}"#);
    }

    #[test]
    fn steps_to_come_do_not_change_it_and_everything_else_does() {
        let mut input = hello();
        let first = key(&input, 0, &[]);
        let later = Step { run: "make".to_owned(), ..Step::default() };
        input.steps.push(later);
        assert_eq!(key(&input, 0, &[]), first);
        assert_ne!(key(&input, 1, &[])[..22], first[..22]);
        input.steps[0].env = StepEnv(vec![Variable { name: "TOKEN".to_owned(), value: None }]);
        let (one, other) = (key(&input, 0, &[("TOKEN", "1")]), key(&input, 0, &[("TOKEN", "2"), ("X", "3")]));
        assert!(one != other && one != first);
        assert_eq!(other, key(&input, 0, &[("TOKEN", "2")]));
        // Found files count by what they are, not by their order.
        let paths = |paths: &[&str]| Some(paths.iter().map(ToString::to_string).collect());
        input.search_result_paths = paths(&["b", "a"]);
        let found = key(&input, 0, &[]);
        input.search_result_paths = paths(&["a", "b"]);
        assert_eq!(key(&input, 0, &[]), found);
        // The whole repository is fetched where the workspace is all of it, whatever was asked for.
        input.only_fetch_workspace = true;
        assert_eq!(key(&input, 0, &[]), found);
        input.path = "a".to_owned();
        assert_ne!(key(&input, 0, &[]), found);
    }

    #[test]
    fn mounts_come_last_and_only_where_there_are_any() {
        let mounts = [MountMetadata {
            path: "m/a".to_owned(),
            size: 3,
            modified: "2023-01-02T03:04:05.5Z".parse().unwrap(),
        }];
        let of_mounts = serde_json::to_string(&mounts).unwrap();
        assert_eq!(of_mounts, r#"[{"Path":"m/a","Size":3,"Modified":"2023-01-02T03:04:05.5Z"}]"#);
        let with = cache_key(&hello(), 0, &BTreeMap::new(), &mounts).unwrap();
        let text = concat!(
            r#"{"Repository":{"ID":"","Name":"","BaseRef":"","BaseRev":"","FileMatches":null},"Path":"","#,
            r#""OnlyFetchWorkspace":false,"Steps":[{"run":"echo hello world","env":{}}],"#,
            r#""BatchChangeAttributes":{"Name":"","Description":""},"StepIndex":0,"Environments":[{}],"#,
            r#""MountsMetadata":[{"Path":"m/a","Size":3,"Modified":"2023-01-02T03:04:05.5Z"}]}"#
        );
        let digest = Sha256::digest(text);
        assert_eq!(with, format!("{}-step-0", URL_SAFE_NO_PAD.encode(&digest[..DIGEST])));
    }

    #[test]
    fn keys_that_are_made_together_are_those_of_the_whole_text() {
        let variable =
            |name: &str, value: &str| Variable { name: name.to_owned(), value: Some(value.to_owned()) };
        let step = |number: usize| Step {
            run: format!("echo <{number}>"),
            env: StepEnv((0..number % 3).map(|n| variable(&format!("V{n}"), "a&b")).collect()),
            ..Step::default()
        };
        let mut input = ExecutionInput { steps: (0..20).map(step).collect(), ..hello() };
        (input.path, input.only_fetch_workspace) = ("a<b".to_owned(), true);
        input.batch_change_attributes.name = "n>".to_owned();
        let mounts = [MountMetadata { path: "&".to_owned(), size: 1, modified: jiff::Timestamp::UNIX_EPOCH }];
        let outer = BTreeMap::new();
        for mounts in [&mounts[..], &[]] {
            let wanted = [0, 3, 4, 19, 20].into();
            let made = cache_keys(&input, &wanted, &outer, mounts);
            assert_eq!((made.keys.len(), made.left_out), (4, 0));
            for (index, key) in made.keys {
                let keyed = Keyed {
                    repository: KeyedRepository {
                        id: "",
                        name: "",
                        base_ref: "",
                        base_rev: "",
                        file_matches: None,
                    },
                    path: &input.path,
                    only_fetch_workspace: true,
                    steps: &input.steps[..=index],
                    batch_change_attributes: &input.batch_change_attributes,
                    step_index: index,
                    environments: input.steps[..=index]
                        .iter()
                        .map(|step| step.env.resolved(&outer))
                        .collect(),
                    mounts_metadata: mounts,
                };
                let digest = Sha256::digest(as_go_writes_it(&serde_json::to_string(&keyed).unwrap()));
                assert_eq!(key, format!("{}-step-{index}", URL_SAFE_NO_PAD.encode(&digest[..DIGEST])));
            }
        }
    }

    /// Each by itself they would take 24 MB of text, hashed five hundred times over.
    #[test]
    fn a_thousand_keys_are_hardly_more_work_than_one() {
        let step = Step { run: "<".repeat(4_000), ..Step::default() };
        let input = ExecutionInput { steps: vec![step; 1_000], ..ExecutionInput::default() };
        let (all, outer) = ((0..1_000).collect(), BTreeMap::new());
        let of_steps = 1_000 * "\\u003c".len() * 4_000;
        let made = keys_within(of_steps + (4 << 20), &input, &all, &outer, &[]);
        assert_eq!((made.keys.len(), made.left_out), (1_000, 0));
        assert_eq!(made.keys.get(&7), cache_key(&input, 7, &outer, &[]).as_ref());
    }

    #[test]
    fn keys_that_would_take_too_long_are_left_out() {
        let value = Some("x".repeat(10_000));
        let env = StepEnv(vec![Variable { name: "A".to_owned(), value }]);
        let input =
            ExecutionInput { steps: vec![Step { env, ..Step::default() }; 100], ..ExecutionInput::default() };
        let (all, outer) = ((0..100).collect(), BTreeMap::new());
        let made = keys_within(1 << 20, &input, &all, &outer, &[]);
        assert!((5..20).contains(&made.keys.len()), "{}", made.keys.len());
        assert_eq!(made.keys.len() + made.left_out, 100);
        // One is always made, however long it is.
        let made = keys_within(0, &input, &[99].into(), &outer, &[]);
        assert_eq!((made.keys.len(), made.left_out), (1, 0));
    }
}
