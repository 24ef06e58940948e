use crate::harness::{Bench, SPARE_DISK, TestSandbox, step};
use images::RegistryCredentials;
use runtimes::oci::{AdditionalMount, Mounted, OciRuntime};
use runtimes::{ExitStatus, Limits, Runtime, RuntimeError, SandboxSpec, Step};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::Path;
use testkit::image::{Archive, Layer};

/// What no file of the host's can be in.
const MADE_BY_THE_KERNEL: [&str; 6] = ["proc", "sysfs", "tmpfs", "devtmpfs", "devpts", "mqueue"];

/// A step's table of mounts names where in its file system lies what is mounted: for a directory of the host,
/// its path there.
pub(crate) async fn nothing_of_the_host_is_told(bench: &mut Bench) {
    let mut options = bench.options();
    let bundle = bench.dir.join("bundle.pem");
    std::fs::write(&bundle, "authorities").unwrap();
    options.certificates = Some(bundle);
    let script = bench.dir.join("script");
    std::fs::write(&script, "echo first").unwrap();
    options.startup_script = Some(script);
    let runtime = OciRuntime::new(options, bench.store()).unwrap();
    let limits = Limits { disk: Some(SPARE_DISK), ..Limits::default() };
    let spec = SandboxSpec { name: "job-1".into(), limits, credentials: RegistryCredentials::default() };
    let mut sandbox = TestSandbox(runtime.open(spec).await.unwrap());
    let table = sandbox.sh("cat /proc/self/mountinfo").await;
    let mut of_the_disk = Vec::new();
    for line in table.lines() {
        let (place, kind) = line.split_once(" - ").unwrap();
        let shown = place.split(' ').nth(3).unwrap();
        let kind: Vec<_> = kind.split(' ').collect();
        match kind[0] {
            "overlay" => {
                let named = kind[2].split(',').filter_map(|option| option.split_once("dir="));
                assert!(named.clone().count() >= 3, "{line}");
                for (_, layers) in named {
                    assert!(layers.chars().all(|c| c.is_ascii_digit() || c == ':'), "{line}");
                }
                assert_eq!(shown, "/", "{line}");
            }
            "ext4" => of_the_disk.push(shown),
            made => assert!(MADE_BY_THE_KERNEL.contains(&made), "{line}"),
        }
    }
    of_the_disk.sort_unstable();
    let given = ["/skeleton/etc/executor/certificates.pem", "/skeleton/etc/executor/startup-script"];
    assert_eq!(of_the_disk, [given[0], given[1], "/workspace"], "{table}");
    let seen = sandbox.sh("cat $SSL_CERT_FILE; echo x >> $SSL_CERT_FILE || echo; echo read only").await;
    assert_eq!(seen, "authorities\nread only\n");
    let place = runtimes::STARTUP_SCRIPT;
    let seen =
        sandbox.sh(&format!("sh {place}; echo x >> {place} || rm -f {place} || echo; sh {place}")).await;
    assert_eq!(seen, "first\n\nfirst\n");
    sandbox.close().await;
}

fn host(source: &Path, target: &str, read_only: bool, recursive: bool) -> AdditionalMount {
    let what = Mounted::Host { source: source.to_owned(), recursive };
    AdditionalMount { what, target: target.into(), read_only }
}

/// A sandbox of a runtime of the same agent, in which `mounts` are seen.
async fn with(bench: &Bench, mounts: Vec<AdditionalMount>) -> (OciRuntime, TestSandbox) {
    let mut options = bench.options();
    options.additional_mounts = mounts;
    let runtime = OciRuntime::new(options, bench.store()).unwrap();
    let credentials = RegistryCredentials::default();
    let spec = SandboxSpec { name: "job-1".into(), limits: Limits::default(), credentials };
    let sandbox = TestSandbox(runtime.open(spec).await.unwrap());
    (runtime, sandbox)
}

