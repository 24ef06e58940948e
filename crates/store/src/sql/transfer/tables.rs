//! What goes from one database to another: every table that nothing else can be made from, parents first.

use crate::sql::session::Sql;

/// A table, with what reads its rows as JSON objects and writes them back.
pub(super) struct Table {
    pub(super) name: &'static str,
    /// Whether its rows are numbered: then no number is given twice, also not that of a row that is gone.
    pub(super) numbered: bool,
    #[cfg(test)]
    pub(super) columns: &'static [&'static str],
    pub(super) read: Sql,
    /// Takes an array of such objects.
    pub(super) write: Sql,
    pub(super) count: Sql,
}

/// A column's value within the JSON of a row. Bytes are hexadecimal digits, and what is true is 1.
macro_rules! out {
    (sqlite bytes $column:literal) => {
        concat!("CASE WHEN ", $column, " IS NULL THEN NULL ELSE lower(hex(", $column, ")) END")
    };
    (postgres bytes $column:literal) => {
        concat!("encode(", $column, ", 'hex')")
    };
    (postgres flag $column:literal) => {
        concat!($column, "::int")
    };
    ($database:ident $kind:ident $column:literal) => {
        $column
    };
}

/// The value of a column out of the JSON of a row.
macro_rules! back {
    (sqlite bytes $column:literal) => {
        concat!("unhex(value->>'", $column, "')")
    };
    (sqlite $kind:ident $column:literal) => {
        concat!("value->>'", $column, "'")
    };
    (postgres bytes $column:literal) => {
        concat!("decode(value->>'", $column, "', 'hex')")
    };
    (postgres number $column:literal) => {
        concat!("(value->>'", $column, "')::bigint")
    };
    (postgres flag $column:literal) => {
        concat!("(value->>'", $column, "')::int::boolean")
    };
    (postgres text $column:literal) => {
        concat!("value->>'", $column, "'")
    };
}

macro_rules! table {
    ($name:literal $($numbered:ident)?: $first_kind:ident $first:literal $(, $kind:ident $column:literal)* $(; by $order:literal)?) => {
        Table {
            name: $name,
            numbered: table!(@numbered $($numbered)?),
            #[cfg(test)]
            columns: &[$first $(, $column)*],
            read: Sql {
                sqlite: concat!(
                    "SELECT json_object('", $first, "', ", out!(sqlite $first_kind $first),
                    $(", '", $column, "', ", out!(sqlite $kind $column),)*
                    ") FROM ", $name, " ORDER BY ", $first $(, ", ", $order)?
                ),
                postgres: concat!(
                    "SELECT json_build_object('", $first, "', ", out!(postgres $first_kind $first),
                    $(", '", $column, "', ", out!(postgres $kind $column),)*
                    ")::text FROM ", $name, " ORDER BY ", $first $(, ", ", $order)?
                ),
            },
            write: Sql {
                sqlite: concat!(
                    "INSERT INTO ", $name, " (", $first, $(", ", $column,)* ") SELECT ",
                    back!(sqlite $first_kind $first), $(", ", back!(sqlite $kind $column),)* " FROM json_each($1)"
                ),
                postgres: concat!(
                    "INSERT INTO ", $name, " (", $first, $(", ", $column,)* ") OVERRIDING SYSTEM VALUE SELECT ",
                    back!(postgres $first_kind $first), $(", ", back!(postgres $kind $column),)*
                    " FROM json_array_elements($1::json)"
                ),
            },
            count: Sql {
                sqlite: concat!("SELECT COUNT(*) FROM ", $name),
                postgres: concat!("SELECT COUNT(*) FROM ", $name),
            },
        }
    };
    (@numbered) => { false };
    (@numbered numbered) => { true };
}

/// The keys that secrets are sealed with: a server notes them when it starts, so an empty database may have some.
pub(super) const SEALING_KEYS: &str = "sealing_keys";

