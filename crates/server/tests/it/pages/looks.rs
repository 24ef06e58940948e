//! How pages look and what they take: narrow and wide, dark and light, without scripts, and by keyboard alone.

use super::hostile::sign_in;
use super::world::World;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use testkit::browser::{Browser, Page, Scheme, Shot};

/// Where pictures of all pages go, if somebody wants to look at them.
const PICTURES: &str = "EXECUTOR_TEST_PICTURES";

fn paths(world: &World) -> Vec<String> {
    let mut paths = vec![format!("/jobs/{}", world.job), format!("/jobs/{}/log", world.job)];
    paths.push(format!("/secrets/{}", world.secret));
    let plain = [
        "/jobs",
        "/queues",
        "/executors",
        "/secrets",
        "/repositories",
        "/tokens",
        "/users",
        "/audit",
        "/account",
    ];
    paths.extend(plain.map(str::to_owned));
    paths
}

#[expect(clippy::disallowed_methods, reason = "who runs the test wants to see, and tells it where")]
fn picture(page: &Page, path: &str, shot: Shot) {
    if let Some(dir) = std::env::var_os(PICTURES) {
        let name = path.trim_start_matches('/').replace('/', "-");
        let file = format!("{name}-{}-{:?}.png", shot.width, shot.scheme).to_lowercase();
        page.picture(&std::path::Path::new(&dir).join(file));
    }
}

/// Pixels by which the page is wider than the window.
fn overflow(page: &Page) -> Value {
    page.eval("document.documentElement.scrollWidth - document.documentElement.clientWidth")
}

/// Texts whose contrast with what is behind them is less than it has to be (WCAG 2.2, AA).
const PALE: &str = r"(() => {
  const parse = (text) => { const n = text.match(/[\d.]+/g).map(Number); return { rgb: n.slice(0, 3), a: n[3] ?? 1 } };
  const light = ([r, g, b]) => { const f = (c) => { c /= 255; return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4 }; return 0.2126 * f(r) + 0.7152 * f(g) + 0.0722 * f(b) };
  const ground = (it) => { for (; it; it = it.parentElement) { const c = parse(getComputedStyle(it).backgroundColor); if (c.a === 1) return c.rgb } return [255, 255, 255] };
  const pale = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const it = walker.currentNode.parentElement;
    if (!walker.currentNode.textContent.trim() || !it.checkVisibility()) continue;
    const [a, b] = [light(parse(getComputedStyle(it).color).rgb), light(ground(it))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) pale.push(`${ratio.toFixed(2)} ${it.className}: ${walker.currentNode.textContent.slice(0, 40)}`);
  }
  return pale;
})()";

/// Words of tables that end in another line than they begin in: namespaces and reasons are a few characters long.
const BROKEN: &str = r"(() => [...document.querySelectorAll('td .word')]
  .filter((it) => !it.textContent.includes(' ') && it.getClientRects().length > 1)
  .map((it) => it.textContent))()";

