//! `EXECUTOR_DOCKER_ADDITIONAL_MOUNTS`: mounts as `docker run --mount` takes them, separated by
//! semicolons, each a record of comma-separated fields.

mod fields;
mod oci;
mod record;

use crate::env::EnvReader;
use fields::Fields;
pub(super) use oci::{By, ForOci, for_oci};
use std::collections::BTreeMap;
use std::fmt;

pub(super) const NAME: &str = "EXECUTOR_DOCKER_ADDITIONAL_MOUNTS";

/// One mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AdditionalMount {
    /// `bind`, `volume`, `tmpfs`, or what newer engines know.
    pub(crate) kind: String,
    /// Absolute, where it was a path relative to the agent's own directory.
    pub(crate) source: String,
    pub(crate) target: String,
    pub(crate) read_only: bool,
    /// `consistency`; empty means the engine's choice.
    pub(crate) consistency: String,
    pub(crate) bind: Option<BindOptions>,
    pub(crate) volume: Option<VolumeOptions>,
    pub(crate) tmpfs: Option<TmpfsOptions>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct BindOptions {
    pub(crate) propagation: String,
    pub(crate) non_recursive: bool,
}

#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct VolumeOptions {
    pub(crate) no_copy: bool,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) driver: String,
    pub(crate) driver_options: BTreeMap<String, String>,
}

impl fmt::Debug for VolumeOptions {
    /// Options of a driver may hold the password of a share.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let options: Vec<&String> = self.driver_options.keys().collect();
        let mut shown = f.debug_struct("VolumeOptions");
        shown.field("no_copy", &self.no_copy).field("labels", &self.labels);
        shown.field("driver", &self.driver).field("driver_options", &options).finish()
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct TmpfsOptions {
    /// Bytes; 0 means without limit.
    pub(crate) size: u64,
    /// Permission bits; 0 means the engine's choice.
    pub(crate) mode: u32,
}

/// Reads the mounts; the first that can't be read is a fault.
pub(super) fn read(env: &mut EnvReader<'_>) -> Vec<AdditionalMount> {
    let Some(text) = env.text(NAME) else { return Vec::new() };
    parse(&text).unwrap_or_else(|fault| {
        env.fault(format!("invalid {NAME}, failed to parse{fault}"));
        Vec::new()
    })
}

/// The words for those of these numbers, as [`read`] takes them; `None` if there are none.
pub(super) fn words_for(env: &EnvReader<'_>, numbers: &[usize]) -> Option<String> {
    let text = env.text(NAME)?;
    let kept = text.split(';').enumerate().filter(|(number, _)| numbers.contains(number));
    let kept: Vec<_> = kept.map(|(_, words)| words).collect();
    (!kept.is_empty()).then(|| kept.join(";"))
}

fn parse(text: &str) -> Result<Vec<AdditionalMount>, String> {
    let items: Vec<&str> = text.split(';').collect();
    let targets: usize = ["target", "dst", "destination"].iter().map(|word| text.matches(word).count()).sum();
    if items.len() == 1 && targets > 1 {
        return Err(" due to incorrect separator".to_owned());
    }
    let mounts = items.into_iter().map(|item| {
        let mount = record::fields(item).and_then(|fields| Fields::read(&fields)?.into_mount());
        mount.map_err(|fault| format!(" mount spec: {fault}"))
    });
    mounts.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent_config::tests::faults;

    fn fault(text: &str) -> String {
        let faults = faults(&[(NAME, text)]);
        let [fault] = faults.as_slice() else { panic!("{text}: {faults:?}") };
        fault.clone()
    }

    #[test]
    fn mounts_are_read_with_all_their_options() {
        let mounts = parse(
            "type=bind,source=/etc/x,dst=/x,ro,bind-propagation=rshared;\
             SRC=cache,Target=/c,volume-label=a=b,volume-label=c,volume-opt=o=1,volume-nocopy;\
             type=TMPFS,destination=/t,tmpfs-size=64m,tmpfs-mode=1770,readonly=false,\"consistency=a,b\"",
        )
        .unwrap();
        let [bind, volume, tmpfs] = mounts.as_slice() else { panic!("{mounts:?}") };
        assert_eq!(
            (bind.kind.as_str(), bind.source.as_str(), bind.target.as_str()),
            ("bind", "/etc/x", "/x")
        );
        assert!(bind.read_only);
        assert_eq!(bind.bind, Some(BindOptions { propagation: "rshared".into(), non_recursive: false }));
        assert_eq!((volume.kind.as_str(), volume.source.as_str()), ("volume", "cache"));
        let options = volume.volume.clone().unwrap();
        assert_eq!(options.labels, [("a".into(), "b".into()), ("c".into(), String::new())].into());
        assert_eq!(options.driver_options, [("o".into(), "1".into())].into());
        assert!(options.no_copy);
        assert_eq!((tmpfs.kind.as_str(), tmpfs.read_only), ("tmpfs", false));
        assert_eq!(tmpfs.consistency, "a,b");
        assert_eq!(tmpfs.tmpfs, Some(TmpfsOptions { size: 64 << 20, mode: 0o1770 }));
    }

    #[test]
    fn a_source_below_the_own_directory_becomes_absolute() {
        let here = std::env::current_dir().unwrap();
        for (source, absolute) in [(".", here.clone()), ("./sub", here.join("sub"))] {
            let mounts = parse(&format!("type=bind,src={source},dst=/x")).unwrap();
            assert_eq!(std::path::Path::new(&mounts[0].source), absolute);
        }
        assert_eq!(parse("src=name,dst=/x").unwrap()[0].source, "name");
    }

    #[test]
    fn several_mounts_need_semicolons() {
        assert_eq!(
            fault("type=bind,source=/a,target=/a,type=bind,source=/b,target=/b"),
            "invalid EXECUTOR_DOCKER_ADDITIONAL_MOUNTS, failed to parse due to incorrect separator"
        );
    }

    #[test]
    fn faults_of_a_mount_have_the_documented_words() {
        for (text, told) in [
            ("type=,target=/x", "type is required"),
            ("type=bind,source=/x", "target is required"),
            ("colour=red,target=/x", "unexpected key 'colour' in 'colour=red'"),
            ("Colour=red,target=/x", "unexpected key 'colour' in 'Colour=red'"),
            ("bare,target=/x", "invalid field 'bare' must be a key=value pair"),
            ("target=/x,readonly=maybe", "invalid value for readonly: maybe"),
            ("target=/x,volume-nocopy=2", "invalid value for volume-nocopy: 2"),
            ("type=tmpfs,target=/x,tmpfs-size=lots", "invalid value for tmpfs-size: lots"),
            ("type=tmpfs,target=/x,tmpfs-mode=999", "invalid value for tmpfs-mode: 999"),
            ("type=bind,target=/x,volume-nocopy", "cannot mix 'volume-*' options with mount type 'bind'"),
            ("target=/x,bind-nonrecursive", "cannot mix 'bind-*' options with mount type 'volume'"),
            ("target=/x,tmpfs-size=1m", "cannot mix 'tmpfs-*' options with mount type 'volume'"),
            ("target=/x;", "it is empty"),
            ("\"target=/x", "a quote is not closed"),
        ] {
            let start = "invalid EXECUTOR_DOCKER_ADDITIONAL_MOUNTS, failed to parse mount spec: ";
            assert_eq!(fault(text), format!("{start}{told}"), "{text}");
        }
    }
}
