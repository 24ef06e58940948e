//! Who did what.

use super::world::{Setup, World};
use jobs::Namespace;
use store::{ActFilter, NewAct};

fn act(action: &str, subject: &str, namespace: &str) -> NewAct {
    NewAct {
        actor: "ci".to_owned(),
        actor_of: Namespace::Organisation("acme".to_owned()),
        action: action.to_owned(),
        subject: subject.to_owned(),
        namespace: namespace.parse().unwrap(),
        origin: "10.0.0.7".to_owned(),
        detail: "role reader".to_owned(),
        reference: None,
    }
}

async fn subjects(world: &World, filter: ActFilter) -> Vec<String> {
    let acts = world.store.acts(filter).await.unwrap();
    acts.into_iter().map(|row| row.act.subject).collect()
}

fn page(limit: u32) -> ActFilter {
    ActFilter { limit, ..ActFilter::default() }
}

pub(crate) async fn what_was_done_is_told_newest_first(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::default()).await;
    for (action, subject, namespace) in [
        ("token.create", "1", "global"),
        ("job.cancel", "2", "org:acme"),
        ("token.create", "3", "org:acme"),
        ("job.cancel", "4", "user:bob"),
    ] {
        world.store.note_act(act(action, subject, namespace)).await.unwrap();
        world.advance(1);
    }
    let first = world.store.acts(page(2)).await.unwrap();
    assert_eq!(first[0].act, act("job.cancel", "4", "user:bob"));
    assert_eq!(first[0].at, world.now() - jiff::SignedDuration::from_secs(1));
    let rest = ActFilter { before: Some(first[1].id), ..page(2) };
    assert_eq!(subjects(&world, rest).await, ["2", "1"]);
    let of = |namespace: &str| ActFilter { namespace: Some(namespace.parse().unwrap()), ..page(10) };
    assert_eq!(subjects(&world, of("org:acme")).await, ["3", "2"]);
    assert_eq!(subjects(&world, of("global")).await, ["1"]);
    assert_eq!(subjects(&world, of("user:ann")).await, [""; 0]);
    let created = ActFilter { action: Some("token.create".to_owned()), ..of("org:acme") };
    assert_eq!(subjects(&world, created).await, ["3"]);
    let of_an_id = NewAct { reference: Some("1f".repeat(16)), ..act("secret.delete", "KEY", "user:bob") };
    world.store.note_act(of_an_id.clone()).await.unwrap();
    assert_eq!(world.store.acts(page(1)).await.unwrap()[0].act, of_an_id);
    let long = "ä".repeat(1_000);
    world.store.note_act(NewAct { detail: long.clone(), ..act("x", &long, "global") }).await.unwrap();
    let kept = world.store.acts(page(1)).await.unwrap().remove(0).act;
    assert_eq!((kept.subject.len(), kept.detail.len()), (300, 1_000));
}

pub(crate) async fn old_and_too_many_acts_are_forgotten(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::default()).await;
    for n in 0..6 {
        world.store.note_act(act("job.cancel", &n.to_string(), "global")).await.unwrap();
        world.advance(10);
    }
    let cutoff = world.now() - jiff::SignedDuration::from_secs(50);
    assert_eq!(world.store.forget_acts(cutoff, 100).await.unwrap(), 1);
    assert_eq!(subjects(&world, page(10)).await, ["5", "4", "3", "2", "1"]);
    assert_eq!(world.store.forget_acts(cutoff, 3).await.unwrap(), 2);
    assert_eq!(world.store.forget_acts(cutoff, 3).await.unwrap(), 0);
    assert_eq!(subjects(&world, page(10)).await, ["5", "4", "3"]);
}

pub(crate) async fn what_anybody_may_do_is_forgotten_before_all_else(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::default()).await;
    let often = ["session.begin", "executor.register"];
    for (n, action) in ["token.create", "secret.set"].into_iter().chain(often.repeat(4)).enumerate() {
        world.store.note_act(act(action, &n.to_string(), "global")).await.unwrap();
    }
    let never = world.now() - jiff::SignedDuration::from_secs(3_600);
    assert_eq!(world.store.forget_acts(never, 4).await.unwrap(), 6);
    assert_eq!(world.store.forget_acts(never, 4).await.unwrap(), 0);
    assert_eq!(subjects(&world, page(10)).await, ["9", "8", "1", "0"]);
    assert_eq!(world.store.forget_acts(never, 1).await.unwrap(), 3);
    assert_eq!(subjects(&world, page(10)).await, ["1"]);
}

pub(crate) async fn nobody_has_what_others_did_forgotten(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::default()).await;
    let by = |actor_of: &str, action: &str, subject: &str| NewAct {
        actor_of: actor_of.parse().unwrap(),
        // Root does things to what is acme's as well.
        ..act(action, subject, "org:acme")
    };
    world.store.note_act(by("global", "token.create", "roots")).await.unwrap();
    world.store.note_act(by("user:bob", "secret.set", "bobs")).await.unwrap();
    world.store.note_act(by("user:bob", "session.begin", "bob is here")).await.unwrap();
    for n in 0..40 {
        world.store.note_act(by("org:acme", "secret.set", &n.to_string())).await.unwrap();
    }
    let never = world.now() - jiff::SignedDuration::from_secs(3_600);
    assert_eq!(world.store.forget_acts(never, 6).await.unwrap(), 37);
    assert_eq!(world.store.forget_acts(never, 6).await.unwrap(), 0);
    assert_eq!(subjects(&world, page(50)).await, ["39", "38", "37", "bob is here", "bobs", "roots"]);
    for n in 40..45 {
        world.store.note_act(by("org:acme", "secret.set", &n.to_string())).await.unwrap();
    }
    assert_eq!(world.store.forget_acts(never, 6).await.unwrap(), 5, "what came since is counted");
    assert_eq!(subjects(&world, page(50)).await, ["44", "43", "42", "bob is here", "bobs", "roots"]);
}
