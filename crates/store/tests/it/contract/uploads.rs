//! Indexes that jobs upload.

use super::world::{Setup, World};
use bytes::Bytes;
use jiff::SignedDuration;
use jobs::Namespace;
use store::{Countable, FILE_CHARGE, Finish, NewObject, NewUpload, StoreError, UploadFilter};

fn new(repository: &str, parts: u32) -> NewUpload {
    NewUpload {
        namespace: "org:acme".parse().unwrap(),
        repository: repository.to_owned(),
        commit: "0123456789012345678901234567890123456789".to_owned(),
        root: "sub/dir".to_owned(),
        indexer_name: "scip-go".to_owned(),
        indexer_version: "1.2".to_owned(),
        associated_index_id: Some(7),
        by_job: None,
        content_type: "application/x-protobuf+scip".to_owned(),
        uncompressed_size: Some(99),
        parts,
    }
}

/// An object that nobody has taken yet.
pub(super) async fn object(world: &World, text: &'static str) -> NewObject {
    let key = world.store.new_object("uploads/index", ".gz").await.unwrap();
    world.store.objects().put(&key, Bytes::from_static(text.as_bytes())).await.unwrap();
    NewObject { key, size: text.len() as u64, sha256: "0".repeat(64) }
}

pub(super) async fn is_there(world: &World, object: &NewObject) -> bool {
    world.store.objects().read(&object.key, 0..object.size).await.is_ok()
}

async fn listed(world: &World, filter: UploadFilter) -> Vec<i64> {
    let filter = UploadFilter { limit: filter.limit.max(1), ..filter };
    world.store.uploads(filter).await.unwrap().into_iter().map(|row| row.id).collect()
}

pub(crate) async fn an_upload_in_parts_is_complete_when_all_are_there(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::default()).await;
    let id = world.store.begin_upload(new("app", 2)).await.unwrap();
    let (first, second, again) =
        (object(&world, "one").await, object(&world, "second").await, object(&world, "first").await);
    world.store.add_upload_part(id, 1, second.clone()).await.unwrap();
    let missing = world.store.finish_upload(id, std::slice::from_ref(&second)).await.unwrap_err();
    assert!(matches!(missing, StoreError::MissingPart { there: 1, parts: 2 }), "{missing:?}");
    world.store.add_upload_part(id, 0, first.clone()).await.unwrap();
    world.store.add_upload_part(id, 0, again.clone()).await.unwrap();
    let beyond = world.store.add_upload_part(id, 2, object(&world, "x").await).await.unwrap_err();
    assert!(matches!(beyond, StoreError::NoSuchPart { part: 2, parts: 2 }), "{beyond:?}");
    assert_eq!(listed(&world, UploadFilter::default()).await, Vec::<i64>::new(), "it is not complete");
    let changed = world.store.finish_upload(id, &[first.clone(), second.clone()]).await.unwrap_err();
    assert!(matches!(changed, StoreError::PartsChanged(of) if of == id), "it was replaced: {changed:?}");
    let both = [again.clone(), second.clone()];
    world.store.finish_upload(id, &both).await.unwrap();
    world.store.finish_upload(id, &both).await.unwrap();
    let row = world.store.upload(id).await.unwrap().unwrap();
    assert_eq!((row.of, row.size), (new("app", 2), 11));
    assert_eq!(row.finished_at, Some(world.now()));
    assert_eq!(world.store.uploads_size().await.unwrap(), 2 * FILE_CHARGE);
    let parts = world.store.upload_parts(id).await.unwrap();
    assert_eq!(parts.into_iter().map(|part| part.object).collect::<Vec<_>>(), [again.clone(), second]);
    let late = world.store.add_upload_part(id, 0, object(&world, "late").await).await.unwrap_err();
    assert!(matches!(late, StoreError::UnknownUpload(of) if of == id), "{late:?}");
    // What was replaced goes, and what is in its place stays.
    assert_eq!(world.store.sweep_objects().await.unwrap(), 1);
    assert!(!is_there(&world, &first).await && is_there(&world, &again).await);
}

