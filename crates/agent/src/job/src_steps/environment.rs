//! What src gets as its environment.
//!
//! A step's variables are there for what runs in containers, and their names are chosen by whoever may give a job
//! secrets. src and what it starts run on this host: no variable may tell them what to load, to run or to write.

use std::path::Path;
use wire::CliStep;

/// What the beginnings of names are read by.
const BEGINNINGS: [(&str, &str); 23] = [
    ("BASH_", "shells"),
    ("BUILDKIT_", "Docker's client"),
    ("BUILDX_", "Docker's client"),
    ("COMPOSE_", "Docker's client"),
    ("CURL_", "git"),
    ("DOCKER_", "Docker's client"),
    ("DYLD_", "the loader"),
    ("EXECUTOR_", "this executor"),
    ("GCONV_", "the C library"),
    ("GIT_", "git"),
    ("GLIBC_", "the C library"),
    ("KRB5", "git"),
    ("LD_", "the loader"),
    ("LOCPATH", "the C library"),
    ("MALLOC_", "the C library"),
    ("MOBY_", "Docker's client"),
    ("OPENSSL_", "OpenSSL"),
    ("OTEL_", "programs in Go"),
    ("PERL5", "Perl"),
    ("PYTHON", "Python"),
    ("SRC_", "src"),
    ("TERMINFO", "terminals"),
    ("XDG_", "git and Docker's client"),
];

/// What names are read by.
const NAMES: [(&str, &str); 55] = [
    ("BASHOPTS", "shells"),
    ("BROWSER", "git"),
    ("CDPATH", "shells"),
    ("EDITOR", "git"),
    ("ENV", "shells"),
    ("FPATH", "shells"),
    ("GETCONF_DIR", "the C library"),
    ("GNUPGHOME", "git"),
    ("GOCOVERDIR", "programs in Go"),
    ("GODEBUG", "programs in Go"),
    ("GOGC", "programs in Go"),
    ("GOMAXPROCS", "programs in Go"),
    ("GOMEMLIMIT", "programs in Go"),
    ("GOTRACEBACK", "programs in Go"),
    ("HOME", "any program"),
    ("HOSTALIASES", "the C library"),
    ("IFS", "shells"),
    ("LESS", "git's pager"),
    ("LESSCLOSE", "git's pager"),
    ("LESSKEY", "git's pager"),
    ("LESSOPEN", "git's pager"),
    ("LOCALDOMAIN", "the C library"),
    ("NETRC", "git"),
    ("NIX_LD", "the loader"),
    ("NIX_LD_LIBRARY_PATH", "the loader"),
    ("NLSPATH", "the C library"),
    ("NODE_OPTIONS", "Node.js"),
    ("NODE_PATH", "Node.js"),
    ("OLDPWD", "shells"),
    ("PAGER", "git"),
    ("PATH", "any program"),
    ("PERLLIB", "Perl"),
    ("PROMPT_COMMAND", "shells"),
    ("PS4", "shells"),
    ("PWD", "programs in Go"),
    ("REQUEST_METHOD", "programs in Go"),
    ("RESOLV_HOST_CONF", "the C library"),
    ("RES_OPTIONS", "the C library"),
    ("RUBYLIB", "Ruby"),
    ("RUBYOPT", "Ruby"),
    ("SHELL", "git"),
    ("SHELLOPTS", "shells"),
    ("SSH_ASKPASS", "git"),
    ("SSH_ASKPASS_REQUIRE", "git"),
    ("SSH_AUTH_SOCK", "git"),
    ("SSLKEYLOGFILE", "TLS"),
    ("SSL_CERT_DIR", "TLS"),
    ("SSL_CERT_FILE", "TLS"),
    ("TEMP", "any program"),
    ("TERMCAP", "terminals"),
    ("TMP", "any program"),
    ("TMPDIR", "any program"),
    ("TZ", "the C library"),
    ("TZDIR", "the C library"),
    ("VISUAL", "git"),
];

/// What the end of a name is read by.
const END: (&str, &str) = ("_PROXY", "all that speaks HTTP");

/// Who on this host reads a variable of this name; `None` if nobody does that we know of.
fn reader(name: &str) -> Option<&'static str> {
    // Proxies are in either case.
    let name = name.to_ascii_uppercase();
    let begins = BEGINNINGS.iter().find(|(beginning, _)| name.starts_with(beginning));
    let is = NAMES.iter().find(|(one, _)| name == *one);
    let ends = Some(&END).filter(|(end, _)| name.ends_with(end));
    begins.or(is).or(ends).map(|(_, reader)| *reader)
}

/// Refuses variables of a step that src may not get; an entry itself may hold a secret, so of one that has no
/// name only its place is told.
pub(super) fn check(env: &[String]) -> Result<(), String> {
    for (place, pair) in env.iter().enumerate() {
        let Some(name) = name_of(pair) else {
            return Err(format!("entry {place} of the step's env is not NAME=value"));
        };
        if let Some(reader) = reader(name) {
            return Err(format!(
                "the step's variable {name} can't be given to a program on the executor's host, where {reader} would \
                 heed it: give the secret another name"
            ));
        }
    }
    Ok(())
}

