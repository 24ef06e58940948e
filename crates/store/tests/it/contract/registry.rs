//! Executors, repositories and news.

use super::world::{Setup, World, errored, somebody};
use jobs::{JobId, Namespace};
use secrecy::ExposeSecret;
use store::{Change, Finish, Keyring, NewRepository, RunningRow, StoreError};
use wire::additions::TakesNone;
use wire::heartbeat::Telemetry;

fn queues(names: &[&str]) -> Vec<String> {
    names.iter().map(ToString::to_string).collect()
}

pub(crate) async fn an_executor_is_remembered(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::default()).await;
    let first_seen = world.now();
    world.store.upsert_executor("exec-1", &queues(&["batches"]), &Telemetry::default(), None).await.unwrap();
    world.advance(5);
    let telemetry = Telemetry { os: "linux".to_owned(), ..Telemetry::default() };
    world
        .store
        .upsert_executor("exec-1", &queues(&["batches", "codeintel"]), &telemetry, None)
        .await
        .unwrap();
    let executors = world.store.executors().await.unwrap();
    assert_eq!(executors.len(), 1);
    let row = &executors[0];
    assert_eq!((row.name.as_str(), &row.telemetry), ("exec-1", &telemetry));
    assert_eq!(row.queues, queues(&["batches", "codeintel"]));
    assert_eq!((row.first_seen_at, row.last_seen_at), (first_seen, world.now()));
    // With each heartbeat anew.
    for why in [Some(TakesNone::DiskFloor), Some(TakesNone::Draining), None] {
        world.store.upsert_executor("exec-1", &queues(&["batches"]), &telemetry, why).await.unwrap();
        let row = world.store.executor("exec-1").await.unwrap();
        assert_eq!((row.takes_none, &row.telemetry), (why, &telemetry));
        assert_eq!(world.store.executors_serving("batches").await.unwrap(), [row]);
    }
}

pub(crate) async fn executors_come_latest_first(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::default()).await;
    for name in ["b", "a", "c", "b"] {
        world.advance(1);
        world.store.upsert_executor(name, &[], &Telemetry::default(), None).await.unwrap();
    }
    let names: Vec<_> = world.store.executors().await.unwrap().into_iter().map(|row| row.name).collect();
    assert_eq!(names, ["b", "c", "a"]);
}

pub(crate) async fn executors_are_found_by_what_they_serve(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::default()).await;
    for (name, serves) in [
        ("both", &["batches", "codeintel"][..]),
        ("one", &["codeintel"]),
        ("other", &["batches2", "2batches", "bat%", "_______"]),
        ("none", &[]),
    ] {
        world.store.upsert_executor(name, &queues(serves), &Telemetry::default(), None).await.unwrap();
        world.advance(1);
    }
    let serving = async |queue: &str| {
        let rows = world.store.executors_serving(queue).await.unwrap();
        rows.into_iter().map(|row| row.name).collect::<Vec<_>>()
    };
    assert_eq!(serving("codeintel").await, ["one", "both"]);
    assert_eq!(serving("batches").await, ["both"]);
    assert_eq!(serving("bat%").await, ["other"]);
    assert_eq!(serving("").await, [""; 0]);
}

pub(crate) async fn an_executor_that_is_long_gone_is_forgotten(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::default()).await;
    for name in ["gone", "away"] {
        world.store.upsert_executor(name, &[], &Telemetry::default(), None).await.unwrap();
    }
    world.advance(10);
    let cutoff = world.now();
    world.store.set_maintenance("away", Some(cutoff)).await.unwrap();
    world.store.upsert_executor("there", &[], &Telemetry::default(), None).await.unwrap();
    assert_eq!(world.store.forget_executors(cutoff).await.unwrap(), 1);
    assert_eq!(world.store.forget_executors(cutoff).await.unwrap(), 0);
    let names: Vec<_> = world.store.executors().await.unwrap().into_iter().map(|row| row.name).collect();
    assert_eq!(names, ["there", "away"], "what is said of one in maintenance holds when it comes again");
    assert_eq!(world.store.executor("away").await.unwrap().maintenance_at, Some(cutoff));
}

pub(crate) async fn what_each_executor_runs_is_told(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::default()).await;
    let mut claimed = Vec::new();
    for executor in ["busy", "busy", "busy", "other", "<\"'>"] {
        world.submit("batches").await;
        claimed.push(world.claim(executor).await.unwrap());
    }
    let ids: Vec<_> = claimed.iter().map(|claimed| claimed.job.id).collect();
    let asked = ["other", "idle", "busy", "<\"'>"].map(str::to_owned);
    let running = async || world.store.running_of(&asked, 2).await.unwrap();
    let row = |count: u64, latest: &[JobId]| RunningRow { count, latest: latest.to_vec() };
    assert_eq!(
        running().await,
        [row(1, &ids[3..4]), row(0, &[]), row(3, &[ids[2], ids[1]]), row(1, &ids[4..])]
    );
    world.store.finish(ids[2], &super::world::lease(&claimed[2]), Finish::Complete).await.unwrap();
    assert_eq!(running().await[2], row(2, &[ids[1], ids[0]]));
    assert_eq!(world.store.running_of(&[], 2).await.unwrap(), []);
}