/// What people who don't see it need of a page, as far as it can be looked at.
const UNTOLD: &str = r"(() => {
  const missing = [];
  if (!document.title || document.documentElement.lang !== 'en') missing.push('title or language');
  if (document.querySelectorAll('h1').length !== 1) missing.push('one h1');
  if (document.querySelectorAll('main').length !== 1) missing.push('one main');
  for (const it of document.querySelectorAll('input:not([type=hidden], [hidden]), select, textarea'))
    if (!it.labels?.length) missing.push(`a label of ${it.name}`);
  for (const it of document.querySelectorAll('a, button, summary'))
    if (!it.textContent.trim()) missing.push(`a name of ${it.outerHTML}`);
  const ids = [...document.querySelectorAll('[id]')].map((it) => it.id);
  for (const id of new Set(ids)) if (ids.filter((other) => other === id).length > 1) missing.push(`another id than ${id}`);
  for (const it of document.querySelectorAll('[aria-labelledby], [aria-describedby]'))
    for (const name of ['aria-labelledby', 'aria-describedby'])
      if (it.getAttribute(name) && !document.getElementById(it.getAttribute(name))) missing.push(`what ${it.getAttribute(name)} names`);
  return missing;
})()";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_page_fits_and_is_legible_wherever_it_is_looked_at() {
    let Some(browser) = Browser::start() else {
        return testkit::missing_part("every_page_fits_and_is_legible_wherever_it_is_looked_at", "chromium");
    };
    let world = World::start().await;
    world.take().await;
    for (call, reason) in [("markFailed", "unspecified"), ("markErrored", "executor_stopped")] {
        let job = world.harness.running_job().await;
        let end = json!({"errorMessage": "it went wrong", "end": {"reason": reason}});
        assert_eq!(world.harness.mark(&job, call, end).await.status(), 204);
    }
    world.harness.submit(&crate::harness::job()).await;
    let page = browser.page();
    sign_in(&page, &world.harness);
    for width in [360, 1024, 1280] {
        for scheme in [Scheme::Light, Scheme::Dark] {
            let shot = Shot { width, scheme };
            page.look(shot);
            for path in paths(&world) {
                page.open(&world.harness.url(&path));
                picture(&page, &path, shot);
                page.eval("document.querySelectorAll('details').forEach((it) => { it.open = true })");
                assert_eq!(overflow(&page), 0, "{path} at {width} px");
                let words = page.eval("document.querySelectorAll('td .word').length").as_u64();
                assert!(
                    words > Some(1) || !["/jobs", "/audit"].contains(&path.as_str()),
                    "{path}: {words:?}"
                );
                let broken = page.eval(BROKEN);
                assert_eq!(broken.as_array().map(Vec::len), Some(0), "{path} at {width} px: {broken:#}");
                let pale = page.eval(PALE);
                assert_eq!(pale.as_array().map(Vec::len), Some(0), "{path}, {scheme:?}: {pale:#}");
                let untold = page.eval(UNTOLD);
                assert_eq!(untold.as_array().map(Vec::len), Some(0), "{path}: {untold:#}");
                let bytes = page.html().len();
                assert!(bytes < 60 << 10, "{path} has {bytes} bytes");
            }
        }
    }
    let misdeeds = page.misdeeds(&world.harness.url("/"));
    assert!(misdeeds.is_empty(), "{misdeeds:#?}");
    let door = browser.page();
    for (width, scheme) in [(360, Scheme::Dark), (1280, Scheme::Light)] {
        let shot = Shot { width, scheme };
        door.look(shot);
        door.open(&world.harness.url("/sign-in"));
        picture(&door, "/sign-in", shot);
        assert_eq!(overflow(&door), 0);
        assert_eq!(door.eval(PALE).as_array().map(Vec::len), Some(0));
        assert_eq!(door.eval(UNTOLD).as_array().map(Vec::len), Some(0));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_works_without_scripts() {
    let Some(browser) = Browser::start() else {
        return testkit::missing_part("everything_works_without_scripts", "chromium");
    };
    let world = World::start().await;
    world.take().await;
    let page = browser.page();
    page.allow_scripts(false);
    sign_in(&page, &world.harness);
    let url = |path: &str| world.harness.url(path);
    for path in paths(&world) {
        page.open(&url(&path));
        assert!(!page.text().contains("JavaScript"), "{path}");
    }
    page.open(&url(&format!("/jobs/{}/log", world.job)));
    assert!(page.text().contains("Initialized") && page.text().contains("Reload"), "{}", page.text());

    page.open(&url("/secrets"));
    page.fill("#key", "DEPLOY_KEY");
    page.fill("#value", "a very secret value");
    page.go(|page| page.click("form:has(#key) button"));
    assert!(
        page.text().contains("The secret is kept.") && page.text().contains("DEPLOY_KEY"),
        "{}",
        page.text()
    );
    assert!(!page.html().contains("a very secret value"));
    page.go(|page| page.click("table a[href^='/secrets/']"));
    assert!(!page.html().contains("a very secret value"));

    page.open(&url("/queues"));
    page.go(|page| page.click("form[action='/queues/batches'] button[value=true]"));
    assert!(page.text().contains("paused"), "{}", page.text());
    let id = world.harness.submit(&crate::harness::job()).await;
    page.open(&url(&format!("/jobs/{id}")));
    assert!(page.text().contains("Why it waits") && page.text().contains("queue_paused"), "{}", page.text());
    page.click(".twice summary");
    page.go(|page| page.click(".danger"));
    assert!(page.text().contains("Why it was canceled"), "{}", page.text());
    assert!(page.misdeeds(&url("/")).is_empty(), "{:?}", page.misdeeds(&url("/")));
}

/// What has the focus: something that can be told from all else on the page.
const FOCUS: &str = "(() => { const it = document.activeElement; const all = [...document.querySelectorAll('*')]; return all.indexOf(it) })()";
/// Everything that somebody could click, or fill in, and that is seen.
const REACHABLE: &str = "(() => { const all = [...document.querySelectorAll('*')]; \
    return all.filter((it) => it.matches('a[href], button, input:not([type=hidden]), select, textarea, summary') && it.checkVisibility()).map((it) => all.indexOf(it)) })()";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_keyboard_reaches_everything_and_shows_where_it_is() {
    let Some(browser) = Browser::start() else {
        return testkit::missing_part("the_keyboard_reaches_everything_and_shows_where_it_is", "chromium");
    };
    let world = World::start().await;
    world.take().await;
    let page = browser.page();
    page.allow_scripts(false);
    page.open(&world.harness.url("/sign-in"));
    page.fill("#name", "x");
    page.press("Tab");
    page.press("Tab");
    page.press("Tab");
    page.press("Enter");
    page.press("Tab");
    page.type_text(world.harness.server.api_token().expose_secret());
    page.go(|page| page.press("Enter"));
    assert_eq!(page.path(), "/jobs", "signed in by keyboard alone");
    for path in paths(&world) {
        page.open(&world.harness.url(&path));
        let mut wanted: Vec<i64> = serde_json::from_value(page.eval(REACHABLE)).unwrap();
        page.press("Tab");
        let first = page.eval("document.activeElement.textContent");
        assert_eq!(first, "Skip to the content", "{path}");
        for _ in 0..wanted.len() * 2 + 40 {
            let focus = page.eval(FOCUS).as_i64().unwrap();
            wanted.retain(|index| *index != focus);
            let seen = page.eval("getComputedStyle(document.activeElement).outlineStyle");
            assert!(
                seen != "none" || focus < 3,
                "{path}: focus is not seen on {}",
                page.eval("document.activeElement.outerHTML")
            );
            if wanted.is_empty() {
                break;
            }
            page.press("Tab");
        }
        let left: Vec<Value> = wanted
            .iter()
            .map(|index| page.eval(&format!("document.querySelectorAll('*')[{index}].outerHTML")))
            .collect();
        assert!(left.is_empty(), "{path}: not reached: {left:#?}");
    }
}
