//! The steps of a job that makes an index: which they are, what they are told of their executor, and who the last one says it is.

use super::dequeue::Asked;
use crate::app::App;
use crate::auth::executor::Executor;
use crate::site_config::Images;
use crate::way::Way;
use http::uri::Authority;
use jobs::index::{INDEXER, UPLOAD, pre_index};
use jobs::redact::spelled_out;
use jobs::{IndexSpec, Namespace, parse_size};
use secrecy::{ExposeSecret, SecretString};
use std::collections::BTreeMap;
use store::Claimed;
use wire::headers::Credentials;
use wire::paths::LSIF_UPLOAD;
use wire::{DequeueRequest, DockerStep};

/// What an executor has that does not say.
const DEFAULT_MEMORY: &str = "12G";
const DEFAULT_DISK: &str = "20G";
/// What an indexer writes, unless said otherwise.
const DEFAULT_OUTFILE: &str = "dump.lsif";

/// What a log shows in place of what the upload is let in with.
const REDACTED_TOKEN: &str = "PASSWORD_REMOVED";

/// What an executor says that it gives a job, in the words that it chose.
#[derive(Debug, Clone, Default)]
pub(super) struct Resources {
    cpus: i64,
    memory: String,
    disk: String,
}

impl Resources {
    pub(super) fn of(request: &DequeueRequest) -> Self {
        let DequeueRequest { num_cpus, memory, disk_space, .. } = request;
        Self { cpus: *num_cpus, memory: memory.clone(), disk: disk_space.clone() }
    }

    /// The variables by which a step is told.
    fn variables(&self) -> Vec<String> {
        let cpus = (self.cpus > 0).then(|| format!("VM_CPUS={}", self.cpus));
        let memory = amount("VM_MEM", &self.memory, DEFAULT_MEMORY);
        cpus.into_iter().chain(memory).chain(amount("VM_DISK", &self.disk, DEFAULT_DISK)).collect()
    }
}

/// One amount in three ways; none of what is no amount.
fn amount(name: &str, said: &str, unless_said: &str) -> Vec<String> {
    let said = if said.is_empty() { unless_said } else { said };
    match parse_size(said) {
        Ok(bytes) if bytes > 0 => vec![
            format!("{name}={}", in_words(bytes)),
            format!("{name}_GB={}", bytes >> 30),
            format!("{name}_MB={}", bytes >> 20),
        ],
        _ => Vec::new(),
    }
}

/// As documented: `12.0 GB`. The larger unit begins beyond one of it, not at it.
fn in_words(bytes: u64) -> String {
    const UNITS: [(u32, &str); 6] = [(60, "EB"), (50, "PB"), (40, "TB"), (30, "GB"), (20, "MB"), (10, "KB")];
    let unit = UNITS.into_iter().find(|(power, _)| bytes > 1 << power);
    unit.map_or_else(
        || format!("{bytes} B"),
        |(power, name)| format!("{:.1} {name}", bytes as f64 / 2_f64.powi(power.cast_signed())),
    )
}

/// What the steps of an index are given besides what is asked for.
pub(super) struct Surroundings {
    images: Images,
    resources: Vec<String>,
    endpoint: String,
    upload: UploadAs,
}

/// Who the step that uploads says it is.
struct UploadAs {
    header: String,
    scheme: &'static str,
    token: SecretString,
}

impl Surroundings {
    /// For a job that makes an index. The inner error tells why it can't be run.
    pub(super) fn of(app: &App, asked: &Asked, claimed: &Claimed) -> Result<Option<Self>, String> {
        if claimed.spec.index.is_none() {
            return Ok(None);
        }
        let site = app.site.current();
        let reached = site.frontend_url.clone().or_else(|| endpoint(&asked.way));
        let endpoint = reached.ok_or(
            "nothing says where the index is to be uploaded: set executors.frontendURL in the site configuration",
        )?;
        let shared = site.access_token.as_ref().or(site.previous_access_token.as_ref());
        let upload = match shared {
            Some(token) if needs_shared_secret(asked, claimed) => UploadAs::shared(token),
            _ => UploadAs::job(&claimed.token),
        };
        Ok(Some(Self {
            images: site.images.clone(),
            resources: asked.resources.variables(),
            endpoint,
            upload,
        }))
    }

    /// Whether the repository's tags are needed.
    pub(super) fn fetches_tags(&self, index: &IndexSpec) -> bool {
        index.indexer.starts_with(&self.images.lsif_go)
    }

    /// What no log may show of it, and what is shown in its place. `knows_forms`: whoever reads it finds a secret's other forms.
    pub(super) fn redacted(&self, knows_forms: bool) -> BTreeMap<String, String> {
        let UploadAs { header, scheme, token } = &self.upload;
        let token = token.expose_secret();
        let forms = if knows_forms { [token.to_owned()].into() } else { spelled_out(token) };
        let forms = forms.into_iter().map(|form| (form, REDACTED_TOKEN.to_owned()));
        forms.chain([(header.clone(), format!("{scheme} REDACTED"))]).collect()
    }

    /// All steps, in order. `secrets` are the variables that were asked for.
    pub(super) fn steps(
        &self,
        index: &IndexSpec,
        target: &Target<'_>,
        secrets: &[String],
    ) -> Vec<DockerStep> {
        let env = [self.resources.as_slice(), secrets].concat();
        let before = index.docker_steps.iter().enumerate().map(|(number, step)| DockerStep {
            key: pre_index(number),
            image: step.image.clone(),
            commands: step.commands.clone(),
            dir: step.root.clone(),
            env: env.clone(),
        });
        let indexer = (!index.indexer.is_empty()).then(|| DockerStep {
            key: INDEXER.to_owned(),
            image: index.indexer.clone(),
            commands: [index.local_steps.as_slice(), &[shell_words::join(&index.indexer_args)]].concat(),
            dir: index.root.clone(),
            env: env.clone(),
        });
        before.chain(indexer).chain([self.upload(index, target)]).collect()
    }