pub(crate) async fn repositories_have_names_of_their_own(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::default()).await;
    let new = |name: &str| NewRepository {
        namespace: Namespace::Global,
        name: name.to_owned(),
        source: format!("/srv/{name}.git"),
    };
    let demo = world.store.add_repository(new("demo")).await.unwrap();
    assert_eq!(demo.source, "/srv/demo.git");
    assert_eq!(demo.created_at, world.now());
    let again = world.store.add_repository(new("demo")).await;
    assert!(matches!(again, Err(StoreError::RepositoryExists { name, .. }) if name == "demo"));
    let app = world.store.add_repository(new("app")).await.unwrap();
    assert_eq!(world.store.repository(&Namespace::Global, "demo").await.unwrap(), Some(demo.clone()));
    assert_eq!(world.store.repository(&Namespace::Global, "Demo").await.unwrap(), None);
    assert_eq!(world.store.repositories().await.unwrap(), [app, demo]);
}

pub(crate) async fn a_removed_repository_leaves_its_id_unused(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::default()).await;
    let new = NewRepository {
        namespace: Namespace::Global,
        name: "demo".to_owned(),
        source: "/srv/demo.git".to_owned(),
    };
    let first = world.store.add_repository(new.clone()).await.unwrap();
    assert!(world.store.remove_repository(&Namespace::Global, "demo").await.unwrap());
    assert!(!world.store.remove_repository(&Namespace::Global, "demo").await.unwrap());
    assert_eq!(world.store.repository(&Namespace::Global, "demo").await.unwrap(), None);
    let second = world.store.add_repository(new).await.unwrap();
    assert_ne!(first.id, second.id, "the id names a directory that may still be there");
}

pub(crate) async fn changes_are_announced(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::with_failures(2)).await;
    let mut changes = world.store.changes();
    let mut heard = move || {
        let mut heard = Vec::new();
        while let Ok(change) = changes.try_recv() {
            heard.push(change);
        }
        heard
    };
    let queued = || Change::Queued("batches".to_owned());
    let (id, lease, _) = world.running().await;
    assert_eq!(heard(), [queued(), Change::Job(id), Change::Job(id)]);
    let entry = world.open_entry(id, &lease, "").await;
    world.append(id, &lease, entry, 0, "x").await.unwrap();
    world.store.put_log_entry(id, &lease, entry, world.entry("xy")).await.unwrap();
    assert_eq!(heard(), [Change::Log(id), Change::Log(id), Change::Log(id)]);
    world.store.heartbeat("exec-1", &[id], super::world::LEASE).await.unwrap();
    assert_eq!(heard(), []);
    world.stall_all().await;
    assert_eq!(heard(), [queued(), Change::Job(id)]);

    let claimed = world.claim("exec-1").await.unwrap();
    world.store.finish(id, &super::world::lease(&claimed), errored()).await.unwrap();
    assert_eq!(heard(), [Change::Job(id), queued(), Change::Job(id)]);
    world.advance(20);
    let claimed = world.claim("exec-1").await.unwrap();
    world.store.cancel(id, somebody()).await.unwrap();
    world.store.finish(id, &super::world::lease(&claimed), Finish::Complete).await.unwrap();
    assert_eq!(heard(), [Change::Job(id), Change::Job(id), Change::Job(id)]);
}

pub(crate) async fn what_there_is_is_counted(open: impl AsyncFn(Setup) -> World) {
    let world = open(Setup::default()).await;
    let before = world.store.census().await.unwrap();
    assert_eq!((before.executors, before.repositories, before.secrets), (0, 0, 0));
    world
        .store
        .upsert_executor("exec-1", &["batches".to_owned()], &Telemetry::default(), None)
        .await
        .unwrap();
    let census = world.store.census().await.unwrap();
    assert_eq!((census.executors, census.repositories), (1, 0));
    assert!(census.database_bytes > 0 && (1..=census.max_connections).contains(&census.connections));
}

pub(crate) async fn credentials_of_a_repository_are_sealed_and_go_with_it(
    open: impl AsyncFn(Setup) -> World,
) {
    const NEW: &str = "new:2222222222222222222222222222222222222222222222222222222222222222";
    let world = open(Setup::default()).await;
    let new = |name: &str| NewRepository {
        namespace: Namespace::Global,
        name: name.to_owned(),
        source: "https://example.com/app".to_owned(),
    };
    let row = world.store.add_repository(new("app")).await.unwrap();
    let told = async |id: i64| {
        let credentials = world.store.repository_credentials(id).await.unwrap();
        credentials.map(|credentials| credentials.expose_secret().to_owned())
    };
    assert_eq!(told(row.id).await, None);
    for credentials in ["https://ann:first@example.com", "https://ann:hunter2@example.com"] {
        world.store.put_repository_credentials(row.id, &credentials.into()).await.unwrap();
        assert_eq!(told(row.id).await.as_deref(), Some(credentials));
    }
    // A key is needed for as long as they are sealed with it.
    let without = world.sql.take_up_keys(&Keyring::parse(NEW).unwrap()).await;
    assert!(matches!(without, Err(StoreError::UnknownSealingKey { .. })), "{without:?}");
    world.sql.take_up_keys(&Keyring::parse(&format!("{NEW}\n{}", Setup::KEYS)).unwrap()).await.unwrap();
    world.sql.seal_anew().await.unwrap();
    world.sql.take_up_keys(&Keyring::parse(NEW).unwrap()).await.unwrap();
    assert_eq!(told(row.id).await.as_deref(), Some("https://ann:hunter2@example.com"));
    world.store.remove_repository(&Namespace::Global, "app").await.unwrap();
    assert_eq!(told(row.id).await, None);
}
