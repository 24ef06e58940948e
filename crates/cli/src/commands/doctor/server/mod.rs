//! `executor server doctor`: what can be known of a control plane before it starts, and while it runs.
//!
//! As the doctor of agents it changes nothing: for a moment there is a small file in the data directory.

mod catalog;
mod disk;
mod files;
mod keys;
mod live;
mod reach;

pub(super) use catalog::CHECKS;

use super::discretion::Discretion;
use super::finding::{Finding, fatal, ok};
use super::report::Report;
use crate::args::{ServerArgs, ServerDoctorArgs};
use crate::certificates;
use crate::commands::{print, serve};
use crate::env::{EnvErrors, EnvReader};
use crate::exit::Outcome;
use crate::paths::Paths;
use secrecy::ExposeSecret;
use server::{DatabaseChoice, SecretKeys};
use std::path::PathBuf;
use std::time::Duration;
use tls::Roots;
use tokio::time::timeout;

/// How long a look may take.
const LIMIT: Duration = Duration::from_secs(4);

/// What is known before anything is looked at.
struct Known {
    args: ServerArgs,
    data_dir: PathBuf,
    keys: SecretKeys,
    /// The database, or why it is not known which.
    database: Result<DatabaseChoice, String>,
    roots: Roots,
}

/// Looks at everything and tells what it came to. `env` may hold faults.
pub(crate) async fn run(paths: &Paths, args: ServerDoctorArgs, mut env: EnvReader<'_>) -> Outcome {
    let ServerDoctorArgs { json, strict, serve: args } = args;
    let mut findings = Vec::new();
    let roots = certificates::read(&mut env);
    let keys = match serve::Known::read(&mut env, &args, roots.clone()) {
        Ok(known) => known.keys,
        Err(fault) => {
            findings.push(fatal("server.environment", fault.message, "leave one of the two out"));
            SecretKeys::InDataDir
        }
    };
    let faults = env.finish().err().map(EnvErrors::into_texts).unwrap_or_default();
    findings.extend(faults.into_iter().map(|fault| {
        fatal("server.environment", fault, "mend the variable: `executor run --help-env` tells what it takes")
    }));
    if findings.is_empty() {
        findings.push(ok("server.environment", "every variable that a server reads can be used"));
    }
    let database = match args.database_url_file.as_deref() {
        None => Ok(DatabaseChoice::Embedded),
        Some(file) => serve::database_url(file)
            .map(|url| DatabaseChoice::Postgres { url })
            .map_err(|failure| failure.message),
    };
    let known = Known { data_dir: paths.server_data_dir(args.data_dir.clone()), args, keys, database, roots };
    let (keys, disk, reached, live) = tokio::join!(
        keys::findings(&known),
        disk::findings(&known),
        reach::findings(&known),
        live::findings(&known)
    );
    findings.extend(files::findings(&known));
    findings.extend([keys, disk, reached, live].into_iter().flatten());
    let secrets = known.secrets();
    let report = Report::of_server(findings, strict, &Discretion::new(secrets.iter().map(String::as_str)));
    if json {
        print::json(&report)?;
    } else {
        print::line(&report.text())?;
    }
    Ok(report.exit())
}

impl Known {
    /// What may not be shown: a database's password.
    fn secrets(&self) -> Vec<String> {
        let Ok(DatabaseChoice::Postgres { url }) = &self.database else { return Vec::new() };
        let password = url::Url::parse(url).ok().and_then(|url| url.password().map(str::to_owned));
        let given = match &self.keys {
            SecretKeys::Given(keys) => Some(keys.expose_secret().to_owned()),
            _ => None,
        };
        password.into_iter().chain(given).chain([url.clone()]).collect()
    }
}

/// What came of a look that may hang, or what is said if it did.
async fn within(id: &'static str, look: impl Future<Output = Vec<Finding>>) -> Vec<Finding> {
    timeout(LIMIT, look).await.unwrap_or_else(|_| {
        let seen = format!("this could not be looked at within {} s", LIMIT.as_secs());
        vec![fatal(id, seen, "look at what it asks: something hangs")]
    })
}

/// The same for what blocks.
async fn blocking(id: &'static str, look: impl FnOnce() -> Vec<Finding> + Send + 'static) -> Vec<Finding> {
    within(id, async { tokio::task::spawn_blocking(look).await.unwrap_or_default() }).await
}
