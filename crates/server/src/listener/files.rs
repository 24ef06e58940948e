//! How many connections the operating system lets us have.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Files that the process needs besides its connections: databases, logs, uploads, git's pipes.
const OTHER_FILES: u64 = 1_024;

/// As many of the `wanted` connections as there are file descriptors for, after asking for enough. The
/// usual limit is 1,024 files, unless a process asks for more.
pub(super) fn affordable(wanted: usize) -> usize {
    let limit = getrlimit(Resource::Nofile);
    let needed = wanted as u64 + OTHER_FILES;
    let mut files = limit.current.unwrap_or(u64::MAX);
    if files < needed {
        let raised = needed.min(limit.maximum.unwrap_or(u64::MAX));
        let asked = setrlimit(Resource::Nofile, Rlimit { current: Some(raised), maximum: limit.maximum });
        files = if asked.is_ok() { raised } else { files };
    }
    let connections = share(files, wanted);
    if connections < wanted {
        tracing::warn!(
            connections,
            wanted,
            "this process may open {files} files: raise the limit (ulimit -n, LimitNOFILE) for more connections"
        );
    }
    connections
}

/// The connections' share of so many files.
fn share(files: u64, wanted: usize) -> usize {
    let share = files.saturating_sub(OTHER_FILES).max(files / 2);
    usize::try_from(share).unwrap_or(wanted).min(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_files_for_all_else() {
        for (files, wanted, share_of_it) in
            [(1_024, 4_096, 512), (3_000, 4_096, 1_976), (5_120, 4_096, 4_096), (u64::MAX, 4_096, 4_096)]
        {
            assert_eq!(share(files, wanted), share_of_it, "{files}");
        }
    }

    #[test]
    fn a_low_limit_is_raised() {
        let limit = getrlimit(Resource::Nofile);
        if limit.maximum.is_some_and(|files| files < 2_000) {
            return testkit::missing_part("a_low_limit_is_raised", "a limit of 2,000 open files");
        }
        setrlimit(Resource::Nofile, Rlimit { current: Some(900), maximum: limit.maximum }).unwrap();
        assert_eq!(affordable(900), 900);
        assert_eq!(getrlimit(Resource::Nofile).current, Some(1_924));
        setrlimit(Resource::Nofile, limit).unwrap();
    }
}
