//! The fields of one mount, by their keys.

use super::{AdditionalMount, BindOptions, TmpfsOptions, VolumeOptions};
use crate::env::{parse_bool, parse_size};
use std::collections::BTreeMap;
use std::path::Path;

/// What was read so far. Options are there once one of their family was named.
#[derive(Debug, Default)]
pub(super) struct Fields {
    /// `None`: not named, which means `volume`.
    kind: Option<String>,
    source: String,
    target: String,
    read_only: bool,
    consistency: String,
    bind: Option<BindOptions>,
    volume: Option<VolumeOptions>,
    tmpfs: Option<TmpfsOptions>,
}

impl Fields {
    pub(super) fn read(fields: &[String]) -> Result<Self, String> {
        let mut read = Self::default();
        for field in fields {
            match field.split_once('=') {
                None => read.flag(field)?,
                Some((key, value)) => read.pair(field, &key.to_lowercase(), value)?,
            }
        }
        Ok(read)
    }

    fn flag(&mut self, field: &str) -> Result<(), String> {
        match field.to_lowercase().as_str() {
            "readonly" | "ro" => self.read_only = true,
            "volume-nocopy" => self.volume().no_copy = true,
            "bind-nonrecursive" => self.bind().non_recursive = true,
            _ => return Err(format!("invalid field '{field}' must be a key=value pair")),
        }
        Ok(())
    }

    fn pair(&mut self, field: &str, key: &str, value: &str) -> Result<(), String> {
        let invalid = || format!("invalid value for {key}: {value}");
        let truth = || parse_bool(value).map_err(|_| invalid());
        match key {
            "type" => self.kind = Some(value.to_lowercase()),
            "source" | "src" => self.source = absolute(value)?,
            "target" | "dst" | "destination" => value.clone_into(&mut self.target),
            "readonly" | "ro" => self.read_only = truth()?,
            "consistency" => self.consistency = value.to_lowercase(),
            "bind-propagation" => self.bind().propagation = value.to_lowercase(),
            "bind-nonrecursive" => self.bind().non_recursive = truth()?,
            "volume-nocopy" => self.volume().no_copy = truth()?,
            "volume-label" => insert(&mut self.volume().labels, value),
            "volume-driver" => value.clone_into(&mut self.volume().driver),
            "volume-opt" => insert(&mut self.volume().driver_options, value),
            "tmpfs-size" => self.tmpfs().size = parse_size(value).map_err(|_| invalid())?,
            "tmpfs-mode" => {
                self.tmpfs().mode = u32::from_str_radix(value, 8).map_err(|_| invalid())?;
            }
            _ => return Err(format!("unexpected key '{key}' in '{field}'")),
        }
        Ok(())
    }

    pub(super) fn into_mount(self) -> Result<AdditionalMount, String> {
        let kind = self.kind.unwrap_or_else(|| "volume".to_owned());
        if kind.is_empty() {
            return Err("type is required".to_owned());
        }
        if self.target.is_empty() {
            return Err("target is required".to_owned());
        }
        for (family, is_there) in [
            ("volume", self.volume.is_some()),
            ("bind", self.bind.is_some()),
            ("tmpfs", self.tmpfs.is_some()),
        ] {
            if is_there && kind != family {
                return Err(format!("cannot mix '{family}-*' options with mount type '{kind}'"));
            }
        }
        Ok(AdditionalMount {
            kind,
            source: self.source,
            target: self.target,
            read_only: self.read_only,
            consistency: self.consistency,
            bind: self.bind,
            volume: self.volume,
            tmpfs: self.tmpfs,
        })
    }

    fn bind(&mut self) -> &mut BindOptions {
        self.bind.get_or_insert_default()
    }

    fn volume(&mut self) -> &mut VolumeOptions {
        self.volume.get_or_insert_default()
    }

    fn tmpfs(&mut self) -> &mut TmpfsOptions {
        self.tmpfs.get_or_insert_default()
    }
}

/// `KEY=VALUE`, or a key alone.
fn insert(into: &mut BTreeMap<String, String>, pair: &str) {
    let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
    into.insert(key.to_owned(), value.to_owned());
}

fn absolute(source: &str) -> Result<String, String> {
    if source != "." && !source.starts_with("./") {
        return Ok(source.to_owned());
    }
    let below = source.trim_start_matches('.').trim_start_matches('/');
    let here = std::env::current_dir()
        .map_err(|fault| format!("invalid value for source: {source}: no current directory: {fault}"))?;
    let path = if below.is_empty() { here } else { here.join(Path::new(below)) };
    Ok(path.to_string_lossy().into_owned())
}
