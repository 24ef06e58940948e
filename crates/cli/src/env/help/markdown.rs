//! The reference page.

use super::{effect, form};
use crate::env::RuntimeName;
use crate::env::never::NEVER;
use crate::env::table::SECTIONS;
use crate::env::variable::Variable;
use std::fmt::Write;

const INTRODUCTION: &str = "\
# Environment variables

<!-- Made by `executor run --help-env=markdown`; a test holds this page and the program together. -->

A value is looked up as `NAME_<program>` first (`EXECUTOR_QUEUE_NAME_executor`; dashes of the program's name become
underscores), then as `NAME`; then the default applies. A variable that is set but empty counts as set: its default does not
apply. An older name counts only where the newer is unset or empty. All faults are reported at once, and `run` and
`validate` then leave with 1.

Durations are written as in Go (`300ms`, `1.5h`, `2h45m`), truth values as one of `1 t T TRUE true True 0 f F FALSE false
False`. A kind that is \"not empty\" refuses an empty value even where there is a default.

Sizes are bytes, or have suffixes in powers of 1024 (`512M`, `12G`, also `12GB`, `12Gi` and `12GiB`).

*Acts* tells under which runtimes a value changes anything in this version. A value that is set and changes nothing is told
at start; where it should, that is a warning, and a refusal under `EXECUTOR_STRICT=true`. *From* tells whether a variable is
of the documented interface of executors, of the system, or ours.

## Which runtime runs the jobs

`EXECUTOR_RUNTIME` names it, and has the last word. Unset, the reference's order is kept, with what this version has:

1. `EXECUTOR_USE_FIRECRACKER=true`, then `EXECUTOR_USE_KUBERNETES=true`, are demands: the agent refuses to start where it can't
   meet them. This version never can: its runtimes are {BUILT}.
2. Neither set, outside a Kubernetes pod: virtual machines would be the reference's choice; `oci` stands in.
3. In a Kubernetes pod (both `KUBERNETES_SERVICE_HOST` and `KUBERNETES_SERVICE_PORT` are there), unless
   `EXECUTOR_USE_KUBERNETES=false`: Kubernetes jobs would be the reference's choice; `oci` stands in, with a warning.
4. Else `docker`, at the engine that `DOCKER_HOST` names or that listens at a usual socket. One that does not answer is waited for
   at start, for a minute; then the start is refused.
";

/// The page.
pub(crate) fn markdown() -> String {
    let mut out = INTRODUCTION.replace("{BUILT}", &RuntimeName::list(RuntimeName::BUILT));
    for section in SECTIONS {
        let _ = writeln!(
            out,
            "\n## {}\n\n| variable | kind | default | meaning | read by | acts | from |\n|---|---|---|---|---|---|---|",
            section.title
        );
        for row in section.rows {
            line(&mut out, row);
        }
    }
    out.push_str("\n## Names that never were variables\n\n");
    out.push_str("An early draft has them, and so have some notes that were made from it. Set, they are warned of.\n\n");
    out.push_str("| name | instead |\n|---|---|\n");
    for (name, instead) in NEVER {
        let _ = writeln!(out, "| `{name}` | {} |", cell(instead));
    }
    out
}

fn line(out: &mut String, row: &Variable) {
    let default = match (row.default_told(), row.derived) {
        (None, _) => "–".to_owned(),
        (Some(told), Some(_)) => cell(told),
        (Some(constant), None) => format!("`{constant}`"),
    };
    let unit = if row.unit.is_empty() { String::new() } else { format!("; {}", row.unit) };
    let older = row.older.map_or_else(String::new, |name| format!(" Older name: `{name}`."));
    let _ = writeln!(
        out,
        "| `{}` | {}{unit} | {default} | {}{older} | {} | {} | {} |",
        row.name,
        form(row),
        cell(row.doc),
        row.reader.commands(),
        cell(&effect(row)),
        row.origin.name()
    );
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_reference_page_is_the_table() {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/environment.md");
        let written = std::fs::read_to_string(page).unwrap_or_default();
        assert!(
            written == super::markdown(),
            "docs/reference/environment.md is out of date: write it anew with \
             `executor run --help-env=markdown > docs/reference/environment.md`"
        );
    }
}
