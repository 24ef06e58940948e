//! What executors are sent, against the documented tables.

use super::*;
use base64::Engine;
use base64::prelude::BASE64_STANDARD as BASE64;
use serde_json::{Value, json};

const COMMIT: &str = "0123456789012345678901234567890123456789";
const HELPER: &str = "sourcegraph/batcheshelper:insiders";

fn input(change: impl FnOnce(&mut Value)) -> ExecutionInput {
    let mut input = json!({
        "BatchChangeAttributes": {"Name": "n", "Description": "d"},
        "repository": {"id": "UmVwb3NpdG9yeTox", "name": "github.com/acme/app"},
        "branch": {"name": "refs/heads/main"},
        "steps": [
            {"run": "echo one", "container": "alpine:3", "env": {}},
            {"run": "echo two", "container": "gcc:13", "env": ["TOKEN"], "if": "true"},
            {"run": "echo three", "container": "debian", "env": {}},
        ],
        "skippedSteps": {"2": {}},
    });
    change(&mut input);
    serde_json::from_value(input).unwrap()
}

/// A job as the executor reads it, its files taken apart.
fn sent(input: &ExecutionInput, form: &Form, version: PayloadVersion, own: &[&str]) -> (Value, Value) {
    let stored = |path: &&str| {
        let stored = Some(("batch-changes".to_owned(), format!("7/{path}")));
        ((*path).to_owned(), JobFile { stored, ..JobFile::default() })
    };
    let mut job = Job {
        version,
        id: jobs::JobId(7),
        repository_name: "github.com/acme/app".to_owned(),
        commit: COMMIT.to_owned(),
        shallow_clone: true,
        files: own.iter().map(stored).collect(),
        ..Job::default()
    };
    add(&mut job, input, &["TOKEN=s3cret".to_owned()], form);
    let mut job = serde_json::to_value(&job).unwrap();
    let files = job["files"].take();
    (job, files)
}

fn native() -> Form {
    Form::Native { helper: HELPER.to_owned() }
}

fn content(file: &Value) -> String {
    String::from_utf8(BASE64.decode(file["content"].as_str().unwrap()).unwrap()).unwrap()
}

#[test]
fn each_step_is_three_in_containers() {
    let (job, files) = sent(&input(|_| {}), &native(), PayloadVersion::V2, &[]);
    let of_helper = |part: &str, index: usize| {
        json!({"key": format!("step.{index}.{part}"), "image": HELPER, "dir": ".", "env": ["TOKEN=s3cret"],
               "commands": [format!("batcheshelper {part} {index}")]})
    };
    let run = |index: usize, image: &str| {
        let line = format!(
            "(exec \"../step{index}.sh\" | tee ../stdout{index}.log) 3>&1 1>&2 2>&3 | tee ../stderr{index}.log"
        );
        json!({"key": format!("step.{index}.run"), "image": image, "dir": "repository", "env": [],
               "commands": ["{ set +x; } 2>/dev/null", "{ set -eo pipefail; } 2>/dev/null", line]})
    };
    let steps = json!([
        of_helper("pre", 0),
        run(0, "alpine:3"),
        of_helper("post", 0),
        of_helper("pre", 1),
        run(1, "gcc:13"),
        of_helper("post", 1),
    ]);
    let expected = json!({
        "version": 2, "id": 7, "token": "", "repositoryName": "github.com/acme/app",
        "repositoryDirectory": "repository", "commit": COMMIT, "fetchTags": false, "shallowClone": true,
        "sparseCheckout": null, "files": null, "dockerSteps": steps, "cliSteps": null, "redactedValues": null,
        "dockerAuthConfig": {},
    });
    assert_eq!(job, expected);
    assert_eq!(files.as_object().unwrap().keys().collect::<Vec<_>>(), ["input.json"]);
    assert_eq!(files["input.json"]["modifiedAt"], "0001-01-01T00:00:00Z");
    let empty = r#""changedFiles":{"modified":null,"added":null,"deleted":null,"renamed":null},"stdout":"","stderr":"","stepIndex":0,"diff":"","outputs":null"#;
    let expected = format!(
        r#"{{"BatchChangeAttributes":{{"Name":"n","Description":"d"}},"repository":{{"id":"UmVwb3NpdG9yeTox","name":"github.com/acme/app"}},"branch":{{"name":"refs/heads/main","target":{{"oid":"{COMMIT}"}}}},"path":"","onlyFetchWorkspace":false,"steps":[{{"run":"echo one","container":"alpine:3","env":{{}}}},{{"run":"echo two","container":"gcc:13","env":["TOKEN"],"if":"true"}},{{"run":"echo three","container":"debian","env":{{}}}}],"searchResultPaths":null,"cachedStepResultFound":false,"cachedStepResult":{{{empty}}},"skippedSteps":{{"2":{{}}}}}}"#
    );
    assert_eq!(content(&files["input.json"]), expected);
}

