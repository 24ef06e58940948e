//! Moving all that a database holds to another one, of either kind.
//!
//! What lies beside the database in the data directory - texts of logs, files, mirrors, keys - stays what it is, and is
//! found by the same names.

mod file;
mod tables;

use super::database::{Database, Durability, PostgresDatabase, SqliteFile, Write};
use super::directory::DataDir;
use super::session::{Session, Sql};
use super::values::timestamp;
use super::{DatabaseChoice, audit};
use crate::error::StoreError;
use crate::identity::NewAct;
use file::{End, Line, Sink, Source};
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::io::{self, BufRead, Write as Output};
use std::path::{Path, PathBuf};
use tables::{SEALING_KEYS, TABLES, Table};

/// Rows that are written at a time at most, and about so many bytes.
const BATCH_ROWS: usize = 500;
const BATCH_BYTES: usize = 4 << 20;

/// The number that a table gave last.
const LAST: Sql = Sql {
    sqlite: "SELECT seq FROM sqlite_sequence WHERE name = $1",
    postgres: "SELECT pg_sequence_last_value(pg_get_serial_sequence($1, 'id')::regclass)",
};
const FORGET_LAST: Sql = Sql {
    sqlite: "DELETE FROM sqlite_sequence WHERE name = $1",
    postgres: "SELECT 1 WHERE $1::text IS NULL",
};
const SET_LAST: Sql = Sql {
    sqlite: "INSERT INTO sqlite_sequence (name, seq) VALUES ($1, $2)",
    postgres: "SELECT setval(pg_get_serial_sequence($1, 'id'), $2)",
};
/// Those who read the audit log go by the clock that servers of the database go by, which may not be this host's.
const NOW: Sql = Sql {
    sqlite: "SELECT CAST(unixepoch('subsec') * 1000000 AS INTEGER)",
    postgres: "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint",
};
const FORGET_KEYS: Sql = Sql { sqlite: "DELETE FROM sealing_keys", postgres: "DELETE FROM sealing_keys" };

/// Where a store is.
#[derive(Clone)]
pub struct Place {
    /// Its data directory.
    pub dir: PathBuf,
    /// Its database.
    pub database: DatabaseChoice,
}

/// What was moved: how many rows of each table.
pub type Moved = BTreeMap<String, u64>;

/// Nothing was moved. What was there before is there still.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// A database can't be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The file can't be written.
    #[error("the export can't be written")]
    Output(#[source] io::Error),
    /// The file can't be read.
    #[error("the export can't be read")]
    Input(#[source] io::Error),
    /// It is something else.
    #[error("this is no export: `executor server export` writes one")]
    NoExport,
    /// It came from another version.
    #[error(
        "the export has the schema {theirs:?}, and this version has {ours:?}: import it with the version that wrote it, \
         then start the newer one there"
    )]
    OtherVersion {
        /// The export's.
        theirs: String,
        /// This version's.
        ours: String,
    },
    /// A line is not as it was written.
    #[error("line {line} of the export can't be used: {fault}")]
    Line {
        /// Counted from 1.
        line: u64,
        /// What is wrong with it.
        fault: String,
    },
    /// Its digest is another one.
    #[error("the export was changed, or is not whole: its digest does not match; write it again")]
    Changed,
    /// Something is there already.
    #[error("the database has {rows} rows in {table} already: import into one that no server has used yet")]
    NotEmpty {
        /// A table.
        table: &'static str,
        /// How many.
        rows: i64,
    },
}

impl TransferError {
    fn json(fault: serde_json::Error) -> Self {
        Self::Output(fault.into())
    }
}

/// Brings the schema of a database up to date, or refuses one that a newer version made. Tells the latest change that it has
/// then. A server does so itself when it starts.
pub async fn migrate(place: &Place) -> Result<&'static str, StoreError> {
    let opened = Opened::take(place).await?;
    opened.database.close().await;
    Ok(Database::schema())
}

/// An embedded database that is about to be moved. Nobody uses it meanwhile, so nothing is written behind the export's back.
pub struct Retirement(DataDir);

impl Retirement {
    /// Keeps everybody else from the database in `dir`; refuses one that a server uses, and one that was moved before.
    pub fn begin(dir: &Path) -> Result<Self, StoreError> {
        // A directory is made for nobody who has no database in it.
        DataDir::database_in(dir)?;
        let locked = DataDir::lock(dir.to_owned())?;
        locked.database()?;
        Ok(Self(locked))
    }

