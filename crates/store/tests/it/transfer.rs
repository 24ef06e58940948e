//! All that one database holds, moved to another one and back.

use crate::contract::world::{
    ALL_QUEUES, Setup, World, asking, errored, lease, new_job, repository_job, somebody,
};
use jiff::SignedDuration;
use jobs::secrets::Scope;
use jobs::{Concurrency, FileSpec, JobId, Namespace, Role};
use secrecy::ExposeSecret;
use serde_json::Value;
use sqlx::{Connection, PgConnection};
use std::path::Path;
use std::sync::Arc;
use store::{
    ActFilter, AuditLog, DatabaseChoice, Identities, JobFilter, Keyring, NewAct, NewArtifact, NewFile,
    NewJob, NewObject, NewPerson, NewRegistration, NewRepository, NewSecret, NewSession, NewToken, NewUpload,
    ObjectsChoice, Place, QueueChange, SqlStore, Store, StoreError, StoreOptions, TransferError, export,
    import, migrate,
};
use testkit::{MockClock, Postgres};
use wire::heartbeat::Telemetry;

/// What an executor is known by.
const IDENTITY: &str = "the identity of an executor, as it made it itself";

/// What a repository's source asks for.
const CREDENTIALS: &str = "https://ann:hunter2@example.org";

fn place(dir: &Path, postgres: Option<&Postgres>) -> Place {
    let database = postgres.map_or(DatabaseChoice::Embedded, |of| DatabaseChoice::Postgres { url: of.url() });
    Place { dir: dir.to_owned(), database }
}

async fn open(place: &Place, clock: &Arc<MockClock>) -> SqlStore {
    let setup = Setup::with_failures(2);
    let options = StoreOptions {
        dir: place.dir.clone(),
        database: place.database.clone(),
        objects: ObjectsChoice::Directory,
        clock: Arc::clone(clock) as _,
        retry: setup.retry,
        keys: Arc::new(Keyring::parse(Setup::KEYS).unwrap()),
        max_log_bytes: setup.max_log_bytes,
        max_queued: setup.max_queued,
    };
    SqlStore::open(options).await.unwrap()
}

