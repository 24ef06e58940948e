use crate::harness::{Bench, IMAGE, step};
use crate::probe;
use runtimes::oci::OwnUsers;
use runtimes::{ExitStatus, Limits, Step};
use rustix::process::{Resource, getrlimit};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

const EPERM: i32 = 1;
const ENOSYS: i32 = 38;

pub(crate) async fn rights_are_few(bench: &mut Bench) {
    let mut sandbox = bench.open(Limits::default()).await;
    let status = sandbox.sh("cat /proc/self/status").await;
    let field = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().to_owned()
    };
    // CHOWN, DAC_OVERRIDE, FOWNER, FSETID, KILL, SETGID, SETUID, SETPCAP, NET_BIND_SERVICE, SYS_CHROOT.
    let few = format!("{:016x}", 0b100_0000_0101_1111_1011_u64);
    assert_eq!(field("CapBnd:"), few);
    assert_eq!(field("CapEff:"), few);
    assert_eq!(field("CapPrm:"), few);
    assert_eq!((field("CapInh:"), field("CapAmb:")), ("0".repeat(16), "0".repeat(16)));
    assert_eq!((field("NoNewPrivs:").as_str(), field("Seccomp:").as_str()), ("1", "2"));
    // Nothing is blocked because the agent does, and pipes and stopping work as everywhere.
    assert_eq!(field("SigBlk:"), "0".repeat(16));
    let ignored = u64::from_str_radix(&field("SigIgn:"), 16).unwrap();
    assert_eq!(ignored & (1 << (15 - 1) | 1 << (2 - 1)), 0);
    // As youki's caveat has it.
    assert_eq!(ignored & (1 << (13 - 1)) != 0, bench.family == "youki");
    // Whatever the agent's own is.
    assert_eq!(sandbox.sh("cat /proc/self/oom_score_adj").await, "1000\n");
    sandbox.close().await;
}

/// Whatever those of this process are, which may be lowered without any right.
pub(crate) async fn limits_of_a_process_are_set(bench: &mut Bench) {
    let allowed = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
    let files = [65_536, 1_048_576].map(|files| allowed.min(files));
    let mut sandbox = bench.open(Limits::default()).await;
    let told = sandbox.sh("ulimit -Sn; ulimit -Hn; ulimit -Sc; ulimit -Hc").await;
    assert_eq!(
        told.split_whitespace().collect::<Vec<_>>(),
        [&files[0].to_string(), &files[1].to_string(), "0", "0"]
    );
    sandbox.close().await;
}

/// Neither the host's nor another job's; the users' is the host's but where jobs have their own.
pub(crate) async fn namespaces_are_the_jobs_own(bench: &mut Bench) {
    const KINDS: [&str; 6] = ["net", "pid", "ipc", "uts", "mnt", "cgroup"];
    let here = |kind: &str| {
        // The mounts of this thread are not those of its process.
        ["self", "thread-self"].map(|process| link(&format!("/proc/{process}/ns/{kind}")))
    };
    let kinds = KINDS.join(" ");
    let told = format!("for kind in {kinds} user; do readlink /proc/self/ns/$kind; done");
    let script = format!("{told}; touch told; until [ -e go ]; do sleep 0.01; done");
    let mut first = bench.open(Limits::default()).await;
    let mut second = bench.try_open("job-2", Limits::default()).await.unwrap();
    let (told_file, go) = (first.workspace().join("told"), first.workspace().join("go"));
    // Both run at once: numbers of namespaces that are gone come again.
    let (first_told, second_told) = tokio::join!(first.sh(&script), async {
        while !told_file.exists() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        let ran = second.try_sh(&told).await;
        fs::write(&go, "").unwrap();
        ran.stdout
    });
    let first_told: Vec<_> = first_told.lines().collect();
    let second_told: Vec<_> = second_told.lines().collect();
    assert_eq!((first_told.len(), second_told.len()), (KINDS.len() + 1, KINDS.len() + 1), "{second_told:?}");
    for (index, kind) in KINDS.into_iter().enumerate() {
        let (one, other) = (first_told[index], second_told[index]);
        assert!(
            one.starts_with(&format!("{kind}:[")) && other.starts_with(&format!("{kind}:[")),
            "{one} {other}"
        );
        assert_ne!(one, other, "two jobs share it");
        let host = here(kind);
        assert!(!host.iter().any(|host| host == one || host == other), "{one}, {other}: {host:?}");
    }
    let shares_users = here("user")[0] == first_told[KINDS.len()];
    assert_eq!(shares_users, bench.users == OwnUsers::Never, "{first_told:?}");
    first.close().await;
    second.close().await;
}

fn link(path: &str) -> String {
    fs::read_link(path).unwrap().to_str().unwrap().to_owned()
}

