//! Under which key a step's result is good for another execution.

use super::input::{BatchChangeAttributes, ExecutionInput, Step};
use super::mounts::MountMetadata;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// Bytes of the digest that are used.
const DIGEST: usize = 16;

/// What a key is made of. Stock peers compute the same one, so neither an order nor a name may change.
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

/// The key of the result of step `index`; `None` where there is no such step.
///
/// `outer` are the variables that come from outside, `mounts` is told of the mounts of all steps.
pub fn cache_key(
    input: &ExecutionInput,
    index: usize,
    outer: &BTreeMap<String, String>,
    mounts: &[MountMetadata],
) -> Option<String> {
    let steps = input.steps.get(..=index)?;
    let mut file_matches: Option<Vec<&str>> =
        input.search_result_paths.as_ref().map(|paths| paths.iter().map(String::as_str).collect());
    if let Some(paths) = &mut file_matches {
        paths.sort_unstable();
    }
    let keyed = Keyed {
        repository: KeyedRepository {
            id: &input.repository.id,
            name: &input.repository.name,
            base_ref: &input.branch.name,
            base_rev: &input.branch.target.oid,
            file_matches,
        },
        path: &input.path,
        only_fetch_workspace: input.is_sparse(),
        steps,
        batch_change_attributes: &input.batch_change_attributes,
        step_index: index,
        environments: steps.iter().map(|step| step.env.resolved(outer)).collect(),
        mounts_metadata: mounts,
    };
    let digest = Sha256::digest(as_go_writes_it(&serde_json::to_string(&keyed).ok()?));
    Some(format!("{}-step-{index}", URL_SAFE_NO_PAD.encode(&digest[..DIGEST])))
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
    use crate::batches::{Mount, StepEnv, Variable};

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
}
