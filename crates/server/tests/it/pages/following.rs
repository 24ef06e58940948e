//! A log that is followed: what folds, where the first fault is, and who is taken along to the end.

use super::hostile::sign_in;
use crate::harness::{EXECUTOR, Harness, entry, told};
use serde_json::json;
use testkit::browser::Browser;
use wire::Job;

/// An entry of the log ended.
async fn end(harness: &Harness, job: &Job, key: &str, number: i64, exit_code: i64) {
    let mut body = entry(job, key);
    body["entryId"] = json!(number);
    body["exitCode"] = json!(exit_code);
    body["durationMs"] = json!(1_500);
    body["executorName"] = json!(EXECUTOR);
    let (status, said) = told(harness.about(job, "batches", "updateExecutionLogEntry").json(&body)).await;
    assert_eq!(status, 204, "{said}");
}

fn lines(range: std::ops::Range<u32>) -> String {
    range.fold(String::new(), |text, line| text + &format!("stdout: line {line}\n"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn setup_folds_the_first_fault_is_a_jump_away_and_the_end_is_followed() {
    let test = "setup_folds_the_first_fault_is_a_jump_away_and_the_end_is_followed";
    let Some(browser) = Browser::start() else { return testkit::missing_part(test, "chromium") };
    let harness = Harness::start().await;
    let job = harness.running_job().await;
    let page = browser.page();
    sign_in(&page, &harness);
    page.open(&harness.url(&format!("/jobs/{}", job.id)));
    page.until("document.querySelector('#follow')");

    // What was only preparation folds when it has ended well, and unfolds for whoever wants to see it.
    let setup = harness.add_log(&job, "setup.git.init").await;
    harness.append(&job, setup, 0, "stdout: Initialized\n").await;
    let element = format!("document.getElementById('e-{setup}')");
    page.until(&format!("{element}?.open && {element}.textContent.includes('Initialized')"));
    end(&harness, &job, "setup.git.init", setup, 0).await;
    page.until(&format!("!{element}.open"));
    page.click(&format!("#e-{setup} summary"));
    page.until(&format!("{element}.open"));

    // Whoever follows is at the end, however much comes.
    let at_end = "(() => { const it = document.documentElement; return it.scrollHeight - it.scrollTop - innerHeight < 80 })()";
    let step = harness.add_log(&job, "step.docker.0").await;
    let first = lines(0..400);
    harness.append(&job, step, 0, &first).await;
    page.until_text("line 399");
    page.click("#follow");
    page.until("document.querySelector('#follow').getAttribute('aria-pressed') === 'true'");
    let second = format!("{}stderr: error: it broke\n{}", lines(400..600), lines(600..1_000));
    harness.append(&job, step, first.len() as u64, &second).await;
    page.until_text("line 999");
    page.until(at_end);
    assert_eq!(page.eval("document.getElementById('to-error').hidden"), true, "nothing has failed yet");

    // The step fails: the link leads to the line that says why.
    end(&harness, &job, "step.docker.0", step, 2).await;
    page.until("!document.getElementById('to-error').hidden");
    page.until(&format!("document.getElementById('e-{step}').textContent.includes('exit 2')"));
    page.click("#follow");
    page.click("#to-error");
    let seen = "(() => { const it = document.getElementById('error').getBoundingClientRect(); \
                return it.top >= 0 && it.bottom <= innerHeight })()";
    page.until(seen);
    assert_eq!(page.eval("document.getElementById('error').textContent"), "error: it broke");
    assert!(page.misdeeds(&harness.url("/")).is_empty(), "{:?}", page.misdeeds(&harness.url("/")));
}
