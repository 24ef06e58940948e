//! The first connection to a PostgreSQL database: whoever wants it is told at once where it fails, and of what.

use super::postgres::PATIENCE;
use crate::error::StoreError;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection, Error};
use std::io::{self, ErrorKind};
use std::time::{Duration, Instant};
use tokio::time::{sleep, timeout};

/// How long a database may take to let us in.
const ANSWER: Duration = Duration::from_secs(10);
/// Pause before it is tried again.
const PAUSE: Duration = Duration::from_millis(200);
/// What a database says that is about to be there.
const STARTS_UP: &str = "57P03";

/// Whether to wait for a database that is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wait {
    /// Only for one that says that it starts up.
    ForStart,
    /// For one that nobody has started yet as well, as servers do: both may be started at once.
    ForAnybody,
}

impl Wait {
    fn is_worth_it(self, fault: &Error, options: &PgConnectOptions) -> bool {
        match fault {
            Error::Database(said) => said.code().is_some_and(|code| code == STARTS_UP),
            Error::Io(fault) => {
                self == Self::ForAnybody
                    && match fault.kind() {
                        ErrorKind::ConnectionRefused => true,
                        // A database makes its socket when it starts, and takes it away when it stops; its directory stays.
                        ErrorKind::NotFound => options.get_socket().is_some_and(|dir| dir.is_dir()),
                        _ => false,
                    }
            }
            _ => false,
        }
    }
}

/// Connects, and says at once what it waits for, or what is wrong.
pub(super) async fn connect_first(options: &PgConnectOptions, wait: Wait) -> Result<(), StoreError> {
    let begun = Instant::now();
    let mut is_told = false;
    loop {
        let Err(fault) = connect_once(options).await else { return Ok(()) };
        if !wait.is_worth_it(&fault, options) || begun.elapsed() + PAUSE > PATIENCE {
            let (place, user) = (place(options), options.get_username().to_owned());
            let seconds = begun.elapsed().as_secs();
            return Err(StoreError::Unreachable { place, user, seconds, source: Box::new(fault) });
        }
        if !is_told {
            let (database, seconds) = (place(options), PATIENCE.as_secs());
            tracing::warn!(error = %fault, "waiting up to {seconds} s for the database {database}");
            is_told = true;
        }
        sleep(PAUSE).await;
    }
}

async fn connect_once(options: &PgConnectOptions) -> Result<(), Error> {
    let silent = || Error::Io(io::Error::new(ErrorKind::TimedOut, "it does not answer"));
    let connection = timeout(ANSWER, options.connect()).await.map_err(|_| silent())??;
    // It was let in, whatever becomes of it.
    let _ = connection.close().await;
    Ok(())
}

/// Which database, and where, without secrets.
pub(super) fn place(options: &PgConnectOptions) -> String {
    let host = match options.get_socket() {
        Some(dir) => dir.display().to_string(),
        None => options.get_host().to_owned(),
    };
    // Without a name it is the user's.
    let name = options.get_database().unwrap_or(options.get_username());
    format!("{host}:{}/{name}", options.get_port())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::database::PostgresDatabase;
    use std::str::FromStr;
    use testkit::Postgres;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    async fn refusal(url: &str) -> (StoreError, Duration) {
        let begun = Instant::now();
        (PostgresDatabase::open(url).await.err().unwrap(), begun.elapsed())
    }

    #[tokio::test]
    async fn what_is_wrong_is_told_at_once_with_the_place_and_without_the_password() {
        let Some(postgres) = Postgres::start("what_is_wrong_is_told_at_once") else { return };
        let elsewhere = postgres.url().replace("/postgres?", "/elsewhere?");
        for (url, place) in [
            ("postgres://ann:hunter2@127.0.0.1:9/jobs", r#"127.0.0.1:9/jobs as "ann""#),
            ("postgres://ann:hunter2@no.such.host.invalid/jobs", "no.such.host.invalid:5432/jobs"),
            (&elsewhere, ":5432/elsewhere"),
        ] {
            let (fault, after) = refusal(url).await;
            let told = format!("{fault} {fault:?}");
            assert!(matches!(fault, StoreError::Unreachable { .. }), "{told}");
            assert!(fault.to_string().contains(place) && !told.contains("hunter2"), "{told}");
            // A resolver that nobody answers takes its time; nobody waits for a database to come.
            assert!(after < PATIENCE, "{after:?}: {told}");
        }
    }

    #[tokio::test]
    async fn nobody_waits_for_a_socket_whose_directory_is_not_there() {
        let url = "postgres://ann:hunter2@localhost/jobs?host=/nonexistent/sockets";
        let options = PgConnectOptions::from_str(url).unwrap();
        let begun = Instant::now();
        let refused = connect_first(&options, Wait::ForAnybody).await;
        assert!(matches!(refused, Err(StoreError::Unreachable { .. })), "{refused:?}");
        assert!(begun.elapsed() < PATIENCE, "{:?}", begun.elapsed());
    }

    #[tokio::test]
    async fn a_server_waits_for_a_database_that_is_started_beside_it() {
        let test = "a_server_waits_for_a_database_that_is_started_beside_it";
        let Some(mut postgres) = Postgres::start(test) else { return };
        postgres.crash();
        let options = PgConnectOptions::from_str(&postgres.url()).unwrap();
        let refused = connect_first(&options, Wait::ForStart).await;
        assert!(matches!(refused, Err(StoreError::Unreachable { .. })), "{refused:?}");
        // As one that was stopped, or that never ran, leaves it.
        std::fs::remove_file(options.get_socket().unwrap().join(".s.PGSQL.5432")).unwrap();
        let waits = tokio::spawn(async move { connect_first(&options, Wait::ForAnybody).await });
        let start = tokio::task::spawn_blocking(move || {
            postgres.restart();
            postgres
        });
        let _started = start.await.unwrap();
        waits.await.unwrap().unwrap();
    }

    /// A PostgreSQL that says that it starts up can't be had for sure, so this one is made up.
    #[tokio::test]
    async fn one_that_starts_up_is_waited_for_and_one_that_says_no_is_not() {
        let made_up = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = made_up.local_addr().unwrap().port();
        let says = async |code: &str| {
            let (mut stream, _) = made_up.accept().await.unwrap();
            let length = stream.read_u32().await.unwrap();
            stream.read_exact(&mut vec![0; length as usize - 4]).await.unwrap();
            let words = format!("SFATAL\0VFATAL\0C{code}\0Mnot now\0\0");
            let mut answer = vec![b'E'];
            answer.extend_from_slice(&u32::try_from(words.len() + 4).unwrap().to_be_bytes());
            answer.extend_from_slice(words.as_bytes());
            stream.write_all(&answer).await.unwrap();
        };
        let url = format!("postgres://ann:hunter2@127.0.0.1:{port}/jobs?sslmode=disable");
        let options = PgConnectOptions::from_str(&url).unwrap();
        let server = async {
            says(STARTS_UP).await;
            says(STARTS_UP).await;
            // The password is wrong.
            says("28P01").await;
        };
        let (refused, ()) = tokio::join!(connect_first(&options, Wait::ForStart), server);
        let told = refused.unwrap_err();
        let why = std::error::Error::source(&told).unwrap().to_string();
        assert!(matches!(told, StoreError::Unreachable { .. }) && why.contains("not now"), "{told} {why}");
    }
}
