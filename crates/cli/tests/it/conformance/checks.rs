//! `executor validate` against a stock instance.

use super::bench::Bench;
use crate::support::text;
use testkit::stock_server::Fault;

/// Its exit code and all it said.
fn validate(bench: &Bench) -> (Option<i32>, String) {
    let output = bench.command("validate").env("EXECUTOR_QUEUE_NAME", "batches").output().unwrap();
    (output.status.code(), text(&output))
}

#[test]
fn the_shared_secret_is_tried() {
    let Some(bench) = Bench::new("the_shared_secret_is_tried") else { return };
    let (code, said) = validate(&bench);
    assert_eq!(code, Some(0), "{said}");
    let tests = bench.server.named("/.executors/test/auth");
    assert_eq!(tests.len(), 1, "{said}");
    assert_eq!((tests[0].method.as_str(), tests[0].text().as_str()), ("GET", "null"));
    assert_eq!(tests[0].header("content-type"), Some("application/json"));
    bench.server.fault("/.executors/test/auth", [Fault::status(401), Fault::status(404)]);
    for told in [
        "failed to authorize with frontend, is executors.accessToken set correctly in the site-config?",
        "failed to validate authorization token: unexpected status code 404",
    ] {
        let (code, said) = validate(&bench);
        assert!(code == Some(1) && said.contains(told), "{told:?} in {said}");
    }
    bench.check();
}