#[test]
fn a_workspace_below_the_top_is_where_steps_run() {
    let below = input(|input| {
        input["path"] = json!("a/b");
        input["onlyFetchWorkspace"] = json!(true);
    });
    let (job, files) = sent(&below, &native(), PayloadVersion::V2, &["x.sh", "lib/y"]);
    assert_eq!(job["sparseCheckout"], json!(["a/b/*"]));
    assert_eq!(job["dockerSteps"][1]["dir"], "repository/a/b");
    assert_eq!(
        job["dockerSteps"][4]["commands"][2],
        "(exec \"../../../step1.sh\" | tee ../../../stdout1.log) 3>&1 1>&2 2>&3 | tee ../../../stderr1.log"
    );
    let file = json!({"bucket": "batch-changes", "key": "7/x.sh", "modifiedAt": "0001-01-01T00:00:00Z"});
    assert_eq!(files["workspace-files/x.sh"], file);
    assert_eq!(files["workspace-files/lib/y"]["key"], "7/lib/y");
    // There is nothing to leave out of all of it.
    let (job, files) =
        sent(&input(|input| input["onlyFetchWorkspace"] = json!(true)), &native(), PayloadVersion::V2, &[]);
    assert_eq!(job["sparseCheckout"], Value::Null);
    assert!(content(&files["input.json"]).contains("\"onlyFetchWorkspace\":false"));
}

#[test]
fn what_an_earlier_execution_came_to_is_made_first() {
    let result = json!({"version": 2, "changedFiles": {"modified": null, "added": ["x"], "deleted": null, "renamed": null},
        "stdout": "o", "stderr": "", "stepIndex": 0, "diff": "ZGlmZg==", "outputs": {"k": "v"}, "skipped": false});
    let cached = |result: &Value| {
        let result = result.clone();
        input(|input| {
            input["cachedStepResultFound"] = json!(true);
            input["cachedStepResult"] = result;
        })
    };
    let (job, files) = sent(&cached(&result), &native(), PayloadVersion::V2, &[]);
    let apply = json!({"key": "apply-diff", "image": HELPER, "dir": "repository", "env": [],
        "commands": ["set -e", "git apply -p0 ../state.diff", "git add --all"]});
    assert_eq!(job["dockerSteps"][0], apply);
    let keys: Vec<_> =
        job["dockerSteps"].as_array().unwrap().iter().map(|step| step["key"].as_str().unwrap()).collect();
    assert_eq!(keys, ["apply-diff", "step.1.pre", "step.1.run", "step.1.post"]);
    assert_eq!(content(&files["state.diff"]), "diff");
    assert_eq!(serde_json::from_str::<Value>(&content(&files["step0.json"])).unwrap(), result);
    // Without a change there is nothing to apply.
    let mut unchanged = result;
    unchanged["diff"] = json!("");
    let (job, files) = sent(&cached(&unchanged), &native(), PayloadVersion::V2, &[]);
    assert_eq!(job["dockerSteps"][0]["key"], "step.1.pre");
    assert_eq!(files.as_object().unwrap().keys().collect::<Vec<_>>(), ["input.json", "step0.json"]);
}

#[test]
fn the_classic_form_is_one_call_of_src() {
    for (binary_diffs, own, more) in [
        (false, &[][..], &[][..]),
        (true, &[][..], &["-binaryDiffs"][..]),
        (true, &["x"][..], &["-binaryDiffs", "-workspaceFiles", "workspace-files"][..]),
    ] {
        let (job, files) = sent(&input(|_| {}), &Form::Classic { binary_diffs }, PayloadVersion::V1, own);
        let command = ["batch", "exec", "-f", "input.json", "-repo", "repository", "-tmp", ".src-tmp"];
        let command = [&command[..], more].concat();
        let step = json!({"key": "batch-exec", "command": command, "dir": ".", "env": ["TOKEN=s3cret"]});
        assert_eq!((&job["cliSteps"], &job["dockerSteps"]), (&json!([step]), &Value::Null));
        assert_eq!(job["repositoryDirectory"], "repository");
        // Old executors read files as they are.
        assert!(files["input.json"]["content"].as_str().unwrap().starts_with("{\"BatchChangeAttributes\""));
    }
}

#[test]
fn old_executors_are_always_sent_the_classic_form() {
    let classic = Form::Classic { binary_diffs: false };
    assert_eq!(Form::of(PayloadVersion::V1, true, HELPER, false), classic);
    assert_eq!(Form::of(PayloadVersion::V2, false, HELPER, false), classic);
    assert_eq!(Form::of(PayloadVersion::V2, true, HELPER, true), native());
}
