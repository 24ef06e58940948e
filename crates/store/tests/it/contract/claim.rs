//! Giving jobs to executors.

use super::secrets::shown;
use super::world::{Setup, World, repository_job};
use std::collections::BTreeSet;
use std::sync::Arc;
use store::HeldJob;

pub(crate) async fn the_oldest_job_comes_first(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::default()).await;
    let ids = [world.submit("batches").await, world.submit("batches").await, world.submit("batches").await];
    for id in ids {
        assert_eq!(world.claim("exec-1").await.unwrap().job.id, id);
    }
}

pub(crate) async fn queues_are_kept_apart(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::default()).await;
    let id = world.submit("codeintel").await;
    assert!(world.claim_of(&["batches"], "exec-1").await.is_none());
    assert!(world.claim_of(&[], "exec-1").await.is_none());
    assert_eq!(world.claim_of(&["codeintel"], "exec-1").await.unwrap().job.id, id);
}

pub(crate) async fn several_queues_go_by_age(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::default()).await;
    let first = world.submit("codeintel").await;
    let second = world.submit("batches").await;
    let third = world.submit("codeintel").await;
    for id in [first, second, third] {
        assert_eq!(world.claim_of(&["batches", "codeintel"], "exec-1").await.unwrap().job.id, id);
    }
}

pub(crate) async fn an_empty_queue_gives_nothing(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::default()).await;
    assert!(world.claim("exec-1").await.is_none());
}

pub(crate) async fn racing_claims_never_share_a_job(open: impl AsyncFn(Setup) -> World) {
    const JOBS: usize = 40;
    let world = Arc::new(open(Setup::default()).await);
    for _ in 0..JOBS {
        world.submit("batches").await;
    }
    let mut racers = tokio::task::JoinSet::new();
    for racer in 0..16 {
        let world = Arc::clone(&world);
        racers.spawn(async move {
            let mut won = Vec::new();
            while let Some(claimed) = world.claim(&format!("exec-{racer}")).await {
                won.push((claimed.job.id, claimed.token));
            }
            won
        });
    }
    let won: Vec<_> = racers.join_all().await.into_iter().flatten().collect();
    let ids: BTreeSet<_> = won.iter().map(|(id, _)| *id).collect();
    let tokens: BTreeSet<_> = won.iter().map(|(_, token)| token.clone()).collect();
    assert_eq!((won.len(), ids.len(), tokens.len()), (JOBS, JOBS, JOBS));
}

pub(crate) async fn each_claim_has_its_own_token(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::default()).await;
    let id = world.store.submit(repository_job()).await.unwrap();
    let first = world.claim("exec-1").await.unwrap();
    assert_eq!(first.token.len(), 40);
    assert!(first.token.bytes().all(|digit| digit.is_ascii_hexdigit()));
    let expect = HeldJob {
        id,
        owner: String::new(),
        queue: "batches".to_owned(),
        repository: "github.com/acme/app".to_owned(),
        epoch: 1,
        executor: "exec-1".to_owned(),
    };
    assert_eq!(world.store.job_by_token(&first.token).await.unwrap(), Some(expect.clone()));
    assert_eq!(world.store.job_by_holder(id, "exec-1").await.unwrap(), Some(expect));
    assert_eq!(world.store.job_by_holder(id, "exec-2").await.unwrap(), None);
    assert_eq!(world.store.job_by_token("").await.unwrap(), None);
    assert_eq!(world.store.job_by_token(&first.token.to_uppercase()).await.unwrap(), None);

    world.stall_all().await;
    assert_eq!(world.store.job_by_token(&first.token).await.unwrap(), None);
    assert_eq!(world.store.job_by_holder(id, "exec-1").await.unwrap(), None);
    let second = world.claim("exec-1").await.unwrap();
    assert_ne!(second.token, first.token);
    assert_eq!(world.store.job_by_token(&first.token).await.unwrap(), None);
    assert_eq!(world.store.job_by_token(&second.token).await.unwrap().unwrap().epoch, 2);
}

pub(crate) async fn secrets_go_to_the_claimer_only(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::default()).await;
    let job = repository_job();
    let secrets = job.spec.secrets.clone();
    let id = world.store.submit(job).await.unwrap();
    assert!(world.store.spec(id).await.unwrap().secrets.is_empty());
    let claimed = world.claim("exec-1").await.unwrap();
    assert_eq!(shown(&claimed.secrets), secrets);
    assert!(claimed.spec.secrets.is_empty());
    world.stall_all().await;
    assert_eq!(shown(&world.claim("exec-2").await.unwrap().secrets), secrets, "the next try needs them too");
}
