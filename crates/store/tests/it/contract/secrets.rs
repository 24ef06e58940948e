//! Secrets: whose they are, who is given them, and what is known of it.

use super::world::{Setup, World, asking, lease, new_job};
use jiff::SignedDuration;
use jobs::secrets::{MAX_SECRETS, Scope};
use jobs::{JobId, Lease, Namespace};
use secrecy::{ExposeSecret, SecretString};
use std::collections::{BTreeMap, BTreeSet};
use store::{
    AccessFilter, Keyring, NewSecret, SecretAccessRow, SecretCursor, SecretFilter, SecretRow, StoreError,
};

pub(crate) fn secret(namespace: &str, key: &str, value: &str) -> NewSecret {
    NewSecret {
        scope: Scope::Batches,
        namespace: namespace.parse().unwrap(),
        key: key.to_owned(),
        value: value.into(),
        creator: "ann".to_owned(),
    }
}

fn global_of_codeintel(key: &str, value: &str) -> NewSecret {
    NewSecret { scope: Scope::Codeintel, ..secret("global", key, value) }
}

/// A job of somebody that an executor has just claimed.
async fn job_of(world: &World, owner: &str, queue: &str) -> (JobId, Lease) {
    let owner = owner.parse::<Namespace>().unwrap().key();
    let job = store::NewJob { owner, ..new_job(queue) };
    let id = world.store.submit(job).await.unwrap();
    let claimed = world.store.claim(&asking(&[queue], "exec-1")).await.unwrap().pop().unwrap();
    assert_eq!(claimed.job.id, id);
    (id, lease(&claimed))
}

/// What a job is given of these keys.
async fn given(world: &World, (job, lease): &(JobId, Lease), keys: &[&str]) -> BTreeMap<String, String> {
    let keys: Vec<String> = keys.iter().map(ToString::to_string).collect();
    let opened = world.store.open_secrets(*job, lease, &keys).await.unwrap();
    opened.into_iter().map(|secret| (secret.key, secret.value.expose_secret().to_owned())).collect()
}

fn pairs(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

async fn accesses(world: &World, secret: &str) -> Vec<SecretAccessRow> {
    let filter = AccessFilter { secret: Some(secret.to_owned()), limit: 100, ..AccessFilter::default() };
    world.store.secret_accesses(filter).await.unwrap()
}

async fn listed(world: &World, filter: SecretFilter) -> Vec<SecretRow> {
    world.store.secrets(SecretFilter { limit: 100, ..filter }).await.unwrap()
}

pub(crate) async fn a_secret_is_kept_changed_and_removed(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::default()).await;
    let made_at = world.now();
    let made = world.store.add_secret(secret("user:ann", "KEY", "first")).await.unwrap();
    assert_eq!((made.scope, made.namespace.to_string().as_str()), (Scope::Batches, "user:ann"));
    assert_eq!((made.key.as_str(), made.creator.as_str(), made.id.len()), ("KEY", "ann", 32));
    assert_eq!((made.created_at, made.updated_at, made.overwrites_global), (made_at, made_at, false));
    let twice = world.store.add_secret(secret("user:ann", "KEY", "other")).await.unwrap_err();
    assert!(matches!(&twice, StoreError::SecretExists(key) if key == "KEY"), "{twice:?}");
    world.advance(5);
    let (changed, is_new) = world.store.put_secret(secret("user:ann", "KEY", "second")).await.unwrap();
    assert!(!is_new);
    assert_eq!(changed, SecretRow { updated_at: world.now(), ..made.clone() });
    assert_eq!(world.store.secret(&made.id).await.unwrap(), Some(changed));
    let job = job_of(&world, "user:ann", "batches").await;
    assert_eq!(given(&world, &job, &["KEY"]).await, pairs(&[("KEY", "second")]));
    assert!(world.store.remove_secret(&made.id).await.unwrap());
    assert!(!world.store.remove_secret(&made.id).await.unwrap());
    assert_eq!(world.store.secret(&made.id).await.unwrap(), None);
    assert_eq!(given(&world, &job, &["KEY"]).await, pairs(&[]));
    let (again, is_new) = world.store.put_secret(secret("user:ann", "KEY", "third")).await.unwrap();
    assert!(is_new && again.id != made.id);
}

