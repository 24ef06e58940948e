//! Releases of OCI runtimes with a known way out of containers.
//!
//! Taken from the advisories and release notes of each project, last on 2026-11-21. What a sandbox of ours does
//! not ask for is no way out of it, and is not listed:
//! - a bundle without a mount on `/dev`: crun's CVE-2026-47766 (GHSA-7vwr-4279-7gq5), CVE-2026-88264 and
//!   CVE-2026-88265;
//! - `exec`: crun's CVE-2022-27650 and CVE-2026-30892;
//! - restoring a checkpoint: runc's CVE-2026-119101, crun's CVE-2026-115520;
//! - `krun`: crun's CVE-2025-24965 and CVE-2026-84042;
//! - device nodes in an image, which unpacking leaves out: runsc's CVE-2026-96812.
//!
//! Nor is runc's CVE-2026-41579 (GHSA-xjvp-4fhw-gc47), whose writes its authors found too limited to do harm.

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
    // GHSA-xr7r-f8xq-vfvv
    Fault { program: "runc", mended: [1, 1, 12], also: &[], name: "CVE-2024-21626" },
    // GHSA-9493-h29p-rfm2, GHSA-qw9x-cqr3-wc7r and GHSA-cgrx-mc8f-2prm
    Fault {
        program: "runc",
        mended: [1, 4, 0],
        also: &[[1, 2, 8], [1, 3, 3]],
        name: "CVE-2025-31133, CVE-2025-52565 and CVE-2025-52881",
    },
    // GHSA-992m-xc3g-r7rj
    Fault { program: "crun", mended: [0, 10, 5], also: &[], name: "CVE-2019-18837" },
    // GHSA-4g74-7cff-xcv8 and GHSA-vf95-55w6-qmrf
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
    // It came before the release whose number it has, and so may its mending.
    let is_candidate = version.contains("rc");
    let open =
        FAULTS.iter().filter(|fault| fault.program == program && !is_mended(fault, numbers, is_candidate));
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

fn is_mended(fault: &Fault, numbers: [u64; 3], is_candidate: bool) -> bool {
    let reaches = |first: [u64; 3]| numbers > first || (numbers == first && !is_candidate);
    let same_line = |&first: &[u64; 3]| first[..2] == numbers[..2] && reaches(first);
    reaches(fault.mended) || fault.also.iter().any(same_line)
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
            ("crun version 0.10.4", Warning),
            ("crun version 0.10.5", Ok),
            ("runc version 1.1.5", Warning),
            ("runc version 1.1.5+ds1", Info),
            ("runc version 1.1.12", Warning),
            ("runc version 1.2.7", Warning),
            ("runc version 1.2.8", Ok),
            ("runc version 1.3.3", Ok),
            ("runc version 1.3.2", Warning),
            ("runc version 1.4.0-rc.2", Warning),
            ("runc version 1.4.0", Ok),
            ("runc version 1.5.1", Ok),
            ("youki version 0.5.6", Warning),
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
