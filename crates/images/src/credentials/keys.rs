//! Which entry of a Docker configuration is meant for a registry.

use crate::reference::DOCKER_HUB;
use std::collections::BTreeMap;

/// What a Docker configuration calls Docker Hub.
const DOCKER_HUB_KEY: &str = "https://index.docker.io/v1/";

/// What a Docker configuration, and whoever helps it, calls a registry.
pub(super) fn key_of(registry: &str) -> &str {
    if registry == DOCKER_HUB { DOCKER_HUB_KEY } else { registry }
}

/// The entry for `repository` of `registry`: the one whose path leads nearest to it, else the one for
/// the registry under its own name, else any of this registry, as Docker does.
pub(super) fn find<'a, T>(
    entries: &'a BTreeMap<String, T>,
    registry: &str,
    repository: &str,
) -> Option<&'a T> {
    let ranked = entries.iter().filter_map(|(key, entry)| Some((rank(key, registry, repository)?, entry)));
    // Of equals the first counts, so that it is always the same one.
    ranked.reduce(|best, next| if next.0 > best.0 { next } else { best }).map(|(_, entry)| entry)
}

/// How well a key fits; none when it is another registry's.
fn rank(key: &str, registry: &str, repository: &str) -> Option<(usize, bool)> {
    let (host, path) = split(key);
    if host != registry {
        return None;
    }
    let is_within =
        repository.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let nearness = match path {
        "" => 1,
        _ if is_within => 1 + path.len(),
        _ => 0,
    };
    Some((nearness, key == key_of(registry)))
}

/// Host and path of a key. The path of an API's address leads nowhere.
fn split(key: &str) -> (&str, &str) {
    let rest = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let host = match host {
        "index.docker.io" | "registry-1.docker.io" => DOCKER_HUB,
        host => host,
    };
    match path.trim_matches('/') {
        "v1" | "v2" => (host, ""),
        path => (host, path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(keys: &[&str], registry: &str, repository: &str) -> Option<String> {
        let entries = keys.iter().map(|key| ((*key).to_owned(), (*key).to_owned())).collect();
        find(&entries, registry, repository).cloned()
    }

    #[test]
    fn a_registry_is_found_under_any_spelling() {
        for (key, registry) in [
            ("https://index.docker.io/v1/", "docker.io"),
            ("index.docker.io", "docker.io"),
            ("docker.io", "docker.io"),
            ("https://registry-1.docker.io/v2/", "docker.io"),
            ("ghcr.io", "ghcr.io"),
            ("https://ghcr.io", "ghcr.io"),
            ("http://127.0.0.1:5000", "127.0.0.1:5000"),
            ("https://r.test:5000/v1/", "r.test:5000"),
            ("r.test/other/team", "r.test"),
        ] {
            assert_eq!(found(&[key], registry, "team/tool").as_deref(), Some(key));
        }
        for (key, registry) in [
            ("ghcr.io", "docker.io"),
            ("r.test", "r.test:5000"),
            ("r.test:5000", "r.test"),
            ("r.test.evil", "r.test"),
            ("evil/r.test", "r.test"),
            ("io", "ghcr.io"),
        ] {
            assert_eq!(found(&[key], registry, "team/tool"), None, "{key}");
        }
    }

    #[test]
    fn the_nearest_entry_counts() {
        let all = ["r.test", "r.test/team", "r.test/team/tool", "https://r.test/v1/", "r.test/te"];
        for (repository, key) in [
            ("team/tool", "r.test/team/tool"),
            ("team/tools", "r.test/team"),
            ("team/x", "r.test/team"),
            ("other", "r.test"),
        ] {
            assert_eq!(found(&all, "r.test", repository).as_deref(), Some(key));
        }
        let hub = ["docker.io", "https://index.docker.io/v1/"];
        assert_eq!(found(&hub, "docker.io", "library/debian").as_deref(), Some(hub[1]));
        assert_eq!(found(&["r.test/a", "r.test/b"], "r.test", "c").as_deref(), Some("r.test/a"));
    }
}
