//! Job files.
//!
//! ```yaml
//! queue: batches          # optional
//! repo: app               # optional: a repository that was added
//! rev: main               # optional: branch, tag or commit
//! priority: 1             # optional: -10 to 10; one level counts as five minutes of waiting
//! notBefore: 2031-01-01T06:00:00Z             # optional
//! delaySeconds: 600       # optional, in place of notBefore: so long after it is submitted
//! concurrency: {key: deploy-app, limit: 1}    # optional: so many jobs with one key run at once
//! retries: 2              # optional: 0 to 10, after failures of its own
//! needs: {cpus: 4, memory: 8G, disk: 20G, isolation: vm, labels: [gpu]}    # optional: what its executor must have
//! image: debian:12        # optional: the image of every step that names none
//! env: {CI: "1"}          # optional
//! secrets: [NPM_TOKEN]    # optional: taken from the environment, kept out of every log
//! storedSecrets: [KEY]    # optional: those that the control plane keeps
//! files:                  # optional: put into the workspace before the first step
//!   - path: conf/a.txt    # below the workspace
//!     content: "text"     # its text, or
//!     from: ./local.bin   # a file, beside the job file
//! steps:
//!   - name: build         # optional
//!     run: make           # a shell script, or
//!     script: ./build.sh  # a file that holds one, beside the job file
//!     image: gcc:13       # optional
//!     dir: sub            # optional
//!     env: {V: "1"}       # optional
//!     storedSecrets: [K]  # optional: for this step alone
//! execution: {…}          # in place of steps: an execution of a batch change, as the API takes it
//! ```

use super::files::LocalFile;
use super::yaml;
use crate::env::Variables;
use crate::exit::Failure;
use jiff::Timestamp;
use jobs::batches::ExecutionInput;
use jobs::{ArtifactSpec, Concurrency, FileSpec, IndexSpec, JobSpec, Needs, StepSpec};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;

