//! The table, for people: `executor run --help-env` and `docs/reference/environment.md`.

use super::table::{Reader, VARIABLES};
use std::fmt::Write;

/// Plain text for a terminal.
pub(crate) fn text() -> String {
    let mut out = String::new();
    for variable in VARIABLES {
        let default = if variable.default.is_empty() {
            String::new()
        } else {
            format!(", default {}", variable.default)
        };
        let _ = writeln!(out, "{} ({}{default})", variable.name, variable.kind.name());
        let _ = writeln!(out, "    {}", variable.doc);
        if let Some(older) = variable.fallback {
            let _ = writeln!(out, "    Older name, used when this one is unset or empty: {older}");
        }
    }
    out
}

/// The reference page.
pub(crate) fn markdown() -> String {
    let mut out = String::from(
        "# Environment variables\n\n\
         <!-- Made by `executor run --help-env=markdown`; a test holds this page and the program together. -->\n\n\
         A value is looked up as `NAME_<program>` first (`EXECUTOR_QUEUE_NAME_executor`), then as `NAME`; then the\n\
         default applies. A variable that is set but empty counts as set. All faults are reported at once.\n\n\
         Durations are written as in Go (`300ms`, `1.5h`, `2h45m`), sizes with suffixes in powers of 1024 (`512M`,\n\
         `12G`).\n",
    );
    for reader in [Reader::Agent, Reader::Client, Reader::All] {
        let _ = writeln!(
            out,
            "\n## {}\n\n| variable | kind | default | meaning |\n|---|---|---|---|",
            reader.title()
        );
        for variable in VARIABLES.iter().filter(|variable| variable.reader == reader) {
            let default = if variable.default.is_empty() {
                "–".to_owned()
            } else {
                format!("`{}`", variable.default)
            };
            let older = variable.fallback.map_or(String::new(), |name| format!(" Older name: `{name}`."));
            let _ = writeln!(
                out,
                "| `{}` | {} | {default} | {}{older} |",
                variable.name,
                variable.kind.name(),
                variable.doc.replace('|', "\\|")
            );
        }
    }
    out
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