    fn upload(&self, index: &IndexSpec, target: &Target<'_>) -> DockerStep {
        DockerStep {
            key: UPLOAD.to_owned(),
            image: self.images.src_cli.clone(),
            commands: vec![upload_line(index, target)],
            dir: index.root.clone(),
            env: vec![
                format!("SRC_ENDPOINT={}", self.endpoint),
                format!("SRC_HEADER_AUTHORIZATION={}", self.upload.header),
            ],
        }
    }
}

/// What an index is of.
pub(super) struct Target<'a> {
    pub(super) repository: &'a str,
    pub(super) commit: &'a str,
    pub(super) job: i64,
}

fn upload_line(index: &IndexSpec, target: &Target<'_>) -> String {
    fn or<'a>(said: &'a str, unless_said: &'a str) -> &'a str {
        if said.is_empty() { unless_said } else { said }
    }
    let job = target.job.to_string();
    shell_words::join([
        "src",
        "code-intel",
        "upload",
        "-no-progress",
        "-repo",
        target.repository,
        "-commit",
        target.commit,
        "-root",
        or(&index.root, "."),
        "-upload-route",
        LSIF_UPLOAD,
        "-file",
        or(&index.outfile, DEFAULT_OUTFILE),
        "-associated-index-id",
        &job,
    ])
}

/// Whether the upload is given the secret of all executors, as documented: for executors that are not ours and show it
/// themselves, and for jobs of the installation's own namespace alone. All others upload with the job's own token, which is good
/// for that job alone. Whoever may change what is in a job's workspace may read what its steps are given.
fn needs_shared_secret(asked: &Asked, claimed: &Claimed) -> bool {
    let is_global = Namespace::from_key(&claimed.job.owner) == Ok(Namespace::Global);
    asked.who == Executor::Shared && !asked.ours && is_global
}

impl UploadAs {
    fn shared(token: &SecretString) -> Self {
        let header = Credentials::Shared(token.expose_secret()).to_header();
        Self { header, scheme: "token-executor", token: token.clone() }
    }

    fn job(token: &str) -> Self {
        Self { header: Credentials::Job(token).to_header(), scheme: "Bearer", token: token.into() }
    }
}

/// Where the executor reached us.
fn endpoint(way: &Way) -> Option<String> {
    let host = way.host.parse::<Authority>().ok().filter(|host| !host.as_str().contains('@'))?;
    let scheme = if way.secure { "https" } else { "http" };
    Some(format!("{scheme}://{host}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_executors_resources_are_told_as_documented() {
        let told = |cpus, memory: &str, disk: &str| {
            Resources { cpus, memory: memory.to_owned(), disk: disk.to_owned() }.variables()
        };
        let all = [
            "VM_CPUS=4",
            "VM_MEM=12.0 GB",
            "VM_MEM_GB=12",
            "VM_MEM_MB=12288",
            "VM_DISK=20.0 GB",
            "VM_DISK_GB=20",
            "VM_DISK_MB=20480",
        ];
        assert_eq!(told(4, "12G", "20G"), all);
        assert_eq!(told(0, "", ""), all[1..], "what is not told is the default; CPUs have none");
        assert_eq!(told(-1, "0", "many"), [""; 0], "what is nothing is left out");
        assert_eq!(told(0, "512M", "0")[..], ["VM_MEM=512.0 MB", "VM_MEM_GB=0", "VM_MEM_MB=512"]);
        assert_eq!(told(0, "0", "1T")[0], "VM_DISK=1024.0 GB");
        assert_eq!(told(0, "0", "2500M"), ["VM_DISK=2.4 GB", "VM_DISK_GB=2", "VM_DISK_MB=2500"]);
        assert_eq!(told(0, "0", "100")[0], "VM_DISK=100 B");
    }

    #[test]
    fn arguments_of_the_upload_stay_apart() {
        let index =
            IndexSpec { root: "a b".to_owned(), outfile: "$(id)'s".to_owned(), ..IndexSpec::default() };
        let target = Target { repository: "acme/app", commit: "0123", job: 7 };
        let line = upload_line(&index, &target);
        assert_eq!(
            shell_words::split(&line).unwrap()[4..],
            [
                "-repo",
                "acme/app",
                "-commit",
                "0123",
                "-root",
                "a b",
                "-upload-route",
                "/.executors/lsif/upload",
                "-file",
                "$(id)'s",
                "-associated-index-id",
                "7"
            ]
            .map(str::to_owned)
        );
        assert!(line.contains("'$(id)'"), "{line}");
    }

    #[test]
    fn an_executor_uploads_where_it_reached_us() {
        let at = |secure, host: &str| endpoint(&Way { secure, host: host.to_owned() });
        assert_eq!(at(false, "10.0.0.5:7080").as_deref(), Some("http://10.0.0.5:7080"));
        assert_eq!(at(true, "ci.example").as_deref(), Some("https://ci.example"));
        for odd in ["", "user@ci.example", "a b", "a/b"] {
            assert_eq!(at(false, odd), None, "{odd:?}");
        }
    }
}