pub(crate) async fn calls_that_reach_the_host_are_refused(bench: &mut Bench) {
    let mut sandbox = bench.open(Limits::default()).await;
    for (name, number, first, errno) in [
        ("mount", 165, 0, EPERM),
        ("umount2", 166, 0, EPERM),
        ("pivot_root", 155, 0, EPERM),
        ("unshare a user namespace", 272, 0x1000_0000, EPERM),
        ("clone into a user namespace", 56, 0x1000_0000, ENOSYS),
        ("clone3", 435, 0, ENOSYS),
        ("setns", 308, 0, EPERM),
        ("fsopen", 430, 0, EPERM),
        ("open_tree", 428, 0, EPERM),
        ("move_mount", 429, 0, EPERM),
        ("keyctl", 250, 0, EPERM),
        ("add_key", 248, 0, EPERM),
        ("bpf", 321, 0, EPERM),
        ("perf_event_open", 298, 0, EPERM),
        ("userfaultfd", 323, 0, EPERM),
        ("io_uring_setup", 425, 0, EPERM),
        ("open_by_handle_at", 304, 0, EPERM),
        ("kexec_load", 246, 0, EPERM),
        ("init_module", 175, 0, EPERM),
        ("finit_module", 313, 0, EPERM),
        ("fanotify_init", 300, 0, EPERM),
        ("reboot", 169, 0, EPERM),
        ("clock_settime", 227, 0, EPERM),
        ("a vsock socket", 41, 40, ENOSYS),
        ("a kernel crypto socket", 41, 38, ENOSYS),
        ("a call that does not exist", 9_999, 0, ENOSYS),
    ] {
        let path = sandbox.workspace().join("probe");
        fs::write(&path, probe::program(number, [first, 0])).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        let ran = sandbox.run(&["/data/probe"]).await.unwrap();
        // Engines may know no other error than the first for what is not allowed.
        let refused = if bench.has_engine() { &[errno, EPERM][..] } else { &[errno] };
        let refused = refused.iter().any(|errno| ran.exit.status == ExitStatus::Code(*errno));
        assert!(refused, "{name}: {ran:?}");
    }
    sandbox.close().await;
}

pub(crate) async fn the_hosts_files_are_out_of_reach(bench: &mut Bench) {
    let mut sandbox = bench.open(Limits::default()).await;
    // Engines let a step see its own control group.
    let groups = (!bench.has_engine()).then_some("ls /sys/fs/cgroup | grep -q .");
    let attacks = [
        "echo h > /proc/sysrq-trigger && grep -q . /proc/sysrq-trigger",
        "echo x > /proc/sys/kernel/core_pattern",
        "echo x > /sys/kernel/uevent_helper",
        "head -c 1 /proc/kcore | grep -q .",
        "head -c 1 /proc/kallsyms | grep -q .",
        "head -c 1 /proc/keys | grep -q .",
        "head -c 1 /proc/timer_list | grep -q .",
        "cat /proc/slabinfo /proc/vmallocinfo /proc/kpage* | head -c 1 | wc -c | grep -q 1",
        "ls /sys/firmware | grep -q .",
        "ls -A /sys/block /sys/class/block /sys/devices/virtual/block | grep -q '[0-9]'",
        "cat /sys/dev/block/*/loop/* | grep -q .",
        "mknod /data/b b 7 0 || mknod /data/c c 1 1",
        "mknod /dev/b b 7 0",
        "mount -t tmpfs none /mnt",
        "umount /proc/sysrq-trigger",
        "unshare -U true",
        "hostname other",
        "test -e /dev/kvm || test -e /dev/mem || test -e /dev/loop0 || test -e /dev/fuse",
        "test -e /var/run/docker.sock || test -e /run/containerd",
    ];
    for refused in attacks.into_iter().chain(groups) {
        let ran = sandbox.try_sh(refused).await;
        assert_ne!(ran.exit.status, ExitStatus::Code(0), "{refused}: {ran:?}");
    }
    sandbox.close().await;
}

pub(crate) async fn only_the_three_streams_are_inherited(bench: &mut Bench) {
    let mut sandbox = bench.open(Limits::default()).await;
    // The shell's own listing of a directory is one more, which `ls` has open.
    let ran = sandbox.run(&["ls", "/proc/self/fd"]).await.unwrap();
    assert_eq!(ran.stdout.split_whitespace().collect::<Vec<_>>(), ["0", "1", "2", "3"]);
    assert_eq!(sandbox.sh("wc -c").await, "0\n", "there is nothing to read");
    if !bench.has_engine() {
        // A step owns its streams, which the host's /dev/null must not come to.
        sandbox.sh("test -p /proc/self/fd/0 && test -p /proc/self/fd/1 && test -p /proc/self/fd/2").await;
    }
    sandbox.close().await;
}

