//! `docs/doctor.md`, made from the catalog.

use super::catalog::GROUPS;
use super::finding::name;
use std::fmt::Write;

const INTRODUCTION: &str = "\
# The doctor

`executor doctor` looks at everything that can be known of a host before a job runs on it, with the environment that the
agent would have. It needs no working configuration: faults of it are findings, and the rest is looked at with what is known.

```console
$ executor doctor            # a table, the worst last
$ executor doctor --json     # for programs
$ executor doctor --strict   # warnings count as faults
$ executor doctor --list     # this page
```

| severity | means |
|---|---|
| ok | it is as it should be |
| info | worth knowing |
| warning | jobs run, but something does not hold that should; `--strict` counts it as a fault |
| fatal | an agent can't start here, or its jobs can't run |

The exit code is 0 when nothing is fatal (with `--strict`: and nothing is a warning), else 1. Whatever does not answer, it is
over within 5 s: looks run at the same time, and each has a limit. Nothing on the host is changed. For a moment there are a
directory and a small disk below `TMPDIR`, mounted where only the doctor sees it, and, where `/dev/kvm` is, a virtual machine.
Calls go to the control plane and to the proxies, registries and exporters that are set, Docker Hub if no mirror is; to an
engine that listens on this host, to systemd and to git. Secrets, and credentials in URLs, are not shown.

`executor server doctor` looks at a control plane instead, before it starts or while it runs: with the options that the server would
have, of which `--json` and `--strict` are as above. It comes to the findings whose names begin with `server.`, below.

`executor validate` is the documented command of the reference: up to the first fault, in its words. The doctor knows more and
goes on.

A check may come to several findings, or to none where it has no object: an engine that is not there, a control plane that
could not be called. The JSON document has `executor` (the version), `strict`, `healthy`, `counts` by severity, and `findings`,
each with `id`, `group`, `severity`, `seen` and, if there is something to do, `remedy`. Keys and ids stay; new ones may come.
";

/// The page.
pub(super) fn markdown() -> String {
    let mut out = String::from(INTRODUCTION);
    for group in GROUPS {
        let _ = writeln!(
            out,
            "\n## {}\n\n| check | what is looked at | comes to |\n|---|---|---|",
            title(group.name)
        );
        for check in group.checks {
            let comes_to: Vec<&str> = check.comes_to.iter().map(|severity| name(*severity)).collect();
            let _ = writeln!(out, "| `{}` | {} | {} |", check.id, check.about, comes_to.join(", "));
        }
    }
    out
}

fn title(name: &str) -> String {
    let mut letters = name.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_page_is_the_catalog() {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/doctor.md");
        let written = std::fs::read_to_string(page).unwrap_or_default();
        assert!(
            written == super::markdown(),
            "docs/doctor.md is out of date: write it anew with `executor doctor --list > docs/doctor.md`"
        );
    }
}
