//! Payloads as other writers might write them: a decoder must take what Go's takes.

use super::bench::{Bench, SECRET};
use testkit::stock_server::{Record, StockJob};

/// Runs one job with this payload; it must complete.
fn runs(bench: &Bench, id: i64, token: &str, payload: &str) -> Record {
    bench.server.give(StockJob::new("batches", id).token(token).raw(payload));
    bench.completed(id)
}

#[test]
fn keys_come_in_any_letter_case_and_unknown_ones_are_passed_over() {
    let name = "keys_come_in_any_letter_case_and_unknown_ones_are_passed_over";
    let Some(mut bench) = Bench::new(name) else { return };
    bench.start();
    let payload = r#"{"futureField":{"a":[1,{}]},"VERSION":2,"Id":1,"TOKEN":"t1","RepositoryName":"","COMMIT":"",
        "dockersteps":[{"KEY":"a","Image":"busybox","Commands":["{ set +x; } 2>/dev/null","cat MiXed; echo $PWD $A"],
            "DIR":"sub/dir","Env":["A=s3cret-value"],"memory":"1G"}],
        "FILES":{"sub/dir/MiXed":{"CONTENT":"aGkK","MODIFIEDAT":"0001-01-01T00:00:00Z","owner":1}},
        "redactedvalues":{"s3cret-value":"${{ secrets.A }}"},"dockerauthconfig":{"AUTHS":{},"credsStore":"desktop"}}"#;
    let record = runs(&bench, 1, "t1", payload);
    assert_eq!(
        record.entry("step.docker.a").unwrap().out,
        "stdout: hi\nstdout: /data/sub/dir ${{ secrets.A }}\n"
    );
    bench.end();
}

#[test]
fn what_is_null_or_absent_is_empty() {
    let Some(mut bench) = Bench::new("what_is_null_or_absent_is_empty") else { return };
    bench.start();
    let steps = ["setup.fs.extras", "step.docker.0", "step.docker.1", "teardown.fs"];
    let absent = r#"{"id":1,"token":"t1","dockerSteps":[{"image":"busybox"},{"image":"busybox","commands":["true"]}]}"#;
    assert_eq!(runs(&bench, 1, "t1", absent).keys(), steps);
    let null = r#"{"version":2,"id":2,"token":"t2","queue":null,"repositoryName":null,"repositoryDirectory":null,
        "commit":null,"fetchTags":null,"shallowClone":null,"sparseCheckout":null,"files":null,"cliSteps":null,
        "dockerSteps":[{"key":null,"image":"busybox","commands":null,"dir":null,"env":null},
            {"image":"busybox","commands":["true"],"dir":"","env":[]}],
        "redactedValues":null,"dockerAuthConfig":null}"#;
    assert_eq!(runs(&bench, 2, "t2", null).keys(), steps);
    let file = r#"{"version":2,"id":3,"token":"t3","files":{"x":{"content":null,"bucket":null,"key":null,"modifiedAt":null}}}"#;
    assert_eq!(runs(&bench, 3, "t3", file).keys(), ["setup.fs.extras", "teardown.fs"]);
    // Nothing to write and nothing to run is no failure.
    assert_eq!(runs(&bench, 4, "t4", r#"{"id":4,"token":"t4"}"#).keys(), ["teardown.fs"]);
    bench.end();
}

#[test]
fn the_version_says_how_files_are_written() {
    let Some(mut bench) = Bench::new("the_version_says_how_files_are_written") else { return };
    bench.start();
    let job = |id, more: &str| {
        format!(
            r#"{{"id":{id},"token":"t{id}",{more}"files":{{"x":{{"content":"aGkK"}}}},
                "dockerSteps":[{{"key":"a","image":"busybox","commands":["{{ set +x; }} 2>/dev/null","cat x"]}}]}}"#
        )
    };
    // Registry credentials are no part of version 1, so nobody looks at them.
    let bad_auth = r#""dockerAuthConfig":{"auths":{"r.example":{"auth":"%"}}},"#;
    for (id, more, content) in
        [(1, "", "aGkK"), (2, r#""version":2,"#, "hi"), (3, r#""version":0,"#, "aGkK"), (4, bad_auth, "aGkK")]
    {
        let record = runs(&bench, id, &format!("t{id}"), &job(id, more));
        assert_eq!(record.entry("step.docker.a").unwrap().out, format!("stdout: {content}\n"), "{more}");
    }
    bench.end();
}

#[test]
fn ids_are_exact_and_a_job_without_a_token_uses_the_shared_secret() {
    let Some(mut bench) = Bench::new("ids_are_exact_and_a_job_without_a_token_uses_the_shared_secret") else {
        return;
    };
    bench.start();
    // No floating-point number holds it.
    let id = i64::from(i32::MAX) * (1 << 30) + 1;
    runs(
        &bench,
        id,
        "big",
        &format!(r#"{{"id":{id},"token":"big","dockerSteps":[{{"image":"busybox","commands":["true"]}}]}}"#),
    );
    let marks = bench.heard("markComplete", 1);
    assert!(marks[0].text().contains(&format!("\"jobId\":{id}")), "{}", marks[0].text());
    runs(&bench, 2, "", r#"{"id":2,"token":"","dockerSteps":[{"image":"busybox","commands":["true"]}]}"#);
    let mark = &bench.heard("markComplete", 2)[1];
    assert_eq!(mark.header("authorization"), Some(&*format!("token-executor {SECRET}")));
    bench.end();
}

#[test]
fn a_payload_may_be_large() {
    let Some(mut bench) = Bench::new("a_payload_may_be_large") else { return };
    let content = b"0123456789abcde\n".repeat(300_000);
    let job = StockJob::new("batches", 1).file("big", &content);
    bench.server.give(job.step("a", &["{ set +x; } 2>/dev/null", "wc -c < big; tail -n 1 big"]));
    bench.start();
    let record = bench.completed(1);
    assert_eq!(record.entry("step.docker.a").unwrap().out, "stdout: 4800000\nstdout: 0123456789abcde\n");
    bench.end();
}
