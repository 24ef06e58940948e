//! Whose things are.

use super::world::{Setup, World, new_job};
use jobs::{JobId, Namespace, State};
use store::{JobFilter, NewJob, NewRepository, StoreError};

fn ann() -> Namespace {
    Namespace::User("ann".to_owned())
}

async fn ids(world: &World, owner: Option<&str>, state: Option<State>, before: Option<JobId>) -> Vec<JobId> {
    let filter = JobFilter { owner: owner.map(str::to_owned), state, before, limit: 10, queue: None };
    world.store.jobs(filter).await.unwrap().into_iter().map(|row| row.id).collect()
}

pub(crate) async fn jobs_are_listed_by_whose_they_are(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::default()).await;
    let mut submitted = Vec::new();
    for owner in ["", "user:ann", "org:acme", "user:ann", ""] {
        let job = NewJob { owner: owner.to_owned(), ..new_job("batches") };
        submitted.push(world.store.submit(job).await.unwrap());
    }
    let [first, anns, acmes, anns_second, last] = submitted[..] else { unreachable!() };
    assert_eq!(ids(&world, None, None, None).await, [last, anns_second, acmes, anns, first]);
    assert_eq!(ids(&world, Some(""), None, None).await, [last, first]);
    assert_eq!(ids(&world, Some("user:ann"), None, None).await, [anns_second, anns]);
    assert_eq!(ids(&world, Some("user:ann"), None, Some(anns_second)).await, [anns]);
    assert_eq!(ids(&world, Some("org:acme"), Some(State::Queued), None).await, [acmes]);
    assert_eq!(ids(&world, Some("org:acme"), Some(State::Failed), None).await, []);
    assert_eq!(ids(&world, Some("user:bob"), None, None).await, []);
    assert_eq!(world.store.job(anns).await.unwrap().owner, "user:ann");
    let mut owners = Vec::new();
    while let Some(claimed) = world.claim("exec-1").await {
        let held = world.store.job_by_token(&claimed.token).await.unwrap().unwrap();
        assert_eq!(held.owner, claimed.job.owner);
        owners.push(held.owner);
    }
    assert_eq!(owners, ["", "user:ann", "org:acme", "", "user:ann"], "they take turns");
}

pub(crate) async fn repositories_are_named_by_each_namespace_as_it_likes(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::default()).await;
    let new = |namespace: &Namespace, source: &str| NewRepository {
        namespace: namespace.clone(),
        name: "app".to_owned(),
        source: source.to_owned(),
    };
    let anns = world.store.add_repository(new(&ann(), "/srv/a")).await.unwrap();
    assert_eq!(world.store.repository(&Namespace::Global, "app").await.unwrap(), None);
    let global = world.store.add_repository(new(&Namespace::Global, "/srv/g")).await.unwrap();
    assert_ne!(anns.id, global.id);
    let again = world.store.add_repository(new(&ann(), "/srv/b")).await;
    let told = again.unwrap_err();
    assert!(matches!(told, StoreError::RepositoryExists { .. }), "{told:?}");
    assert!(told.to_string().contains("in the namespace user:ann:"), "{told}");
    assert_eq!(world.store.repository(&ann(), "app").await.unwrap(), Some(anns.clone()));
    assert_eq!(world.store.repositories_named("app").await.unwrap(), [global.clone(), anns.clone()]);
    assert_eq!(world.store.repositories_named("ap").await.unwrap(), []);
    assert!(!world.store.remove_repository(&Namespace::Organisation("ann".to_owned()), "app").await.unwrap());
    assert!(world.store.remove_repository(&Namespace::Global, "app").await.unwrap());
    assert_eq!(world.store.repositories().await.unwrap(), [anns]);
}

/// The largest page of the public API, and one more that tells that there is another page.
pub(crate) async fn the_largest_page_is_known_to_have_a_next_one(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::default()).await;
    world.store.submit_all(vec![new_job("batches"); 502]).await.unwrap();
    let of = |limit| JobFilter { limit, ..JobFilter::default() };
    assert_eq!(world.store.jobs(of(501)).await.unwrap().len(), 501);
    assert_eq!(
        world.store.jobs(of(u32::MAX)).await.unwrap().len(),
        501,
        "and no more, whatever is asked for"
    );
}
