//! A server whose disk is full says so, and goes on when there is room again.

use crate::harness::{Harness, job, problem};
use crate::source::SourceRepo;
use jobs::JobSpec;
use reqwest::{Method, RequestBuilder};
use serde_json::json;
use testkit::SmallDisk;

async fn on(disk: &SmallDisk) -> Harness {
    Harness::start_with(|config| config.data_dir = disk.path().join("data")).await
}

/// Asks until there is no room left in what the database has of the disk already; returns the problem.
async fn until_refused(ask: impl Fn(u32) -> RequestBuilder) -> (u16, String, String) {
    for number in 0..5_000 {
        let response = ask(number).send().await.unwrap();
        if !response.status().is_success() {
            return problem(ask(number)).await;
        }
    }
    panic!("the disk never filled");
}

#[tokio::test]
async fn what_the_database_has_no_room_for_is_refused_as_such() {
    let Some(disk) = SmallDisk::mount("what_the_database_has_no_room_for_is_refused_as_such", 16 << 20)
    else {
        return;
    };
    let harness = on(&disk).await;
    disk.fill(0);
    let mut large = job();
    large.steps[0].run = format!("true {}", "x".repeat(20_000));
    let submit = |_| harness.api(Method::POST, "/jobs").json(&large);
    let (status, code, detail) = until_refused(submit).await;
    assert_eq!((status, code.as_str()), (507, "disk_full"), "{detail}");
    assert!(detail.contains("make room"), "{detail}");
    let keep = |number: u32| {
        let body = json!({"key": format!("KEY_{number}"), "value": "x".repeat(5_000)});
        harness.api(Method::PUT, "/secrets").json(&body)
    };
    let (status, code, detail) = until_refused(keep).await;
    assert_eq!((status, code.as_str()), (507, "disk_full"), "{detail}");
    disk.make_room();
    harness.submit(&large).await;
    harness.set_secret("LATER", "v4lue").await;
    harness.stop().await;
}

#[tokio::test]
async fn a_mirror_that_there_is_no_room_for_is_refused_as_such() {
    let Some(disk) = SmallDisk::mount("a_mirror_that_there_is_no_room_for_is_refused_as_such", 16 << 20)
    else {
        return;
    };
    let harness = on(&disk).await;
    let source = SourceRepo::new();
    harness.add_repository("grows", &source.path()).await;
    // What can't be compressed.
    let mut state = 1_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        char::from_digit(u32::try_from(state >> 60).unwrap(), 16).unwrap()
    };
    let large: String = (0..8 << 20).map(|_| next()).collect();
    source.commit("large", &large);
    disk.fill(1 << 20);
    let add = harness.api(Method::POST, "/repositories");
    let add = add.json(&json!({"name": "large", "source": source.path()}));
    let spec = JobSpec { repo: Some("grows".to_owned()), ..job() };
    for refused in [add, harness.api(Method::POST, "/jobs").json(&spec)] {
        let (status, code, detail) = problem(refused).await;
        assert_eq!((status, code.as_str()), (507, "disk_full"), "{detail}");
        assert!(detail.contains("make room") && detail.contains("No space left"), "{detail}");
    }
    disk.make_room();
    harness.submit(&spec).await;
    harness.stop().await;
}