pub(crate) async fn a_job_finds_its_own_secrets_before_global_ones(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::default()).await;
    for new in [
        secret("global", "BOTH", "everybody's"),
        secret("global", "GLOBAL", "global's"),
        secret("global", "UNASKED", "unasked"),
        secret("user:ann", "BOTH", "ann's"),
        secret("user:ann", "OWN", "ann's own"),
        secret("user:bob", "OWN", "bob's own"),
        secret("org:ann", "OWN", "the organisation's"),
        secret("org:ann", "ORG", "the organisation's alone"),
        global_of_codeintel("BOTH", "codeintel's"),
    ] {
        world.store.add_secret(new).await.unwrap();
    }
    let asked = ["BOTH", "GLOBAL", "OWN", "ORG", "NONE"];
    for (owner, expect) in [
        ("user:ann", &[("BOTH", "ann's"), ("GLOBAL", "global's"), ("OWN", "ann's own")][..]),
        ("user:bob", &[("BOTH", "everybody's"), ("GLOBAL", "global's"), ("OWN", "bob's own")]),
        ("user:an", &[("BOTH", "everybody's"), ("GLOBAL", "global's")]),
        ("global", &[("BOTH", "everybody's"), ("GLOBAL", "global's")]),
        (
            "org:ann",
            &[
                ("BOTH", "everybody's"),
                ("GLOBAL", "global's"),
                ("OWN", "the organisation's"),
                ("ORG", "the organisation's alone"),
            ],
        ),
    ] {
        let job = job_of(&world, owner, "batches").await;
        assert_eq!(given(&world, &job, &asked).await, pairs(expect), "{owner}");
        let keys: Vec<String> = asked.iter().map(ToString::to_string).collect();
        let known = world.store.known_secrets(Scope::Batches, &owner.parse().unwrap(), &keys).await.unwrap();
        assert_eq!(known.into_iter().collect::<BTreeSet<_>>(), pairs(expect).into_keys().collect());
    }
}

pub(crate) async fn jobs_of_codeintel_find_global_secrets_alone(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::default()).await;
    world.store.add_secret(secret("user:ann", "KEY", "ann's of batches")).await.unwrap();
    world.store.add_secret(secret("global", "OTHER", "of batches")).await.unwrap();
    world.store.add_secret(global_of_codeintel("KEY", "of codeintel")).await.unwrap();
    let job = job_of(&world, "user:ann", "codeintel").await;
    assert_eq!(given(&world, &job, &["KEY", "OTHER"]).await, pairs(&[("KEY", "of codeintel")]));
    let of_ann = NewSecret { scope: Scope::Codeintel, ..secret("user:ann", "KEY", "ann's") };
    world.store.add_secret(of_ann).await.unwrap_err();
}

pub(crate) async fn only_who_holds_the_job_is_given_its_secrets(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::default()).await;
    let made = world.store.add_secret(secret("global", "KEY", "value")).await.unwrap();
    let (job, lease) = job_of(&world, "user:ann", "batches").await;
    let keys = ["KEY".to_owned()];
    for (id, epoch, executor) in
        [(job, 1, "exec-2"), (job, 0, "exec-1"), (job, 2, "exec-1"), (JobId(4_711), 1, "exec-1")]
    {
        let lease = Lease { epoch, executor: executor.to_owned() };
        let refused = world.store.open_secrets(id, &lease, &keys).await.unwrap_err();
        assert!(matches!(refused, StoreError::Rejected(jobs::Rejected::LeaseLost)), "{refused:?}");
    }
    world.stall_all().await;
    world.store.open_secrets(job, &lease, &keys).await.unwrap_err();
    assert_eq!(accesses(&world, &made.id).await, []);
}

