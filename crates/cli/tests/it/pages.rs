//! The pages in a real browser, with a control plane, an agent and jobs as they are.

use crate::support::{GATE, System};
use std::process::{Command, Stdio};
use testkit::browser::{Browser, Page};

/// Signs in with the token of the server's file.
fn sign_in(page: &Page, system: &System) {
    page.open(&format!("{}/sign-in", system.url()));
    page.eval("document.querySelector('details').open = true");
    page.fill("#token", &system.setting("apiToken"));
    page.go(|page| page.click("form:has(#token) button"));
    assert_eq!(page.path(), "/jobs");
}

/// Whether this is a line of the log: what the step printed, and not the command that did so.
fn printed(line: &str) -> String {
    let pres = "[...document.querySelectorAll('#entries pre')]";
    format!("{pres}.some((pre) => pre.textContent.split('\\n').includes({line:?}))")
}

#[test]
fn a_job_is_followed_and_canceled_and_another_one_waits_for_a_reason() {
    let test = "a_job_is_followed_and_canceled_and_another_one_waits_for_a_reason";
    let Some(browser) = Browser::start() else { return testkit::missing_part(test, "chromium") };
    let Some(mut system) = System::with(test, &[("EXECUTOR_MAXIMUM_NUM_JOBS", "1")]) else { return };
    let url = system.url();
    let page = browser.page();
    sign_in(&page, &system);

    // A secret is added in the browser, given to a job, and shown by no page.
    page.open(&format!("{url}/secrets"));
    page.fill("#key", "GREETING");
    page.fill("#value", "hello from the secret");
    page.go(|page| page.click("form:has(#key) button"));
    page.until_text("The secret is kept.");
    assert!(!page.html().contains("hello from the secret"));

    let agent = system.agent();
    let script = format!(
        "printf '\\033[32mgreen\\033[0m %s\\n' \"$GREETING\"; printf 'half a line:'; {GATE}; printf ' and its end\\n'; {GATE}"
    );
    let args =
        ["job", "run", "--detach", "--image", "busybox", "--stored-secret", "GREETING", "--step", &script];
    let job = system.ok(&args).trim().to_owned();
    page.open(&format!("{url}/jobs/{job}"));
    // It is followed as it runs: a line in colour, without the secret's value, and one that has not ended. That one ends
    // with a colon, since a letter may begin a secret: the job's token begins with any.
    page.until(&printed("half a line:"));
    assert_eq!(page.eval("document.querySelector('#entries .f2').textContent"), "green");
    page.until_text("${{ secrets.GREETING }}");
    assert!(!page.html().contains("hello from the secret"));
    page.until_text("processing");
    system.open_gates(&agent);
    page.until(&printed(" and its end"));

    // Another one waits meanwhile, and its page says why.
    let other = system.submit("true");
    let second = browser.page();
    sign_in(&second, &system);
    second.open(&format!("{url}/jobs/{other}"));
    second.until_text("Why it waits");
    second.until_text("executors_busy");

    // The first one is canceled in the browser, and both pages tell by themselves what came of it.
    page.click(".heading .twice summary");
    page.go(|page| page.click(".heading .danger"));
    page.until_text("Why it was canceled");
    page.until_text("canceled");
    assert_eq!(system.wait_for_state(&job, "canceled")["canceler"]["by"], "api");
    second.until("document.querySelector('h1 .state').textContent.trim() === 'completed'");
    second.until_text("done");

    // The access is noted, and so is who did what.
    page.open(&format!("{url}/secrets"));
    page.go(|page| page.click("table a[href^='/secrets/']"));
    assert!(page.text().contains(&format!("#{job}")), "{}", page.text());
    page.open(&format!("{url}/audit"));
    assert!(page.text().contains("job.cancel") && page.text().contains("secret.set"), "{}", page.text());
    for page in [&page, &second] {
        let misdeeds = page.misdeeds(&format!("{url}/"));
        assert!(misdeeds.is_empty(), "{misdeeds:#?}");
        assert!(!page.html().contains("hello from the secret"));
    }
}

#[test]
fn the_first_start_prints_a_link_that_signs_in_at_a_terminal_and_nowhere_else() {
    let dir = tempfile::tempdir().unwrap();
    let command = format!(
        "exec {} server --listen 127.0.0.1:0 --data-dir {}",
        env!("CARGO_BIN_EXE_executor"),
        dir.path().join("data").display()
    );
    // `script` gives it a terminal, and what it printed there in a file.
    let typescript = dir.path().join("typescript");
    let mut script = Command::new("script");
    script.args(["--quiet", "--flush", "--command", &command]).arg(&typescript);
    script.env("XDG_CONFIG_HOME", dir.path().join("config")).stdin(Stdio::null()).stdout(Stdio::null());
    let mut script = script.spawn().unwrap();
    let link = crate::support::wait(crate::support::SOON, "a link", || {
        let text = std::fs::read_to_string(&typescript).ok()?;
        let (_, after) = text.split_once("open ")?;
        after.split_once(" within ten minutes").map(|(link, _)| link.to_owned())
    });
    let browser = Browser::start();
    if let Some(browser) = &browser {
        let page = browser.page();
        page.open(&link);
        page.until("location.pathname === '/jobs'");
        page.until_text("root");
    }
    // The terminal ends with the program in it.
    let children = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", script.id())).unwrap();
    let ended = Command::new("kill").args(children.split_whitespace()).status().unwrap();
    assert!(ended.success());
    script.wait().unwrap();
    if browser.is_none() {
        testkit::missing_part(
            "the_first_start_prints_a_link_that_signs_in_at_a_terminal_and_nowhere_else",
            "chromium",
        );
    }
}
