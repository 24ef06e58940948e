//! What may be asked through a door.

use hyper::Method;

/// What is to be done with a call.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict<'a> {
    /// The engine answers it.
    Pass,
    /// It has an image pulled.
    Pull,
    /// It asks about this image.
    Inspect(&'a str),
    /// It makes a container, which is to be the sandbox's.
    Create,
    /// It is about this container, which must be the sandbox's: what is asked of it.
    About(&'a str, &'a str),
    /// It is none of those that running a container needs.
    Refuse,
}

/// Calls about a container that running it needs.
const ABOUT: [&str; 9] = ["attach", "start", "wait", "resize", "kill", "stop", "json", "logs", "archive"];

/// Judges a call by its method and the path, which may name a version of the API.
pub(super) fn judge<'a>(method: &Method, path: &'a str) -> Verdict<'a> {
    let path = path.strip_prefix('/').unwrap_or(path);
    let path = match path.split_once('/') {
        Some((version, rest)) if is_version(version) => rest,
        _ => path,
    };
    let parts: Vec<&str> = path.split('/').collect();
    let reads = matches!(*method, Method::GET | Method::HEAD);
    match parts.as_slice() {
        ["_ping" | "version" | "info"] if reads => Verdict::Pass,
        ["images", "create"] if *method == Method::POST => Verdict::Pull,
        // Names of images have slashes.
        ["images", _, .., "json"] if reads => {
            Verdict::Inspect(&path["images/".len()..path.len() - "/json".len()])
        }
        ["containers", "create"] if *method == Method::POST => Verdict::Create,
        ["containers", id] if *method == Method::DELETE => Verdict::About(id, ""),
        ["containers", id, what] if ABOUT.contains(what) => Verdict::About(id, what),
        _ => Verdict::Refuse,
    }
}

fn is_version(part: &str) -> bool {
    part.strip_prefix('v').is_some_and(|number| {
        !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
    })
}

/// What a query says by the names in `known`; a name that is not known, or is there twice, is refused. Engines
/// would find it under other spellings as well.
pub(super) fn query<const N: usize>(
    query: Option<&str>,
    known: [&str; N],
) -> Result<[Option<String>; N], String> {
    let mut found = [const { None }; N];
    for (name, value) in url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
        let place = known.iter().position(|known| *known == name).map(|index| &mut found[index]);
        match place {
            Some(place @ None) => *place = Some(value.into_owned()),
            _ => return Err(format!("{name:?} may not be asked for, or not twice")),
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_running_a_container_needs_may_be_asked_and_no_more() {
        let (get, post, delete) = (Method::GET, Method::POST, Method::DELETE);
        for (method, path, verdict) in [
            (&get, "/_ping", Verdict::Pass),
            (&get, "/v1.41/version", Verdict::Pass),
            (&post, "/v1.41/images/create", Verdict::Pull),
            (&get, "/v1.41/images/a.example:5000/b/c:1/json", Verdict::Inspect("a.example:5000/b/c:1")),
            (&get, "/images/json", Verdict::Refuse),
            (&post, "/v1.41/containers/create", Verdict::Create),
            (&post, "/containers/4f/attach", Verdict::About("4f", "attach")),
            (&delete, "/v1.41/containers/4f", Verdict::About("4f", "")),
            (&post, "/v1.41/containers/4f/exec", Verdict::Refuse),
            (&get, "/v1.41/containers/json", Verdict::Refuse),
            (&post, "/v1.41/containers/create/../4f/start", Verdict::Refuse),
            (&post, "/v1.41/volumes/create", Verdict::Refuse),
            (&post, "/v1.41/build", Verdict::Refuse),
            (&post, "/v1.41/images/load", Verdict::Refuse),
            (&delete, "/v1.41/images/busybox", Verdict::Refuse),
            (&post, "/session", Verdict::Refuse),
            (&get, "/v1.41", Verdict::Refuse),
        ] {
            assert_eq!(judge(method, path), verdict, "{method} {path}");
        }
    }

    #[test]
    fn a_query_is_read_as_the_engine_does() {
        let read = |text: &str| query(Some(text), ["name", "platform"]);
        let own = |text: &str| Some(text.to_owned());
        assert_eq!(query(None, ["name"]), Ok([None]));
        assert_eq!(read(""), Ok([None, None]));
        assert_eq!(read("platform=&name=a%2Fb"), Ok([own("a/b"), own("")]));
        assert_eq!(read("n%61me=a"), Ok([own("a"), None]));
        for refused in ["name=a&n%61me=b", "from%53rc=u", "Name=a", "name=a;b&c"] {
            assert!(read(refused).is_err(), "{refused}");
        }
    }
}