pub(crate) async fn each_access_is_noted(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::default()).await;
    let global = world.store.add_secret(secret("global", "KEY", "everybody's")).await.unwrap();
    let own = world.store.add_secret(secret("user:ann", "KEY", "ann's")).await.unwrap();
    let (of_ann, of_bob) =
        (job_of(&world, "user:ann", "batches").await, job_of(&world, "user:bob", "batches").await);
    given(&world, &of_bob, &["KEY", "NONE"]).await;
    let begun = world.now();
    world.advance(60);
    given(&world, &of_ann, &["KEY"]).await;
    given(&world, &of_bob, &["KEY"]).await;
    let of_global = accesses(&world, &global.id).await;
    assert_eq!(of_global.iter().map(|row| row.at).collect::<Vec<_>>(), [world.now(), begun]);
    let [noted] = &accesses(&world, &own.id).await[..] else { panic!("one access") };
    let SecretAccessRow { id: _, ref secret, scope, ref namespace, ref key, job, attempt, .. } = *noted;
    assert_eq!((secret, scope, namespace, key), (&own.id, Scope::Batches, &own.namespace, &own.key));
    assert_eq!((job, attempt, &noted.owner), (of_ann.0, 1, &own.namespace));
    assert_eq!((noted.executor.as_str(), noted.at), ("exec-1", world.now()));
    // Of bob's, and a page of them.
    let filter = AccessFilter { secret: Some(global.id.clone()), limit: 1, ..AccessFilter::default() };
    let bob = Some("user:bob".parse().unwrap());
    let first = world.store.secret_accesses(AccessFilter { owner: bob, ..filter.clone() }).await.unwrap();
    assert_eq!(first[..], of_global[..1]);
    let second = AccessFilter { before: Some(first[0].id), ..filter.clone() };
    assert_eq!(world.store.secret_accesses(second).await.unwrap()[..], of_global[1..]);
    let of_ann = AccessFilter { owner: Some("user:ann".parse().unwrap()), ..filter };
    assert_eq!(world.store.secret_accesses(of_ann).await.unwrap(), []);
    // Of all secrets, and of those of one namespace.
    let all = AccessFilter { limit: 10, ..AccessFilter::default() };
    let ids = async |filter: AccessFilter| -> Vec<i64> {
        world.store.secret_accesses(filter).await.unwrap().into_iter().map(|row| row.id).collect()
    };
    assert_eq!(ids(all.clone()).await, [of_global[0].id, noted.id, of_global[1].id]);
    let of_global_ones = AccessFilter { namespace: Some(jobs::Namespace::Global), ..all.clone() };
    assert_eq!(ids(of_global_ones).await, [of_global[0].id, of_global[1].id]);
    assert_eq!(ids(AccessFilter { owner: Some(own.namespace.clone()), ..all }).await, [noted.id]);
    // They outlive the secret, but not for ever.
    world.store.remove_secret(&global.id).await.unwrap();
    assert_eq!(accesses(&world, &global.id).await.len(), 2);
    let cutoff = begun + SignedDuration::from_secs(1);
    assert_eq!(world.store.forget_secret_accesses(cutoff, 100).await.unwrap(), 1);
    assert_eq!(world.store.forget_secret_accesses(cutoff, 100).await.unwrap(), 0);
    assert_eq!(accesses(&world, &global.id).await[..], of_global[..1]);
    assert_eq!(world.store.forget_secret_accesses(cutoff, 1).await.unwrap(), 1, "the oldest go first");
    assert_eq!(accesses(&world, &own.id).await, []);
    assert_eq!(accesses(&world, &global.id).await.len(), 1);
}

