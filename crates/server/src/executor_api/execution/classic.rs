//! The execution as one call of `src`.

use super::{INPUT, REPOSITORY, WORKSPACE_FILES};
use wire::CliStep;

/// Where src has its own files: in the workspace, so that they go with it.
const SCRATCH: &str = ".src-tmp";

/// The call. It names the job's files only where there are any, since an old src does not know the flag.
pub(super) fn step(env: &[String], binary_diffs: bool, has_files: bool) -> CliStep {
    let mut command = vec!["batch", "exec", "-f", INPUT, "-repo", REPOSITORY, "-tmp", SCRATCH];
    if binary_diffs {
        command.push("-binaryDiffs");
    }
    if has_files {
        command.extend(["-workspaceFiles", WORKSPACE_FILES]);
    }
    CliStep {
        key: "batch-exec".to_owned(),
        command: command.into_iter().map(str::to_owned).collect(),
        dir: ".".to_owned(),
        env: env.to_vec(),
    }
}
