//! What jobs and executors write does nothing in a browser.

use super::world::{EVIL, World};
use crate::harness::Harness;
use reqwest::Method;
use secrecy::ExposeSecret;
use testkit::browser::{Browser, Page};

/// Signs in with the token of the server's file.
pub(super) fn sign_in(page: &Page, harness: &Harness) {
    page.open(&harness.url("/sign-in"));
    page.eval("document.querySelector('details').open = true");
    page.fill("#token", harness.server.api_token().expose_secret());
    page.go(|page| page.click("form:has(#token) button"));
    assert_eq!(page.path(), "/jobs");
}

/// That nothing of what was written became anything but text.
fn is_harmless(page: &Page, world: &World, where_: &str) {
    let made = page.eval("document.querySelectorAll('#evil, img, script:not([src]), [onerror], iframe, object, [style]').length");
    assert_eq!(made, 0, "{where_}: an element came of text");
    let html = page.html();
    for c in ['\u{202e}', '\u{2066}', '\u{1b}', '\u{7}'] {
        assert!(!html.contains(c), "{where_}: {c:?} is in the page");
    }
    assert!(!html.contains("122339"), "{where_}: something was reckoned");
    let misdeeds = page.misdeeds(&world.harness.url("/"));
    assert!(misdeeds.is_empty(), "{where_}: {misdeeds:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_jobs_and_executors_write_is_text_and_nothing_else() {
    let Some(browser) = Browser::start() else {
        return testkit::missing_part("what_jobs_and_executors_write_is_text_and_nothing_else", "chromium");
    };
    let world = World::start().await;
    let taken = world.take().await;
    let file = "acme-out/%3Cimg%20src%3Dx%20onerror%3Dalert(6)%3E%22'%3Cb%20id%3Devil%3E";
    assert_eq!(crate::artifacts::put(&world.harness, &taken, file, "<script>alert(7)</script>").await.0, 200);
    let page = browser.page();
    sign_in(&page, &world.harness);
    let job = world.job;

    // While it is followed: what comes goes through the module.
    page.open(&world.harness.url(&format!("/jobs/{job}")));
    page.until("document.querySelector('#follow')");
    let live = world.harness.add_log(&taken, "step.docker.test").await;
    world
        .harness
        .append(&taken, live, 0, &format!("stdout: live {EVIL}\nstdout: \u{1b}[1;31mred\u{1b}[0m\n"))
        .await;
    page.until_text("live <img src=x onerror=alert(1)>");
    assert_eq!(page.eval("document.querySelector('.f1.bo').textContent"), "red");
    is_harmless(&page, &world, "a log that is followed");
    page.open(&world.harness.url(&format!("/jobs/{}", world.waiting)));
    page.until_text("<img/src=x/onerror=alert(4)>");
    is_harmless(&page, &world, "a job that waits for a place of its concurrency key");
    page.open(&world.harness.url(&format!("/jobs/{job}")));
    page.until("document.querySelector('#follow')");
    world.fail(&taken).await;
    page.until_text("The job has ended.");
    page.until_text("Why it failed");
    is_harmless(&page, &world, "a job that has ended while it was followed");

    for path in [
        format!("/jobs/{job}"),
        format!("/jobs/{job}/log"),
        format!("/jobs/{job}/log?attempt=1"),
        "/jobs".to_owned(),
        format!("/jobs?text={}", "%3Cb%20id%3Devil%3E"),
        "/executors".to_owned(),
        "/queues".to_owned(),
        "/audit".to_owned(),
        "/repositories".to_owned(),
        format!("/secrets/{}", world.secret),
        "/%3Cb%20id=evil%3E".to_owned(),
        "/jobs?queue=%3Cb%20id=evil%3E".to_owned(),
        "/sign-in?next=%22%3E%3Cb%20id=evil%3E".to_owned(),
        "/jobs?done=%3Cb%20id=evil%3E".to_owned(),
    ] {
        page.open(&world.harness.url(&path));
        page.eval("document.querySelectorAll('details').forEach((it) => { it.open = true })");
        is_harmless(&page, &world, &path);
        if path.starts_with(&format!("/jobs/{job}")) && !path.ends_with("attempt=1") {
            let text = page.text();
            assert!(
                text.contains("<img src=x onerror=alert(1)>") && text.contains("«U+202E»gnp"),
                "{path}: {text}"
            );
        }
    }
    page.open(&world.harness.url(&format!("/jobs/{job}")));
    let indexes = page.eval("document.querySelector('section[aria-labelledby=indexes]').innerText");
    for part in ["root", "indexer", "version"] {
        let text = format!("{part} <img src=x onerror=alert(1)>");
        assert!(indexes.as_str().unwrap().contains(&text), "{text}: {indexes}");
    }
    let log = world.harness.api(Method::GET, &format!("/jobs/{job}/logs")).send().await.unwrap();
    assert!(log.text().await.unwrap().contains("onerror"), "it was there");
}

#[tokio::test]
async fn a_log_is_downloaded_as_text_whatever_is_in_it() {
    let world = World::start().await;
    world.take().await;
    let visitor =
        super::Visitor::with_token(&world.harness, world.harness.server.api_token().expose_secret()).await;
    let path = format!("/jobs/{}/log/text", world.job);
    let response = visitor.request(Method::GET, &path).send().await.unwrap();
    let header = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
    assert_eq!(header("content-type"), "text/plain; charset=utf-8");
    assert_eq!(header("content-disposition"), format!("attachment; filename=\"job-{}.log\"", world.job));
    assert_eq!(header("x-content-type-options"), "nosniff");
    let text = response.text().await.unwrap();
    assert!(text.contains("== setup.git.init (") && text.contains(EVIL) && text.ends_with('\n'), "{text}");
}

#[tokio::test]
async fn every_answer_says_what_browsers_may_do_with_it() {
    let world = World::start().await;
    let visitor =
        super::Visitor::with_token(&world.harness, world.harness.server.api_token().expose_secret()).await;
    let door = visitor.request(Method::GET, "/sign-in").send().await.unwrap().text().await.unwrap();
    let (_, style) = door.split_once("href=\"/assets/").unwrap();
    let style = format!("/assets/{}", style.split('"').next().unwrap());
    for path in ["/", "/jobs", "/jobs/1", "/sign-in", "/no-such-page", "/jobs/x", &style] {
        let request = visitor.request(Method::GET, path).header("Accept", "text/html,*/*");
        let response = request.send().await.unwrap();
        let header =
            |name: &str| response.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        let policy = header("content-security-policy").unwrap();
        assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"), "{path}");
        assert!(!policy.contains("unsafe"), "{path}: {policy}");
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "same-origin"),
            ("cross-origin-opener-policy", "same-origin"),
            ("cross-origin-resource-policy", "same-origin"),
        ] {
            assert_eq!(header(name).as_deref(), Some(value), "{path}");
        }
        let kept = if path == style { "public, max-age=31536000, immutable" } else { "no-store" };
        assert_eq!(header("cache-control").as_deref(), Some(kept), "{path}");
    }
    let told = super::told(visitor.request(Method::GET, "/jobs").send().await.unwrap()).await;
    assert!(!told.body.contains("<style") && !told.body.contains(" style="), "{}", told.body);
    assert!(told.body.len() < 60 << 10, "{} bytes", told.body.len());
}