fn name_of(pair: &str) -> Option<&str> {
    let (name, value) = pair.split_once('=')?;
    let is_name = |name: &str| {
        let mut bytes = name.bytes();
        bytes.next().is_some_and(|first| first == b'_' || first.is_ascii_alphabetic())
            && bytes.all(|byte| byte == b'_' || byte.is_ascii_alphanumeric())
    };
    (is_name(name) && !value.contains('\0')).then_some(name)
}

/// All of it: the step's variables, those of this host, and where the engine is.
pub(super) fn all(
    step: &CliStep,
    tool_env: &[(String, String)],
    engine: &str,
    docker_config: Option<&Path>,
) -> Vec<(String, String)> {
    let own = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    let theirs = step.env.iter().filter_map(|pair| pair.split_once('=')).map(own);
    let docker_config = docker_config.and_then(Path::to_str).map(|path| ("DOCKER_CONFIG", path));
    let ours = [("DOCKER_HOST", engine)].into_iter().chain(docker_config).map(own);
    theirs.chain(tool_env.iter().cloned()).chain(ours).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_programs_on_this_host_heed_is_refused() {
        for name in [
            "LD_PRELOAD",
            "LD_LIBRARY_PATH",
            "LD_AUDIT",
            "GLIBC_TUNABLES",
            "GCONV_PATH",
            "BASH_ENV",
            "ENV",
            "IFS",
            "SHELLOPTS",
            "PS4",
            "BASH_FUNC_git",
            "GIT_CONFIG_COUNT",
            "GIT_EXTERNAL_DIFF",
            "GIT_SSH_COMMAND",
            "GIT_EXEC_PATH",
            "GIT_DIR",
            "PAGER",
            "EDITOR",
            "SSH_ASKPASS",
            "DOCKER_HOST",
            "DOCKER_CONFIG",
            "DOCKER_CONTEXT",
            "DOCKER_CLI_PLUGIN_EXTRA_DIRS",
            "GODEBUG",
            "GOCOVERDIR",
            "SSL_CERT_FILE",
            "SSLKEYLOGFILE",
            "OPENSSL_CONF",
            "HTTPS_PROXY",
            "https_proxy",
            "ALL_PROXY",
            "no_proxy",
            "XDG_CONFIG_HOME",
            "TMPDIR",
            "HOME",
            "PATH",
            "TZ",
            "SRC_ENDPOINT",
            "SRC_BATCH_TMP_DIR",
            "EXECUTOR_FRONTEND_PASSWORD",
            "PYTHONPATH",
            "PERL5OPT",
            "NODE_OPTIONS",
        ] {
            let refused = check(&["A=b".to_owned(), format!("{name}=s3cret")]).unwrap_err();
            assert!(refused.contains(&format!("variable {name} can't be given")), "{name}: {refused}");
            assert!(!refused.contains("s3cret"), "{refused}");
        }
    }

    #[test]
    fn what_nobody_heeds_may_be_given() {
        for name in [
            "TOKEN",
            "GITHUB_TOKEN",
            "GITLAB_TOKEN",
            "NPM_TOKEN",
            "GOPROXY",
            "GOPRIVATE",
            "AWS_SECRET_ACCESS_KEY",
            "SSH_KEY",
            "JAVA_HOME",
            "NODE_AUTH_TOKEN",
            "EMAIL",
            "DOCKERHUB_PASSWORD",
            "ENVIRONMENT",
            "PATHS",
            "_x1",
            "SOURCEGRAPH_TOKEN",
        ] {
            assert_eq!(check(&[format!("{name}=a=b")]), Ok(()), "{name}");
        }
    }

    #[test]
    fn what_has_no_name_is_told_by_its_place() {
        for entry in [
            "s3cret",
            "=s3cret",
            "A B=s3cret",
            "1A=s3cret",
            "A\u{e9}=s3cret",
            "BASH_FUNC_x%%=s3cret",
            "A=s3cret\0",
        ] {
            let refused = check(&["A=b".to_owned(), entry.to_owned()]).unwrap_err();
            assert_eq!(refused, "entry 1 of the step's env is not NAME=value");
        }
    }

    #[test]
    fn the_tables_are_in_order() {
        assert!(BEGINNINGS.is_sorted() && NAMES.is_sorted());
    }

    #[test]
    fn the_hosts_variables_win() {
        let step = CliStep { env: vec!["PATH=/evil".into(), "A=b=c".into()], ..CliStep::default() };
        let env = all(&step, &[("PATH".into(), "/bin".into())], "unix:///e", Some(Path::new("/c")));
        let last = |name: &str| env.iter().rfind(|(key, _)| key == name).map(|(_, value)| value.as_str());
        assert_eq!(
            (last("PATH"), last("A"), last("DOCKER_HOST"), last("DOCKER_CONFIG")),
            (Some("/bin"), Some("b=c"), Some("unix:///e"), Some("/c"))
        );
    }
}
