//! The file that the first start writes.

use crate::auth::secret;
use std::io;
use std::path::Path;

/// Writes a configuration with a random access token.
pub(super) fn write(path: &Path) -> io::Result<()> {
    let token = secret::random_hex()?;
    crate::private_files::write_new_private(path, &content(&token))
}

fn content(token: &str) -> String {
    format!(
        r#"// Site configuration of this server: JSON with comments. It is read again whenever it changes.
{{
  // The secret that executors present (EXECUTOR_FRONTEND_PASSWORD): at least 20 characters. After a
  // change, executors with the old one are refused, unless it stands below.
  "executors.accessToken": "{token}",

  // The secret before this one, while executors are told the new one: the log says when the old one is still
  // presented. This key is particular to this server.
  // "executors.accessTokenPrevious": "",

  // The address under which steps of jobs reach this server, to upload an index. Without it they are told the one under
  // which their executor reached it.
  // "executors.frontendURL": "https://executors.example.com",

  // What uploads an index: the image of the program src, and its tag.
  // "executors.srcCLIImage": "sourcegraph/src-cli",
  // "executors.srcCLIImageTag": "5.5.0",

  // How executors that serve several queues share their time. While a queue has given fewer than
  // `limit` jobs in the last five minutes, it is drawn in proportion to its `weight`; after that,
  // only when no other queue has jobs and is below its limit.
  "executors.multiqueue": {{
    "dequeueCacheConfig": {{
      "batches": {{ "limit": 50, "weight": 4 }},
      "codeintel": {{ "limit": 250, "weight": 1 }}
    }}
  }},

  // For how many days jobs are kept after their end, with their logs; 0 is for ever. This key is
  // particular to this server. What a smaller number lets go is gone within minutes.
  "executors.endedJobsKeptDays": 30,

  // For how many days it is kept who did what (`executor audit`). This key is particular to this server.
  "executors.auditKeptDays": 365,

  // For how many days indexes are kept that jobs uploaded. This key is particular to this server.
  "executors.uploadsKeptDays": 90,

  // A bucket of S3, or of what speaks like it, for logs of jobs that ended and what jobs leave: several servers need
  // one. Read at a start only; EXECUTOR_SERVER_S3_CREDENTIALS or --s3-credentials-file says who we are there. This
  // key is particular to this server. Without it all is in the data directory.
  // "executors.objectStore": {{"bucket": "executor", "endpoint": "https://s3.example.com"}}
}}
"#
    )
}

#[cfg(test)]
mod tests {
    use super::super::QueueShare;
    use super::super::parse::parse;

    /// What a line begins with that only has to lose it to count.
    const HINT: &str = "  // \"";

    #[test]
    fn what_is_written_can_be_read_and_is_the_default() {
        let (site, unknown) = parse(&super::content("0123456789abcdef0123")).unwrap();
        assert!(unknown.is_empty(), "{unknown:?}");
        for queue in wire::paths::QUEUES {
            assert_eq!(site.share(queue), QueueShare::default_for(queue));
        }
        assert_eq!(site.ended_jobs_kept, parse("{}").unwrap().0.ended_jobs_kept);
    }

    #[test]
    fn a_hint_can_be_taken_by_what_marks_it_as_a_comment_alone() {
        let content = super::content("0123456789abcdef0123");
        let hints: Vec<&str> = content.lines().filter(|line| line.starts_with(HINT)).collect();
        assert!(hints.len() > 4, "{hints:?}");
        let taken = |wanted: &dyn Fn(&str) -> bool| {
            let line = |line: &str| match line.strip_prefix(HINT) {
                Some(hint) if wanted(line) => format!("\"{hint}\n"),
                _ => format!("{line}\n"),
            };
            content.lines().map(line).collect::<String>()
        };
        let each = hints.iter().map(|hint| taken(&|line| line == *hint));
        for text in each.chain([taken(&|_| true)]) {
            let (_, unknown) = parse(&text).unwrap_or_else(|fault| panic!("{fault}: {text}"));
            assert!(unknown.is_empty(), "{unknown:?}: {text}");
        }
    }
}