pub(super) const TABLES: &[Table] = &[
    table!("lanes" numbered: number "id", text "queue", text "owner", text "needs"),
    table!("jobs" numbered: number "id", text "queue", text "repository", text "rev", text "commit_id", text "state",
           number "epoch", text "executor", number "resets", number "faults", number "failures", flag "cancel_requested",
           text "canceler", text "end_detail", text "message", number "queued_at", number "started_at",
           number "finished_at", number "retry_at", number "last_heartbeat_at", number "lease", bytes "token_hash",
           number "lane", number "rank", number "priority", text "held", number "due_at", text "key", number "key_limit",
           text "namespace", number "retries"),
    table!("job_specs": number "job", text "spec"),
    table!("job_secrets": number "job", text "plain", text "key_id", bytes "data_key", bytes "value"),
    table!("earlier_tries": number "job", number "epoch", text "executor", number "started_at", number "ended_at",
           text "end_detail", text "message", bytes "token_hash", number "late_calls"; by "epoch"),
    table!("log_entries": number "job", number "epoch", number "entry", text "key", text "command", number "start_time",
           number "exit_code", number "duration_ms"; by "epoch, entry"),
    table!("log_texts": number "job", number "epoch", number "entry", number "start_at", bytes "bytes";
           by "epoch, entry, start_at"),
    table!("sealed_logs": number "job", number "epoch", text "object", number "bytes", text "pieces"; by "epoch"),
    table!("loose_objects": text "key", number "remove_at"),
    table!("uploads" numbered: number "id", text "namespace", text "repository", text "commit_id", text "root",
           text "indexer_name", text "indexer_version", number "associated_index", text "content_type",
           number "uncompressed_size", number "parts", number "size", number "started_at", number "finished_at",
           number "by_job"),
    table!("upload_parts": number "upload", number "part", text "object", number "size", text "sha256"; by "part"),
    table!("artifacts": number "job", number "epoch", text "name", text "path", text "object", number "size", text "sha256",
           number "created_at"; by "epoch, name, path"),
    table!("submissions": text "owner", text "key", number "job", bytes "digest"; by "key"),
    table!("files": text "id", text "name", number "size", text "sha256", number "modified_at", number "uploaded_at",
           text "namespace", text "object"),
    table!("job_files": number "job", text "file"; by "file"),
    table!("queues": text "name", number "paused_at", number "max_running"),
    table!("executors": text "name", text "queues", text "telemetry", number "first_seen_at", number "last_seen_at",
           number "maintenance_at", text "capacity"),
    table!("repositories" numbered: number "id", text "namespace", text "name", text "source", number "created_at"),
    table!("repository_credentials": number "repository", text "key_id", bytes "data_key", bytes "value"),
    table!("tokens" numbered: number "id", bytes "digest", text "name", text "role", text "namespace", text "created_by",
           number "created_at", number "expires_at", number "last_used_at", number "revoked_at"),
    table!("people" numbered: number "id", text "name", text "password", text "role", text "namespace", text "created_by",
           number "created_at", number "password_at", number "last_used_at"),
    table!("sessions" numbered: number "id", bytes "digest", number "person", number "token", bytes "root",
           number "created_at", number "last_used_at"),
    table!("registrations" numbered: number "id", bytes "digest", text "name", number "max_uses", number "uses",
           text "created_by", number "created_at", number "expires_at", number "revoked_at"),
    table!("identities": text "name", bytes "digest", text "registration", number "created_at", number "last_used_at",
           number "revoked_at"),
    table!("audit" numbered: number "id", number "at", text "actor", text "actor_of", text "action", text "subject",
           text "namespace", text "origin", text "detail", text "reference"),
    table!("secrets": text "id", text "scope", text "namespace", text "key", text "key_id", bytes "data_key",
           bytes "value", text "creator", number "created_at", number "updated_at"),
    table!("secret_accesses" numbered: number "id", text "secret", text "scope", text "namespace", text "key",
           number "job", number "attempt", text "owner", text "executor", number "at"),
    table!("sealing_keys": text "id", bytes "data_key", bytes "value"),
];

#[cfg(test)]
pub(super) fn statements() -> Vec<(&'static str, Sql)> {
    let each = |table: &'static Table| [table.read, table.write, table.count].map(|sql| (table.name, sql));
    TABLES.iter().flat_map(each).collect()
}