/// Bytes of a job file or of a script beside it at most.
const MAX_FILE: u64 = 4 << 20;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct JobFile {
    #[serde(default)]
    queue: Option<String>,
    #[serde(default)]
    repo: Option<String>,
    #[serde(default)]
    rev: Option<String>,
    #[serde(default)]
    priority: i32,
    #[serde(default, rename = "notBefore")]
    not_before: Option<Timestamp>,
    #[serde(default, rename = "delaySeconds")]
    delay_seconds: Option<u64>,
    #[serde(default)]
    concurrency: Option<Concurrency>,
    #[serde(default)]
    retries: u32,
    #[serde(default)]
    needs: Needs,
    #[serde(default)]
    image: Option<String>,
    #[serde(default)]
    env: BTreeMap<String, String>,
    #[serde(default)]
    secrets: Vec<String>,
    #[serde(default, rename = "storedSecrets")]
    stored_secrets: Vec<String>,
    #[serde(default)]
    files: Vec<BroughtFile>,
    #[serde(default)]
    artifacts: Vec<ArtifactSpec>,
    #[serde(default)]
    steps: Option<Vec<FileStep>>,
    #[serde(default)]
    execution: Option<Box<ExecutionInput>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct BroughtFile {
    path: String,
    #[serde(default)]
    content: Option<String>,
    #[serde(default)]
    from: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileStep {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    run: Option<String>,
    #[serde(default)]
    script: Option<String>,
    #[serde(default)]
    image: Option<String>,
    #[serde(default)]
    dir: String,
    #[serde(default)]
    env: BTreeMap<String, String>,
    #[serde(default, rename = "storedSecrets")]
    stored_secrets: Vec<String>,
}

/// Reads a job file into what the API takes, and the local files that the job brings along besides.
pub(super) fn read(path: &Path, variables: &Variables) -> Result<(JobSpec, Vec<LocalFile>), Failure> {
    let text = read_text("job file", path, "name a file that is there")?;
    let file: JobFile = serde_saphyr::from_str(&text)
        .map_err(|fault| Failure::usage(format!("job file {}: {}", path.display(), yaml::fault(&fault))))?;
    let beside = path.parent().unwrap_or(Path::new(""));
    let (files, local) = brought(file.files, beside)?;
    if file.steps.is_none() && file.execution.is_none() {
        return Err(Failure::usage(format!(
            "job file {}: the key steps is missing: add it, or execution in its place",
            path.display()
        )));
    }
    let steps = file.steps.unwrap_or_default().into_iter().enumerate();
    let steps = steps.map(|(index, step)| step.into_spec(index, file.image.as_deref(), beside));
    let spec = JobSpec {
        queue: file.queue.unwrap_or_else(|| "batches".to_owned()),
        repo: file.repo,
        rev: file.rev,
        env: file.env,
        secrets: super::submit::secrets(&file.secrets, variables)?,
        stored_secrets: file.stored_secrets,
        artifacts: file.artifacts,
        files,
        steps: steps.collect::<Result<_, _>>()?,
        index: None,
        execution: file.execution,
        priority: file.priority,
        not_before: file.not_before,
        delay_seconds: file.delay_seconds,
        concurrency: file.concurrency,
        retries: file.retries,
        needs: file.needs,
    };
    Ok((spec, local))
}

/// Reads how an index is made. JSON is YAML as well.
pub(super) fn read_index(path: &Path) -> Result<IndexSpec, Failure> {
    let text = read_text("index file", path, "name a file that is there")?;
    serde_saphyr::from_str(&text)
        .map_err(|fault| Failure::usage(format!("index file {}: {}", path.display(), yaml::fault(&fault))))
}

/// Files whose text is in the job file, and those that lie beside it.
fn brought(files: Vec<BroughtFile>, beside: &Path) -> Result<(Vec<FileSpec>, Vec<LocalFile>), Failure> {
    let (mut inline, mut local) = (Vec::new(), Vec::new());
    for BroughtFile { path, content, from } in files {
        match (content, from) {
            (content @ Some(_), None) => inline.push(FileSpec { path, content, ..FileSpec::default() }),
            (None, Some(from)) => local.push(LocalFile { from: beside.join(from), path }),
            (None, None) => {
                return Err(Failure::usage(format!(
                    "file {path:?} has neither content nor from: give it one"
                )));
            }
            (Some(_), Some(_)) => {
                return Err(Failure::usage(format!("file {path:?} has both content and from: keep one")));
            }
        }
    }
    Ok((inline, local))
}

impl FileStep {
    fn into_spec(self, index: usize, image: Option<&str>, beside: &Path) -> Result<StepSpec, Failure> {
        let shown = self.name.clone().unwrap_or_else(|| index.to_string());
        let run = match (self.run, self.script) {
            (Some(run), None) => run,
            (None, Some(script)) => {
                let what = format!("script of step {shown}");
                read_text(&what, &beside.join(script), "its path counts from the job file's directory")?
            }
            (None, None) => {
                return Err(Failure::usage(format!("step {shown} has neither run nor script: give it one")));
            }
            (Some(_), Some(_)) => {
                return Err(Failure::usage(format!("step {shown} has both run and script: keep one")));
            }
        };
        let image = self.image.or_else(|| image.map(str::to_owned)).ok_or_else(|| {
            Failure::usage(format!("step {shown} names no image: give the step or the whole job one"))
        })?;
        let Self { name, dir, env, stored_secrets, .. } = self;
        Ok(StepSpec { name, image, run, dir, env, stored_secrets })
    }
}

/// `remedy` tells what to do if the file is not there.
fn read_text(what: &str, path: &Path, remedy: &str) -> Result<String, Failure> {
    let size = std::fs::metadata(path).map(|meta| meta.len());
    let text = size.and_then(|size| if size > MAX_FILE { Ok(None) } else { std::fs::read(path).map(Some) });
    match text {
        Ok(Some(bytes)) => String::from_utf8(bytes)
            .map_err(|_| Failure::usage(format!("{what} {} is not UTF-8 text", path.display()))),
        Ok(None) => Err(Failure::usage(format!("{what} {} is larger than {MAX_FILE} bytes", path.display()))),
        Err(fault) => {
            Err(Failure::usage(format!("{what} {} can't be read: {fault}; {remedy}", path.display())))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_job(text: &str) -> Result<(JobSpec, Vec<LocalFile>), String> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("build.sh"), "make all\n").unwrap();
        let path = dir.path().join("job.yaml");
        std::fs::write(&path, text).unwrap();
        read(&path, &Variables::of(&[("TOKEN", "value")])).map_err(|failure| failure.message)
    }

    #[test]
    fn a_whole_job_file_is_read() {
        let (job, local) = read_job(
            "repo: app\nrev: main\npriority: -2\nnotBefore: 2031-01-01T06:00:00Z\nconcurrency: {key: deploy}\nretries: 2\nneeds: {cpus: 4, \
             memory: 8G, isolation: vm, labels: [gpu]}\nimage: debian:12\nenv: {A: '1'}\nsecrets: [TOKEN]\nfiles:\n  - {path: a, content: text}\n  - {path: \
             b/c, from: x.bin}\nsteps:\n  - run: make\n    dir: sub\n  - \
             name: script\n    script: build.sh\n    image: gcc:13\n    env: {B: '2'}\n",
        )
        .unwrap();
        assert_eq!(
            (job.queue.as_str(), job.repo.as_deref(), job.rev.as_deref()),
            ("batches", Some("app"), Some("main"))
        );
        assert_eq!((job.priority, job.concurrency.unwrap().limit, job.retries), (-2, 1, 2));
        assert_eq!(job.not_before.unwrap().to_string(), "2031-01-01T06:00:00Z");
        assert_eq!((job.needs.memory, job.needs.labels.len()), (Some(8 << 30), 1));
        assert_eq!(job.secrets["TOKEN"], "value");
        assert_eq!((job.files[0].path.as_str(), job.files[0].content.as_deref()), ("a", Some("text")));
        assert!(local[0].path == "b/c" && local[0].from.is_absolute() && local[0].from.ends_with("x.bin"));
        assert_eq!((job.steps[0].image.as_str(), job.steps[0].run.as_str()), ("debian:12", "make"));
        assert_eq!((job.steps[1].image.as_str(), job.steps[1].run.as_str()), ("gcc:13", "make all\n"));
    }

    #[test]
    fn faults_of_the_yaml_are_told_in_our_own_words() {
        let anchors = (0..9).map(|n| format!("k{n}: &a{n} [{}]\n", format!("*a{},", n.max(1) - 1).repeat(9)));
        let laughs: String = anchors.collect();
        for (text, part) in [
            ("image: a\nimage: b\nsteps: []\n", "line 2 column 1: the key \"image\" is there twice"),
            ("image: a\nsteps:\n  - run: x\n    run: y\n", "line 4 column 5: the key \"run\" is there twice"),
            ("steps:\n  - run: x\n    imgae: y\n", "no key \"imgae\" here: use one of name, run, script"),
            ("image: a\n", "the key steps is missing"),
            ("image: a\nsteps: 5\n", "line 2 column 8: something else must be here: a list"),
            (
                "image: a\nenv: [x]\nsteps: []\n",
                "line 2 column 6: something else must be here: keys with their values",
            ),
            ("image: a\nsteps:\n  - run: [x]\n", "line 3 column 10: something else must be here: one text"),
            ("image: a\nsteps: [\n", "line"),
            ("image: a\nsteps:\n\t- run: x\n", "line 3"),
            ("image: *x\nsteps: []\n", "names no anchor"),
            ("image: a\nsteps: []\n---\nimage: b\nsteps: []\n", "several documents"),
            ("image: !!binary x\nsteps: []\n", "line 1"),
            ("\"a\\e[31m\\nb\": 1\nsteps: []\n", "no key"),
            (laughs.as_str(), "job.yaml"),
            ("", "job.yaml"),
        ] {
            let message = read_job(text).expect_err(text);
            assert!(message.contains(part), "{text:?}: {message}");
            assert!(!message.contains(char::is_control), "{message}");
            for foreign in ["Policy", "Options", "Option<", "struct", "serde", "enum", "_", "limits"] {
                assert!(!message.contains(foreign), "{foreign} in {message}");
            }
        }
    }

    #[test]
    fn each_fault_names_the_place_and_the_remedy() {
        for (text, part) in [
            ("steps: [", "job.yaml"),
            ("steps:\n  - run: x\n    imgae: y\n", "imgae"),
            ("image: a\nsteps:\n  - name: s\n    script: none.sh\n", "none.sh can't be read"),
            ("image: a\nsteps:\n  - name: s\n    script: none.sh\n", "counts from the job file's directory"),
            ("image: a\nsteps:\n  - name: s\n", "neither run nor script"),
            ("image: a\nsteps:\n  - {run: x, script: y}\n", "both run and script"),
            ("steps:\n  - run: x\n", "names no image"),
            ("image: a\nfiles: [{path: x}]\nsteps: [{run: x}]\n", "neither content nor from"),
            (
                "image: a\nfiles: [{path: x, content: y, from: z}]\nsteps: [{run: x}]\n",
                "both content and from",
            ),
            ("image: a\nfiles: [{content: y}]\nsteps: [{run: x}]\n", "path"),
            ("image: a\nsecrets: [NOPE]\nsteps:\n  - run: x\n", "NOPE"),
        ] {
            let message = read_job(text).expect_err(text);
            assert!(message.contains(part), "{text:?}: {message}");
            assert_eq!(message.lines().count(), 1, "{message}");
        }
    }
}
