//! What a transaction costs that somebody holds open.

use crate::spread::Spread;
use crate::work::cycles;
use crate::{BATCH, TIME, open};
use sqlx::{Connection, Executor, PgConnection};
use std::sync::Arc;
use std::time::Duration;
use store::{DatabaseChoice, SqlStore};
use testkit::Postgres;

/// So many turns, in each of which it is measured once where a transaction is held and once where none is. Half of them begin with the
/// one, half with the other. They are many and short, so that what comes by now and then, such as a checkpoint, is in few of them.
const TURNS: usize = 24;
/// How long each half of a turn lasts.
const HALF: Duration = Duration::from_millis(2_500);
/// The turns are told in so many parts, since dead rows become more and more.
const PARTS: usize = 2;

/// What came of a turn: cycles a second in both halves.
struct Turn {
    held: f64,
    free: f64,
}

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
    let order = order();
    for held_first in order.chunks(TURNS / PARTS) {
        let from = dead_rows(&mut holder).await;
        let mut turns = Vec::new();
        for held_first in held_first {
            turns.push(turn(&store, &free, *held_first).await);
        }
        tell(&turns, from, dead_rows(&mut holder).await);
    }
    holder.execute("ROLLBACK").await.unwrap();
}

async fn turn(held: &Arc<SqlStore>, free: &Arc<SqlStore>, held_first: bool) -> Turn {
    let half = async |store: &Arc<SqlStore>| cycles(store, 4, BATCH, HALF).await;
    if held_first {
        let held = half(held).await;
        Turn { held, free: half(free).await }
    } else {
        let free = half(free).await;
        Turn { held: half(held).await, free }
    }
}

/// Whether each turn begins where the transaction is held: by chance, but of two that follow each other one does and one does not.
fn order() -> Vec<bool> {
    let mut chance = [0; TURNS / 2];
    getrandom::fill(&mut chance).unwrap();
    chance.into_iter().flat_map(|byte: u8| [byte.is_multiple_of(2), !byte.is_multiple_of(2)]).collect()
}

fn tell(turns: &[Turn], from: i64, to: i64) {
    let held = Spread::of(turns.iter().map(|turn| turn.held));
    let free = Spread::of(turns.iter().map(|turn| turn.free));
    let less = Spread::of(turns.iter().map(|turn| (1.0 - turn.held / turn.free) * 100.0));
    println!("  {from} to {to} dead rows, median (and range) of {} turns:", turns.len());
    println!("    {held} cycles/s, and {free} where nobody does: {less:.1} % less by turns");
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
