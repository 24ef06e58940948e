//! Tokens of the public API.

use super::world::{Setup, World};
use jiff::{SignedDuration, Timestamp};
use jobs::{Namespace, Role};
use store::{NewToken, StoreError, TokenRow};

fn ann() -> Namespace {
    Namespace::User("ann".to_owned())
}

fn new(name: &str, namespace: Namespace) -> NewToken {
    NewToken {
        name: name.to_owned(),
        role: Role::Submitter,
        namespace,
        created_by: "root".to_owned(),
        expires_at: None,
    }
}

async fn names(world: &World, of: Option<&Namespace>) -> Vec<String> {
    world.store.tokens(of).await.unwrap().into_iter().map(|row| row.name).collect()
}

pub(crate) async fn a_token_is_good_until_it_is_revoked(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::default()).await;
    let (row, shown) = world.store.create_token(new("ci", ann())).await.unwrap();
    assert!(shown.starts_with("executor_api_") && shown.len() == 13 + 64, "{shown}");
    let expect = TokenRow {
        id: row.id,
        name: "ci".to_owned(),
        role: Role::Submitter,
        namespace: ann(),
        created_by: "root".to_owned(),
        created_at: world.now(),
        expires_at: None,
        last_used_at: None,
    };
    assert_eq!(row, expect);
    assert_eq!(world.store.token(&shown).await.unwrap(), Some(expect));
    for other in [&shown[..shown.len() - 1], "executor_api_", "", "ci"] {
        assert_eq!(world.store.token(other).await.unwrap(), None, "{other}");
    }
    assert!(world.store.token_is_good(row.id).await.unwrap());
    let (_, another) = world.store.create_token(new("other", ann())).await.unwrap();
    assert_eq!(world.store.revoke_token(row.id).await.unwrap().unwrap().name, "ci");
    assert_eq!(world.store.token(&shown).await.unwrap(), None);
    assert!(world.store.token(&another).await.unwrap().is_some());
    assert!(!world.store.token_is_good(row.id).await.unwrap());
    assert_eq!(world.store.revoke_token(row.id).await.unwrap(), None);
    assert_eq!(world.store.revoke_token(row.id + 100).await.unwrap(), None);
    assert_eq!(names(&world, None).await, ["other"]);
}

pub(crate) async fn a_token_expires(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::default()).await;
    let expires_at = Some(world.now() + SignedDuration::from_secs(60));
    let (_, shown) = world.store.create_token(NewToken { expires_at, ..new("short", ann()) }).await.unwrap();
    world.advance(59);
    let id = world.store.tokens(None).await.unwrap()[0].id;
    assert!(world.store.token_is_good(id).await.unwrap());
    assert_eq!(world.store.token(&shown).await.unwrap().unwrap().expires_at, expires_at);
    world.advance(1);
    assert!(!world.store.token_is_good(id).await.unwrap());
    assert_eq!(world.store.token(&shown).await.unwrap(), None);
    assert_eq!(names(&world, None).await, ["short"], "people see that it did");
}

pub(crate) async fn names_of_tokens_are_their_namespaces_own(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::default()).await;
    let (anns, _) = world.store.create_token(new("ci", ann())).await.unwrap();
    world.store.create_token(new("ci", Namespace::Global)).await.unwrap();
    let again = world.store.create_token(new("ci", ann())).await;
    assert!(matches!(again, Err(StoreError::TokenExists { .. })), "{again:?}");
    assert_eq!(names(&world, Some(&ann())).await, ["ci"]);
    assert_eq!(names(&world, Some(&Namespace::User("bob".to_owned()))).await, [""; 0]);
    world.store.revoke_token(anns.id).await.unwrap();
    assert_eq!(names(&world, Some(&ann())).await, [""; 0]);
    world.store.create_token(new("ci", ann())).await.unwrap();
    assert_eq!(names(&world, None).await, ["ci", "ci"]);
}

pub(crate) async fn the_name_of_an_expired_token_is_free(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::default()).await;
    let expires_at = Some(world.now() + SignedDuration::from_secs(60));
    let short = || NewToken { expires_at, ..new("ci", ann()) };
    let (old, shown) = world.store.create_token(short()).await.unwrap();
    world.store.create_token(NewToken { expires_at, ..new("ci", Namespace::Global) }).await.unwrap();
    world.advance(59);
    let early = world.store.create_token(new("ci", ann())).await;
    assert!(matches!(early, Err(StoreError::TokenExists { .. })), "{early:?}");
    world.advance(1);
    let (row, _) = world.store.create_token(new("ci", ann())).await.unwrap();
    let listed = world.store.tokens(Some(&ann())).await.unwrap();
    assert_eq!(listed, [row], "the new one has taken its place");
    assert_eq!(names(&world, None).await, ["ci", "ci"], "that of others is nothing to it");
    assert!(!world.store.token_is_good(old.id).await.unwrap());
    assert_eq!(world.store.token(&shown).await.unwrap(), None);
    // Both are forgotten as ones that were good for nothing since they expired.
    assert_eq!(world.store.forget_identities(world.now()).await.unwrap(), 0);
    world.advance(1);
    assert_eq!(world.store.forget_identities(world.now()).await.unwrap(), 2);
}

pub(crate) async fn a_use_is_noted_now_and_then(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::default()).await;
    let (_, shown) = world.store.create_token(new("ci", ann())).await.unwrap();
    let used = async || world.store.tokens(None).await.unwrap()[0].last_used_at;
    assert_eq!(used().await, None);
    world.store.token(&shown).await.unwrap();
    let first: Timestamp = world.now();
    assert_eq!(used().await, Some(first));
    world.advance(599);
    world.store.token(&shown).await.unwrap();
    assert_eq!(used().await, Some(first));
    world.advance(1);
    world.store.token(&shown).await.unwrap();
    assert_eq!(used().await, Some(world.now()));
}

pub(crate) async fn what_was_revoked_long_ago_is_forgotten(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::default()).await;
    let (revoked, _) = world.store.create_token(new("revoked", ann())).await.unwrap();
    let expires_at = Some(world.now() + SignedDuration::from_secs(5));
    world.store.create_token(NewToken { expires_at, ..new("expired", ann()) }).await.unwrap();
    let (_, good) = world.store.create_token(new("good", ann())).await.unwrap();
    world.store.revoke_token(revoked.id).await.unwrap();
    world.advance(6);
    assert_eq!(world.store.forget_identities(world.now()).await.unwrap(), 2);
    assert_eq!(world.store.forget_identities(world.now()).await.unwrap(), 0);
    assert!(world.store.token(&good).await.unwrap().is_some());
}