pub(crate) async fn a_setuid_file_gives_nothing(bench: &mut Bench) {
    let mut sandbox = bench.open(Limits::default()).await;
    sandbox.sh("cp /bin/busybox /data/busybox; chmod 6755 /data/busybox").await;
    let as_nobody = "su nobody -s /bin/sh -c '/data/busybox id -u; /data/busybox id -g'";
    assert_eq!(sandbox.sh(as_nobody).await, "65534\n65534\n");
    sandbox.close().await;
}

pub(crate) async fn an_image_can_not_redirect_what_is_mounted(bench: &mut Bench) {
    let target = bench.dir.join("host-target");
    fs::create_dir(&target).unwrap();
    let target_text = target.to_str().unwrap();
    let busybox = fs::read("/bin/busybox").unwrap();
    let mut layer = testkit::image::Layer::new()
        .directory("bin")
        .file_with_mode("bin/busybox", &busybox, 0o755)
        .symlink("bin/sh", "busybox")
        .symlink("data", target_text)
        .symlink("etc", "/proc/1/root/etc");
    for name in ["proc", "sys", "dev"] {
        layer = layer.symlink(name, target_text);
    }
    bench.import("odd:1", &testkit::image::Archive::new().layer(layer));
    let mut sandbox = bench.open(Limits::default()).await;
    let script =
        "echo x > /data/mine; busybox test -d /proc/self && busybox test -c /dev/null && echo y > /etc/new";
    let ran = sandbox.run_step(Step { image: "odd:1".into(), ..step(&["/bin/sh", "-c", script]) }).await;
    // An engine may refuse such an image.
    if !bench.has_engine() || ran.is_ok() {
        let ran = ran.unwrap();
        assert_eq!(ran.exit.status, ExitStatus::Code(0), "{ran:?}");
        assert!(sandbox.workspace().join("mine").exists());
    }
    assert_eq!(fs::read_dir(&target).unwrap().count(), 0);
    assert!(!Path::new("/etc/new").exists());
    sandbox.close().await;
}

pub(crate) async fn users_are_those_of_the_image(bench: &mut Bench) {
    let layer = |passwd: bool| {
        let busybox = fs::read("/bin/busybox").unwrap();
        let layer = testkit::image::Layer::new()
            .directory("bin")
            .file_with_mode("bin/busybox", &busybox, 0o755)
            .symlink("bin/sh", "busybox")
            .directory("etc");
        if passwd {
            // Where there is no group 0, newer Podmans write one that the user is in.
            let groups = b"root:x:0:\nmore:x:55:app\n";
            layer.file("etc/passwd", b"app:x:1234:99::/srv:/bin/sh\n").file("etc/group", groups)
        } else {
            layer.symlink("etc/passwd", "/proc/self/root/etc/passwd")
        }
    };
    let images = [
        ("user:1", layer(true), "app"),
        ("user:2", layer(false), "root"),
        ("user:3", layer(true), "4294967295"),
        ("user:4", layer(true), "0:4294967295"),
    ];
    for (image, layer, user) in images {
        bench.import(image, &testkit::image::Archive::new().layer(layer).run_as(&[], "", user));
    }
    let mut sandbox = bench.open(Limits::default()).await;
    let script = "busybox id -u; busybox id -G; echo $HOME; busybox grep CapEff /proc/self/status; echo x > /data/mine";
    let ran =
        sandbox.run_step(Step { image: "user:1".into(), ..step(&["/bin/sh", "-c", script]) }).await.unwrap();
    assert_eq!(ran.stdout, "1234\n99 55\n/srv\nCapEff:\t0000000000000000\n", "{ran:?}");
    assert!(sandbox.workspace().join("mine").exists());
    let outside = sandbox.run_step(Step { image: "user:2".into(), ..step(&["/bin/sh", "-c", "true"]) }).await;
    let refused = outside.unwrap_err();
    assert!(bench.has_engine() || refused.to_string().contains("/etc/passwd"), "{refused}");
    for nobody in ["user:3", "user:4"] {
        let step = Step { image: nobody.into(), ..step(&["/bin/sh", "-c", "true"]) };
        let refused = sandbox.run_step(step).await.unwrap_err().to_string();
        assert!(bench.has_engine() || refused.contains("4294967295"), "{nobody}: {refused}");
    }
    assert_ne!(IMAGE, "user:1");
    sandbox.close().await;
}

/// The filter is compiled for the first step only; what the others get must hold as much.
pub(crate) async fn a_later_step_is_filtered_as_the_first(bench: &mut Bench) {
    let mut sandbox = bench.open(Limits::default()).await;
    let look = "grep -E '^(Seccomp|NoNewPrivs)' /proc/self/status; unshare -m true 2>&1; sleep 0.3; true";
    let first = sandbox.sh(look).await;
    assert!(first.contains("Seccomp:\t2") && first.contains("NoNewPrivs:\t1"), "{first}");
    for _ in 0..3 {
        assert_eq!(sandbox.sh(look).await, first);
    }
    sandbox.close().await;
}
