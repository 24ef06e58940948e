//! What an operator decides of containers.

use super::bench::{containers_of, run, run_on};
use crate::harness::{Bench, Kept, NoProgress, SPARE_DISK, step};
use runtimes::docker::{DockerOptions, Mount, Rights};
use runtimes::{ExitStatus, Limits, Output, RuntimeError, Stream};
use std::io;
use std::path::PathBuf;
use std::time::Duration;
use testkit::{Engine, EngineKind};
use tokio_util::sync::CancellationToken;

fn with(name: &str, change: impl FnOnce(&mut DockerOptions), test: impl AsyncFnOnce(&mut Bench)) {
    let Some(engine) = Engine::shared(name, EngineKind::Docker) else { return };
    run_on(engine, name, change, test);
}

#[test]
fn a_step_reaches_the_host_by_name_if_it_may() {
    let change = |options: &mut DockerOptions| {
        options.network = None;
        options.add_host_gateway = true;
    };
    with("engine::operator::a_step_reaches_the_host_by_name_if_it_may", change, async |bench| {
        std::fs::write(bench.dir.join("greeting"), "from the host").unwrap();
        let mut server = bench.engine().in_network("/bin/busybox");
        let mut server = server.args(["httpd", "-f", "-p", "4998", "-h"]).arg(&bench.dir).spawn().unwrap();
        let mut sandbox = bench.open(Limits::default()).await;
        let fetch = "for i in 1 2 3 4 5; do wget -qO- http://host.docker.internal:4998/greeting && break; sleep 0.2; done";
        assert_eq!(sandbox.sh(fetch).await, "from the host");
        sandbox.close().await;
        server.kill().unwrap();
        server.wait().unwrap();
    });
}

#[test]
fn mounts_come_besides_the_workspace_and_go_with_the_container() {
    let host = tempfile::tempdir().unwrap();
    std::fs::write(host.path().join("certificate"), "mine").unwrap();
    let change = |options: &mut DockerOptions| {
        let source = host.path().to_str().unwrap().to_owned();
        let bind = Mount {
            kind: "bind".into(),
            source,
            target: "/certs".into(),
            read_only: true,
            ..Mount::default()
        };
        let volume = Mount { kind: "volume".into(), target: "/scratch".into(), ..Mount::default() };
        let tmpfs = Mount { kind: "tmpfs".into(), target: "/fast".into(), ..Mount::default() };
        options.additional_mounts = vec![bind, volume, tmpfs];
    };
    with(
        "engine::operator::mounts_come_besides_the_workspace_and_go_with_the_container",
        change,
        async |bench| {
            let mut sandbox = bench.open(Limits::default()).await;
            let look = "cat /certs/certificate; touch /certs/x && echo writable; echo x > /scratch/x; \
                    grep -c ' /fast tmpfs ' /proc/mounts; grep ' /scratch ' /proc/self/mountinfo | cut -d' ' -f4";
            let ran = sandbox.try_sh(look).await;
            let lines: Vec<_> = ran.stdout.lines().collect();
            assert_eq!(lines[..2], ["mine1", lines[1]], "{ran:?}");
            let volume = lines[1].rsplit('/').nth(1).unwrap().to_owned();
            assert_eq!(volume.len(), 64, "{ran:?}");
            sandbox.close().await;
            let volumes = bench.engine().told(&["volume", "ls", "--quiet"]);
            assert!(!volumes.contains(&volume), "{volumes}");
        },
    );
}

#[test]
fn the_engine_may_have_the_workspaces_elsewhere() {
    // As in another container, which has this host's directory at a path of its own.
    let elsewhere = tempfile::tempdir().unwrap();
    let link = elsewhere.path().join("work");
    let change = |options: &mut DockerOptions| {
        std::fs::create_dir(&options.workspaces).unwrap();
        std::os::unix::fs::symlink(&options.workspaces, &link).unwrap();
        options.host_mount_path = Some(link.to_str().unwrap().to_owned());
    };
    with("engine::operator::the_engine_may_have_the_workspaces_elsewhere", change, async |bench| {
        let mut sandbox = bench.open(Limits::default()).await;
        std::fs::write(sandbox.workspace().join("in"), "seen").unwrap();
        assert_eq!(sandbox.sh("cat /data/in").await, "seen");
        sandbox.close().await;
    });
}

