//! Uploaded files, and how long they are kept.

use super::world::{Setup, World, lease, new_job, somebody};
use jiff::{SignedDuration, Timestamp};
use jobs::{FileSpec, JobId, Namespace};
use store::{FILE_CHARGE, FileRow, Finish, NewFile, StoreError};

const HOUR: i64 = 3_600;

fn id(n: u32) -> String {
    format!("{n:032x}")
}

fn new_file(n: u32, size: u64) -> NewFile {
    NewFile {
        id: id(n),
        name: format!("file {n}"),
        size,
        sha256: "ab".repeat(32),
        modified_at: "2001-02-03T04:05:06.789Z".parse().unwrap(),
        namespace: Namespace::User("ann".to_owned()),
        object: None,
    }
}

async fn submit_with(world: &World, files: &[u32]) -> Result<JobId, StoreError> {
    let mut job = new_job("batches");
    let spec = |n: &u32| FileSpec { path: format!("f{n}"), upload: Some(id(*n)), ..FileSpec::default() };
    job.spec.files = files.iter().map(spec).collect();
    world.store.submit(job).await
}

/// Everything that may be forgotten an hour after it was last needed.
async fn forget(world: &World) -> Vec<String> {
    let cutoff: Timestamp = world.now() - SignedDuration::from_secs(HOUR);
    world.store.forget_files(cutoff).await.unwrap()
}

pub(crate) async fn an_uploaded_file_is_remembered(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::default()).await;
    assert_eq!(world.store.files_size().await.unwrap(), 0);
    let added = world.store.add_file(new_file(1, 5_000_000_000)).await.unwrap();
    let NewFile { id, name, size, sha256, modified_at, namespace, object } = new_file(1, 5_000_000_000);
    let expect = FileRow { id, name, size, sha256, modified_at, uploaded_at: world.now(), namespace, object };
    assert_eq!(added, expect);
    assert_eq!(world.store.file(&added.id).await.unwrap(), Some(expect));
    assert_eq!(world.store.file(&"0".repeat(32)).await.unwrap(), None);
    assert!(world.store.add_file(new_file(1, 1)).await.is_err(), "an id is used once");
    world.store.add_file(new_file(2, 7)).await.unwrap();
    assert_eq!(world.store.files_size().await.unwrap(), 5_000_000_000 + FILE_CHARGE);
    let own = jobs::Namespace::from_key("org:acme").unwrap();
    let before = world.store.files_size_of(&new_file(1, 1).namespace).await.unwrap();
    assert_eq!(before, 5_000_000_000 + FILE_CHARGE);
    assert_eq!(world.store.files_size_of(&own).await.unwrap(), 0);
    world.store.add_file(NewFile { namespace: own.clone(), ..new_file(3, 1) }).await.unwrap();
    assert_eq!(
        world.store.files_size_of(&own).await.unwrap(),
        FILE_CHARGE,
        "each counts for so much at least"
    );
}

pub(crate) async fn a_job_keeps_the_files_it_names(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::default()).await;
    world.store.add_file(new_file(1, 1)).await.unwrap();
    let job = submit_with(&world, &[1]).await.unwrap();
    world.advance(10 * HOUR);
    assert!(forget(&world).await.is_empty(), "it is queued");
    let claimed = world.claim("exec-1").await.unwrap();
    assert_eq!(claimed.spec.files[0].upload, Some(id(1)));
    world.advance(10 * HOUR);
    assert!(forget(&world).await.is_empty(), "it runs");
    world.store.finish(job, &lease(&claimed), Finish::Complete).await.unwrap();
    world.advance(HOUR);
    assert!(forget(&world).await.is_empty(), "it ended just an hour ago");
    world.advance(1);
    assert_eq!(forget(&world).await, [id(1)]);
    assert_eq!(world.store.file(&id(1)).await.unwrap(), None);
    assert_eq!(world.store.job_file(job, &id(1)).await.unwrap(), None);
    assert_eq!(world.store.spec(job).await.unwrap().files.len(), 1, "the job itself is as it was");
}

pub(crate) async fn a_job_that_names_an_unknown_file_is_not_submitted(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::default()).await;
    world.store.add_file(new_file(1, 1)).await.unwrap();
    let refused = submit_with(&world, &[1, 2]).await;
    assert!(matches!(&refused, Err(StoreError::UnknownFile(file)) if *file == id(2)), "{refused:?}");
    assert!(world.claim("exec-1").await.is_none());
    world.advance(2 * HOUR);
    assert_eq!(forget(&world).await, [id(1)], "the refused job keeps nothing");
}

pub(crate) async fn a_job_sees_only_its_own_files(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::default()).await;
    for n in 1..=3 {
        world.store.add_file(new_file(n, u64::from(n))).await.unwrap();
    }
    let one = submit_with(&world, &[1, 2]).await.unwrap();
    // The same upload at two places.
    let two = submit_with(&world, &[2, 2]).await.unwrap();
    for (job, seen) in [(one, [true, true, false]), (two, [false, true, false]), (JobId(99), [false; 3])] {
        for (n, seen) in (1..).zip(seen) {
            let found = world.store.job_file(job, &id(n)).await.unwrap();
            assert_eq!(found.map(|file| file.size), seen.then_some(u64::from(n)), "file {n} of job {job}");
        }
    }
}

pub(crate) async fn files_that_nobody_needs_are_forgotten(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::default()).await;
    world.store.add_file(new_file(1, 1)).await.unwrap();
    world.advance(HOUR);
    world.store.add_file(new_file(2, 1)).await.unwrap();
    assert!(forget(&world).await.is_empty(), "a job may still be submitted with it");
    world.advance(1);
    assert_eq!(forget(&world).await, [id(1)]);
    assert!(forget(&world).await.is_empty(), "once is enough");
    for n in 10..310 {
        world.store.add_file(new_file(n, 1)).await.unwrap();
    }
    world.advance(2 * HOUR);
    let mut all = Vec::new();
    loop {
        let some = forget(&world).await;
        if some.is_empty() {
            break;
        }
        all.extend(some);
    }
    assert_eq!(all.len(), 301);
    assert_eq!(world.store.files_size().await.unwrap(), 0);
}

pub(crate) async fn a_file_shared_by_jobs_stays_until_the_last_has_ended(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::default()).await;
    world.store.add_file(new_file(1, 1)).await.unwrap();
    let (first, second) =
        (submit_with(&world, &[1]).await.unwrap(), submit_with(&world, &[1]).await.unwrap());
    world.store.cancel(first, somebody()).await.unwrap();
    world.advance(2 * HOUR);
    assert!(forget(&world).await.is_empty());
    world.store.cancel(second, somebody()).await.unwrap();
    world.advance(2 * HOUR);
    assert_eq!(forget(&world).await, [id(1)]);
}

pub(crate) async fn a_file_lets_go_of_its_object(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::default()).await;
    let key = world.store.new_object("files/1", "").await.unwrap();
    let kept = world.store.add_file(NewFile { object: Some(key.clone()), ..new_file(1, 1) }).await.unwrap();
    assert_eq!(kept.object, Some(key.clone()));
    let taken = world.store.add_file(NewFile { object: Some(key), ..new_file(2, 1) }).await;
    assert!(matches!(taken, Err(StoreError::Outdated)), "{taken:?}");
    world.advance(48 * HOUR);
    assert_eq!(world.store.sweep_objects().await.unwrap(), 0, "it is of use");
    assert_eq!(forget(&world).await, [id(1)]);
    assert_eq!(world.store.sweep_objects().await.unwrap(), 1);
}
