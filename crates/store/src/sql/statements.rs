//! Declaring SQL so that no statement escapes the tests that prepare them all.

/// Declares statements, each as `NAME = "…";` for both databases or as
/// `NAME in sqlite = "…", in postgres = "…";`, and under test a list of them named `ALL`.
macro_rules! statements {
    ($($(#[$meta:meta])* $name:ident $(in sqlite = $sqlite:expr, in postgres)? = $sql:expr;)+) => {
        $($(#[$meta])* const $name: $crate::sql::session::Sql =
            $crate::sql::statements::statement!($($sqlite)?; $sql);)+
        #[cfg(test)]
        pub(in crate::sql) const ALL: &[(&str, $crate::sql::session::Sql)] = &[$((stringify!($name), $name)),+];
    };
}
pub(super) use statements;

macro_rules! statement {
    (; $both:expr) => {
        $crate::sql::session::Sql { sqlite: $both, postgres: $both }
    };
    ($sqlite:expr; $postgres:expr) => {
        $crate::sql::session::Sql { sqlite: $sqlite, postgres: $postgres }
    };
}
pub(super) use statement;

/// Every statement of the store.
#[cfg(test)]
pub(super) fn all() -> impl Iterator<Item = (&'static str, super::session::Sql)> {
    use super::{
        artifacts, audit, census, decided, due, duties, end, executors, files, forget, heads, identities,
        job_rows, keys, lane_rows, lease, logs, loose, new_lanes, people, queue_portions, queues,
        registrations, repositories, room, running, secrets, sessions, shared_time, submissions, submit,
        tokens, tries, uploads,
    };
    let files = [
        artifacts::ALL,
        audit::ALL,
        census::ALL,
        decided::ALL,
        due::ALL,
        duties::ALL,
        end::ALL,
        executors::ALL,
        files::ALL,
        forget::ALL,
        heads::ALL,
        identities::ALL,
        job_rows::ALL,
        keys::ALL,
        lane_rows::ALL,
        lease::ALL,
        loose::ALL,
        new_lanes::ALL,
        people::ALL,
        queue_portions::ALL,
        queues::ALL,
        registrations::ALL,
        repositories::ALL,
        room::ALL,
        running::ALL,
        sessions::ALL,
        shared_time::ALL,
        submissions::ALL,
        submit::ALL,
        tokens::ALL,
        tries::ALL,
        uploads::ALL,
    ];
    let each = files.into_iter().chain(logs::ALL).chain(secrets::ALL).flatten().copied();
    each.chain(super::transfer::statements())
}
