//! Why the engine did not pull an image, from what it says. It has words for that and no codes.

use images::{ImageError, Reference};

/// What the engine said.
#[derive(Debug)]
pub(super) struct Said {
    /// The answer's status, when it was the answer and not a message in the middle.
    pub(super) status: Option<u16>,
    pub(super) text: String,
}

/// Chooses the error that fits; what fits none is the registry's.
pub(super) fn judge(reference: &Reference, registry: &str, said: Said) -> ImageError {
    let (image, registry) = (reference.familiar(), registry.to_owned());
    let lower = said.text.to_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    // The order matters: a registry that hides what exists says "denied" and "does not exist" at once.
    if has(&["toomanyrequests", "too many requests", "rate limit"]) {
        return ImageError::RateLimited { registry, retry_after: "not told".to_owned() };
    }
    if has(&["no space left on device", "disk quota exceeded"]) {
        return ImageError::DiskFull { path: "the container engine".into() };
    }
    if has(&["no matching manifest", "no image found in manifest list", "no child with platform"]) {
        let wanted = format!("linux/{}", architecture());
        return ImageError::WrongPlatform { image, wanted, offered: "other machines".to_owned() };
    }
    if has(&["unauthorized", "authentication required", "denied", "no basic auth", "incorrect username"]) {
        return ImageError::Unauthorised { image, registry, reason: said.text };
    }
    if is_unknown(&lower, &registry) {
        return ImageError::UnknownHost { registry };
    }
    let manifest = has(&["manifest unknown", "name unknown", "manifest for", "not found", "does not exist"]);
    // Another host that is not found, such as a proxy, is a network's trouble.
    let network =
        has(&["dial tcp", "lookup ", "no such host", "x509", "tls", "timeout", "connection refused"]);
    if !network && (manifest || said.status == Some(404)) {
        return ImageError::NotFound { image, place: registry };
    }
    ImageError::EnginePull { registry, image, said: said.text }
}

/// Whether there is no host of the registry's own name, in words of Go's resolver (`lookup r.example on 10.0.0.1:53:
/// no such host`), which has others where name servers do not answer. `said` is in lower case.
fn is_unknown(said: &str, registry: &str) -> bool {
    let name = registry.rsplit_once(':').map_or(registry, |(name, _)| name).to_lowercase();
    let looked_up = said.split("lookup ").skip(1).filter_map(|rest| rest.strip_prefix(&name));
    let mut outcomes = looked_up.filter_map(|rest| {
        rest.strip_prefix(": ")
            .or_else(|| rest.strip_prefix(" on ")?.split_once(": ").map(|(_, outcome)| outcome))
    });
    outcomes.any(|outcome| outcome.starts_with("no such host")) && name != "localhost"
}

/// The architecture as images name it.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What engines were seen to say.
    #[test]
    fn words_are_told_apart() {
        let reference: Reference = "r.example/team/tool:1".parse().unwrap();
        for (status, text, kind) in [
            (
                404,
                "manifest for r.example/team/tool:1 not found: manifest unknown: manifest unknown",
                "NotFound",
            ),
            (
                404,
                "pull access denied for tool, repository does not exist or may require 'docker login': denied: requested access to the resource is denied",
                "Unauthorised",
            ),
            (500, "unauthorized: authentication required", "Unauthorised"),
            (
                500,
                "Head \"https://r.example/v2/team/tool/manifests/1\": no basic auth credentials",
                "Unauthorised",
            ),
            (
                500,
                "toomanyrequests: You have reached your pull rate limit. You may increase the limit",
                "RateLimited",
            ),
            (0, "write /var/lib/docker/tmp/GetImageBlob1: no space left on device", "DiskFull"),
            (404, "no matching manifest for linux/amd64 in the manifest list entries", "WrongPlatform"),
            (
                500,
                "Get \"https://r.example/v2/\": dial tcp: lookup r.example on 1.1.1.1:53: no such host",
                "UnknownHost",
            ),
            (500, "pinging r.example: dial tcp: lookup r.example: no such host", "UnknownHost"),
            (500, "proxyconnect tcp: dial tcp: lookup proxy.example: no such host", "EnginePull"),
            (
                500,
                "Get \"https://r.example/v2/\": dial tcp: lookup r.example on 1.1.1.1:53: server misbehaving",
                "EnginePull",
            ),
            (
                500,
                "dial tcp: lookup r.example on [::1]:53: read udp [::1]:53: connection refused",
                "EnginePull",
            ),
            (500, "dial tcp: lookup r.example.other on 1.1.1.1:53: no such host", "EnginePull"),
            (
                500,
                "Get \"https://r.example/v2/\": x509: certificate signed by unknown authority",
                "EnginePull",
            ),
            (500, "received unexpected HTTP status: 502 Bad Gateway", "EnginePull"),
            (404, "anything", "NotFound"),
        ] {
            let said = Said { status: (status > 0).then_some(status), text: text.to_owned() };
            let error = judge(&reference, "r.example", said);
            assert!(format!("{error:?}").starts_with(kind), "{text}: {error:?}");
        }
    }
}
