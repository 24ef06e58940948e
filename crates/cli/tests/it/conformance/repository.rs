//! A repository for the instance to serve.

use super::bench::Bench;
use crate::support::git;

/// Its name.
pub(crate) const NAME: &str = "github.com/acme/app";

/// A bare repository: two commits on a branch, the first with the tag `v1`. Files: `README`, `src/main.txt` with
/// the commit's word, `docs/guide.txt`.
pub(crate) struct Repository {
    pub(crate) commits: [String; 2],
}

impl Repository {
    /// Makes it, and lets the bench's instance serve it.
    pub(crate) fn served_by(bench: &Bench) -> Self {
        let root = bench.dir.path().join("repositories");
        let (work, bare) = (bench.dir.path().join("work-tree"), root.join(NAME));
        for dir in [&work.join("src"), &work.join("docs"), &bare] {
            std::fs::create_dir_all(dir).unwrap();
        }
        git(&work, &["init", "--quiet", "--initial-branch=main"]);
        std::fs::write(work.join("README"), "read me\n").unwrap();
        std::fs::write(work.join("docs/guide.txt"), "a guide\n").unwrap();
        let commits = ["one", "two"].map(|word| {
            std::fs::write(work.join("src/main.txt"), format!("{word}\n")).unwrap();
            git(&work, &["add", "."]);
            git(&work, &["-c", "user.name=T", "-c", "user.email=t@t", "commit", "--quiet", "-m", word]);
            git(&work, &["rev-parse", "HEAD"]).trim().to_owned()
        });
        git(&work, &["tag", "v1", &commits[0]]);
        git(&bare, &["init", "--quiet", "--bare", "--initial-branch=main"]);
        git(&bare, &["config", "uploadpack.allowFilter", "true"]);
        git(&bare, &["config", "uploadpack.allowAnySHA1InWant", "true"]);
        git(&work, &["push", "--quiet", bare.to_str().unwrap(), "main", "v1"]);
        bench.server.serve_repositories(&root);
        Self { commits }
    }
}
