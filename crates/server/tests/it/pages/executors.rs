//! What the page of executors tells of those that are ours, and of stock ones.

use super::Visitor;
use super::hostile::sign_in;
use crate::harness::{EXECUTOR, Harness, job, job_in, told};
use secrecy::ExposeSecret;
use serde_json::json;
use testkit::browser::Browser;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn executors_show_what_they_give_and_how_they_are_set_up() {
    let test = "executors_show_what_they_give_and_how_they_are_set_up";
    let Some(browser) = Browser::start() else { return testkit::missing_part(test, "chromium") };
    let harness = Harness::start().await;
    for name in [EXECUTOR, "stock"] {
        let beat = json!({"executorName": name, "jobIds": []});
        assert_eq!(told(harness.executor("/.executors/queue/batches/heartbeat").json(&beat)).await.0, 200);
    }
    let id = harness.submit(&job()).await;
    let ask = |body: serde_json::Value| harness.executor("/.executors/queue/batches/dequeue").json(&body);
    let ours = json!({"executorName": EXECUTOR, "version": "dev", "numCPUs": 4, "memory": "12G", "diskSpace": "20G"});
    let ours = ask(ours).header("Executors-Isolation", "container").header(
        "Executors-Settings",
        "slots=3; runtime=oci; job-time=1800s; job-memory=12884901888; job-processes=4096; <b>=x; new-one=7",
    );
    assert_eq!(job_in(ours.send().await.unwrap()).await.unwrap().id.0, id);
    let stock =
        json!({"executorName": "stock", "version": "5.2.0", "numCPUs": 1, "memory": "1G", "diskSpace": "2G"});
    assert!(job_in(ask(stock).send().await.unwrap()).await.is_none());

    let page = browser.page();
    sign_in(&page, &harness);
    page.open(&harness.url("/executors"));
    page.eval("document.querySelectorAll('details').forEach((it) => { it.open = true })");
    let card = |name: &str| {
        let text =
            page.eval(&format!("document.querySelector('[aria-label=\"Executor {name}\"]').innerText"));
        text.as_str().unwrap().split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let ours = card(EXECUTOR);
    for told in [
        &format!("Runs now #{id}"),
        "Slots 1 of 3 in use",
        "Gives a job 4 CPUs, 12 GiB memory, 20 GiB disk",
        "Runtime oci, isolation container",
        "Time of a job, at most 1800s",
        "Memory of a job, at most 12 GiB",
        "Processes of a job, at most 4096",
        "new-one 7",
        "Last seen",
    ] {
        assert!(ours.contains(told), "{told} is not in: {ours}");
    }
    let stock = card("stock");
    for told in [
        "Runs now nothing",
        "Slots not told",
        "Gives a job 1 CPU, 1 GiB memory, 2 GiB disk",
        "Runtime not told",
    ] {
        assert!(stock.contains(told), "{told} is not in: {stock}");
    }

    let shown = |query: &str| {
        page.open(&harness.url(&format!("/executors{query}")));
        page.eval("document.querySelector('main').innerText").as_str().unwrap().to_owned()
    };
    let (found, all) = (shown("?active=true&text=STOCK"), shown("?active=&text="));
    assert!(found.contains("1 GiB memory") && !found.contains("12 GiB memory"), "{found}");
    assert!(all.contains("1 GiB memory") && all.contains("12 GiB memory"), "{all}");
    assert!(shown("?active=false").contains("No executor is like that."));
    let form = "document.querySelector('form.filters')";
    page.eval(&format!("{form}.elements.active.value = 'true'; {form}.submit()"));
    page.until("location.search === '?active=true&text='");
    assert!(page.misdeeds(&harness.url("/")).is_empty(), "{:?}", page.misdeeds(&harness.url("/")));
}

/// Both go on with their heartbeats, and so are active.
#[tokio::test]
async fn executors_that_ask_for_no_jobs_are_shown_with_why() {
    let harness = Harness::start().await;
    for (name, why) in [("full", "disk-floor"), ("leaves", "draining"), ("asks", "")] {
        let beat = json!({"executorName": name, "jobIds": []});
        let beat = harness.executor("/.executors/queue/batches/heartbeat").json(&beat);
        assert_eq!(told(beat.header("Executors-Takes-None", why)).await.0, 200);
    }
    let visitor = Visitor::with_token(&harness, harness.server.api_token().expose_secret()).await;
    let page = visitor.get("/executors").await.body;
    let heading = |name: &str| {
        let (_, after) = page.split_once(&format!("aria-label=\"Executor {name}\"")).unwrap();
        let heading = after.split("</div>").next().unwrap().to_owned();
        assert!(heading.contains("active"), "{heading}");
        heading
    };
    assert!(heading("full").contains("too little room on its disk: takes no jobs"), "{}", heading("full"));
    assert!(heading("leaves").contains("draining: takes no jobs"), "{}", heading("leaves"));
    assert!(!heading("asks").contains("takes no jobs"), "{}", heading("asks"));
}

/// However many jobs others began since.
#[tokio::test]
async fn what_an_executor_runs_is_told_however_much_runs() {
    let harness = Harness::start().await;
    for name in ["early", "busy", "idle"] {
        let beat = json!({"executorName": name, "jobIds": []});
        assert_eq!(told(harness.executor("/.executors/queue/batches/heartbeat").json(&beat)).await.0, 200);
    }
    let take = async |name: &str| {
        harness.submit(&job()).await;
        let body = json!({"executorName": name, "version": "5.2.0"});
        let request = harness.executor("/.executors/queue/batches/dequeue").json(&body);
        job_in(request.header("Executors-Settings", "slots=600").send().await.unwrap()).await.unwrap().id.0
    };
    let first = take("early").await;
    let mut last = 0;
    for _ in 0..501 {
        last = take("busy").await;
    }
    let listed = harness.list("/executors").await;
    let of = |name: &str| listed.as_array().unwrap().iter().find(|one| one["name"] == name).unwrap().clone();
    assert_eq!((&of("early")["running"], &of("early")["jobs"]), (&json!(1), &json!([first])));
    assert_eq!((&of("idle")["running"], &of("idle")["jobs"]), (&json!(0), &json!([])));
    assert_eq!((&of("busy")["running"], &of("busy")["jobs"][0]), (&json!(501), &json!(last)));
    assert_eq!(of("busy")["jobs"].as_array().unwrap().len(), 12);

    let visitor = Visitor::with_token(&harness, harness.server.api_token().expose_secret()).await;
    let page = visitor.get("/executors").await.body;
    let card = |name: &str| {
        let (_, after) = page.split_once(&format!("aria-label=\"Executor {name}\"")).unwrap();
        after.split("</section>").next().unwrap().to_owned()
    };
    let early = card("early");
    assert!(early.contains(&format!("href=\"/jobs/{first}\"")) && early.contains("1 of "), "{early}");
    let busy = card("busy");
    assert!(busy.contains(&format!("#{last}")) && busy.contains("and 489 more"), "{busy}");
    assert!(busy.contains("501 of "), "{busy}");
    assert!(card("idle").contains("nothing"), "{}", card("idle"));
}
