//! That changes of the schema only expand it: servers of the version before go on beside the one that made them.

use super::{postgres, sqlite};
use std::collections::BTreeSet;

/// Changes that do more than expand. How many statements do is counted, so that no other one slips in.
const CONTRACTIONS: [Contraction; 10] = {
    const fn early(database: &'static str, change: &'static str, statements: usize) -> Contraction {
        Contraction { database, change, statements, unused_since: None }
    }
    [
        early("postgres", "lanes", 2),
        early("postgres", "places", 4),
        early("postgres", "identity", 1),
        early("postgres", "secrets", 2),
        early("sqlite", "specs", 3),
        early("sqlite", "retention", 5),
        early("sqlite", "faults", 1),
        early("sqlite", "lanes", 2),
        early("sqlite", "identity", 4),
        early("sqlite", "secrets", 2),
    ]
};

/// A change that servers of the version before could not live with.
struct Contraction {
    database: &'static str,
    change: &'static str,
    /// How many of its statements are such.
    statements: usize,
    /// The first version whose servers had no use any more for what it takes away, which must be an earlier one than this
    /// is. None of those from before the first version: nobody had servers then.
    unused_since: Option<&'static str>,
}

/// What was seen so far of a database's changes.
#[derive(Default)]
struct Seen {
    /// Tables of the change that is looked at.
    new: BTreeSet<String>,
    unique_indexes: BTreeSet<String>,
}

impl Seen {
    /// Why an older server could not live with a statement; `None` where it could.
    fn fault(&mut self, statement: &str) -> Option<&'static str> {
        let words: Vec<&str> = statement.split_whitespace().collect();
        let word = |at: usize| words.get(at).copied().unwrap_or_default();
        let name = |at: usize| word(at).split(['(', ';']).next().unwrap_or_default().to_lowercase();
        let on = || words.iter().position(|word| *word == "ON").map_or(String::new(), |at| name(at + 1));
        match (word(0), word(1)) {
            ("CREATE", "TABLE") => {
                self.new.insert(name(2));
                holds_rows(statement).then_some("rows that it refers to can't be removed any more")
            }
            ("CREATE", "UNIQUE") => {
                self.unique_indexes.insert(name(3));
                self.is_old(&on()).then_some("what is unique now was not")
            }
            ("CREATE", "TRIGGER") => self.is_old(&on()).then_some("it changes what older servers write"),
            // Its name may come after more words, as IF EXISTS.
            ("DROP", "INDEX") => (2..words.len())
                .any(|at| self.unique_indexes.contains(name(at).trim_end_matches(',')))
                .then_some("older statements may rely on it"),
            ("ALTER", "TABLE") if self.is_old(&name(2)) => {
                let (_, actions) = statement.split_once(word(2))?;
                top_level(actions, ',').into_iter().find_map(fault_of_action)
            }
            ("ALTER", "TABLE") | ("CREATE", "INDEX" | "FUNCTION") => None,
            ("INSERT", "INTO") if self.new.contains(&name(2)) && !statement.contains(" FROM ") => None,
            ("INSERT" | "UPDATE" | "DELETE", _) => Some("rows are written while others wait"),
            _ => Some("it is not known to be harmless"),
        }
    }

    fn is_old(&self, table: &str) -> bool {
        !self.new.contains(table)
    }
}

fn fault_of_action(action: &str) -> Option<&'static str> {
    let action = action.trim();
    if !action.starts_with("ADD COLUMN ") {
        return Some("only columns may be added to a table that is there");
    }
    if action.contains(" NOT NULL") && !action.contains(" DEFAULT ") {
        return Some("older servers give the column no value");
    }
    if action.contains(" UNIQUE") || action.contains(" PRIMARY KEY") {
        return Some("older servers give the column the same value each time");
    }
    holds_rows(action).then_some("rows that it refers to can't be removed any more")
}

/// Whether something keeps rows of another table from being removed.
fn holds_rows(text: &str) -> bool {
    text.split("REFERENCES ").skip(1).any(|after| {
        let after = after.split(',').next().unwrap_or_default();
        !after.contains("ON DELETE CASCADE") && !after.contains("ON DELETE SET NULL")
    })
}

/// Parts between separators that are in no brackets.
fn top_level(text: &str, separator: char) -> Vec<&str> {
    let (mut depth, mut begin, mut parts) = (0_i32, 0, Vec::new());
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            c if c == separator && depth == 0 => {
                parts.push(&text[begin..at]);
                begin = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[begin..]);
    parts
}