/// Something in every table, with what is hard to write: quotes, letters of other scripts, bytes, nothing at all.
async fn fill(place: &Place, clock: &Arc<MockClock>) {
    let sql = Arc::new(open(place, clock).await);
    let (keep, store): (_, Arc<dyn Store>) = (Box::new(()), sql.clone());
    let world = World { store: store.clone(), sql, clock: clock.clone(), entries: 0.into(), _keep: keep };

    let (id, held, _) = world.running().await;
    let entry = world.open_entry(id, &held, "\"quoted\" \\ \u{1f980} line\nnext\n").await;
    world.append(id, &held, entry, 32, "more\n").await.unwrap_or_default();
    world.store.finish(id, &held, errored()).await.unwrap();
    world.advance(120);
    let again = world.claim("exec-2").await.unwrap();
    assert_eq!(again.job.id, id, "there is an earlier try");

    let file = NewFile {
        id: "f".repeat(32),
        name: "dir/a 'file'".into(),
        size: 3,
        sha256: "0".repeat(64),
        modified_at: world.now(),
        namespace: Namespace::Global,
        object: None,
    };
    store.add_file(file).await.unwrap();
    let mut keyed = repository_job();
    keyed.owner = Namespace::Organisation("acme".into()).key();
    keyed.idempotency_key = Some("once".into());
    keyed.spec.concurrency = Some(Concurrency { key: "deploy".into(), limit: 1 });
    let input = FileSpec { path: "in.txt".into(), upload: Some("f".repeat(32)), ..FileSpec::default() };
    keyed.spec.files.push(input);
    store.submit(keyed.clone()).await.unwrap();
    store.submit(NewJob { idempotency_key: None, ..keyed }).await.unwrap();
    let mut later = new_job("codeintel");
    later.spec.not_before = Some(world.now() + SignedDuration::from_hours(1));
    later.spec.priority = -3;
    store.submit(later).await.unwrap();
    let canceled = world.submit("batches").await;
    store.cancel(canceled, somebody()).await.unwrap();

    store.change_queue("batches", QueueChange { max_running: Some(7), paused: None }).await.unwrap();
    let app = NewRepository {
        namespace: Namespace::User("ann".into()),
        name: "app".into(),
        source: "https://example.org/app".into(),
    };
    let app = store.add_repository(app).await.unwrap();
    store.put_repository_credentials(app.id, &CREDENTIALS.into()).await.unwrap();
    for (name, revoked) in [("kept", false), ("gone", true)] {
        let token = NewToken {
            name: name.into(),
            role: Role::Operator,
            namespace: Namespace::Global,
            created_by: "root".into(),
            expires_at: None,
        };
        let (row, _) = store.create_token(token).await.unwrap();
        if revoked {
            store.revoke_token(row.id).await.unwrap();
        }
    }
    let ann = NewPerson {
        name: "ann".into(),
        password: "$argon2id$".into(),
        role: Role::Admin,
        namespace: Namespace::Global,
        created_by: "root".into(),
    };
    let ann = store.add_person(ann).await.unwrap();
    let session = NewSession::Person { id: ann.id, password: "$argon2id$".into() };
    assert!(store.begin_session(session).await.unwrap().is_some());
    let registration = NewRegistration {
        name: "rack".into(),
        max_uses: 2,
        created_by: "root".into(),
        expires_at: world.now() + SignedDuration::from_hours(1),
    };
    let (_, shown) = store.create_registration(registration).await.unwrap();
    store.register(&shown, "exec-7", IDENTITY).await.unwrap();
    let secret = NewSecret {
        scope: Scope::Batches,
        namespace: Namespace::Global,
        key: "KEY".into(),
        value: "a value that is kept".into(),
        creator: "root".into(),
    };
    store.add_secret(secret).await.unwrap();
    store.open_secrets(id, &lease(&again), &["KEY".to_owned()]).await.unwrap();
    store.note_act(act("secret.set")).await.unwrap();
    store.upsert_executor("exec-2", &["batches".to_owned()], &Telemetry::default(), None).await.unwrap();
    // One that is complete, and an object that nobody has taken yet.
    let upload = NewUpload {
        namespace: Namespace::Global,
        repository: "app".into(),
        commit: "0".repeat(40),
        root: String::new(),
        indexer_name: "scip-go".into(),
        indexer_version: String::new(),
        by_job: Some(JobId(7)),
        associated_index_id: None,
        content_type: String::new(),
        uncompressed_size: None,
        parts: 1,
    };
    let key = store.new_object("uploads", "scip").await.unwrap();
    store.new_object("uploads", "scip").await.unwrap();
    let object = NewObject { key, size: 7, sha256: "0".repeat(64) };
    store.add_upload(upload, object).await.unwrap();
    let key = store.new_object("artifacts", "").await.unwrap();
    let object = NewObject { key, size: 3, sha256: "0".repeat(64) };
    let artifact = NewArtifact { name: "report".into(), path: "out/a.txt".into(), object };
    store.add_artifact(id, &lease(&again), artifact).await.unwrap();
    assert_eq!(store.seal_logs(true).await.unwrap(), 1, "the first try of the first job");
    // The newest job is gone, and its number with it.
    let newest = world.submit("codeintel").await;
    store.cancel(newest, somebody()).await.unwrap();
    world.sql.close().await.unwrap();
}

async fn exported(place: &Place) -> Vec<u8> {
    let mut text = Vec::new();
    let moved = export(place, &mut text, &mut |_, _| {}).await.unwrap();
    // Texts are files beside the embedded database.
    let is_full = |(table, rows): (&String, &u64)| *rows > 0 || table == "log_texts";
    assert!(moved.iter().all(is_full), "each table has something in it: {moved:?}");
    text
}

async fn imported(place: &Place, text: &[u8]) -> Result<u64, TransferError> {
    let moved = import(place, &mut &*text, None, &mut |_, _| {}).await?;
    Ok(moved.values().sum())
}

/// What the lines say, however they are written. The last one has a digest of the others.
fn lines(text: &[u8]) -> Vec<Value> {
    let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let mut lines: Vec<Value> = lines.map(|line| serde_json::from_slice(line).unwrap()).collect();
    lines.last_mut().unwrap()["end"]["sha256"].take();
    lines
}