    /// From now on nobody uses it, until somebody takes it back. Call this when the export is where it stays.
    pub fn complete(self) -> Result<(), StoreError> {
        self.0.retire_database()
    }
}

/// Writes all that a database holds, as it is at one moment; also while a server uses it. Nothing of it is changed, so one
/// whose schema is not this version's is refused.
pub async fn export(
    place: &Place,
    out: &mut (dyn Output + Send),
    progress: &mut (dyn FnMut(&str, u64) + Send),
) -> Result<Moved, TransferError> {
    let database = match &place.database {
        DatabaseChoice::Embedded => {
            Database::Sqlite(SqliteFile::for_reading(&DataDir::database_in(&place.dir)?).await?)
        }
        DatabaseChoice::Postgres { url } => Database::Postgres(PostgresDatabase::beside(url).await?),
    };
    let mut snapshot = database.snapshot().await?;
    let mut sink = Sink::begin(out, Database::schema())?;
    let mut end = End::default();
    for table in TABLES {
        let mut rows = 0;
        let mut take = |row: &str| {
            rows += 1;
            progress(table.name, rows);
            sink.row(table.name, row)
        };
        let rows = snapshot.each(table.read, &mut take).await?;
        end.rows.insert(table.name.to_owned(), rows);
        if table.numbered
            && let Some((Some(last),)) =
                snapshot.query(LAST).bind(table.name).optional::<(Option<i64>,)>().await?
        {
            end.last.insert(table.name.to_owned(), last);
        }
    }
    let moved = end.rows.clone();
    sink.end(end)?;
    snapshot.roll_back().await?;
    database.close().await;
    Ok(moved)
}

/// Notes in its audit log what was done to a database as a whole, also while a server uses it. Its schema must be this version's.
pub async fn note_act_beside(place: &Place, act: &NewAct) -> Result<(), StoreError> {
    let database = match &place.database {
        DatabaseChoice::Embedded => {
            Database::Sqlite(SqliteFile::beside(&DataDir::database_in(&place.dir)?).await?)
        }
        DatabaseChoice::Postgres { url } => Database::Postgres(PostgresDatabase::beside(url).await?),
    };
    let mut write = database.write(Durability::PowerLoss).await?;
    note(&mut write, act).await?;
    write.commit().await?;
    database.close().await;
    Ok(())
}

async fn note(write: &mut Write<'_>, act: &NewAct) -> Result<(), StoreError> {
    let (now,): (i64,) = write.query(NOW).one().await?;
    audit::insert(write, timestamp(now, || "clock".to_owned())?, act).await
}

/// Puts what was exported into a database that holds nothing yet: all of it, or nothing. `act` is noted with it in the audit log, so
/// that nothing is there of which that does not tell.
pub async fn import(
    place: &Place,
    input: &mut (dyn BufRead + Send),
    act: Option<&NewAct>,
    progress: &mut (dyn FnMut(&str, u64) + Send),
) -> Result<Moved, TransferError> {
    let opened = Opened::take(place).await?;
    let mut write = opened.database.write(Durability::PowerLoss).await?;
    let moved = match fill_and_note(&mut write, input, act, progress).await {
        Ok(moved) => {
            write.commit().await?;
            Ok(moved)
        }
        Err(fault) => {
            write.roll_back().await;
            Err(fault)
        }
    };
    opened.database.checkpoint().await?;
    opened.database.close().await;
    moved
}

/// A database that nobody else has open, if it is a file.
struct Opened {
    database: Database,
    _dir: Option<DataDir>,
}

impl Opened {
    async fn take(place: &Place) -> Result<Self, StoreError> {
        match &place.database {
            DatabaseChoice::Embedded => {
                let dir = DataDir::lock(place.dir.clone())?;
                let database = Database::Sqlite(SqliteFile::open(&dir.database()?).await?);
                Ok(Self { database, _dir: Some(dir) })
            }
            DatabaseChoice::Postgres { url } => {
                Ok(Self { database: Database::Postgres(PostgresDatabase::open(url).await?), _dir: None })
            }
        }
    }
}

