use crate::harness::{Bench, SPARE_DISK, TestSandbox, processes_with, step};
use images::RegistryCredentials;
use runtimes::oci::{OciRuntime, OwnUsers, Tried};
use runtimes::{ExitStatus, Limits, Runtime, SandboxSpec, Severity, Step};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use testkit::image::{Archive, Layer};

const FIRST: u32 = 0x7000_0000;
const SIZE: u32 = 65_536;

/// A disk of its own, and a directory without a limit.
const DISKS: [Limits; 2] = [
    Limits { disk: Some(SPARE_DISK), cpus: None, memory: None, pids: None },
    Limits { disk: None, cpus: None, memory: None, pids: None },
];

/// What root in the sandbox is on the host.
async fn root_of(sandbox: &mut TestSandbox) -> u32 {
    let maps = sandbox.sh("cat /proc/self/uid_map /proc/self/gid_map").await;
    let numbers: Vec<u32> = maps.split_whitespace().map(|number| number.parse().unwrap()).collect();
    assert_eq!((numbers[..3].len(), &numbers[..3]), (3, &numbers[3..]), "{maps}");
    assert_eq!((numbers[0], numbers[2]), (0, SIZE), "{maps}");
    assert!(numbers[1] >= FIRST && numbers[1].is_multiple_of(SIZE), "{maps}");
    numbers[1]
}

