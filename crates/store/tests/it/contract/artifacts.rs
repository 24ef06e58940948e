//! Files that tries leave.

use super::uploads::{is_there, object};
use super::world::{Setup, World, charged, lease};
use jobs::{JobId, Namespace, Rejected};
use store::{Finish, NewArtifact, NewObject, StoreError};

fn of(name: &str, path: &str, object: &NewObject) -> NewArtifact {
    NewArtifact { name: name.to_owned(), path: path.to_owned(), object: object.clone() }
}

async fn listed(world: &World, id: JobId, epoch: u32) -> Vec<NewArtifact> {
    let rows = world.store.artifacts(id, epoch).await.unwrap();
    rows.into_iter().map(|row| row.of).collect()
}

pub(crate) async fn a_try_leaves_files_while_it_runs(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::with_failures(3)).await;
    let (id, held, _) = world.running().await;
    let (first, again, other) =
        (object(&world, "one").await, object(&world, "first").await, object(&world, "other").await);
    world.store.add_artifact(id, &held, of("b", "out/x", &other)).await.unwrap();
    world.store.add_artifact(id, &held, of("a", "out/x", &first)).await.unwrap();
    world.store.add_artifact(id, &held, of("a", "out/x", &again)).await.unwrap();
    let expected = [of("a", "out/x", &again), of("b", "out/x", &other)];
    assert_eq!(listed(&world, id, 1).await, expected);
    assert_eq!(world.store.artifacts_size().await.unwrap(), 10);
    let owner = Namespace::from_key(&world.store.job(id).await.unwrap().owner).unwrap();
    assert_eq!(world.store.artifacts_size_of(&owner).await.unwrap(), 10);
    assert_eq!(world.store.artifacts_size_of(&"org:other".parse().unwrap()).await.unwrap(), 0);
    assert_eq!(world.store.sweep_objects().await.unwrap(), 1);
    assert!(!is_there(&world, &first).await && is_there(&world, &again).await);
    // The next try has its own.
    world.store.finish(id, &held, charged()).await.unwrap();
    let late = world.store.add_artifact(id, &held, of("a", "late", &object(&world, "x").await)).await;
    assert!(matches!(late, Err(StoreError::Rejected(Rejected::LeaseLost))), "{late:?}");
    world.advance(3_600);
    let next = lease(&world.claim("exec-1").await.unwrap());
    assert_eq!(listed(&world, id, 2).await, []);
    assert_eq!(listed(&world, id, 1).await, expected);
    // All of it goes with the job.
    world.store.finish(id, &next, Finish::Complete).await.unwrap();
    world.advance(3_600);
    assert_eq!(world.store.forget_jobs(world.now()).await.unwrap(), 1);
    assert_eq!(world.store.artifacts_size().await.unwrap(), 0);
    assert_eq!(world.store.sweep_objects().await.unwrap(), 2);
    assert!(!is_there(&world, &again).await && !is_there(&world, &other).await);
}