async fn fill_and_note(
    write: &mut Write<'_>,
    input: &mut (dyn BufRead + Send),
    act: Option<&NewAct>,
    progress: &mut (dyn FnMut(&str, u64) + Send),
) -> Result<Moved, TransferError> {
    let moved = fill(write, input, progress).await?;
    if let Some(act) = act {
        note(write, act).await?;
    }
    Ok(moved)
}

/// Fills an empty database from an export; how many rows of which table came.
async fn fill(
    write: &mut Write<'_>,
    input: &mut (dyn BufRead + Send),
    progress: &mut (dyn FnMut(&str, u64) + Send),
) -> Result<Moved, TransferError> {
    refuse_unless_empty(write).await?;
    // A server that only started has made them, and what is sealed comes with its own.
    write.query(FORGET_KEYS).execute().await?;
    let mut source = Source::begin(input, Database::schema())?;
    let (mut moved, mut batch) = (Moved::new(), Batch::default());
    let end = loop {
        match source.next()? {
            Line::End(end) => break end,
            Line::Row { table: name, row } => {
                let table = TABLES.iter().find(|table| table.name == name);
                let table = table.ok_or_else(|| source.broken(&format!("there is no table {name:?}")))?;
                if batch.is_of_other(table) || batch.is_full() {
                    batch.write(write).await?;
                }
                batch.add(table, row);
                let rows = moved.entry(name).or_default();
                *rows += 1;
                progress(table.name, *rows);
            }
        }
    };
    batch.write(write).await?;
    if let Some((table, _)) =
        end.rows.iter().find(|(table, rows)| moved.get(*table).copied().unwrap_or(0) != **rows)
    {
        return Err(source.broken(&format!("rows of {table} are missing")));
    }
    go_on_numbering(write, &end).await?;
    Ok(end.rows)
}

async fn refuse_unless_empty(write: &mut Write<'_>) -> Result<(), TransferError> {
    for table in TABLES.iter().filter(|table| table.name != SEALING_KEYS) {
        let (rows,): (i64,) = write.query(table.count).one().await?;
        if rows > 0 {
            return Err(TransferError::NotEmpty { table: table.name, rows });
        }
    }
    Ok(())
}

/// Numbers of rows that are gone may be known outside, so none is given out again.
async fn go_on_numbering(write: &mut Write<'_>, end: &End) -> Result<(), TransferError> {
    for table in TABLES.iter().filter(|table| table.numbered) {
        if let Some(last) = end.last.get(table.name) {
            write.query(FORGET_LAST).bind(table.name).execute().await?;
            write.query(SET_LAST).bind(table.name).bind(*last).execute().await?;
        }
    }
    Ok(())
}

/// Rows of one table that are written together.
#[derive(Default)]
struct Batch {
    table: Option<&'static Table>,
    rows: Vec<Box<RawValue>>,
    bytes: usize,
}

impl Batch {
    fn is_of_other(&self, table: &Table) -> bool {
        self.table.is_some_and(|own| own.name != table.name)
    }

    const fn is_full(&self) -> bool {
        self.rows.len() >= BATCH_ROWS || self.bytes >= BATCH_BYTES
    }

    fn add(&mut self, table: &'static Table, row: Box<RawValue>) {
        self.table = Some(table);
        self.bytes += row.get().len();
        self.rows.push(row);
    }

    async fn write(&mut self, session: &mut Session) -> Result<(), TransferError> {
        let Self { table: Some(table), rows, .. } = std::mem::take(self) else { return Ok(()) };
        let json = serde_json::to_string(&rows).map_err(TransferError::json)?;
        session.query(table.write).bind(json).execute().await?;
        Ok(())
    }
}

#[cfg(test)]
pub(super) fn statements() -> Vec<(&'static str, Sql)> {
    let own = [LAST, FORGET_LAST, SET_LAST, NOW, FORGET_KEYS].map(|sql| ("transfer", sql));
    tables::statements().into_iter().chain(own).collect()
}

/// The tables with their columns.
#[cfg(test)]
pub(super) fn columns() -> BTreeMap<&'static str, std::collections::BTreeSet<String>> {
    let names = |table: &Table| table.columns.iter().map(|name| (*name).to_owned()).collect();
    TABLES.iter().map(|table| (table.name, names(table))).collect()
}
