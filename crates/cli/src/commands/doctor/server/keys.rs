//! The keys that secrets are sealed with: whether they are there, private, and those that the database needs.

use super::files::private;
use super::{Known, within};
use crate::commands::doctor::finding::{Finding, fatal, info, ok};
use server::database::StoreError;
use server::{DatabaseChoice, SECRET_KEYS_FILE, SecretKeys};
use std::error::Error;
use std::path::PathBuf;

const ID: &str = "server.keys";

pub(super) async fn findings(known: &Known) -> Vec<Finding> {
    let file = match &known.keys {
        SecretKeys::Given(_) => None,
        SecretKeys::File(path) => Some(path.clone()),
        SecretKeys::InDataDir => Some(known.data_dir.join(SECRET_KEYS_FILE)),
    };
    let to_be_made =
        matches!(known.keys, SecretKeys::InDataDir) && file.as_ref().is_some_and(|path| !path.exists());
    if !to_be_made && let Err(fault) = known.keys.check(&known.data_dir) {
        let mut told = fault.to_string();
        let cause = fault.source().map(|cause| format!(": {cause}"));
        told.push_str(&cause.unwrap_or_default());
        return vec![fatal(ID, told, "put the keys there that secrets are sealed with, from their copy")];
    }
    let missed = within(ID, missed(known)).await;
    if to_be_made {
        let first = info(ID, "there is no key for secrets yet: the first start makes one");
        return if missed.is_empty() { vec![first] } else { missed };
    }
    let mut findings: Vec<Finding> = file.iter().map(|path| private(ID, path)).collect();
    let place = file.map_or_else(|| "the environment".to_owned(), |path: PathBuf| path.display().to_string());
    findings.extend(missed);
    findings.push(info(
        ID,
        format!("keep a copy of {place} apart from the database's: without it no secret can be opened"),
    ));
    findings
}

/// What the database's secrets are sealed with, against the keys that there are. None where nothing is sealed.
async fn missed(known: &Known) -> Vec<Finding> {
    let Ok(database) = &known.database else { return Vec::new() };
    match known.keys.missed(database, &known.data_dir).await {
        Ok(missed) if missed.is_empty() => {
            vec![ok(ID, "what the database's secrets are sealed with can be opened with them")]
        }
        Ok(missed) => missed.iter().map(|fault| told(known, fault)).collect(),
        // Whether it can be used at all is told of the database itself.
        Err(StoreError::OldSchema { .. }) => vec![info(
            ID,
            "whether they are those that the database's secrets are sealed with is known once its schema is this version's",
        )],
        Err(_) => Vec::new(),
    }
}

fn told(known: &Known, fault: &StoreError) -> Finding {
    let place = known.keys.place(&known.data_dir);
    let (key, seen) = match fault {
        StoreError::UnknownSealingKey { key } => (
            key,
            format!("the database has secrets that are sealed with the key {key:?}, which is not in {place}"),
        ),
        StoreError::WrongSealingKey { key } => (
            key,
            format!("the key {key:?} in {place} is not the one that the database's secrets are sealed with"),
        ),
        fault => return fatal(ID, fault.to_string(), "look at the database"),
    };
    let from = match &known.database {
        Ok(DatabaseChoice::Postgres { .. }) => "its copy, or from another server on this database",
        _ => "its copy, or, where this database was imported or restored, from the server that it comes from",
    };
    let remedy = format!(
        "put the line {key}:KEY into {place}, from {from}: no server starts without it, and nothing else opens these \
         secrets"
    );
    fatal(ID, seen, remedy)
}