pub(crate) async fn nobody_has_forgotten_what_others_were_given(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::default()).await;
    world.store.add_secret(secret("global", "KEY", "everybody's")).await.unwrap();
    let (of_ann, of_bob) =
        (job_of(&world, "user:ann", "batches").await, job_of(&world, "user:bob", "batches").await);
    given(&world, &of_ann, &["KEY"]).await;
    for _ in 0..8 {
        given(&world, &of_bob, &["KEY"]).await;
    }
    let never = world.now() - SignedDuration::from_hours(1);
    let owners = async || -> Vec<String> {
        let all = AccessFilter { limit: 50, ..AccessFilter::default() };
        let rows = world.store.secret_accesses(all).await.unwrap();
        rows.into_iter().map(|row| row.owner.to_string()).collect()
    };
    assert_eq!(world.store.forget_secret_accesses(never, 3).await.unwrap(), 6);
    assert_eq!(world.store.forget_secret_accesses(never, 3).await.unwrap(), 0);
    assert_eq!(owners().await, ["user:bob", "user:bob", "user:ann"]);
    given(&world, &of_bob, &["KEY"]).await;
    assert_eq!(world.store.forget_secret_accesses(never, 3).await.unwrap(), 1, "what came since is counted");
    assert_eq!(owners().await, ["user:bob", "user:bob", "user:ann"]);
}

pub(crate) async fn secrets_are_listed_by_key_in_pages(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::default()).await;
    for new in [
        secret("global", "B_", "1"),
        secret("user:ann", "B_", "2"),
        secret("user:bob", "B_", "3"),
        global_of_codeintel("B_", "4"),
        secret("user:ann", "A", "5"),
        secret("user:ann", "BA", "6"),
    ] {
        world.store.add_secret(new).await.unwrap();
    }
    let names = |rows: Vec<SecretRow>| -> Vec<String> {
        rows.iter().map(|row| format!("{} {} {}", row.key, row.scope, row.namespace)).collect()
    };
    let all = listed(&world, SecretFilter::default()).await;
    let overwriting = all.iter().filter(|row| row.overwrites_global).cloned().collect();
    assert_eq!(names(overwriting), ["B_ batches user:ann", "B_ batches user:bob"]);
    let all = names(all);
    assert_eq!(
        all,
        [
            "A batches user:ann",
            "BA batches user:ann",
            "B_ batches global",
            "B_ batches user:ann",
            "B_ batches user:bob",
            "B_ codeintel global"
        ]
    );
    let mut paged = Vec::new();
    let mut after = None;
    loop {
        let page = world.store.secrets(SecretFilter { after, limit: 2, ..SecretFilter::default() }).await;
        let Some(last) = page.as_ref().unwrap().last().cloned() else { break };
        after = Some(SecretCursor { key: last.key, scope: last.scope, namespace: last.namespace });
        paged.extend(names(page.unwrap()));
    }
    assert_eq!(paged, all);
    let of_ann = SecretFilter { namespace: Some("user:ann".parse().unwrap()), ..SecretFilter::default() };
    let codeintel = SecretFilter { scope: Some(Scope::Codeintel), ..of_ann.clone() };
    let keyed = SecretFilter { key: Some("BA".to_owned()), ..of_ann.clone() };
    assert_eq!(names(listed(&world, of_ann).await), [0, 1, 2, 3, 5].map(|at| all[at].clone()));
    assert_eq!(names(listed(&world, codeintel).await), all[5..]);
    assert_eq!(names(listed(&world, keyed).await), all[1..2]);
}

pub(crate) async fn a_namespace_has_so_many_secrets(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::default()).await;
    for number in 0..MAX_SECRETS {
        world.store.add_secret(secret("user:ann", &format!("KEY_{number}"), "value")).await.unwrap();
    }
    let refused = world.store.put_secret(secret("user:ann", "MORE", "value")).await.unwrap_err();
    assert!(refused.to_string().starts_with("user:ann has 500 secrets already"), "{refused}");
    assert!(!world.store.put_secret(secret("user:ann", "KEY_7", "changed")).await.unwrap().1);
    let twice = world.store.add_secret(secret("user:ann", "KEY_7", "value")).await.unwrap_err();
    assert!(matches!(twice, StoreError::SecretExists(_)), "{twice:?}");
    world.store.add_secret(secret("user:bob", "MORE", "value")).await.unwrap();
}

