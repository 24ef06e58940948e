//! For a terminal.

use super::{effect, form};
use crate::env::never::NEVER;
use crate::env::table::SECTIONS;
use crate::env::variable::Variable;
use crate::env::{EnvReader, without_credentials};
use std::fmt::Write;

/// Every variable, with what it is set to here.
pub(crate) fn text(env: &EnvReader<'_>) -> String {
    let mut out = String::new();
    for section in SECTIONS {
        let _ = writeln!(out, "{}\n", section.title);
        for row in section.rows {
            describe(&mut out, row, env);
        }
        out.push('\n');
    }
    let _ = writeln!(out, "Names that never were variables\n");
    for (name, instead) in NEVER {
        let _ = writeln!(out, "  {name}: {instead}");
    }
    out
}

fn describe(out: &mut String, row: &Variable, env: &EnvReader<'_>) {
    let unit = if row.unit.is_empty() { String::new() } else { format!(", {}", row.unit) };
    let default = row.default_told().map_or_else(String::new, |default| format!(", default {default}"));
    let _ = writeln!(out, "  {} ({}{unit}{default})", row.name, form(row));
    let _ = writeln!(out, "      {}", row.doc);
    if let Some(older) = row.older {
        let _ = writeln!(out, "      Older name, used when this one is unset or empty: {older}");
    }
    let commands = row.reader.commands();
    let _ = writeln!(out, "      Read by: {commands}; acts: {}; {}", effect(row), row.origin.name());
    match env.given(row) {
        Some((name, _)) if row.secret => {
            let _ = writeln!(out, "      Set by {name}; its value is not shown");
        }
        Some((name, value)) => {
            let _ = writeln!(out, "      Set by {name} to {:?}", without_credentials(value));
        }
        None => {}
    }
}