pub(crate) async fn nobody_begins_so_many_uploads_that_others_can_not(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::default()).await;
    let mut last = 0;
    for _ in 0..500 {
        last = world.store.begin_upload(new("app", 1)).await.unwrap();
    }
    let refused = world.store.begin_upload(new("app", 1)).await.unwrap_err();
    let limit_of_one = |refused: &StoreError| {
        matches!(refused, StoreError::TooManyOf { of: Countable::BegunUploads, limit: 500, total: 1_000, .. })
    };
    assert!(limit_of_one(&refused), "{refused:?}");
    world.store.begin_upload(NewUpload { namespace: Namespace::Global, ..new("app", 1) }).await.unwrap();
    let all = object(&world, "all").await;
    world.store.add_upload_part(last, 0, all.clone()).await.unwrap();
    world.store.finish_upload(last, &[all]).await.unwrap();
    world.store.begin_upload(new("app", 1)).await.unwrap();
}

/// What a job did not complete is good for nothing once it is over, and counts no longer at once.
pub(crate) async fn a_job_uploads_little_and_leaves_nothing_begun(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::default()).await;
    let (id, lease, _) = world.running().await;
    let of_job = NewUpload { by_job: Some(id), ..new("app", 2) };
    let complete = world.store.add_upload(of_job.clone(), object(&world, "whole").await).await.unwrap();
    let begun = world.store.begin_upload(of_job.clone()).await.unwrap();
    assert_eq!(world.store.upload(begun).await.unwrap().unwrap().of, of_job);
    for _ in 2..20 {
        world.store.begin_upload(of_job.clone()).await.unwrap();
    }
    let too_many =
        |refused: StoreError| matches!(refused, StoreError::TooManyUploads { job, limit: 20 } if job == id);
    assert!(too_many(world.store.begin_upload(of_job.clone()).await.unwrap_err()));
    let one_more = object(&world, "more").await;
    assert!(too_many(world.store.add_upload(of_job.clone(), one_more.clone()).await.unwrap_err()));
    world.store.add_upload(new("app", 1), one_more).await.unwrap();
    for _ in 19..500 {
        world.store.begin_upload(new("app", 1)).await.unwrap();
    }
    assert!(world.store.begin_upload(new("app", 1)).await.is_err());

    let hour_ago = world.now() - SignedDuration::from_secs(3_600);
    assert_eq!(world.store.forget_uploads(hour_ago, hour_ago).await.unwrap(), 0, "it runs");
    world.store.finish(id, &lease, Finish::Complete).await.unwrap();
    let others = world.store.begin_upload(new("app", 1)).await.unwrap();
    let mut gone = 0;
    while let forgotten @ 1.. = world.store.forget_uploads(hour_ago, hour_ago).await.unwrap() {
        gone += forgotten;
    }
    assert_eq!((gone, world.store.upload(begun).await.unwrap()), (19, None));
    for kept in [complete, others] {
        assert!(world.store.upload(kept).await.unwrap().is_some());
    }
}

