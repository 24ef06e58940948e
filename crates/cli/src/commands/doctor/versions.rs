//! Releases of OCI runtimes with a known way out of containers.

use super::finding::{Finding, info, ok, warning};

const ID: &str = "oci.version";

/// Below `mended`, a release of `program` has this fault, unless its line was mended by itself.
struct Fault {
    program: &'static str,
    mended: [u64; 3],
    /// First releases of older lines, by major and minor, that are mended as well.
    also: &'static [[u64; 3]],
    name: &'static str,
}

const FAULTS: &[Fault] = &[
    Fault { program: "runc", mended: [1, 1, 12], also: &[], name: "CVE-2024-21626" },
    Fault {
        program: "runc",
        mended: [1, 4, 0],
        also: &[[1, 2, 8], [1, 3, 3]],
        name: "CVE-2025-31133, CVE-2025-52565 and CVE-2025-52881",
    },
    Fault { program: "crun", mended: [1, 4, 4], also: &[], name: "CVE-2022-27650" },
    Fault { program: "youki", mended: [0, 5, 7], also: &[], name: "CVE-2025-62161 and CVE-2025-62596" },
];

/// Judges what a runtime says of itself, such as `runc version 1.1.5+ds1`.
pub(super) fn judge(said: &str) -> Finding {
    let program = said.split_whitespace().next().unwrap_or_default();
    let version = said.split_whitespace().find(|word| word.starts_with(|c: char| c.is_ascii_digit()));
    let numbers = version.and_then(numbers);
    let Some((version, numbers)) = version.zip(numbers) else {
        return info(ID, format!("{said:?} tells no release number"));
    };
    let open = FAULTS.iter().filter(|fault| fault.program == program && !is_mended(fault, numbers));
    let names: Vec<&str> = open.map(|fault| fault.name).collect();
    if names.is_empty() {
        return ok(ID, format!("{program} {version} has no way out of containers that is known here"));
    }
    let seen = format!("{program} {version}: releases of that number have {}", names.join(", "));
    // Distributors mark their builds so, and mend them without a new number.
    if version.contains('+') || version.contains("ubuntu") {
        return info(
            ID,
            format!("{seen}; this build is a distributor's, whose changelog tells whether it is mended"),
        );
    }
    warning(ID, seen, format!("update {program}"))
}

fn is_mended(fault: &Fault, numbers: [u64; 3]) -> bool {
    let same_line = |first: &[u64; 3]| first[..2] == numbers[..2] && numbers >= *first;
    numbers >= fault.mended || fault.also.iter().any(same_line)
}

/// The first three numbers of a version; what is not there counts as zero.
pub(super) fn numbers(version: &str) -> Option<[u64; 3]> {
    let core = version.split(|c: char| !c.is_ascii_digit() && c != '.').next()?;
    let mut parts = core.split('.').map(str::parse::<u64>);
    let major = parts.next()?.ok()?;
    let mut next = || parts.next().and_then(Result::ok).unwrap_or_default();
    Some([major, next(), next()])
}

#[cfg(test)]
mod tests {
    use super::super::finding::Severity;
    use super::*;

    #[test]
    fn releases_are_judged_by_their_own_line() {
        use Severity::{Info, Ok, Warning};
        for (said, severity) in [
            ("crun version 1.8.1", Ok),
            ("crun version 1.4.3", Warning),
            ("runc version 1.1.5", Warning),
            ("runc version 1.1.5+ds1", Info),
            ("runc version 1.1.12", Warning),
            ("runc version 1.2.7", Warning),
            ("runc version 1.2.8", Ok),
            ("runc version 1.3.3", Ok),
            ("runc version 1.3.2", Warning),
            ("runc version 1.4.0", Ok),
            ("youki version 0.5.7", Ok),
            ("runsc version release-20221107.0", Info),
            ("something", Info),
        ] {
            assert_eq!(judge(said).severity, severity, "{said}");
        }
        assert!(judge("runc version 1.1.11").seen.contains("CVE-2024-21626"));
        assert!(!judge("runc version 1.1.12").seen.contains("CVE-2024-21626"));
    }
}
