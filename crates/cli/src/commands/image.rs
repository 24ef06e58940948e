//! `executor image`: works on this host's image store, with or without an agent running.

use super::print;
use crate::args::{ImageCommand, ImageStoreArgs};
use crate::client::Settings;
use crate::exit::{Exit, Failure, Outcome, chain};
use crate::paths::{self, Paths};
use images::{ImageError, ImageInfo, ImageStore, Reference};
use jiff::Timestamp;
use serde::Serialize;
use std::path::{Path, PathBuf};

/// An image, for `--json`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ImageView {
    name: String,
    digest: String,
    size: u64,
    created_at: Timestamp,
}

impl From<&ImageInfo> for ImageView {
    fn from(info: &ImageInfo) -> Self {
        Self {
            name: info.reference.familiar(),
            digest: info.digest.clone(),
            size: info.size,
            created_at: Timestamp::from_second(info.created_at).unwrap_or(Timestamp::UNIX_EPOCH),
        }
    }
}

pub(crate) fn run(paths: &Paths, command: ImageCommand) -> Outcome {
    match command {
        ImageCommand::Import { name, file, store } => import(paths, &name, &file, &store),
        ImageCommand::List { store } => list(paths, &store),
        ImageCommand::Remove { name, store } => remove(paths, &name, &store),
        ImageCommand::Gc { store } => collect(paths, &store),
    }
}

fn open(paths: &Paths, args: &ImageStoreArgs) -> Result<ImageStore, Failure> {
    ImageStore::open(place(paths, args)?).map_err(failure)
}

/// The same where there is one: who only looks, or removes, makes none.
fn open_existing(paths: &Paths, args: &ImageStoreArgs) -> Result<Option<ImageStore>, Failure> {
    let place = place(paths, args)?;
    if place.try_exists().is_ok_and(|there| !there) {
        return Ok(None);
    }
    ImageStore::open(place).map(Some).map_err(failure)
}

fn place(paths: &Paths, args: &ImageStoreArgs) -> Result<PathBuf, Failure> {
    Ok(paths::images(&Settings::agent_data_dir(paths, args.data_dir.clone())?))
}

fn import(paths: &Paths, name: &str, file: &Path, args: &ImageStoreArgs) -> Outcome {
    let reference: Reference = name.parse().map_err(failure)?;
    let imported = open(paths, args)?.import(&reference, file).map_err(failure_of(file))?;
    let view = ImageView::from(&imported);
    let told = format!("imported {} ({}, {})", view.name, view.digest, print::bytes(view.size));
    print::tell(args.json, &view, &told)
}

fn list(paths: &Paths, args: &ImageStoreArgs) -> Outcome {
    let store = open_existing(paths, args)?;
    let found = store.map_or_else(|| Ok(Vec::new()), |store| store.list()).map_err(failure)?;
    let views: Vec<ImageView> = found.iter().map(ImageView::from).collect();
    let short = |digest: &str| digest.chars().take("sha256:".len() + 12).collect::<String>();
    let none =
        "no images yet: import one with `executor image import NAME:TAG FILE`; jobs pull what a registry has";
    print::list(args.json, &views, &["NAME", "DIGEST", "SIZE", "ADDED"], none, |view| {
        vec![view.name.clone(), short(&view.digest), print::bytes(view.size), print::ago(view.created_at)]
    })
}

fn remove(paths: &Paths, name: &str, args: &ImageStoreArgs) -> Outcome {
    let reference: Reference = name.parse().map_err(failure)?;
    let Some(store) = open_existing(paths, args)? else {
        return Err(Failure::usage(format!(
            "there is no image {}: `executor image list` tells which there are",
            reference.familiar()
        )));
    };
    store.remove(&reference).map_err(failure)?;
    let name = reference.familiar();
    let told = format!("removed {name}; `executor image gc` frees its space");
    print::tell(args.json, &serde_json::json!({ "name": name }), &told)
}

fn collect(paths: &Paths, args: &ImageStoreArgs) -> Outcome {
    let (layers, bytes) = match open_existing(paths, args)? {
        Some(store) => {
            let collected = store.collect_garbage().map_err(failure)?;
            (collected.layers, collected.bytes)
        }
        None => (0, 0),
    };
    let told = format!("removed {layers} layers, {}", print::bytes(bytes));
    let removed = serde_json::json!({ "layers": layers, "bytes": bytes });
    print::tell(args.json, &removed, &told)
}

/// What was asked for can't be done, or the store can't do it.
#[expect(clippy::needless_pass_by_value, reason = "used as a function in map_err")]
fn failure(error: ImageError) -> Failure {
    let exit = if error.is_temporary() { Exit::System } else { Exit::Usage };
    Failure::chain(exit, &error)
}

/// The same, where `file` is what was asked for.
fn failure_of(file: &Path) -> impl FnOnce(ImageError) -> Failure {
    move |error| match &error {
        ImageError::Io { path, .. } if path == file => {
            let archive = "name an archive that `docker save` or `skopeo copy` made";
            Failure::usage(format!("{}; {archive}", chain(&error)))
        }
        _ => failure(error),
    }
}