pub(crate) async fn uploads_are_listed_by_whose_they_are(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::default()).await;
    let add = async |upload: NewUpload| {
        let object = object(&world, "text").await;
        world.store.add_upload(upload, object).await.unwrap()
    };
    let of_acme = add(new("app", 1)).await;
    let other = add(NewUpload { namespace: Namespace::Global, ..new("other", 1) }).await;
    let all = UploadFilter { limit: 9, ..UploadFilter::default() };
    assert_eq!(listed(&world, all.clone()).await, [other, of_acme]);
    let acmes = UploadFilter { namespace: Some("org:acme".parse().unwrap()), ..all.clone() };
    assert_eq!(listed(&world, acmes).await, [of_acme]);
    let app = UploadFilter { repository: Some("app".to_owned()), ..all.clone() };
    assert_eq!(listed(&world, app).await, [of_acme]);
    assert_eq!(listed(&world, UploadFilter { before: Some(other), ..all.clone() }).await, [of_acme]);
    let of_eight = add(NewUpload { associated_index_id: Some(8), ..new("app", 1) }).await;
    let of = |job: i64| UploadFilter { job: Some(jobs::JobId(job)), ..all.clone() };
    assert_eq!(listed(&world, of(7)).await, [other, of_acme]);
    assert_eq!(listed(&world, UploadFilter { before: Some(other), ..of(7) }).await, [of_acme]);
    assert_eq!(listed(&world, of(8)).await, [of_eight]);
    let acmes = UploadFilter { namespace: Some("org:acme".parse().unwrap()), ..of(7) };
    assert_eq!(listed(&world, acmes).await, [of_acme]);
    assert_eq!(world.store.upload(99).await.unwrap(), None);
    for (namespace, size) in [("org:acme", 2 * FILE_CHARGE), ("global", FILE_CHARGE), ("user:ann", 0)] {
        let of = namespace.parse().unwrap();
        assert_eq!(world.store.uploads_size_of(&of).await.unwrap(), size, "{namespace}");
    }
}

pub(crate) async fn old_uploads_are_forgotten_with_their_objects(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::default()).await;
    let whole = object(&world, "whole").await;
    let old = world.store.add_upload(new("app", 1), whole.clone()).await.unwrap();
    let never = world.store.begin_upload(new("app", 2)).await.unwrap();
    let part = object(&world, "part").await;
    world.store.add_upload_part(never, 0, part.clone()).await.unwrap();
    world.advance(3_600);
    let kept = object(&world, "kept").await;
    let young = world.store.add_upload(new("app", 1), kept.clone()).await.unwrap();
    let hour_ago = world.now() - SignedDuration::from_secs(3_600);
    assert_eq!(world.store.forget_uploads(hour_ago, hour_ago).await.unwrap(), 0);
    assert_eq!(world.store.forget_uploads(world.now(), hour_ago).await.unwrap(), 1);
    assert_eq!(world.store.forget_uploads(hour_ago, world.now()).await.unwrap(), 1);
    assert_eq!(world.store.upload(old).await.unwrap(), None);
    assert_eq!(world.store.upload(never).await.unwrap(), None);
    assert!(world.store.upload(young).await.unwrap().is_some());
    assert_eq!(world.store.sweep_objects().await.unwrap(), 2);
    assert!(!is_there(&world, &whole).await && !is_there(&world, &part).await);
    assert!(is_there(&world, &kept).await);
    assert_eq!(world.store.uploads_size().await.unwrap(), FILE_CHARGE);
}

pub(crate) async fn an_object_that_nobody_takes_goes(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::default()).await;
    let (given_up, forgotten) = (object(&world, "a").await, object(&world, "b").await);
    world.store.give_up_object(&given_up.key).await.unwrap();
    assert_eq!(world.store.sweep_objects().await.unwrap(), 1);
    assert!(!is_there(&world, &given_up).await && is_there(&world, &forgotten).await);
    world.advance(24 * 3_600 + 1);
    assert_eq!(world.store.sweep_objects().await.unwrap(), 1);
    assert!(!is_there(&world, &forgotten).await);
    // By then nobody can take it any more: it would name what is not there.
    let late = world.store.add_upload(new("app", 1), forgotten).await.unwrap_err();
    assert!(matches!(late, StoreError::Outdated), "{late:?}");
    assert_eq!(world.store.uploads_size().await.unwrap(), 0);
}

/// Whoever asked for it to be taken may not have heard that it was.
pub(crate) async fn an_object_that_is_given_up_too_late_stays(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::default()).await;
    let taken = object(&world, "taken").await;
    world.store.add_upload(new("app", 1), taken.clone()).await.unwrap();
    world.store.give_up_object(&taken.key).await.unwrap();
    assert_eq!(world.store.sweep_objects().await.unwrap(), 0);
    assert!(is_there(&world, &taken).await);
}
