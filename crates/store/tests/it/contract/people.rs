//! People who sign in, and their sessions.

use super::world::{Setup, World};
use jiff::SignedDuration;
use jobs::{Namespace, Principal, Role};
use store::{NewPerson, NewSession, NewToken, SessionOf, SessionTerms, StoreError};

const TERMS: SessionTerms =
    SessionTerms { idle: SignedDuration::from_hours(2), longest: SignedDuration::from_hours(5) };

fn acme() -> Namespace {
    Namespace::Organisation("acme".to_owned())
}

fn ann() -> NewPerson {
    NewPerson {
        name: "ann".to_owned(),
        password: "hash 1".to_owned(),
        role: Role::Operator,
        namespace: acme(),
        created_by: "root".to_owned(),
    }
}

fn person(id: i64, password: &str) -> NewSession {
    NewSession::Person { id, password: password.to_owned() }
}

async fn is_good(world: &World, shown: &str) -> bool {
    world.store.session(shown, TERMS).await.unwrap().is_some()
}

pub(crate) async fn somebody_signs_in_until_they_are_removed(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::default()).await;
    let row = world.store.add_person(ann()).await.unwrap();
    assert_eq!(
        (row.name.as_str(), row.role, &row.namespace, row.last_used_at),
        ("ann", Role::Operator, &acme(), None)
    );
    assert_eq!(world.store.person("ann").await.unwrap(), Some((row.clone(), "hash 1".to_owned())));
    assert_eq!(world.store.person("bob").await.unwrap(), None);
    let again = world.store.add_person(NewPerson { namespace: Namespace::Global, ..ann() }).await;
    assert!(matches!(again, Err(StoreError::PersonExists(_))), "{again:?}");
    assert_eq!(world.store.people(Some(&Namespace::Global)).await.unwrap(), []);

    let shown = world.store.begin_session(person(row.id, "hash 1")).await.unwrap().unwrap();
    assert_eq!(shown.len(), 64);
    let session = world.store.session(&shown, TERMS).await.unwrap().unwrap();
    let principal = Principal { name: "ann".to_owned(), role: Role::Operator, namespace: acme() };
    assert_eq!(session.of, SessionOf::Person(principal));
    assert_eq!(world.store.people(None).await.unwrap()[0].last_used_at, Some(world.now()));
    assert!(world.store.session_is_good(session.id, TERMS).await.unwrap());
    assert!(!is_good(&world, &shown[1..]).await);

    assert_eq!(world.store.remove_person("ann").await.unwrap().unwrap().id, row.id);
    assert!(!is_good(&world, &shown).await && !world.store.session_is_good(session.id, TERMS).await.unwrap());
    assert_eq!(world.store.remove_person("ann").await.unwrap(), None);
    assert_ne!(world.store.add_person(ann()).await.unwrap().id, row.id, "an id is nobody else's ever");
}

pub(crate) async fn a_new_password_ends_sessions_and_what_was_proved(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::default()).await;
    let row = world.store.add_person(ann()).await.unwrap();
    let shown = world.store.begin_session(person(row.id, "hash 1")).await.unwrap().unwrap();
    world.advance(60);
    let changed = world.store.set_password("ann", "hash 2").await.unwrap().unwrap();
    assert_eq!(changed.password_at, world.now());
    assert!(!is_good(&world, &shown).await);
    let late = world.store.begin_session(person(row.id, "hash 1")).await.unwrap();
    assert_eq!(late, None, "it was compared with the old one");
    assert!(world.store.begin_session(person(row.id, "hash 2")).await.unwrap().is_some());
    assert_eq!(world.store.set_password("bob", "x").await.unwrap(), None);
}

pub(crate) async fn a_session_ends_when_it_is_idle_or_old_or_ended(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::default()).await;
    let begin = async || world.store.begin_session(NewSession::Root(vec![7])).await.unwrap().unwrap();
    let (used, idle, ended) = (begin().await, begin().await, begin().await);
    let session = world.store.session(&ended, TERMS).await.unwrap().unwrap();
    assert_eq!(session.of, SessionOf::Root(vec![7]));
    world.store.end_session(session.id).await.unwrap();
    assert!(!is_good(&world, &ended).await);
    for _ in 0..4 {
        world.advance(3_600);
        assert!(is_good(&world, &used).await);
    }
    assert!(!is_good(&world, &idle).await, "nobody used it for two hours");
    assert_eq!(world.store.forget_sessions(TERMS).await.unwrap(), 1);
    world.advance(3_600);
    assert!(!is_good(&world, &used).await, "it is five hours old");
    assert_eq!(world.store.forget_sessions(TERMS).await.unwrap(), 1);
    assert_eq!(world.store.forget_sessions(TERMS).await.unwrap(), 0);
}

pub(crate) async fn a_session_is_no_more_than_the_token_it_came_of(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::default()).await;
    let token = async |name: &str, expires| {
        let new = NewToken {
            name: name.to_owned(),
            role: Role::Reader,
            namespace: acme(),
            created_by: "root".to_owned(),
            expires_at: expires,
        };
        world.store.create_token(new).await.unwrap().0.id
    };
    let revoked = token("revoked", None).await;
    let expired = token("expired", Some(world.now() + SignedDuration::from_secs(60))).await;
    let begin = async |id| world.store.begin_session(NewSession::Token(id)).await.unwrap();
    let (of_revoked, of_expired) = (begin(revoked).await.unwrap(), begin(expired).await.unwrap());
    let found = world.store.session(&of_revoked, TERMS).await.unwrap().unwrap();
    let principal = Principal { name: "revoked".to_owned(), role: Role::Reader, namespace: acme() };
    assert_eq!(found.of, SessionOf::Token(principal));
    assert!(is_good(&world, &of_expired).await);
    world.store.revoke_token(revoked).await.unwrap();
    world.advance(60);
    assert!(!is_good(&world, &of_revoked).await && !is_good(&world, &of_expired).await);
    assert_eq!(begin(revoked).await, None);
    world.store.forget_identities(world.now() + SignedDuration::from_secs(1)).await.unwrap();
    assert!(!is_good(&world, &of_revoked).await);
}

pub(crate) async fn one_holder_has_so_many_sessions(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::default()).await;
    let row = world.store.add_person(ann()).await.unwrap();
    let others = world.store.begin_session(NewSession::Root(vec![1])).await.unwrap().unwrap();
    let mut all = Vec::new();
    for _ in 0..22 {
        all.push(world.store.begin_session(person(row.id, "hash 1")).await.unwrap().unwrap());
        world.advance(1);
    }
    let mut good = Vec::new();
    for shown in &all {
        good.push(is_good(&world, shown).await);
    }
    assert!(!good[0] && !good[1] && good[2..].iter().all(|good| *good), "{good:?}");
    assert!(is_good(&world, &others).await);
}
