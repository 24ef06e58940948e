//! What a transaction costs that somebody holds open.

use crate::work::cycles;
use crate::{BATCH, TIME, open};
use sqlx::{Connection, Executor, PgConnection};
use store::DatabaseChoice;
use testkit::Postgres;

/// So many times, by turns, where one is held and where none is.
const PARTS: usize = 6;

/// Rows that are dead can't be cleared away while a transaction is open that might see them. Beside it by turns, in a database of
/// its own and with as many jobs, nobody holds any.
pub(crate) async fn measure(server: &Postgres) {
    let (dir, other_dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (url, other_url) = (new_database(server, "held").await, new_database(server, "free").await);
    let store = open(&dir, DatabaseChoice::Postgres { url: url.clone() }).await;
    let free = open(&other_dir, DatabaseChoice::Postgres { url: other_url }).await;
    for store in [&store, &free] {
        cycles(store, 4, BATCH, TIME).await;
    }
    let mut holder = PgConnection::connect(&url).await.unwrap();
    holder.execute("BEGIN ISOLATION LEVEL REPEATABLE READ").await.unwrap();
    holder.execute("SELECT COUNT(*) FROM jobs").await.unwrap();
    let mut turns = Vec::new();
    for _ in 0..PARTS {
        let (held, free) = (cycles(&store, 4, BATCH, TIME).await, cycles(&free, 4, BATCH, TIME).await);
        let dead = dead_rows(&mut holder).await;
        let more = (held / free - 1.0) * 100.0;
        println!(
            "  {dead:>7} dead rows: {held:>8.0} cycles/s, and {free:>8.0} where nobody does: {more:+.1} %"
        );
        turns.push(more);
    }
    holder.execute("ROLLBACK").await.unwrap();
    let (with_few, with_many) = turns.split_at_mut(PARTS / 2);
    for (half, turns) in [("first", with_few), ("second", with_many)] {
        turns.sort_by(f64::total_cmp);
        let (least, median, most) = (turns[0], turns[turns.len() / 2], turns[turns.len() - 1]);
        println!("  the {half} half: {median:+.1} % ({least:+.1} to {most:+.1})");
    }
}

/// That the statistics know of, which are a moment old.
async fn dead_rows(connection: &mut PgConnection) -> i64 {
    let dead = "SELECT COALESCE(SUM(n_dead_tup), 0)::bigint FROM pg_stat_user_tables WHERE relname = 'jobs'";
    connection.execute("SELECT pg_stat_clear_snapshot()").await.unwrap();
    sqlx::query_scalar(dead).fetch_one(connection).await.unwrap()
}

async fn new_database(server: &Postgres, name: &str) -> String {
    let mut connection = PgConnection::connect(&server.url()).await.unwrap();
    sqlx::query(sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}")))
        .execute(&mut connection)
        .await
        .unwrap();
    server.url().replace("/postgres?", &format!("/{name}?"))
}
