//! Declaring SQL so that no statement escapes the test that prepares them all.

/// Declares string constants, and under test a list of them named `ALL`.
macro_rules! statements {
    ($($(#[$meta:meta])* $name:ident = $sql:expr;)+) => {
        $($(#[$meta])* const $name: &str = $sql;)+
        #[cfg(test)]
        pub(in crate::sqlite) const ALL: &[(&str, &str)] = &[$((stringify!($name), $name)),+];
    };
}
pub(super) use statements;

#[cfg(test)]
mod tests {
    use crate::sqlite::{
        claim, database, end, executors, files, forget, job_rows, lease, life, logs, repositories, secrets,
        submit, tries,
    };
    use sqlx::{Executor, SqlSafeStr, Statement};

    /// SQLite resolves every table, column and function when it prepares, so this is the check that a
    /// compiler can't do.
    #[tokio::test]
    async fn every_statement_fits_the_schema() {
        let (_dir, database) = database::Database::temporary().await;
        let files = [
            claim::ALL,
            database::ALL,
            end::ALL,
            executors::ALL,
            files::ALL,
            forget::ALL,
            job_rows::ALL,
            lease::ALL,
            life::ALL,
            repositories::ALL,
            secrets::ALL,
            submit::ALL,
            tries::ALL,
        ];
        for (name, sql) in files.into_iter().chain(logs::ALL).flatten() {
            let prepared = database.readers().prepare(sql.into_sql_str()).await;
            let prepared = prepared.unwrap_or_else(|error| panic!("{name}: {error}: {sql}"));
            assert_eq!(prepared.sql().as_str(), *sql);
        }
    }
}
