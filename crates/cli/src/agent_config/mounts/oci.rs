//! Which of the mounts the runtime `oci` makes, and how.

use super::{AdditionalMount, NAME};
use runtimes::oci::{AdditionalMount as OfStep, Mounted, unsafe_beside_others};
use std::path::Path;

/// Who asks what can be mounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::agent_config) enum By {
    /// An agent, which leaves out what can't be, and says so.
    Agent,
    /// Who runs jobs for one, and is told what it has decided on. By now a source may be gone: a step that fails tells why, and
    /// one that is without its certificates or its cache does not.
    Supervisor,
}

/// What is mounted in each step.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::agent_config) struct ForOci {
    pub(in crate::agent_config) made: Vec<OfStep>,
    /// Which of those that were asked for that are, by their numbers from 0 on.
    pub(in crate::agent_config) numbers: Vec<usize>,
    /// A line for each that is not.
    pub(in crate::agent_config) left_out: Vec<String>,
}

pub(in crate::agent_config) fn for_oci(mounts: &[AdditionalMount], by: By) -> ForOci {
    let (mut possible, mut left_out) = (Vec::new(), Vec::new());
    let mut leave_out = |target: &str, why| {
        left_out.push(format!("{NAME}: what is for {target:?} is left out with the runtime oci: {why}"));
    };
    for (number, mount) in mounts.iter().enumerate() {
        match of_step(mount, by) {
            Ok(mount) => possible.push((number, mount)),
            Err(why) => leave_out(&mount.target, why),
        }
    }
    let (mut numbers, mut made): (Vec<_>, Vec<_>) = possible.into_iter().unzip();
    if by == By::Agent {
        let beside = unsafe_beside_others(&made);
        for (at, why) in beside.into_iter().enumerate().rev() {
            let Some(why) = why else { continue };
            leave_out(&made.remove(at).target.to_string_lossy(), why);
            numbers.remove(at);
        }
    }
    ForOci { made, numbers, left_out }
}

fn of_step(mount: &AdditionalMount, by: By) -> Result<OfStep, String> {
    let what = match mount.kind.as_str() {
        "bind" => {
            let options = mount.bind.clone().unwrap_or_default();
            if !matches!(options.propagation.as_str(), "" | "private" | "rprivate") {
                let asked = options.propagation;
                return Err(format!("bind-propagation={asked} would pass on mounts; leave that out"));
            }
            if by == By::Agent && !Path::new(&mount.source).exists() {
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

    fn of_agent(text: &str) -> (Vec<OfStep>, Vec<String>) {
        let ForOci { made, left_out, .. } = for_oci(&parse(text).unwrap(), By::Agent);
        (made, left_out)
    }

    #[test]
    fn a_supervisor_keeps_what_has_gone_since_its_agent_began() {
        let mounts =
            parse("type=bind,src=/nowhere,dst=/x;type=volume,dst=/y;type=bind,src=/etc,dst=/z").unwrap();
        assert_eq!(for_oci(&mounts, By::Agent).numbers, [2]);
        let kept = for_oci(&mounts, By::Supervisor);
        assert_eq!((kept.numbers, kept.left_out.len()), (vec![0, 2], 1), "{:?}", kept.left_out);
    }

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
        assert_eq!(of_agent(text), (expected, Vec::new()));
    }

    #[test]
    fn what_jobs_could_redirect_is_left_out() {
        let below = "type=bind,source=/etc/ssl/certs,target=/certs,readonly";
        let (made, left_out) = of_agent(&format!("{below};type=bind,src=/etc,dst=/x"));
        let [line] = left_out.as_slice() else { panic!("{left_out:?}") };
        assert!(
            line.contains("\"/certs\"") && line.contains("is below /etc, which jobs may write to"),
            "{line}"
        );
        assert_eq!(made.iter().map(|mount| mount.target.as_path()).collect::<Vec<_>>(), [Path::new("/x")]);
        let (made, left_out) = of_agent(&format!("{below};type=bind,src=/etc,dst=/x,ro"));
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
            let (made, left_out) = of_agent(text);
            let [line] = left_out.as_slice() else { panic!("{text}: {left_out:?}") };
            assert!(made.is_empty() && line.starts_with(NAME) && line.contains(told), "{line}");
        }
    }
}
