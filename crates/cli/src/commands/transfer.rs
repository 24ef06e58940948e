//! `executor server migrate`, `export` and `import`: a server's database as a whole.

use super::print;
use super::serve::database_url;
use crate::args::{DatabaseArgs, ExportArgs, ImportArgs};
use crate::exit::{Exit, Failure, Outcome, chain};
use crate::paths::Paths;
use serde_json::json;
use server::database::{
    DatabaseAct, DatabaseChoice, Moved, Place, Retirement, SchemaState, StoreError, TransferError, export,
    import, look_at_database, migrate, note_act_beside,
};
use std::fs::{File, OpenOptions};
use std::io::{BufReader, BufWriter, IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// How often to tell how far it is.
const TOLD_EVERY: Duration = Duration::from_secs(1);

/// Brings the schema up to date.
pub(crate) async fn run_migrate(paths: &Paths, args: DatabaseArgs) -> Outcome {
    let place = place(paths, &args)?;
    let before = look_at_database(&place.database, &place.dir).await;
    let schema = migrate(&place).await.map_err(|fault| store_failure(&fault))?;
    // Whoever makes sure of it at each start changes nothing.
    if !before.is_ok_and(|look| look.schema == SchemaState::Current) {
        tell_unnoted(note(&place, DatabaseAct::Migrate, &format!("to the schema {schema}")).await);
    }
    print::tell(args.json, &json!({ "schema": schema }), &format!("the schema is up to date: {schema}"))
}

/// Writes everything into a file, which is there whole or not at all.
pub(crate) async fn run_export(paths: &Paths, args: ExportArgs) -> Outcome {
    let place = place(paths, &args.database)?;
    let retirement = args.retire.then(|| Retirement::begin(&place.dir)).transpose();
    let retirement = retirement.map_err(|fault| store_failure(&fault))?;
    let unusable =
        |fault: std::io::Error| Failure::usage(format!("{} can't be written: {fault}", args.file.display()));
    let mut new = OpenOptions::new();
    let file = new.write(true).create_new(true).mode(0o600).open(&args.file).map_err(unusable)?;
    let mut out = BufWriter::new(file);
    // Before, so that it is in the export as well.
    let noted = note(&place, DatabaseAct::Export, &format!("into {}", shown(&args.file))).await;
    let exported = export(&place, &mut out, &mut progress("exported")).await;
    let synced = exported.map_err(|fault| failure(&fault)).and_then(|moved| {
        let synced = out.flush().and_then(|()| out.get_ref().sync_all());
        synced
            .map_err(|fault| Failure::system(format!("{} can't be written: {fault}", args.file.display())))?;
        Ok(moved)
    });
    let moved = synced.inspect_err(|_| {
        // Half of it is good for nothing.
        let _ = std::fs::remove_file(&args.file);
    })?;
    tell_unnoted(noted);
    // The export is on the disk by now.
    if let Some(retirement) = retirement {
        retirement.complete().map_err(|fault| store_failure(&fault))?;
    }
    tell("exported", &moved, &args.file, args.database.json)
}

/// Puts everything from a file into an empty database.
pub(crate) async fn run_import(paths: &Paths, args: ImportArgs) -> Outcome {
    let place = place(paths, &args.database)?;
    let file = File::open(&args.file);
    let file =
        file.map_err(|fault| Failure::usage(format!("{} can't be read: {fault}", args.file.display())))?;
    let act = DatabaseAct::Import.noted(user(), &format!("from {}", shown(&args.file)));
    let mut file = BufReader::new(file);
    let imported = import(&place, &mut file, Some(&act), &mut progress("imported")).await;
    let moved = imported.map_err(|fault| failure(&fault))?;
    tell("imported", &moved, &args.file, args.database.json)
}

/// Notes in the database's own audit log what is done to it. What can't be noted is done all the same: whoever may do it could have
/// taken the database itself, and it may be the last thing that a full disk or a broken file lets one do.
async fn note(place: &Place, act: DatabaseAct, detail: &str) -> Result<(), StoreError> {
    note_act_beside(place, &act.noted(user(), detail)).await
}

/// The host's user who does it.
fn user() -> u32 {
    rustix::process::getuid().as_raw()
}

/// Says so where that failed. Where all else failed as well nobody needs to hear of it.
fn tell_unnoted(noted: Result<(), StoreError>) {
    if let Err(fault) = noted {
        let why = chain(&fault);
        // That nobody reads it is no reason to stop.
        let _ = writeln!(
            std::io::stderr(),
            "the audit log does not tell of this, for it can't be written: {why}"
        );
    }
}

/// Where a file is, whatever the directory that it was named in.
fn shown(file: &Path) -> String {
    std::path::absolute(file).unwrap_or_else(|_| file.to_owned()).display().to_string()
}

fn place(paths: &Paths, args: &DatabaseArgs) -> Result<Place, Failure> {
    let url = args.database_url_file.as_deref().map(database_url).transpose()?;
    let database = url.map_or(DatabaseChoice::Embedded, |url| DatabaseChoice::Postgres { url });
    Ok(Place { dir: paths.server_data_dir(args.data_dir.clone()), database })
}

/// Says now and then how far it is, to a person who looks on.
fn progress(done: &'static str) -> impl FnMut(&str, u64) + Send {
    let mut told = std::io::stderr().is_terminal().then(Instant::now);
    move |table, rows| {
        if let Some(last) = &mut told
            && last.elapsed() >= TOLD_EVERY
        {
            *last = Instant::now();
            // Nobody who looks on is no reason to stop.
            let _ = writeln!(std::io::stderr(), "{done} {rows} rows of {table} so far");
        }
    }
}

fn tell(done: &str, moved: &Moved, file: &Path, json: bool) -> Outcome {
    if json {
        print::json(&json!({ "file": file, "rows": moved }))?;
        return Ok(Exit::Success);
    }
    let rows = moved.iter().filter(|(_, rows)| **rows > 0);
    let rows = rows.map(|(table, rows)| vec![table.clone(), rows.to_string()]).collect();
    print::table(&["TABLE", "ROWS"], rows, &format!("{done} nothing: the database is empty"))?;
    Ok(Exit::Success)
}

fn failure(fault: &TransferError) -> Failure {
    match fault {
        TransferError::Store(fault) => store_failure(fault),
        TransferError::Output(_) | TransferError::Input(_) => Failure::chain(Exit::System, fault),
        _ => Failure::chain(Exit::Usage, fault),
    }
}

fn store_failure(fault: &StoreError) -> Failure {
    let exit = if matches!(fault, StoreError::DatabaseUrl) { Exit::Usage } else { Exit::System };
    Failure::chain(exit, fault)
}