#[test]
fn workspaces_that_the_engine_does_not_see_are_told_with_the_remedy() {
    let change = |options: &mut DockerOptions| options.host_mount_path = Some("/nowhere".to_owned());
    with(
        "engine::operator::workspaces_that_the_engine_does_not_see_are_told_with_the_remedy",
        change,
        async |bench| {
            let mut sandbox = bench.open(Limits::default()).await;
            let error = sandbox.run(&["true"]).await.unwrap_err();
            assert!(
                matches!(&error, RuntimeError::Host(text) if text.contains("EXECUTOR_DOCKER_HOST_MOUNT_PATH")),
                "{error}"
            );
            sandbox.close().await;
        },
    );
}

#[test]
fn an_engine_is_reached_over_a_network_too() {
    let name = "engine::operator::an_engine_is_reached_over_a_network_too";
    let Some(engine) = Engine::shared(name, EngineKind::Docker) else { return };
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let socket = engine.host().strip_prefix("unix://").unwrap().to_owned();
    let change = |options: &mut DockerOptions| options.endpoint = format!("tcp://{address}").parse().unwrap();
    run_on(engine, name, change, async |bench| {
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        let passing_on = tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let mut far = tokio::net::UnixStream::connect(&socket).await.unwrap();
                tokio::spawn(async move { tokio::io::copy_bidirectional(&mut near, &mut far).await });
            }
        });
        let mut sandbox = bench.open(Limits::default()).await;
        assert_eq!(sandbox.sh("head -c 1000000 /dev/zero | tr '\\0' x").await.len(), 1_000_000);
        sandbox.close().await;
        // For the guardian, which leaves without asking: nothing of a job is left.
        passing_on.abort();
    });
}

