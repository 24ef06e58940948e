//! Every variable that `executor` knows.

mod client;
mod connection;
mod docker;
#[cfg(test)]
mod documented;
mod firecracker;
mod jobs;
mod kubernetes;
mod limits;
mod process;
mod runtime;
mod server;

use super::variable::Variable;

/// Variables that belong together.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Section {
    pub(crate) title: &'static str,
    pub(crate) rows: &'static [Variable],
}

/// All of them, in the order in which they are read, so that faults are reported in a stable order.
pub(crate) const SECTIONS: &[Section] = &[
    Section { title: "Connection and queues", rows: connection::ROWS },
    Section { title: "Jobs", rows: jobs::ROWS },
    Section { title: "Limits of a job", rows: limits::ROWS },
    Section { title: "Runtime", rows: runtime::ROWS },
    Section { title: "Docker and registries", rows: docker::ROWS },
    Section { title: "Firecracker", rows: firecracker::ROWS },
    Section { title: "Kubernetes", rows: kubernetes::ROWS },
    Section { title: "Control plane", rows: server::ROWS },
    Section { title: "Client", rows: client::ROWS },
    Section { title: "Process", rows: process::ROWS },
];

/// All rows, in the order in which they are read.
pub(crate) fn rows() -> impl Iterator<Item = &'static Variable> {
    SECTIONS.iter().flat_map(|section| section.rows)
}

/// The table's row for `name`. Every name used in the code is a row of the table.
pub(crate) fn variable(name: &str) -> &'static Variable {
    rows().find(|row| row.name == name).unwrap_or_else(|| panic!("{name} is not in the table"))
}

#[cfg(test)]
mod tests {
    use super::documented::{DOCUMENTED, OLDER, OTHERWISE, REQUIRED, SECRET};
    use super::*;
    use crate::env::variable::{Effect, Reader};
    use crate::env::{EnvReader, RuntimeName, Variables};
    use std::collections::BTreeSet;

    #[test]
    fn every_default_is_a_value_of_its_kind() {
        let empty = Variables::of(&[]);
        let mut reader = EnvReader::new(&empty, "executor");
        reader.load(&[Reader::Agent, Reader::Client, Reader::All]);
        assert_eq!(reader.finish(), Ok(()));
    }

    #[test]
    fn names_are_unique_and_secrets_have_no_default() {
        let mut names = BTreeSet::new();
        for row in rows() {
            for name in std::iter::once(row.name).chain(row.older) {
                assert!(names.insert(name), "{name} is there twice");
            }
            assert!(!row.secret || row.default_told().is_none(), "{}", row.name);
            assert!(!row.doc.is_empty() && row.doc.ends_with('.'), "{}: {:?}", row.name, row.doc);
            assert!(!row.doc.contains('\n'), "{}", row.name);
        }
    }

    #[test]
    fn every_documented_variable_is_in_the_table() {
        use crate::env::variable::Origin;
        let ours: BTreeSet<_> = rows()
            .filter(|row| row.origin == Origin::Documented)
            .map(|row| (row.name, row.kind.name(), row.default_told().unwrap_or_default()))
            .collect();
        let documented = DOCUMENTED.into_iter().map(|(name, kind, default)| {
            let other = OTHERWISE.iter().find(|(of, _)| *of == name);
            (name, kind, other.map_or(default, |(_, told)| told))
        });
        assert_eq!(ours, documented.collect());
        let that = |is: fn(&Variable) -> bool| -> BTreeSet<_> {
            rows().filter(|row| row.origin == Origin::Documented && is(row)).map(|row| row.name).collect()
        };
        assert_eq!(that(|row| row.required), REQUIRED.into_iter().collect());
        assert_eq!(that(|row| row.secret), SECRET.into_iter().collect());
        let older: BTreeSet<_> = rows().filter_map(|row| row.older.map(|older| (older, row.name))).collect();
        assert_eq!(older, OLDER.into_iter().collect());
        let system = rows().filter(|row| row.origin == Origin::System).map(|row| row.name);
        let system: BTreeSet<&str> = system.collect();
        for name in ["HOSTNAME", "TMPDIR", "HOME", "PATH", "USER", "DOCKER_HOST"].into_iter().chain([
            "HTTP_PROXY",
            "HTTPS_PROXY",
            "NO_PROXY",
            "SSL_CERT_FILE",
            "SSL_CERT_DIR",
        ]) {
            assert!(system.contains(name), "{name}");
        }
    }

    #[test]
    fn only_a_runtime_of_this_build_has_an_effect() {
        for row in rows() {
            if let Effect::With(runtimes) = row.effect {
                assert!(!runtimes.is_empty(), "{}", row.name);
                for runtime in runtimes {
                    assert!(
                        RuntimeName::BUILT.contains(runtime),
                        "{}: {runtime} is not in this build",
                        row.name
                    );
                }
            }
        }
    }
}
