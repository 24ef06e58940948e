//! `executor job artifacts`.

use crate::args::JobArtifactsArgs;
use crate::client::{Client, with_query};
use crate::commands::{print, save};
use crate::exit::{Exit, Failure, Outcome};
use jobs::artifacts::{is_artifact_name, is_artifact_path};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use server::api::ArtifactView;
use std::path::{Path, PathBuf};

pub(super) async fn run(client: &Client, args: JobArtifactsArgs) -> Outcome {
    let JobArtifactsArgs { id, attempt, download, all, output, force, json } = args;
    let of_attempt =
        |path: String| with_query(&path, [("attempt", attempt.map(|attempt| attempt.to_string()))]);
    let files: Vec<ArtifactView> = client.get(&of_attempt(format!("/api/v1/jobs/{id}/artifacts"))).await?;
    let wanted: Vec<&ArtifactView> = match &download {
        _ if all => files.iter().collect(),
        Some(name) => files.iter().filter(|file| file.name == *name).collect(),
        None => {
            if json {
                print::json(&files)?;
            } else {
                show(id, &files)?;
            }
            return Ok(Exit::Success);
        }
    };
    if wanted.is_empty() {
        let what = download.map_or_else(|| "no artifacts".to_owned(), |name| format!("no artifact {name:?}"));
        return Err(Failure::usage(format!("job {id} has left {what}: see `executor job artifacts {id}`")));
    }
    let dir = output.unwrap_or_else(|| PathBuf::from("."));
    let mut saved = Vec::new();
    for file in wanted {
        let only = files.iter().filter(|other| other.name == file.name).count() == 1;
        let target = target(&dir, file, only)?;
        let failed =
            |fault: std::io::Error| Failure::system(format!("can't write {}: {fault}", target.display()));
        if let Some(above) = target.parent() {
            std::fs::create_dir_all(above).map_err(failed)?;
        }
        let path = format!("/api/v1/jobs/{id}/artifacts/{}/{}", file.name, encoded(&file.path));
        save::save(client, &of_attempt(path), &target, Some(&file.sha256), force).await?;
        if !json {
            print::line(&format!("{}: {}", target.display(), print::bytes(file.size)))?;
        }
        saved.push(target);
    }
    if json {
        print::json(&saved)?;
    }
    Ok(Exit::Success)
}

fn show(id: i64, files: &[ArtifactView]) -> Result<(), Failure> {
    let nothing = format!("job {id} has left no artifacts: a job file declares them under `artifacts`");
    print::table(&["ARTIFACT", "FILE", "SIZE", "SHA-256"], files.iter().map(row).collect(), &nothing)
}

fn row(file: &ArtifactView) -> Vec<String> {
    vec![file.name.clone(), file.path.clone(), print::bytes(file.size), file.sha256.clone()]
}

/// Where a file goes: an artifact's only file by its own name, one of several by its path below a directory with the
/// artifact's. What the control plane says is not believed: nothing is written outside of `dir`.
fn target(dir: &Path, file: &ArtifactView, only: bool) -> Result<PathBuf, Failure> {
    if !is_artifact_name(&file.name) || !is_artifact_path(&file.path) {
        return Err(Failure::system(format!(
            "the control plane names a file {:?} of {:?}, which no artifact can have: it was not saved",
            file.path, file.name
        )));
    }
    let base = file.path.rsplit('/').next().unwrap_or(&file.path);
    Ok(if only { dir.join(base) } else { dir.join(&file.name).join(&file.path) })
}

/// A path in a URL.
fn encoded(path: &str) -> String {
    let parts: Vec<String> =
        path.split('/').map(|part| utf8_percent_encode(part, NON_ALPHANUMERIC).to_string()).collect();
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, path: &str) -> ArtifactView {
        ArtifactView {
            attempt: 1,
            name: name.to_owned(),
            path: path.to_owned(),
            size: 1,
            sha256: String::new(),
            created_at: jiff::Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn nothing_is_written_outside_of_the_directory() {
        let dir = Path::new("/saved");
        assert_eq!(target(dir, &file("app", "out/app"), true).unwrap(), Path::new("/saved/app"));
        assert_eq!(target(dir, &file("all", "out/a.xml"), false).unwrap(), Path::new("/saved/all/out/a.xml"));
        for (name, path) in
            [("app", "../x"), ("app", "/etc/x"), ("..", "x"), ("a/b", "x"), ("app", "a/../../x")]
        {
            assert!(target(dir, &file(name, path), false).is_err(), "{name} {path}");
            assert!(target(dir, &file(name, path), true).is_err(), "{name} {path}");
        }
        assert_eq!(encoded("a b/ä?.xml"), "a%20b/%C3%A4%3F%2Exml");
    }
}
