//! Which of the mounts the runtime `oci` makes, and how.

use super::{AdditionalMount, NAME};
use runtimes::oci::{AdditionalMount as OfStep, Mounted, unsafe_beside_others};
use std::path::Path;

/// What is mounted in each step, and a line for everything that is not.
pub(in crate::agent_config) fn for_oci(mounts: &[AdditionalMount]) -> (Vec<OfStep>, Vec<String>) {
    let (mut made, mut left_out) = (Vec::new(), Vec::new());
    let mut leave_out = |target: &Path, why| {
        left_out.push(format!("{NAME}: what is for {target:?} is left out with the runtime oci: {why}"));
    };
    for mount in mounts {
        match of_step(mount) {
            Ok(mount) => made.push(mount),
            Err(why) => leave_out(Path::new(&mount.target), why),
        }
    }
    let mut beside = unsafe_beside_others(&made).into_iter();
    made.retain(|mount| match beside.next().flatten() {
        Some(why) => {
            leave_out(&mount.target, why);
            false
        }
        None => true,
    });
    (made, left_out)
}

fn of_step(mount: &AdditionalMount) -> Result<OfStep, String> {
    let what = match mount.kind.as_str() {
        "bind" => {
            let options = mount.bind.clone().unwrap_or_default();
            if !matches!(options.propagation.as_str(), "" | "private" | "rprivate") {
                let asked = options.propagation;
                return Err(format!("bind-propagation={asked} would pass on mounts; leave that out"));
            }
            if !Path::new(&mount.source).exists() {
                return Err(format!("its source {:?} is not there; make it", mount.source));
            }
            Mounted::Host { source: mount.source.clone().into(), recursive: !options.non_recursive }
        }
        "tmpfs" => {
            let options = mount.tmpfs.clone().unwrap_or_default();
            Mounted::Memory {
                size: (options.size > 0).then_some(options.size),
                mode: (options.mode > 0).then_some(options.mode),
            }
        }
        kind => {
            return Err(format!("type {kind:?} is an engine's own; use bind, or EXECUTOR_RUNTIME=docker"));
        }
    };
    let mount = OfStep { what, target: mount.target.clone().into(), read_only: mount.read_only };
    mount.why_not().map_or(Ok(mount), Err)
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;

    #[test]
    fn files_of_the_host_and_memory_are_mounted() {
        let text = "type=bind,source=/etc,target=/x,ro;type=bind,src=/usr,dst=/y,bind-nonrecursive;\
                    type=tmpfs,dst=/t,tmpfs-size=1m,tmpfs-mode=700;type=tmpfs,dst=/u,readonly";
        let host = |source: &str, recursive| Mounted::Host { source: source.into(), recursive };
        let of = |what, target: &str, read_only| OfStep { what, target: target.into(), read_only };
        let expected = vec![
            of(host("/etc", true), "/x", true),
            of(host("/usr", false), "/y", false),
            of(Mounted::Memory { size: Some(1 << 20), mode: Some(0o700) }, "/t", false),
            of(Mounted::Memory { size: None, mode: None }, "/u", true),
        ];
        assert_eq!(for_oci(&parse(text).unwrap()), (expected, Vec::new()));
    }

    #[test]
    fn what_jobs_could_redirect_is_left_out() {
        let below = "type=bind,source=/etc/ssl/certs,target=/certs,readonly";
        let (made, left_out) = for_oci(&parse(&format!("{below};type=bind,src=/etc,dst=/x")).unwrap());
        let [line] = left_out.as_slice() else { panic!("{left_out:?}") };
        assert!(
            line.contains("\"/certs\"") && line.contains("is in /etc, which jobs may write to"),
            "{line}"
        );
        assert_eq!(made.iter().map(|mount| mount.target.as_path()).collect::<Vec<_>>(), [Path::new("/x")]);
        let (made, left_out) = for_oci(&parse(&format!("{below};type=bind,src=/etc,dst=/x,ro")).unwrap());
        assert_eq!((made.len(), left_out), (2, Vec::new()));
    }

    #[test]
    fn what_is_left_out_is_told_with_the_reason() {
        for (text, told) in [
            ("source=cache,target=/x", "type \"volume\" is an engine's own; use bind"),
            ("type=bind,source=/etc,target=/x,bind-propagation=rshared", "bind-propagation=rshared"),
            ("type=bind,source=/nowhere,target=/x", "its source \"/nowhere\" is not there"),
            ("type=bind,source=etc,target=/x", "its source \"etc\" is not there"),
            ("type=bind,source=/etc,target=/data/x", "/data/x"),
            ("type=tmpfs,target=x", "no absolute path"),
        ] {
            let (made, left_out) = for_oci(&parse(text).unwrap());
            let [line] = left_out.as_slice() else { panic!("{text}: {left_out:?}") };
            assert!(made.is_empty() && line.starts_with(NAME) && line.contains(told), "{line}");
        }
    }
}
