//! Renewing leases.

use super::world::{LEASE, Setup, World, somebody};
use jobs::JobId;
use store::{Finish, HeartbeatAnswer};

pub(crate) async fn it_keeps_held_jobs_alive(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::default()).await;
    let (id, ..) = world.running().await;
    world.advance(20);
    let answer = world.store.heartbeat("exec-1", &[id], LEASE).await.unwrap();
    assert_eq!(answer, HeartbeatAnswer { known: vec![id], cancel: vec![] });
    assert_eq!(world.store.job(id).await.unwrap().last_heartbeat_at, Some(world.now()));
    world.advance(20);
    assert!(world.store.reset_stalled(world.judgement()).await.unwrap().is_empty());
}

pub(crate) async fn it_tells_which_jobs_to_stop(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::default()).await;
    let (one, ..) = world.running().await;
    let (two, ..) = world.running().await;
    world.store.cancel(two, somebody()).await.unwrap();
    let answer = world.store.heartbeat("exec-1", &[two, one], LEASE).await.unwrap();
    assert_eq!(answer, HeartbeatAnswer { known: vec![one, two], cancel: vec![two] });
}

pub(crate) async fn it_knows_only_what_is_held(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::default()).await;
    let (held, ..) = world.running().await;
    let (ended, lease, _) = world.running().await;
    world.store.finish(ended, &lease, Finish::Complete).await.unwrap();
    let queued = world.submit("batches").await;
    let started_at = world.now();
    world.advance(5);
    let all = [held, ended, queued, JobId(4_711)];
    assert_eq!(world.store.heartbeat("exec-2", &all, LEASE).await.unwrap(), HeartbeatAnswer::default());
    assert_eq!(world.store.job(held).await.unwrap().last_heartbeat_at, Some(started_at));
    assert_eq!(world.store.heartbeat("exec-1", &all, LEASE).await.unwrap().known, [held]);
}

pub(crate) async fn without_jobs_it_is_empty(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::default()).await;
    world.running().await;
    assert_eq!(world.store.heartbeat("exec-1", &[], LEASE).await.unwrap(), HeartbeatAnswer::default());
}