#[tokio::test]
async fn what_was_moved_twice_is_what_it_was() {
    let Some(postgres) = Postgres::start("what_was_moved_twice_is_what_it_was") else { return };
    let clock = Arc::new(MockClock::at(1_700_000_000));
    let [first, other, second] = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let first = place(first.path(), None);
    fill(&first, &clock).await;
    let from_file = exported(&first).await;

    let in_postgres = place(other.path(), Some(&postgres));
    imported(&in_postgres, &from_file).await.unwrap();
    let from_postgres = exported(&in_postgres).await;
    assert_eq!(lines(&from_postgres), lines(&from_file));

    let second = place(second.path(), None);
    imported(&second, &from_postgres).await.unwrap();
    assert_eq!(exported(&second).await, from_file, "byte for byte");

    // Both go on where the first one was: secrets open, executors go on with their jobs, no number is given twice.
    for place in [&in_postgres, &second] {
        let store = open(place, &clock).await;
        let newest = store.jobs(JobFilter { limit: 1, ..JobFilter::default() }).await.unwrap()[0].id;
        assert!(store.submit(new_job("codeintel")).await.unwrap() > newest);
        let known =
            store.known_secrets(Scope::Batches, &Namespace::Global, &["KEY".to_owned()]).await.unwrap();
        assert_eq!(known, ["KEY"]);
        let mut asking = asking(&ALL_QUEUES, "exec-3");
        asking.most = 10;
        let given = store.claim(&asking).await.unwrap();
        let secret = given.iter().find_map(|claimed| claimed.secrets.get("API_KEY"));
        assert_eq!(secret.map(ExposeSecret::expose_secret), Some("hunter2-hunter2"));
        let app = store.repository(&Namespace::User("ann".into()), "app").await.unwrap().unwrap();
        let credentials = store.repository_credentials(app.id).await.unwrap().unwrap();
        assert_eq!(credentials.expose_secret(), CREDENTIALS);
        assert_eq!(store.identity(IDENTITY).await.unwrap().unwrap().name, "exec-7");
        store.close().await.unwrap();
    }
}

fn act(action: &str) -> NewAct {
    NewAct {
        actor: "root".into(),
        actor_of: Namespace::Global,
        action: action.into(),
        subject: "KEY".into(),
        namespace: Namespace::Global,
        origin: "127.0.0.1".into(),
        detail: String::new(),
        reference: Some("1f".repeat(16)),
    }
}

/// It comes with what is imported, or not at all, and after what was noted before.
#[tokio::test]
async fn an_import_is_noted_with_what_it_brings() {
    let clock = Arc::new(MockClock::at(1_700_000_000));
    let [from, to] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let (from, to) = (place(from.path(), None), place(to.path(), None));
    fill(&from, &clock).await;
    let text = exported(&from).await;
    let noted = act("database.import");
    let import = async |text: &[u8]| import(&to, &mut &*text, Some(&noted), &mut |_, _| {}).await;
    let cut = &text[..text.len() - 10];
    import(cut).await.unwrap_err();
    // Were it noted, the database would not be empty.
    import(&text).await.unwrap();
    let store = open(&to, &clock).await;
    let acts = store.acts(ActFilter { limit: 10, ..ActFilter::default() }).await.unwrap();
    let names: Vec<&str> = acts.iter().map(|row| row.act.action.as_str()).collect();
    assert_eq!(names, ["database.import", "secret.set"], "the newest first");
    assert!(acts[0].id > acts[1].id, "{acts:?}");
    store.close().await.unwrap();
}

/// They are rows in one database, and files beside the other.
#[tokio::test]
async fn texts_of_jobs_that_run_are_moved_along() {
    let Some(postgres) = Postgres::start("texts_of_jobs_that_run_are_moved_along") else { return };
    let clock = Arc::new(MockClock::at(1_700_000_000));
    let [other, dir] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let (in_postgres, in_file) = (place(other.path(), Some(&postgres)), place(dir.path(), None));
    let sql = Arc::new(open(&in_postgres, &clock).await);
    let world =
        World { store: sql.clone(), sql, clock: clock.clone(), entries: 0.into(), _keep: Box::new(()) };
    let (id, held, _) = world.running().await;
    let long = "ä\u{1f980}\n".repeat(50_000);
    world.open_entry(id, &held, &long).await;
    world.open_entry(id, &held, "short").await;
    world.sql.close().await.unwrap();
    drop(world);
    let mut text = Vec::new();
    let moved = export(&in_postgres, &mut text, &mut |_, _| {}).await.unwrap();
    assert!(moved["log_texts"] > 2, "{moved:?}");
    imported(&in_file, &text).await.unwrap();

    let store = open(&in_file, &clock).await;
    assert!(store.read_log(id, 1, 1, 0, usize::MAX).await.unwrap() == long.as_bytes());
    assert_eq!(store.append_log(id, &held, 2, 5, "er", None, None).await.unwrap(), 7);
    store.close().await.unwrap();
    let moved = export(&in_file, &mut Vec::new(), &mut |_, _| {}).await.unwrap();
    assert_eq!(moved["log_texts"], 0, "they are files now");
}