pub(crate) async fn what_the_operator_mounts_is_seen_with_its_owners(bench: &mut Bench) {
    // No job's users can go there.
    let closed = bench.dir.join("closed");
    let at = |name: &str| closed.join(name);
    for path in [&closed, &at("certs"), &at("shared"), &at("shared/below"), &at("flat"), &at("flat/below")] {
        fs::create_dir(path).unwrap();
    }
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).unwrap();
    fs::write(at("certs/ca.pem"), "authority\n").unwrap();
    fs::set_permissions(at("certs/ca.pem"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(at("certs/apps"), "").unwrap();
    let others = if bench.is_of_ordinary_user() { "0:0" } else { "1000:99" };
    if others != "0:0" {
        chown(at("certs/apps"), Some(1_000), Some(99)).unwrap();
    }
    for below in ["shared/below", "flat/below"] {
        mount(c"below", at(below), c"tmpfs", MountFlags::empty(), None).unwrap();
        fs::write(at(below).join("file"), "").unwrap();
    }
    let fast = Mounted::Memory { size: Some(1 << 20), mode: Some(0o750) };
    let fast = AdditionalMount { what: fast, target: "/fast".into(), read_only: false };
    let mounts = vec![
        host(&at("certs/ca.pem"), "/shared/ca.pem", true, true),
        host(&at("certs"), "/etc/ssl/more", true, true),
        host(&at("certs/ca.pem"), "/etc/hosts", true, true),
        host(&at("certs/ca.pem"), "/etc/hostname", true, true),
        host(&at("certs/ca.pem"), "/etc/resolv.conf", true, true),
        host(&at("shared"), "/shared", false, true),
        host(&at("flat"), "/flat", true, false),
        fast,
    ];
    // What a file is mounted on lies in a directory of the host's.
    fs::write(at("shared/ca.pem"), "").unwrap();
    let (runtime, mut sandbox) = with(bench, mounts).await;
    let seen = sandbox.sh("cat /etc/hosts /etc/hostname /etc/resolv.conf").await;
    assert_eq!(seen, "authority\n".repeat(3), "what the operator says wins");
    for round in ["first", "second"] {
        let seen = sandbox
            .sh(&format!(
                "cat /etc/ssl/more/ca.pem /shared/ca.pem; stat -c %u:%g /etc/ssl/more/ca.pem /etc/ssl/more/apps; \
                 ls /shared/below; ls /flat/below; echo x > /etc/ssl/more/x || echo {round} > /shared/new; \
                 chmod 6755 /shared/new; ls /fast; stat -c %u:%a /fast; head -c 2m /dev/zero > /fast/x || echo full"
            ))
            .await;
        let expected = format!("authority\nauthority\n0:0\n{others}\nfile\n0:750\nfull\n");
        assert_eq!(seen, expected, "{round}");
        assert_eq!(fs::read_to_string(at("shared/new")).unwrap(), format!("{round}\n"));
    }
    let new = fs::metadata(at("shared/new")).unwrap();
    assert_eq!(
        (new.uid(), new.mode() & 0o7777),
        (0, 0o6755),
        "its owner is the host's root, as by an engine"
    );
    assert_eq!(fs::read_dir(at("shared")).unwrap().count(), 3);
    sandbox.close().await;
    drop(runtime);
    for below in ["shared/below", "flat/below"] {
        unmount(at(below), UnmountFlags::empty()).unwrap();
    }
}

/// By a link that it leaves where it may write.
pub(crate) async fn a_job_can_not_have_others_see_what_it_likes(bench: &mut Bench) {
    let at = |name: &str| bench.dir.join(name);
    for path in ["cache", "secret", "certs"] {
        fs::create_dir(at(path)).unwrap();
    }
    fs::write(at("secret/file"), "of the host").unwrap();
    symlink("certs", at("current")).unwrap();
    let cache = host(&at("cache"), "/cache", false, true);
    let current = host(&at("current"), "/current", true, true);
    let (_runtime, mut sandbox) = with(bench, vec![cache.clone(), current]).await;
    let seen = sandbox.sh(&format!("ls /current; ln -s {} /cache/certs", at("secret").display())).await;
    assert_eq!(seen, "", "a link of the operator's is followed");
    // It leads now where the job chose.
    fs::remove_file(at("current")).unwrap();
    symlink("cache/certs", at("current")).unwrap();
    let refused = sandbox.run_step(step(&["/bin/sh", "-c", "cat /current/file"])).await.unwrap_err();
    assert!(refused.to_string().contains("which jobs may write to"), "{refused}");
    sandbox.close().await;

    let mut options = bench.options();
    options.additional_mounts = vec![cache, host(&at("cache/certs"), "/certs", true, true)];
    let refused = OciRuntime::new(options, bench.store()).err().unwrap().to_string();
    assert!(refused.contains("cache/certs is below"), "{refused}");
}

pub(crate) async fn an_image_can_not_send_what_is_mounted_elsewhere(bench: &mut Bench) {
    let source = bench.dir.join("source");
    fs::create_dir(&source).unwrap();
    fs::write(source.join("file"), "seen").unwrap();
    let busybox = fs::read("/bin/busybox").unwrap();
    let linked = async |link: &str| {
        let layer = Layer::new()
            .directory("bin")
            .file_with_mode("bin/busybox", &busybox, 0o755)
            .symlink("bin/sh", "busybox")
            .directory("mnt")
            .directory("srv")
            .symlink("srv/link", link);
        let name = format!("linked:{}", link.len());
        bench.import(&name, &Archive::new().layer(layer));
        let (_runtime, mut sandbox) = with(bench, vec![host(&source, "/srv/link", true, true)]).await;
        let look = ["/bin/sh", "-c", "busybox cat /srv/link/file"];
        let ran = sandbox.run_step(Step { image: name, ..step(&look) }).await;
        sandbox.close().await;
        ran
    };
    // As images have it of /var/run.
    for inside in ["../mnt", "../../../../../mnt", "/bin/../mnt/"] {
        let ran = linked(inside).await.unwrap();
        assert_eq!(
            (ran.exit.status, ran.stdout.as_str()),
            (ExitStatus::Code(0), "seen"),
            "{inside}: {ran:?}"
        );
    }
    for ours in ["/", "/data/", "//proc", "/mnt/../etc", "/proc/self/root", "/nowhere"] {
        let refused = linked(ours).await.unwrap_err();
        let told = refused.to_string();
        assert!(matches!(refused, RuntimeError::Start { .. }), "{ours}: {told}");
        assert!(told.contains("/srv/link"), "{ours}: {told}");
    }
    assert_eq!(fs::read_dir(&source).unwrap().count(), 1);
}
