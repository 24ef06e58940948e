//! What a server reads: site configuration and certificate.

use super::Known;
use crate::commands::doctor::finding::{Finding, fatal, info, ok, warning};
use crate::commands::serve;
use jiff::Timestamp;
use server::{DatabaseChoice, Shown};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

const SITE_CONFIG: &str = "site-config.jsonc";
const API_TOKEN: &str = "api-token";
/// Before so many days a certificate is to be replaced.
const SOON: i64 = 14;
const DAY: i64 = 86_400;

/// Blocking, for a moment: some small files.
pub(super) fn findings(known: &Known) -> Vec<Finding> {
    let mut findings = site(
        &known.args.site_config.clone().unwrap_or_else(|| known.data_dir.join(SITE_CONFIG)),
        matches!(known.database, Ok(DatabaseChoice::Postgres { .. })),
    );
    let token = known.data_dir.join(API_TOKEN);
    findings.extend(token.exists().then(|| private("server.api-token", &token)));
    findings.extend(certificate(known));
    findings
}

fn site(path: &Path, shared: bool) -> Vec<Finding> {
    const ID: &str = "server.site-config";
    if !path.exists() {
        return vec![info(ID, format!("{} is not there yet: the first start writes it", path.display()))];
    }
    let looked = match server::look_at_site_config(path) {
        Ok(looked) => looked,
        Err(fault) => {
            let told = fault.to_string();
            return vec![fatal(
                ID,
                told,
                "mend it: a server that runs keeps to what was last good until then",
            )];
        }
    };
    let mut findings = vec![private(ID, path)];
    for (key, advice) in looked.without_effect {
        findings.push(warning(ID, format!("{key}: {advice}"), "take it out, or write it as told"));
    }
    if !looked.has_access_token {
        let remedy =
            "give it one, as `openssl rand -hex 32` makes it, or let agents have identities of their own";
        findings.push(warning(
            ID,
            "executors.accessToken is not set: no executor can connect with it",
            remedy,
        ));
    }
    findings.push(if looked.has_previous_access_token {
        let remedy = "when executor_server_old_secret_calls_total of /metrics stands still, take it out";
        warning("server.old-secret", "executors.accessTokenPrevious is good as well", remedy)
    } else {
        ok("server.old-secret", "one shared secret is good, and no older one")
    });
    findings.extend(shared.then(|| results(looked.has_bucket)));
    findings
}

/// Of a database that several servers may share: whether they share what jobs leave as well.
fn results(in_bucket: bool) -> Finding {
    const ID: &str = "server.results";
    if in_bucket {
        return ok(
            ID,
            "logs and files of jobs go into the bucket, where every server on this database finds them",
        );
    }
    warning(
        ID,
        "jobs are kept in PostgreSQL, and logs and files of ended ones in this server's data directory: another server on \
         the same database does not find them",
        "where several servers are meant, name a bucket that all use (executors.objectStore); for a single one this is as \
         it should be",
    )
}

/// Whether others than its owner may read a file.
pub(super) fn private(id: &'static str, path: &Path) -> Finding {
    match path.metadata().map(|found| found.mode() & 0o777) {
        Ok(mode) if mode & 0o077 != 0 => {
            let seen = format!("{} has mode {mode:o}: others may read what is secret", path.display());
            warning(id, seen, format!("chmod 600 {}", path.display()))
        }
        Ok(_) => ok(id, format!("{} is its user's alone", path.display())),
        Err(fault) => {
            fatal(id, format!("{} can't be looked at: {fault}", path.display()), "name another one")
        }
    }
}

fn certificate(known: &Known) -> Vec<Finding> {
    let Some(files) = serve::tls_files(&known.args) else { return Vec::new() };
    let remedy = "name a certificate in PEM with --tls-cert, and the key that it was made with by --tls-key";
    match files.check() {
        Err(fault) => vec![fatal("server.tls", fault.to_string(), remedy)],
        Ok(shown) => vec![valid(&shown, Timestamp::now().as_second()), private("server.tls", &files.key)],
    }
}

fn valid(Shown { valid_from, valid_until, names }: &Shown, now: i64) -> Finding {
    const ID: &str = "server.tls";
    let day = |second: i64| {
        Timestamp::from_second(second)
            .map_or_else(|_| "?".to_owned(), |at| at.strftime("%Y-%m-%d").to_string())
    };
    let names = if names.is_empty() { "no name of a server".to_owned() } else { names.join(", ") };
    let remedy = "put a new one in its place: it is taken up without a restart";
    if now > *valid_until {
        return fatal(ID, format!("the certificate for {names} expired on {}", day(*valid_until)), remedy);
    }
    if now < *valid_from {
        return fatal(
            ID,
            format!("the certificate for {names} is not valid before {}", day(*valid_from)),
            remedy,
        );
    }
    let seen = format!("the certificate is for {names}, valid until {}", day(*valid_until));
    if valid_until - now < SOON * DAY { warning(ID, seen, remedy) } else { ok(ID, seen) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::doctor::finding::Severity::{Fatal, Ok, Warning};

    #[test]
    fn a_certificate_is_judged_by_the_clock() {
        let shown = Shown { valid_from: 10 * DAY, valid_until: 100 * DAY, names: vec!["x.test".to_owned()] };
        for (now, severity) in [(9, Fatal), (11, Ok), (85, Ok), (87, Warning), (101, Fatal)] {
            assert_eq!(valid(&shown, now * DAY).severity, severity, "{now}");
        }
        assert!(valid(&shown, 11 * DAY).seen.contains("x.test, valid until 1970-04-11"));
    }
}