#[tokio::test]
async fn what_is_not_whole_changes_nothing() {
    let clock = Arc::new(MockClock::at(1_700_000_000));
    let [full, empty] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    fill(&place(full.path(), None), &clock).await;
    let text = exported(&place(full.path(), None)).await;
    let empty = place(empty.path(), None);
    let told = async |text: &[u8]| imported(&empty, text).await.unwrap_err().to_string();

    let cut = &text[..text.len() - 2];
    assert!(told(cut).await.contains("it is not whole"));
    let without_end = &text[..text.windows(7).rposition(|part| part == b"{\"end\":").unwrap()];
    assert!(told(without_end).await.contains("it is not whole"));
    let changed = String::from_utf8(text.clone()).unwrap().replacen("alpine:3", "alpine:4", 1);
    assert!(told(changed.as_bytes()).await.contains("its digest does not match"));
    let other = String::from_utf8(text.clone()).unwrap().replacen("\"schema\":\"", "\"schema\":\"x-", 1);
    assert!(told(other.as_bytes()).await.contains("import it with the version that wrote it"));
    assert!(told(b"PK\x03\x04 something else\n").await.starts_with("this is no export"));
    assert!(told(b"").await.contains("it is not whole"));

    // After all of that it is as empty as it was.
    imported(&empty, &text).await.unwrap();
    let again = told(&text).await;
    assert!(again.contains("rows in lanes already"), "{again}");
}

#[tokio::test]
async fn a_database_in_use_is_exported_and_not_imported_into() {
    let clock = Arc::new(MockClock::at(1_700_000_000));
    let dir = tempfile::tempdir().unwrap();
    let place = place(dir.path(), None);
    fill(&place, &clock).await;
    let store = open(&place, &clock).await;
    let id = store.submit(new_job("batches")).await.unwrap();
    let text = exported(&place).await;
    let jobs = lines(&text).into_iter().filter(|line| line["jobs"]["id"] == id.0);
    assert_eq!(jobs.count(), 1, "what was just written is in it");
    let refused = imported(&place, &text).await.unwrap_err();
    assert!(matches!(refused, TransferError::Store(StoreError::InUse(_))), "{refused}");
    assert!(matches!(migrate(&place).await, Err(StoreError::InUse(_))));
    store.close().await.unwrap();
    drop(store);
    assert_eq!(migrate(&place).await.unwrap(), lines(&text)[0]["schema"]);
}

#[tokio::test]
async fn nothing_is_exported_where_nothing_is() {
    let dir = tempfile::tempdir().unwrap();
    let refused = export(&place(dir.path(), None), &mut Vec::new(), &mut |_, _| {}).await.unwrap_err();
    assert!(matches!(refused, TransferError::Store(StoreError::DataDir { .. })), "{refused}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "and nothing is made");
}

/// What only reads makes no tables either.
#[tokio::test]
async fn nothing_is_exported_of_a_database_that_no_server_has_used() {
    let test = "nothing_is_exported_of_a_database_that_no_server_has_used";
    let Some(postgres) = Postgres::start(test) else { return };
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("executor.db"), "").unwrap();
    for place in [place(dir.path(), None), place(dir.path(), Some(&postgres))] {
        let refused = export(&place, &mut Vec::new(), &mut |_, _| {}).await.unwrap_err();
        assert!(matches!(refused, TransferError::Store(StoreError::NoSchema { .. })), "{refused:?}");
    }
    let mut connection = PgConnection::connect(&postgres.url()).await.unwrap();
    let tables = "SELECT COUNT(*) FROM pg_tables WHERE schemaname = 'public'";
    let tables: i64 = sqlx::query_scalar(tables).fetch_one(&mut connection).await.unwrap();
    assert_eq!(tables, 0);
}