pub(crate) async fn puts_that_race_leave_one_secret(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::default()).await;
    let put = |value: &str| world.store.put_secret(secret("user:ann", "KEY", value));
    let (a, b, c) = tokio::join!(put("a"), put("b"), put("c"));
    let made = [a.unwrap(), b.unwrap(), c.unwrap()];
    assert_eq!(made.iter().filter(|(_, is_new)| *is_new).count(), 1);
    assert!(made.iter().all(|(row, _)| row.id == made[0].0.id), "{made:?}");
    let job = job_of(&world, "user:ann", "batches").await;
    let value = given(&world, &job, &["KEY"]).await.remove("KEY").unwrap();
    assert!(["a", "b", "c"].contains(&value.as_str()), "{value}");
}

const NEW_KEY: &str = "new:2222222222222222222222222222222222222222222222222222222222222222";

/// Everything goes on while the data keys are sealed anew, and the old key is not needed afterwards.
pub(crate) async fn a_new_key_takes_over_under_load(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::default()).await;
    for number in 0..150 {
        world.store.add_secret(secret("user:ann", &format!("KEY_{number}"), "old")).await.unwrap();
    }
    let job = job_of(&world, "user:ann", "batches").await;
    let with_secrets = |queue: &str| {
        let mut job = new_job(queue);
        job.spec.secrets.insert("OF_JOB".to_owned(), "of the job".to_owned());
        job
    };
    let waiting = world.store.submit(with_secrets("codeintel")).await.unwrap();
    let (old, both, new) = (
        Keyring::parse(Setup::KEYS).unwrap(),
        Keyring::parse(&format!("{NEW_KEY}\n{}", Setup::KEYS)).unwrap(),
        Keyring::parse(NEW_KEY).unwrap(),
    );
    let refused = world.sql.take_up_keys(&new).await.unwrap_err();
    assert!(matches!(refused, StoreError::UnknownSealingKey { .. }), "{refused:?}");
    world.sql.take_up_keys(&both).await.unwrap();
    let load = async {
        for number in 0..150 {
            let key = format!("KEY_{number}");
            assert!(!given(&world, &job, &[&key]).await[&key].is_empty());
            world.store.put_secret(secret("user:ann", &key, "changed")).await.unwrap();
            world.store.submit(with_secrets("batches")).await.unwrap();
        }
    };
    let sealed = async {
        for _ in 0..5 {
            world.sql.seal_anew().await.unwrap();
            tokio::task::yield_now().await;
        }
    };
    tokio::join!(load, sealed);
    world.sql.seal_anew().await.unwrap();
    assert_eq!(world.sql.seal_anew().await.unwrap(), 0, "nothing is left to do");
    world.sql.take_up_keys(&new).await.unwrap();
    world.sql.take_up_keys(&old).await.unwrap_err();
    let keys: Vec<_> = (0..150).map(|number| format!("KEY_{number}")).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let all = given(&world, &job, &keys).await;
    assert!(all.len() == 150 && all.values().all(|value| value == "changed"));
    for queue in ["codeintel", "batches"] {
        let claimed = world.claim_of(&[queue], "exec-2").await.unwrap();
        assert_eq!(claimed.secrets["OF_JOB"].expose_secret(), "of the job");
        assert!(queue != "codeintel" || claimed.job.id == waiting);
    }
}

/// The values, for comparing.
pub(crate) fn shown(secrets: &BTreeMap<String, SecretString>) -> BTreeMap<String, String> {
    secrets.iter().map(|(name, value)| (name.clone(), value.expose_secret().to_owned())).collect()
}
