//! Which payload version an executor reads, told from its own version.

use wire::PayloadVersion;

/// Executors built on this day or later read version 2.
const V2_SINCE_BUILD: &str = "2022-11-24";
/// The src of executors that were built on this day or later writes results that hold any bytes.
const BINARY_DIFFS_SINCE_BUILD: &str = "2022-11-29";
/// Executors of this release or later, its pre-releases included, read version 2, and their src writes such results.
const V2_SINCE_RELEASE: (u64, u64, u64) = (4, 3, 0);

/// A version that is neither a release nor a build.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("failed to check version {0:?}: Invalid Semantic Version")]
pub(super) struct BadVersion(String);

/// The payload version for an executor that says it is `version`.
pub(super) fn payload_version(version: &str) -> Result<PayloadVersion, BadVersion> {
    let reads_v2 = match version {
        "" => false,
        "dev" | "0.0.0+dev" => true,
        _ => match build_date(version) {
            Some(date) => date >= V2_SINCE_BUILD,
            None => release(version).ok_or_else(|| BadVersion(version.to_owned()))? >= V2_SINCE_RELEASE,
        },
    };
    Ok(if reads_v2 { PayloadVersion::V2 } else { PayloadVersion::V1 })
}

/// Whether the src of an executor that says it is `version` can be asked for results that hold any bytes.
pub(super) fn has_binary_diffs(version: &str) -> bool {
    match version {
        "" => false,
        "dev" | "0.0.0+dev" => true,
        _ => match build_date(version) {
            Some(date) => date >= BINARY_DIFFS_SINCE_BUILD,
            None => release(version).is_some_and(|release| release >= V2_SINCE_RELEASE),
        },
    }
}

/// Whether whoever says this version is given no jobs.
pub(crate) fn refuses(version: &str) -> bool {
    payload_version(version).is_err()
}

/// The date of a build: `NUMBER_YYYY-MM-DD_[x.y-]COMMIT[_patch]`.
fn build_date(version: &str) -> Option<&str> {
    let (number, rest) = version.split_once('_')?;
    let (date, rest) = rest.split_once('_')?;
    let commit = rest.strip_suffix("_patch").unwrap_or(rest);
    let commit = match commit.split_once('-') {
        Some((release, commit)) => {
            let (major, minor) = release.split_once('.')?;
            (is_digits(major) && is_digits(minor)).then_some(commit)?
        }
        None => commit,
    };
    let is_commit =
        commit.len() >= 7 && commit.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    (is_digits(number) && is_date(date) && is_commit).then_some(date)
}

fn is_date(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    parts.iter().map(|part| part.len()).eq([4, 2, 2]) && parts.into_iter().all(is_digits)
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Major, minor and patch of `[v]1[.2[.3]][-pre][+meta]`. The pre-release does not matter: the lowest
/// release that reads version 2 does so from its first pre-release on.
fn release(version: &str) -> Option<(u64, u64, u64)> {
    let version = version.strip_prefix('v').unwrap_or(version);
    let (version, meta) = split_optional(version, '+');
    let (numbers, pre) = split_optional(version, '-');
    if ![meta, pre].into_iter().flatten().all(are_identifiers) {
        return None;
    }
    let mut parts = numbers.split('.').map(|part| is_digits(part).then(|| part.parse().ok()).flatten());
    let major = parts.next()??;
    let mut optional = || parts.next().unwrap_or(Some(0));
    let (minor, patch) = (optional()?, optional()?);
    parts.next().is_none().then_some((major, minor, patch))
}

fn split_optional(text: &str, at: char) -> (&str, Option<&str>) {
    text.split_once(at).map_or((text, None), |(before, after)| (before, Some(after)))
}

fn are_identifiers(text: &str) -> bool {
    let is_identifier = |part: &str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    text.split('.').all(is_identifier)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_from_4_3_on_and_builds_from_that_day_on_read_version_2() {
        for version in [
            "dev",
            "0.0.0+dev",
            "4.3.0",
            "4.3.0-rc.1",
            "v5.2.0",
            "5",
            "4.3",
            "169135_2022-11-24_a2b463ce4ba5",
            "169135_2023-01-01_4.3-a2b463ce4ba5",
            "169135_2023-01-01_4.3-a2b463ce4ba5_patch",
        ] {
            assert_eq!(payload_version(version), Ok(PayloadVersion::V2), "{version}");
        }
        for version in ["", "4.2.0", "4.2.9+meta", "0.0.0-dev", "3", "169135_2022-11-23_a2b463ce4ba5"] {
            assert_eq!(payload_version(version), Ok(PayloadVersion::V1), "{version}");
        }
    }

    #[test]
    fn releases_from_4_3_on_and_later_builds_have_binary_diffs() {
        for version in ["dev", "4.3.0-rc.1", "5.2.0", "169135_2022-11-29_a2b463ce4ba5"] {
            assert!(has_binary_diffs(version), "{version}");
        }
        for version in ["", "abc", "0.0.0-dev", "4.2.9", "169135_2022-11-28_a2b463ce4ba5"] {
            assert!(!has_binary_diffs(version), "{version}");
        }
    }

    #[test]
    fn anything_else_is_no_version() {
        for version in
            ["abc", "4.3.0.1", "4..0", "-1", "4.3.0-", "4.3.0-a..b", "1_2022-11-2_a2b463ce4ba5", "4.x"]
        {
            let told = payload_version(version).unwrap_err().to_string();
            assert_eq!(told, format!("failed to check version {version:?}: Invalid Semantic Version"));
        }
    }
}