async fn wait_for(path: PathBuf) {
    while !path.exists() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A script that goes on until there is a file `go`, and what finds it among the host's processes.
fn waiting(bench: &Bench, before: &str, name: &str) -> (String, String) {
    let marker = format!("{}-{name}", bench.owner);
    (format!("{before}; touch /data/ready; while [ ! -e /data/go ]; do sleep 0.01; done; : {marker}"), marker)
}

pub(crate) async fn root_in_a_job_is_nobody_on_the_host(bench: &mut Bench) {
    let said = bench.runtime.preflight().await;
    assert_eq!(said.iter().find(|finding| finding.id == "oci.users"), None);
    for limits in DISKS {
        let mut sandbox = bench.open(limits).await;
        let root = root_of(&mut sandbox).await;
        let (script, marker) =
            waiting(bench, "echo x > /data/mine; echo x > /root/mine; chmod 6755 /data/mine", "a");
        let workspace = sandbox.workspace().to_owned();
        let argv = ["sh", "-c", &script];
        let (ran, ()) = tokio::join!(sandbox.run(&argv), async {
            wait_for(workspace.join("ready")).await;
            let found = processes_with(&marker);
            let shell = found.iter().find(|process| process.contains("sh -c")).unwrap();
            let process = PathBuf::from(format!("/proc/{}", shell.split(':').next().unwrap()));
            let status = fs::read_to_string(process.join("status")).unwrap();
            for kind in ["Uid:", "Gid:"] {
                let ids = status.lines().find_map(|line| line.strip_prefix(kind)).unwrap();
                assert!(ids.split_whitespace().all(|id| id == root.to_string()), "{kind} {ids}");
            }
            for file in ["root/data/mine", "root/root/mine", "root/etc/passwd", "root/etc/hosts", "root"] {
                let seen = fs::metadata(process.join(file)).unwrap();
                assert_eq!((seen.uid(), seen.gid()), (root, root), "{file}");
            }
            fs::write(workspace.join("go"), "").unwrap();
        });
        assert_eq!(ran.unwrap().exit.status, ExitStatus::Code(0));
        // The agent is shown the job's root as itself.
        let mine = fs::metadata(workspace.join("mine")).unwrap();
        assert_eq!((mine.uid(), mine.gid(), mine.mode() & 0o7777), (0, 0, 0o6755));
        for refused in [
            "chmod 666 /dev/zero",
            "chown 0 /dev/full",
            "echo 1 > /proc/sys/vm/drop_caches",
            "echo -1000 > /proc/self/oom_score_adj",
            "mknod /data/null c 1 3",
            "cat /proc/kmsg",
        ] {
            let ran = sandbox.try_sh(refused).await;
            assert_ne!(ran.exit.status, ExitStatus::Code(0), "{refused}: {ran:?}");
        }
        sandbox.close().await;
    }
}

pub(crate) async fn files_have_the_owners_that_they_seem_to_have(bench: &mut Bench) {
    let busybox = fs::read("/bin/busybox").unwrap();
    let layer = || {
        Layer::new()
            .directory("bin")
            .file_with_mode("bin/busybox", &busybox, 0o755)
            .symlink("bin/sh", "busybox")
            .directory("etc")
            .file("etc/passwd", b"root:x:0:0::/:/bin/sh\napp:x:1000:99::/srv:/bin/sh\n")
            .owned_by(1_000, 99)
            .directory_with_mode("srv", 0o700)
            .file("srv/file", b"")
            .owned_by(65_534, 65_534)
            .file("srv/nobodys", b"")
    };
    for (image, user) in [("owners:root", ""), ("owners:number", "1000:99"), ("owners:name", "app")] {
        bench.import(image, &Archive::new().layer(layer()).run_as(&[], "", user));
    }
    for limits in DISKS {
        let mut sandbox = bench.open(limits).await;
        let from_host = sandbox.workspace().join("from-host");
        fs::create_dir(&from_host).unwrap();
        fs::write(from_host.join("file"), "").unwrap();
        let owners =
            "stat -c '%u:%g %a %n' / /etc /etc/hosts /bin/busybox /srv /srv/file /data/from-host/file";
        let expected = "0:0 755 /\n0:0 755 /etc\n0:0 644 /etc/hosts\n0:0 755 /bin/busybox\n1000:99 700 /srv\n\
                        1000:99 644 /srv/file\n0:0 644 /data/from-host/file\n";
        let root = "busybox stat -c %u /srv/nobodys; echo x >> /srv/file; echo x >> /data/from-host/file; \
                    busybox chown 1000:99 /data/from-host; busybox stat -c %u:%g /srv/file";
        let app = "echo x > /srv/new; echo x > /data/from-host/new; busybox stat -c %u:%g /srv/new /data/from-host/new; \
                   ! echo x 2> /dev/null > /etc/new";
        for (image, script, said) in [
            ("owners:root", format!("busybox {owners}"), expected),
            ("owners:root", root.to_owned(), "65534\n1000:99\n"),
            ("owners:number", app.to_owned(), "1000:99\n1000:99\n"),
            ("owners:name", app.to_owned(), "1000:99\n1000:99\n"),
        ] {
            let asked = Step { image: image.into(), ..step(&["/bin/sh", "-c", &script]) };
            let ran = sandbox.run_step(asked).await.unwrap();
            assert_eq!(
                (ran.exit.status, ran.stdout.as_str()),
                (ExitStatus::Code(0), said),
                "{image}: {ran:?}"
            );
        }
        let new = fs::metadata(from_host.join("new")).unwrap();
        assert_eq!((new.uid(), new.gid()), (1_000, 99));
        fs::set_permissions(from_host.join("new"), fs::Permissions::from_mode(0o000)).unwrap();
        assert_eq!(fs::read_to_string(from_host.join("new")).unwrap(), "x\n");
        sandbox.close().await;
    }
}

pub(crate) async fn two_jobs_share_layers_and_no_users(bench: &mut Bench) {
    let (mut first, mut second) =
        (bench.open(DISKS[0]).await, bench.try_open("job-2", DISKS[0]).await.unwrap());
    let (one, other) = (root_of(&mut first).await, root_of(&mut second).await);
    assert_ne!(one, other);
    let script = "stat -c %u:%g /bin/busybox; chown 5:6 /etc/passwd; stat -c %u:%g /etc/passwd";
    for sandbox in [&mut first, &mut second] {
        assert_eq!(sandbox.sh(script).await, "0:0\n5:6\n");
    }
    let (script, marker) = waiting(bench, ":", "b");
    let workspace = second.workspace().to_owned();
    let argv = ["sh", "-c", &script];
    let (ran, ()) = tokio::join!(second.run(&argv), async {
        wait_for(workspace.join("ready")).await;
        // Even of the processes that it sees, none of which are another's, it may signal only its own.
        first.try_sh("trap '' TERM; kill -TERM -1; kill -KILL -1").await;
        assert!(!processes_with(&marker).is_empty());
        fs::write(workspace.join("go"), "").unwrap();
    });
    assert_eq!(ran.unwrap().exit.status, ExitStatus::Code(0));
    second.close().await;
    first.close().await;
    // Users come back once nothing of their job is left.
    let mut third = bench.open(DISKS[0]).await;
    assert!([one, other].contains(&root_of(&mut third).await));
    third.close().await;
}

pub(crate) async fn a_job_has_no_users_beyond_its_own(bench: &mut Bench) {
    let busybox = fs::read("/bin/busybox").unwrap();
    let layer = || {
        Layer::new()
            .directory("bin")
            .file_with_mode("bin/busybox", &busybox, 0o755)
            .owned_by(70_000, 70_000)
            .file("strange", b"read\n")
    };
    for (image, user) in [("beyond:user", "65536"), ("beyond:group", "1:65536"), ("beyond:file", "")] {
        bench.import(image, &Archive::new().layer(layer()).run_as(&[], "", user));
    }
    let mut sandbox = bench.open(DISKS[0]).await;
    for image in ["beyond:user", "beyond:group"] {
        let refused =
            sandbox.run_step(Step { image: image.into(), ..step(&["/bin/busybox"]) }).await.unwrap_err();
        assert!(refused.to_string().contains("user or group 65536"), "{refused}");
    }
    let read = Step { image: "beyond:file".into(), ..step(&["/bin/busybox", "cat", "/strange"]) };
    assert_eq!(sandbox.run_step(read).await.unwrap().stdout, "read\n");
    let chroot = ["chroot", "--userspec=70000", "/", "id"];
    assert_ne!(sandbox.run(&chroot).await.unwrap().exit.status, ExitStatus::Code(0));
    sandbox.close().await;
}

/// What files of the host are like: owner, rights, size and content of each below `dir`.
fn state_of(dir: &Path) -> Vec<(PathBuf, u32, u32, Vec<u8>)> {
    let mut seen = Vec::new();
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        let (path, kind) = (entry.path(), entry.metadata().unwrap());
        if kind.is_dir() {
            seen.extend(state_of(&path));
        }
        let content = if kind.is_file() { fs::read(&path).unwrap() } else { Vec::new() };
        seen.push((path, kind.uid(), kind.mode(), content));
    }
    seen.sort();
    seen
}

