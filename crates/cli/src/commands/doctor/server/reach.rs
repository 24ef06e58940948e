//! What a server reaches, and who reaches it.

use super::{Known, within};
use crate::commands::doctor::finding::{Finding, fatal, info, ok, warning};
use crate::commands::serve;
use crate::commands::validate::find_git;
use jiff::SignedDuration;
use server::database::StoreError;
use server::{DatabaseLook, SchemaState, look_at_database};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// How long git may take to tell its version.
const GIT: Duration = Duration::from_millis(3500);
/// Leases go by the database's clock, and people by this host's.
const CLOCKS: SignedDuration = SignedDuration::from_secs(10);

pub(super) async fn findings(known: &Known) -> Vec<Finding> {
    let (database, git) = tokio::join!(within("server.database", database(known)), git());
    let mut findings = database;
    findings.push(git);
    findings.push(listen(known.args.listen, serve::tls_files(&known.args).is_some()));
    findings
}

async fn database(known: &Known) -> Vec<Finding> {
    const ID: &str = "server.database";
    let choice = match &known.database {
        Ok(choice) => choice,
        Err(fault) => return vec![fatal(ID, fault, "mend what --database-url-file names")],
    };
    match look_at_database(choice, &known.data_dir).await {
        Ok(look) => judge(&look),
        Err(fault @ StoreError::Retired { .. }) => {
            vec![fatal(
                ID,
                fault.to_string(),
                "start the server with --database-url-file, or take the database back",
            )]
        }
        Err(fault) => {
            let mut told = fault.to_string();
            if let Some(cause) = std::error::Error::source(&fault) {
                told = format!("{told}: {cause}");
            }
            vec![fatal(ID, told, "start it, mend its URL, or let this host's user in")]
        }
    }
}

fn judge(DatabaseLook { version, schema, clock_ahead }: &DatabaseLook) -> Vec<Finding> {
    const ID: &str = "server.database";
    let schema = match schema {
        SchemaState::Empty => info(ID, format!("{version}, empty: the first start fills it")),
        SchemaState::Current => ok(ID, format!("{version}, of this version")),
        SchemaState::Behind(changes) => info(
            ID,
            format!("{version}, of an older version: the next start makes {changes} changes to its schema"),
        ),
        SchemaState::Newer => {
            let remedy = "start the version that wrote it, or a newer one; there is no way back";
            fatal(ID, format!("{version}, of a newer version, which this one does not know"), remedy)
        }
    };
    let clock = clock_ahead.map(|ahead| {
        let seen = format!("its clock is {:.1} s ahead of this host's", ahead.as_secs_f64());
        if ahead.abs() < CLOCKS {
            return ok("server.clock", seen);
        }
        warning(
            "server.clock",
            seen,
            "let an NTP client keep both clocks in step: leases go by the database's",
        )
    });
    std::iter::once(schema).chain(clock).collect()
}

async fn git() -> Finding {
    match find_git(std::iter::empty(), GIT).await {
        Ok(version) => ok("server.git", format!("git {version}")),
        Err(fault) => {
            let seen = fault.lines().next().unwrap_or_default();
            fatal(
                "server.git",
                seen,
                "install git 2.30 or later where PATH leads: repositories are mirrored with it",
            )
        }
    }
}

fn listen(addr: SocketAddr, tls: bool) -> Finding {
    const ID: &str = "server.listen";
    let how = if tls { "by TLS" } else { "in plain text" };
    if addr.ip().is_loopback() {
        return ok(ID, format!("{addr}, {how}: reached from this host alone"));
    }
    if tls {
        return ok(ID, format!("{addr}, {how}"));
    }
    let seen = format!("{addr}, {how}: tokens and secrets can be read on the way");
    let remedy = "serve by TLS (--tls-cert, --tls-key), or put a TLS proxy in front of it";
    if is_private(addr.ip()) { info(ID, seen) } else { warning(ID, seen, remedy) }
}

fn is_private(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.is_private() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unique_local() || ip.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::doctor::finding::Severity::{self, Fatal, Info, Ok, Warning};

    #[test]
    fn where_it_listens_is_judged() {
        let of = |addr: &str, tls| listen(addr.parse().unwrap(), tls).severity;
        assert_eq!([of("127.0.0.1:1", false), of("[::1]:1", false), of("0.0.0.0:1", true)], [Ok; 3]);
        assert_eq!([of("10.1.2.3:1", false), of("[fd00::1]:1", false)], [Info; 2]);
        assert_eq!([of("0.0.0.0:1", false), of("203.0.113.7:1", false), of("[::]:1", false)], [Warning; 3]);
    }

    #[test]
    fn a_database_is_judged_by_its_schema_and_its_clock() {
        let of = |schema, ahead: Option<i64>| -> Vec<Severity> {
            let clock_ahead = ahead.map(SignedDuration::from_secs);
            let look = DatabaseLook { version: "X 1".to_owned(), schema, clock_ahead };
            judge(&look).into_iter().map(|finding| finding.severity).collect()
        };
        assert_eq!(of(SchemaState::Current, None), [Ok]);
        assert_eq!(of(SchemaState::Empty, Some(1)), [Info, Ok]);
        assert_eq!(of(SchemaState::Behind(2), Some(-11)), [Info, Warning]);
        assert_eq!(of(SchemaState::Newer, Some(60)), [Fatal, Warning]);
    }
}
