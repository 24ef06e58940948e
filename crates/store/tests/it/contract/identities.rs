//! Executors that are known by a token of their own.

use super::world::{Setup, World};
use jiff::SignedDuration;
use store::{IdentityRow, NewRegistration, StoreError};

async fn registration(world: &World, max_uses: u32) -> (i64, String) {
    let new = NewRegistration {
        name: "rack 7".to_owned(),
        max_uses,
        created_by: "root".to_owned(),
        expires_at: world.now() + SignedDuration::from_secs(60),
    };
    let (row, shown) = world.store.create_registration(new).await.unwrap();
    assert!(shown.starts_with("executor_reg_") && shown.len() == 13 + 64, "{shown}");
    (row.id, shown)
}

async fn uses(world: &World) -> u32 {
    world.store.registrations().await.unwrap()[0].uses
}

fn is_bad<T>(outcome: &Result<T, StoreError>) -> bool {
    matches!(outcome, Err(StoreError::BadRegistration))
}

pub(crate) async fn a_registration_is_good_for_so_many_identities(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::default()).await;
    let (_, shown) = registration(&world, 2).await;
    assert!(is_bad(&world.store.register("executor_reg_x", "exec-1", "id-1").await));
    let (first, is_new) = world.store.register(&shown, "exec-1", "id-1").await.unwrap();
    assert!(is_new);
    let expect = IdentityRow {
        name: "exec-1".to_owned(),
        registration: "rack 7".to_owned(),
        created_at: world.now(),
        last_used_at: world.now(),
        revoked_at: None,
    };
    assert_eq!(first, expect);
    world.store.register(&shown, "exec-2", "id-2").await.unwrap();
    assert!(is_bad(&world.store.register(&shown, "exec-3", "id-3").await));
    assert_eq!(uses(&world).await, 2);
    assert_eq!(world.store.identity("id-1").await.unwrap(), Some(expect.clone()));
    assert_eq!(world.store.identity("id-3").await.unwrap(), None);
    assert_eq!(world.store.identity_of("exec-1").await.unwrap(), Some(expect));
    assert_eq!(world.store.identity_of("exec-3").await.unwrap(), None);
    let names: Vec<_> = world.store.identities().await.unwrap().into_iter().map(|row| row.name).collect();
    assert_eq!(names, ["exec-1", "exec-2"]);
}

pub(crate) async fn a_registration_ends(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::default()).await;
    let (revoked, shown) = registration(&world, 5).await;
    world.store.register(&shown, "exec-1", "id-1").await.unwrap();
    assert_eq!(world.store.revoke_registration(revoked).await.unwrap().unwrap().uses, 1);
    assert_eq!(world.store.revoke_registration(revoked).await.unwrap(), None);
    assert!(is_bad(&world.store.register(&shown, "exec-2", "id-2").await));
    let (_, shown) = registration(&world, 5).await;
    world.advance(60);
    assert!(is_bad(&world.store.register(&shown, "exec-2", "id-2").await));
    assert!(world.store.identity("id-1").await.unwrap().is_some(), "what came of it stays good");
}

pub(crate) async fn the_same_again_is_the_same(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::default()).await;
    let (_, shown) = registration(&world, 1).await;
    let (first, _) = world.store.register(&shown, "exec-1", "id-1").await.unwrap();
    for shown in [&shown, "executor_reg_x"] {
        let again = world.store.register(shown, "exec-1", "id-1").await.unwrap();
        assert_eq!(again, (first.clone(), false));
    }
    assert_eq!(uses(&world).await, 1);
    assert!(is_bad(&world.store.register(&shown, "exec-2", "id-1").await), "an identity has one name");
}

pub(crate) async fn racing_registrations_take_no_more_than_there_is(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::default()).await;
    let (_, shown) = registration(&world, 3).await;
    let calls = (0..8).map(|n| {
        let (store, shown) = (world.store.clone(), shown.clone());
        tokio::spawn(async move { store.register(&shown, &format!("exec-{n}"), &format!("id-{n}")).await })
    });
    let mut good = 0;
    for call in calls.collect::<Vec<_>>() {
        match call.await.unwrap() {
            Ok(_) => good += 1,
            refused => assert!(is_bad(&refused), "{refused:?}"),
        }
    }
    assert_eq!((good, uses(&world).await), (3, 3));
}

pub(crate) async fn a_name_is_given_once(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::default()).await;
    let (_, shown) = registration(&world, 5).await;
    world.store.register(&shown, "exec-1", "id-1").await.unwrap();
    let taken = world.store.register(&shown, "exec-1", "id-2").await;
    assert!(matches!(&taken, Err(StoreError::IdentityExists(name)) if name == "exec-1"), "{taken:?}");
    assert_eq!(uses(&world).await, 1, "what came to nothing took no use");
    let taken = world.store.register(&shown, "exec-2", "id-1").await;
    assert!(matches!(&taken, Err(StoreError::IdentityTaken(name)) if name == "exec-1"), "{taken:?}");
    assert_eq!(uses(&world).await, 1, "what came to nothing took no use");
    let revoked = world.store.revoke_identity("exec-1").await.unwrap().unwrap();
    assert_eq!(revoked.revoked_at, Some(world.now()));
    assert_eq!(world.store.revoke_identity("exec-1").await.unwrap(), None);
    assert_eq!(world.store.revoke_identity("exec-2").await.unwrap(), None);
    for identity in ["id-1", "id-2"] {
        let again = world.store.register(&shown, "exec-1", identity).await;
        assert!(matches!(again, Err(StoreError::IdentityRevoked(_))), "{again:?}");
    }
    assert_eq!(world.store.identity("id-1").await.unwrap(), Some(revoked));
    world.advance(1);
    assert_eq!(world.store.forget_identities(world.now()).await.unwrap(), 1);
    world.store.register(&shown, "exec-1", "id-3").await.unwrap();
}

pub(crate) async fn what_a_revoked_executor_says_of_its_jobs_counts_for_nothing(
    open: impl AsyncFn(Setup) -> World,
) {
    let world = open(Setup::default()).await;
    let (_, shown) = registration(&world, 5).await;
    world.store.register(&shown, "exec-1", "id-1").await.unwrap();
    let (id, _, claimed) = world.running().await;
    assert_eq!(world.store.job_by_token(&claimed.token).await.unwrap().unwrap().id, id);
    assert!(world.store.job_by_holder(id, "exec-1").await.unwrap().is_some());
    world.store.revoke_identity("exec-1").await.unwrap();
    assert_eq!(world.store.job_by_token(&claimed.token).await.unwrap(), None);
    assert_eq!(world.store.job_by_holder(id, "exec-1").await.unwrap(), None);
    assert_eq!(world.stall_all().await[0].id, id);
    assert_eq!(world.claim("exec-2").await.unwrap().job.id, id);
}