/// The statements of a change, each on one line and without comments.
fn statements(change: &str) -> Vec<String> {
    let code: Vec<&str> = change.lines().map(|line| line.split("--").next().unwrap_or_default()).collect();
    let mut statements = vec![String::new()];
    let mut inside = false;
    for word in code.join(" ").split_whitespace() {
        let current = statements.last_mut().unwrap();
        current.push_str(word);
        current.push(' ');
        // Bodies of functions and triggers have statements of their own.
        inside = match word.trim_end_matches(';') {
            "BEGIN" => true,
            "END" => false,
            _ => inside,
        };
        if !inside && word.ends_with(';') {
            statements.push(String::new());
        }
    }
    // What follows the body of a function in PostgreSQL belongs to it.
    statements.retain(|statement| !statement.is_empty() && !statement.starts_with("$$"));
    statements
}

fn check(database: &'static str, changes: &[(&str, &str)]) -> Vec<String> {
    let mut seen = Seen::default();
    let mut wrong = Vec::new();
    // The first one makes everything.
    for (number, (name, sql)) in changes.iter().enumerate() {
        seen.new.clear();
        let found: Vec<_> = statements(sql)
            .into_iter()
            .filter_map(|statement| seen.fault(&statement).map(|why| format!("{why}: {statement}")))
            .collect();
        let listed = CONTRACTIONS.iter().find(|one| (one.database, one.change) == (database, name));
        if number > 0 && found.len() != listed.map_or(0, |one| one.statements) {
            wrong.push(format!("{database}, {name}: {found:#?}"));
        }
    }
    wrong
}

fn numbers(version: &str) -> Vec<u64> {
    version.split('.').map(|number| number.parse().unwrap()).collect()
}

#[test]
fn older_servers_live_with_every_change() {
    let mut wrong = check("sqlite", &sqlite::MIGRATIONS);
    wrong.extend(check("postgres", &postgres::MIGRATIONS));
    assert!(
        wrong.is_empty(),
        "changes of the schema may only expand it (CONTRIBUTING.md tells how; what nobody uses any more is taken away by a \
         later version, which lists it in CONTRACTIONS): {wrong:#?}"
    );
    for Contraction { change, unused_since, .. } in CONTRACTIONS {
        let late = unused_since.is_some_and(|since| numbers(since) >= numbers(env!("CARGO_PKG_VERSION")));
        assert!(!late, "servers of the version before this one may still use what {change} takes away");
    }
}

#[test]
fn what_older_servers_could_not_live_with_is_found() {
    for bad in [
        "DROP TABLE files;",
        "ALTER TABLE files DROP COLUMN size;",
        "ALTER TABLE files RENAME COLUMN size TO length;",
        "ALTER TABLE files RENAME TO contents;",
        "ALTER TABLE files ADD COLUMN kind TEXT NOT NULL;",
        "ALTER TABLE files ADD COLUMN kind TEXT,\n    ADD COLUMN other TEXT NOT NULL;",
        "ALTER TABLE files ADD COLUMN kind TEXT UNIQUE;",
        "ALTER TABLE files ADD COLUMN job BIGINT REFERENCES jobs (id);",
        "ALTER TABLE files ADD CHECK (size > 0);",
        "ALTER TABLE files ADD CONSTRAINT one UNIQUE (name);",
        "ALTER TABLE files ALTER COLUMN name SET NOT NULL;",
        "ALTER TABLE files ALTER COLUMN size TYPE INTEGER;",
        "CREATE UNIQUE INDEX files_named ON files (name);",
        "CREATE TABLE notes (job BIGINT REFERENCES jobs (id), text TEXT);",
        "CREATE TABLE notes (id BIGINT);\nINSERT INTO notes (id) SELECT id FROM jobs;",
        "UPDATE jobs SET rank = 0;",
        "CREATE TRIGGER meddler BEFORE INSERT ON jobs BEGIN SELECT 1; END;",
        "TRUNCATE files;",
    ] {
        assert_eq!(check("sqlite", &[("first", ""), ("next", bad)]).len(), 1, "{bad}");
    }
    let unique = ("first", "CREATE UNIQUE INDEX files_named ON files (name);");
    for drop in
        ["DROP INDEX files_named;", "DROP INDEX IF EXISTS files_named;", "DROP INDEX other, files_named;"]
    {
        assert_eq!(check("sqlite", &[unique, ("next", drop)]).len(), 1, "{drop}");
    }
    for good in [
        "CREATE TABLE notes (job BIGINT REFERENCES jobs (id) ON DELETE CASCADE, text TEXT NOT NULL);",
        "CREATE TABLE notes (id BIGINT);\nALTER TABLE notes ADD CHECK (id > 0);\nINSERT INTO notes (id) VALUES (1);",
        "-- DROP TABLE files;\nALTER TABLE files ADD COLUMN kind TEXT CHECK (kind IN ('a', 'b'));",
        "ALTER TABLE files ADD COLUMN kind BIGINT NOT NULL DEFAULT 0;",
        "CREATE INDEX files_named ON files (name);",
        "DROP INDEX files_uploaded;",
    ] {
        assert_eq!(check("sqlite", &[("first", ""), ("next", good)]), [""; 0], "{good}");
    }
}