pub(crate) async fn root_in_a_job_changes_nothing_of_the_host(bench: &mut Bench) {
    let bundle = bench.dir.join("bundle.pem");
    fs::write(&bundle, "authorities").unwrap();
    let mut options = bench.options();
    options.certificates = Some(bundle.clone());
    let runtime = OciRuntime::new(options, bench.store()).unwrap();
    let images = bench.dir.join("images");
    let before = state_of(&images);
    assert!(!before.is_empty());
    for limits in DISKS {
        let spec = SandboxSpec { name: "job-1".into(), limits, credentials: RegistryCredentials::default() };
        let mut sandbox = TestSandbox(runtime.open(spec).await.unwrap());
        // What it shares with the host: layers, and copies of the host's files, which are its own to change.
        sandbox
            .sh("echo x >> /bin/busybox; chown 7:8 /bin/sh; chmod 777 /etc; rm -r /bin/* 2> /dev/null; \
                 echo x >> /etc/hosts; : > /etc/hostname")
            .await;
        for refused in [
            "echo x >> $SSL_CERT_FILE",
            "chmod 666 $SSL_CERT_FILE",
            "rm $SSL_CERT_FILE",
            "mount -o remount,rw /sys",
            // Owners outside of its range.
            "touch /data/a && chown 65536 /data/a",
            "touch /data/a && chown :70000 /data/a",
            "touch /a && chown 1879048192 /a",
            // Devices on its disk, in its root and in memory.
            "mknod /data/disk b 7 0",
            "mknod /disk b 7 0",
            "mknod /dev/disk b 7 0",
            "mknod /dev/shm/memory c 1 1",
            "cp -a /dev/null /data/null",
        ] {
            let ran = sandbox.try_sh(refused).await;
            assert_ne!(ran.exit.status, ExitStatus::Code(0), "{refused}: {ran:?}");
        }
        assert_eq!(state_of(&images), before, "layers are for all jobs");
        assert_eq!(fs::read_to_string(&bundle).unwrap(), "authorities");
        sandbox.close().await;
    }
}

/// Who a program is that a job has made set-user-id root, when nobody on the host starts it.
fn effective_user(program: &Path) -> Option<u32> {
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let ran = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"])
        .arg(program)
        .arg("-u")
        .current_dir(dir.path())
        .output()
        .unwrap();
    String::from_utf8_lossy(&ran.stdout).trim().parse().ok()
}

pub(crate) async fn a_setuid_file_of_a_job_gives_nothing_on_the_host(bench: &mut Bench) {
    // As if the directories above could be entered by all.
    for dir in bench.dir.join("state").ancestors().take(2) {
        fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).unwrap();
    }
    for limits in DISKS {
        let mut sandbox = bench.open(limits).await;
        for dir in sandbox.workspace().ancestors().take_while(|dir| dir.starts_with(bench.dir.join("state")))
        {
            fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).unwrap();
        }
        let program = sandbox.workspace().join("id");
        // Busybox is of no use: it gives such rights up by itself.
        fs::copy("/usr/bin/id", &program).unwrap();
        sandbox.sh("cp id own; chown 0:0 own; chmod 6755 own; mv own id").await;
        let mode = fs::metadata(&program).unwrap().mode();
        assert_eq!(mode & 0o7777, 0o6755, "as the job has made it");
        assert_eq!(effective_user(&program), Some(65_534), "{limits:?}");
        sandbox.close().await;
    }
}

