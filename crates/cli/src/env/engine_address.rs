//! Which container engine is meant: the one that somebody named, else one that listens where engines do.

use super::EnvReader;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

/// Where Docker listens unless somebody said otherwise.
const DOCKER: &str = "/var/run/docker.sock";
/// Podman's service of the whole host.
const PODMAN: &str = "/run/podman/podman.sock";
/// An ordinary user's, below `XDG_RUNTIME_DIR`.
const PODMAN_OF_USER: &str = "podman/podman.sock";

/// The engine's address as `DOCKER_HOST` would name it; none where nobody named one and none is there.
pub(crate) fn find(env: &EnvReader<'_>) -> Option<String> {
    env.text("DOCKER_HOST").or_else(|| {
        let there = choose(usual(env.text("XDG_RUNTIME_DIR").as_deref()))?;
        Some(format!("unix://{}", there.display()))
    })
}

/// Where engines listen, in the order in which they are looked for.
fn usual(run_dir: Option<&str>) -> Vec<PathBuf> {
    let of_user = run_dir.map(|dir| Path::new(dir).join(PODMAN_OF_USER));
    [DOCKER, PODMAN].into_iter().map(PathBuf::from).chain(of_user).collect()
}

/// The first that takes connections. Where none does, the first that is there: its engine may only be on its
/// way, and whoever asked for an engine is told that it does not answer.
fn choose(sockets: Vec<PathBuf>) -> Option<PathBuf> {
    let there: Vec<PathBuf> = sockets.into_iter().filter(|socket| socket.exists()).collect();
    let answers = there.iter().find(|socket| UnixStream::connect(socket).is_ok());
    answers.or(there.first()).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::Variables;
    use std::os::unix::net::UnixListener;

    #[test]
    fn one_that_is_named_comes_first() {
        let pairs = [("DOCKER_HOST", "tcp://dind:2375"), ("XDG_RUNTIME_DIR", "/run/user/7")];
        let variables = Variables::of(&pairs);
        assert_eq!(find(&EnvReader::new(&variables, "executor")).as_deref(), Some("tcp://dind:2375"));
        assert_eq!(
            usual(Some("/run/user/7")),
            [DOCKER, PODMAN, "/run/user/7/podman/podman.sock"].map(PathBuf::from)
        );
        assert_eq!(usual(None), [DOCKER, PODMAN].map(PathBuf::from));
    }

    #[test]
    fn one_that_answers_comes_before_one_that_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let [docker, podman, of_user] = ["docker", "podman", "of-user"].map(|name| dir.path().join(name));
        let chosen = || choose(vec![docker.clone(), podman.clone(), of_user.clone()]);
        assert_eq!(chosen(), None);
        // Left behind by a service that has ended.
        drop(UnixListener::bind(&podman).unwrap());
        assert_eq!(chosen().as_ref(), Some(&podman));
        let _of_user = UnixListener::bind(&of_user).unwrap();
        assert_eq!(chosen().as_ref(), Some(&of_user));
        let _docker = UnixListener::bind(&docker).unwrap();
        assert_eq!(chosen().as_ref(), Some(&docker));
    }
}