#[test]
fn a_step_that_is_given_up_in_the_middle_goes_with_its_sandbox() {
    let name = "engine::operator::a_step_that_is_given_up_in_the_middle_goes_with_its_sandbox";
    run(name, EngineKind::Docker, async |bench| {
        let mut sandbox = bench.open(Limits::default()).await;
        let mark = sandbox.workspace().join("begun");
        let endless = step(&["sh", "-c", "touch /data/begun; exec sleep 600"]);
        let (mut out, stop) = (Kept::default(), CancellationToken::new());
        tokio::select! {
            ended = sandbox.0.run(endless, &mut out, &stop) => panic!("{ended:?}"),
            () = async {
                while !mark.exists() {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            } => {}
        }
        sandbox.close().await;
        assert_eq!(containers_of(bench.engine(), &bench.owner), [""; 0]);
    });
}

#[test]
fn rights_are_the_engines_own_if_the_operator_says_so() {
    let change = |options: &mut DockerOptions| options.rights = Rights::Engine;
    with("engine::operator::rights_are_the_engines_own_if_the_operator_says_so", change, async |bench| {
        let mut sandbox = bench.open(Limits::default()).await;
        let status = sandbox
            .sh("grep -E '^(CapBnd|NoNewPrivs)' /proc/self/status; mknod /dev/x c 1 3 && echo made")
            .await;
        assert_eq!(status, "CapBnd:\t00000000a80425fb\nNoNewPrivs:\t1\nmade\n");
        sandbox.close().await;
    });
}

#[test]
fn another_oci_runtime_runs_the_steps() {
    let name = "engine::operator::another_oci_runtime_runs_the_steps";
    if crate::harness::find("runsc").is_none() {
        return testkit::missing_part(name, "runsc");
    }
    let change = |options: &mut DockerOptions| options.oci_runtime = Some("runsc".to_owned());
    with(name, change, async |bench| {
        let mut sandbox = bench.open(Limits { memory: Some(256 << 20), ..Limits::default() }).await;
        assert!(sandbox.sh("dmesg").await.contains("gVisor"));
        assert_eq!(sandbox.try_sh("echo out; exit 7").await.exit.status, ExitStatus::Code(7));
        sandbox.close().await;
    });
}

#[test]
fn a_disk_limit_that_storage_can_not_keep_is_left_out() {
    let name = "engine::operator::a_disk_limit_that_storage_can_not_keep_is_left_out";
    let disk = Limits { disk: Some(SPARE_DISK), ..Limits::default() };
    run(name, EngineKind::Docker, async |bench| {
        let mut sandbox = bench.open(disk).await;
        sandbox.sh("true").await;
        sandbox.close().await;
    });
    // Whether XFS has project quotas, only trying tells.
    let Some(engine) = Engine::on_xfs(name, EngineKind::Docker) else { return };
    run_on(
        engine,
        name,
        |_| {},
        async |bench| {
            let mut sandbox = bench.open(disk).await;
            for _ in 0..2 {
                sandbox.sh("true").await;
            }
            sandbox.close().await;
        },
    );
}

#[test]
fn containers_say_whose_they_are() {
    let change = |options: &mut DockerOptions| options.executor = "host-1".to_owned();
    with("engine::operator::containers_say_whose_they_are", change, async |bench| {
        let mut sandbox = bench.try_open("job-42", Limits::default()).await.unwrap();
        let mut out = LookWhenReady(bench, Vec::new(), sandbox.workspace().join("go"));
        let waits = step(&["sh", "-c", "echo ready; while [ ! -e /data/go ]; do sleep 0.01; done"]);
        let ran = sandbox.0.run(waits, &mut out, &CancellationToken::new()).await.unwrap();
        assert_eq!(ran.status, ExitStatus::Code(0));
        let [seen] = out.1.as_slice() else { panic!("{:?}", out.1) };
        assert!(seen.starts_with("executor-job-42-"), "{seen}");
        for label in
            ["executor.name=host-1", "executor.sandbox=job-42", "executor.step=0", "executor.incarnation="]
        {
            assert!(seen.contains(label), "{seen}");
        }
        sandbox.close().await;
    });
}

/// Looks at the engine's list while the step waits to be let go.
struct LookWhenReady<'a>(&'a Bench, Vec<String>, PathBuf);

#[async_trait::async_trait]
impl Output for LookWhenReady<'_> {
    async fn write(&mut self, _: Stream, _: &[u8]) -> io::Result<()> {
        let filter = format!("label=executor.owner={}", self.0.owner);
        let shown = "{{.Names}} {{.Labels}}";
        self.1.push(self.0.engine().told(&["ps", "--format", shown, "--filter", &filter]));
        std::fs::write(&self.2, "")
    }

    fn progress(&self) -> &dyn images::Progress {
        &NoProgress
    }
}

#[test]
fn certificates_are_seen_where_the_workspace_is() {
    let elsewhere = tempfile::tempdir().unwrap();
    let (bundle, link) = (elsewhere.path().join("bundle.pem"), elsewhere.path().join("work"));
    std::fs::write(&bundle, "authorities").unwrap();
    let script = elsewhere.path().join("script");
    std::fs::write(&script, "echo first").unwrap();
    let change = |options: &mut DockerOptions| {
        std::fs::create_dir(&options.workspaces).unwrap();
        std::os::unix::fs::symlink(&options.workspaces, &link).unwrap();
        options.host_mount_path = Some(link.to_str().unwrap().to_owned());
        options.certificates = Some(bundle);
        options.startup_script = Some(script);
    };
    with("engine::operator::certificates_are_seen_where_the_workspace_is", change, async |bench| {
        let mut sandbox = bench.open(Limits::default()).await;
        let seen = sandbox
            .sh("cat $SSL_CERT_FILE; ls -A /data; echo x >> $SSL_CERT_FILE || echo; echo read only")
            .await;
        assert_eq!(seen, "authorities\nread only\n");
        let place = runtimes::STARTUP_SCRIPT;
        let seen = sandbox.sh(&format!("sh {place}; echo x >> {place} || echo; sh {place}")).await;
        assert_eq!(seen, "first\n\nfirst\n");
        sandbox.close().await;
    });
}