pub(crate) async fn where_there_can_be_none_it_is_said_or_refused(bench: &mut Bench) {
    // No owner of a file there can be shown as another.
    let odd = bench.dir.join("odd");
    fs::create_dir(&odd).unwrap();
    mount(c"none", &odd, c"ramfs", MountFlags::empty(), None).unwrap();
    let made = |users: OwnUsers, strict: bool| {
        let mut options = bench.options();
        options.state_dir = odd.join("state");
        options.users = users;
        options.strict = strict;
        OciRuntime::new(options, bench.store()).unwrap()
    };
    let said = async |runtime: &OciRuntime| {
        runtime.preflight().await.into_iter().find(|finding| finding.id == "oci.users").unwrap()
    };
    let spec = || SandboxSpec {
        name: "job-1".into(),
        limits: DISKS[0],
        credentials: RegistryCredentials::default(),
    };
    for (users, strict) in [(OwnUsers::Always, false), (OwnUsers::WherePossible, true)] {
        let runtime = made(users, strict);
        let finding = said(&runtime).await;
        assert_eq!(finding.severity, Severity::Fatal);
        assert!(finding.seen.contains("the file system of the data directory"), "{}", finding.seen);
        assert!(finding.remedy.contains("ext4") && finding.remedy.contains("=false"), "{}", finding.remedy);
        let Err(refused) = runtime.open(spec()).await else { panic!("it was not refused") };
        assert!(refused.to_string().contains("users of their own"), "{refused}");
    }
    let runtime = made(OwnUsers::WherePossible, false);
    assert_eq!(said(&runtime).await.severity, Severity::Warning);
    // Its supervisors hear of it and don't try again.
    let mut options = bench.options();
    options.state_dir = odd.join("state");
    options.users = OwnUsers::WherePossible;
    options.tried = Some(told(&runtime));
    let supervisor = OciRuntime::new(options, bench.store()).unwrap();
    for runtime in [runtime, supervisor] {
        let mut sandbox = TestSandbox(runtime.open(spec()).await.unwrap());
        assert_eq!(sandbox.sh("cat /proc/self/uid_map").await.split_whitespace().last(), Some("4294967295"));
        sandbox.close().await;
    }
    unmount(&odd, UnmountFlags::DETACH).unwrap();
}

/// What an agent tells its supervisors, as it comes to them.
fn told(agent: &OciRuntime) -> Tried {
    let line = serde_json::to_string(&agent.tried()).unwrap();
    assert!(line.len() < 1_000, "everybody on the host sees it: {line}");
    serde_json::from_str(&line).unwrap()
}

pub(crate) async fn a_supervisor_tries_nothing_again(bench: &mut Bench) {
    let agent = OciRuntime::new(bench.options(), bench.store()).unwrap();
    let mut options = bench.options();
    // Nothing is found there, and nothing needs to be.
    options.search_path = "/nowhere".into();
    options.runtime = Some("nothing".to_owned());
    options.tried = Some(told(&agent));
    let supervisor = OciRuntime::new(options, bench.store()).unwrap();
    assert_eq!(supervisor.preflight().await, agent.preflight().await);
    let spec =
        SandboxSpec { name: "job-1".into(), limits: DISKS[0], credentials: RegistryCredentials::default() };
    let mut sandbox = TestSandbox(supervisor.open(spec).await.unwrap());
    root_of(&mut sandbox).await;
    sandbox.close().await;
}

pub(crate) async fn an_operator_may_want_the_hosts_users(bench: &mut Bench) {
    let mut options = bench.options();
    options.users = OwnUsers::Never;
    options.strict = true;
    let runtime = OciRuntime::new(options, bench.store()).unwrap();
    let said = runtime.preflight().await.into_iter().find(|finding| finding.id == "oci.users").unwrap();
    assert_eq!(said.severity, Severity::Info);
    let spec =
        SandboxSpec { name: "job-1".into(), limits: DISKS[0], credentials: RegistryCredentials::default() };
    let mut sandbox = TestSandbox(runtime.open(spec).await.unwrap());
    let script = "cat /proc/self/uid_map; echo x > /data/new; stat -c %u /data/new /bin/busybox";
    let said = sandbox.sh(script).await;
    assert_eq!(said.split_whitespace().collect::<Vec<_>>(), ["0", "0", "4294967295", "0", "0"]);
    sandbox.close().await;
}
