//! Programs on this host that make containers for a job.

use super::bench::{containers_of, run, run_asking, run_on};
use super::private::pull_as_another;
use super::pull::{login, open, private_image};
use crate::harness::{Bench, IMAGE, TestSandbox};
use images::RegistryCredentials;
use runtimes::Limits;
use runtimes::docker::DockerOptions;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::symlink;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;
use testkit::registry::PASSWORD;
use testkit::{Engine, EngineKind};

/// Docker's own client, behind a sandbox's door.
struct Client<'a> {
    address: String,
    engine: &'a Engine,
}

impl<'a> Client<'a> {
    async fn of(bench: &'a Bench, sandbox: &mut TestSandbox) -> Self {
        let door = sandbox.0.engine().await.unwrap().expect("it has an engine");
        Self { address: door.address, engine: bench.engine() }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = self.engine.client();
        command.env("DOCKER_HOST", &self.address).args(args);
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command(args).stdin(Stdio::null()).output().unwrap()
    }

    fn connect(&self) -> UnixStream {
        let stream = UnixStream::connect(self.address.trim_start_matches("unix://")).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        stream
    }

    /// What is answered to a call that no client would make.
    fn raw(&self, method: &str, path: &str, body: &str) -> String {
        let mut stream = self.connect();
        let length = body.len();
        let call = format!(
            "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        );
        stream.write_all(call.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    fn refusal(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(!output.status.success(), "{args:?} was not refused: {output:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }
}

fn limited(options: &mut DockerOptions) {
    options.network = Some("none".to_owned());
}

#[test]
fn a_program_on_the_host_makes_containers_of_the_sandbox() {
    let name = "engine::door::a_program_on_the_host_makes_containers_of_the_sandbox";
    let Some(engine) = Engine::shared(name, EngineKind::Docker) else { return };
    run_on(engine, name, limited, async |bench| {
        let mut sandbox = bench.open(Limits { pids: Some(77), ..Limits::default() }).await;
        let repository = sandbox.workspace().join("repository");
        fs::create_dir(&repository).unwrap();
        fs::write(repository.join("file"), "from the host\n").unwrap();
        let mount = format!("type=bind,source={},target=/work", repository.display());
        let client = Client::of(bench, &mut sandbox).await;
        let script = "cat file -; echo changed > file; grep -E 'CapEff|NoNewPrivs|Seccomp:' /proc/self/status; \
                      cat /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/pids.max; echo $A; exit 3";
        let args = ["run", "--rm", "--init", "--interactive", "--privileged=false", "--memory", "1g"];
        let ids = tempfile::tempdir().unwrap();
        let id = ids.path().join("id");
        let args = [&args[..], &["--cidfile", id.to_str().unwrap(), "--user", "0:0"]].concat();
        let args = [&args[..], &["--workdir", "/work", "--mount", &mount, "--env", "A=b"]].concat();
        let args = [&args[..], &["--entrypoint", "/bin/sh", IMAGE, "-c", script]].concat();
        let mut child = client.command(&args);
        let mut child =
            child.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(b"from its input\n").unwrap();
        let ran = child.wait_with_output().unwrap();
        let (stdout, stderr) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
        assert_eq!(ran.status.code(), Some(3), "{stdout} {stderr}");
        assert!(stdout.starts_with("from the host\nfrom its input\n"), "{stdout} {stderr}");
        assert!(stdout.contains("NoNewPrivs:\t1\n") && stdout.contains("Seccomp:\t2\n"), "{stdout}");
        assert!(stdout.contains("\n77\n") && stdout.ends_with("\nb\n"), "{stdout}");
        // The bounding set of any step.
        let step = sandbox.sh("grep CapEff /proc/self/status").await;
        assert!(stdout.contains(step.trim()), "{stdout} {step}");
        assert_eq!(fs::read_to_string(repository.join("file")).unwrap(), "changed\n");
        assert_eq!(fs::read_to_string(id).unwrap().len(), 64);
        let pulled = client.run(&["image", "pull", IMAGE]);
        assert!(pulled.status.success(), "{pulled:?}");
        sandbox.close().await;
    });
}

#[test]
fn what_a_program_leaves_running_goes_with_the_sandbox() {
    run(
        "engine::door::what_a_program_leaves_running_goes_with_the_sandbox",
        EngineKind::Docker,
        async |bench| {
            let mut sandbox = bench.open(Limits::default()).await;
            let client = Client::of(bench, &mut sandbox).await;
            let left = client.run(&["run", "--detach", IMAGE, "sleep", "600"]);
            assert!(left.status.success(), "{left:?}");
            let mut attached =
                client.command(&["run", IMAGE, "sleep", "600"]).stdin(Stdio::null()).spawn().unwrap();
            let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
            while containers_of(bench.engine(), &bench.owner).len() < 2 {
                assert!(
                    std::time::Instant::now() < deadline,
                    "{:?}",
                    containers_of(bench.engine(), &bench.owner)
                );
                std::thread::sleep(std::time::Duration::from_millis(20));
            }
            let address = client.address.clone();
            sandbox.close().await;
            assert_eq!(containers_of(bench.engine(), &bench.owner), Vec::<String>::new());
            assert!(!std::path::Path::new(address.trim_start_matches("unix://")).exists());
            // Nobody answers it any more.
            attached.wait().unwrap();
        },
    );
}

/// An engine makes a container to the end, and lists it only then.
#[test]
fn a_container_that_is_being_made_when_the_job_ends_goes_as_well() {
    let name = "engine::door::a_container_that_is_being_made_when_the_job_ends_goes_as_well";
    let Some(engine) = Engine::shared(name, EngineKind::Docker) else { return };
    let dir = tempfile::tempdir().unwrap();
    let slow = Slow::before(&engine, &dir.path().join("slow.sock"));
    let address = slow.address.clone();
    let through = |options: &mut DockerOptions| options.endpoint = address.parse().unwrap();
    run_on(engine, name, through, async |bench| {
        let mut sandbox = bench.open(Limits::default()).await;
        let client = Client::of(bench, &mut sandbox).await;
        let mut asking = client.command(&["create", IMAGE, "true"]).stdin(Stdio::null()).spawn().unwrap();
        slow.asked.recv_timeout(Duration::from_secs(30)).unwrap();
        let closing = tokio::spawn(sandbox.close());
        // Whoever does not wait for the engine is done by then.
        for _ in 0..100 {
            if closing.is_finished() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        slow.go_on.send(()).unwrap();
        closing.await.unwrap();
        slow.answered.recv_timeout(Duration::from_secs(30)).unwrap();
        assert_eq!(containers_of(bench.engine(), &bench.owner), Vec::<String>::new());
        assert!(!asking.wait().unwrap().success());
    });
}

/// Stands before an engine, and lets it make a container when it is told to.
struct Slow {
    address: String,
    asked: mpsc::Receiver<()>,
    go_on: mpsc::Sender<()>,
    answered: mpsc::Receiver<()>,
}

impl Slow {
    fn before(engine: &Engine, socket: &Path) -> Self {
        let listener = UnixListener::bind(socket).unwrap();
        let real = engine.host().trim_start_matches("unix://").to_owned();
        let ((ask, asked), (go_on, gone_on), (answer, answered)) =
            (mpsc::channel(), mpsc::channel(), mpsc::channel());
        let gone_on = Arc::new(Mutex::new(gone_on));
        std::thread::spawn(move || {
            for theirs in listener.incoming().map_while(Result::ok) {
                let ours = UnixStream::connect(&real).unwrap();
                let (ask, gone_on, answer) = (ask.clone(), Arc::clone(&gone_on), answer.clone());
                std::thread::spawn(move || {
                    let mut first = vec![0; 64 << 10];
                    let read = (&theirs).read(&mut first).unwrap_or_default();
                    let makes = String::from_utf8_lossy(&first[..read]).contains("/containers/create");
                    if makes {
                        ask.send(()).unwrap();
                        gone_on.lock().unwrap().recv().unwrap();
                    }
                    (&ours).write_all(&first[..read]).unwrap();
                    let (from, mut to) = (theirs.try_clone().unwrap(), ours.try_clone().unwrap());
                    std::thread::spawn(move || std::io::copy(&mut &from, &mut to));
                    if makes {
                        // Whoever asked may be gone; what the engine does, it does.
                        let read = (&ours).read(&mut first).unwrap_or_default();
                        let _ = (&theirs).write_all(&first[..read]);
                        answer.send(()).unwrap();
                    }
                    let _ = std::io::copy(&mut &ours, &mut &theirs);
                });
            }
        });
        Self { address: format!("unix://{}", socket.display()), asked, go_on, answered }
    }
}

#[test]
fn a_program_reaches_nothing_but_its_own_containers() {
    run(
        "engine::door::a_program_reaches_nothing_but_its_own_containers",
        EngineKind::Docker,
        async |bench| {
            let mut sandbox = bench.open(Limits::default()).await;
            let client = Client::of(bench, &mut sandbox).await;
            let other = bench.engine().told(&["create", IMAGE, "true"]);
            for (args, why) in [
                (&["run", "--privileged", IMAGE, "true"][..], "can't be given Privileged"),
                (&["run", "--volume", "/etc:/host", IMAGE, "true"], "\"/etc\" is not in the job's workspace"),
                (&["run", "--pid", "host", IMAGE, "true"], "can't be given PidMode"),
                (&["run", "--cap-add", "ALL", IMAGE, "true"], "can't be given CapAdd"),
                (&["run", "--device", "/dev/loop0", IMAGE, "true"], "can't be given Devices"),
                (&["run", "--volumes-from", &other, IMAGE, "true"], "can't be given VolumesFrom"),
                (&["ps"], "a job may not ask the engine for GET"),
                (&["volume", "create"], "a job may not ask the engine for POST"),
                (&["rm", &other], "No such container"),
                (&["start", &other], "No such container"),
                (&["cp", &format!("{other}:/bin"), "/nowhere"], "No such container"),
                (&["rmi", "--force", IMAGE], "a job may not ask the engine for DELETE"),
            ] {
                let said = client.refusal(args);
                assert!(said.contains(why), "{args:?}: {said}");
            }
            bench.engine().told(&["rm", &other]);
            sandbox.close().await;
        },
    );
}

/// Its client may just be sending, and would hear of a broken connection.
#[test]
fn whoever_is_refused_is_heard_out() {
    run("engine::door::whoever_is_refused_is_heard_out", EngineKind::Docker, async |bench| {
        let mut sandbox = bench.open(Limits::default()).await;
        let client = Client::of(bench, &mut sandbox).await;
        let other = bench.engine().told(&["create", IMAGE, "true"]);
        let rest = vec![b' '; 8 << 20];
        for (method, path, status) in [
            ("POST", "/build".to_owned(), 403),
            ("POST", "/images/create?fromSrc=-".to_owned(), 403),
            ("POST", "/containers/create".to_owned(), 403),
            ("PUT", format!("/containers/{other}/archive?path=/"), 404),
        ] {
            let mut stream = client.connect();
            let head = format!(
                "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
                rest.len()
            );
            stream.write_all(head.as_bytes()).unwrap();
            let patience = stream.read_timeout().unwrap();
            stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
            assert!(stream.read(&mut [0]).is_err(), "{path} is answered before all of it is there");
            stream.set_read_timeout(patience).unwrap();
            stream.write_all(&rest).unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{path}: {answer}");
        }
        bench.engine().told(&["rm", &other]);
        sandbox.close().await;
    });
}

#[test]
fn no_spelling_of_a_call_leads_around_the_door() {
    let name = "engine::door::no_spelling_of_a_call_leads_around_the_door";
    run(name, EngineKind::Docker, async |bench| {
        let mut sandbox = bench.open(Limits::default()).await;
        let repository = sandbox.workspace().join("repository");
        fs::create_dir(&repository).unwrap();
        let client = Client::of(bench, &mut sandbox).await;
        for (path, body) in [
            ("/containers/create", r#"{"Image":"IMAGE","HostConfig":{},"hostconfig":{"Privileged":true}}"#),
            ("/containers/create", r#"{"Image":"IMAGE","HOSTCONFIG":{"Binds":["/:/h"]}}"#),
            ("/containers/create?Name=a", r#"{"Image":"IMAGE"}"#),
            ("/containers/create?name=a&n%61me=b", r#"{"Image":"IMAGE"}"#),
            ("/images/create?fromSrc=http://127.0.0.1:1/x&repo=busybox", ""),
            ("/images/create?from%53rc=-&repo=busybox", "x"),
            ("/images/create?fromImage=IMAGE&repo=busybox", ""),
        ] {
            let answer = client.raw("POST", &path.replace("IMAGE", IMAGE), &body.replace("IMAGE", IMAGE));
            assert!(answer.starts_with("HTTP/1.1 403"), "{path} {body}: {answer}");
        }
        assert_eq!(containers_of(bench.engine(), &bench.owner), Vec::<String>::new());

        // A name that is somebody's id means the container that was given it.
        let other = bench.engine().told(&["create", IMAGE, "true"]);
        let body = format!(r#"{{"Image":"{IMAGE}","Cmd":["true"]}}"#);
        let made = client.raw("POST", &format!("/containers/create?name={other}"), &body);
        if made.starts_with("HTTP/1.1 201") {
            let answer = client.raw("POST", &format!("/containers/{other}/start"), "");
            assert!(answer.starts_with("HTTP/1.1 204"), "{answer}");
        }
        let state = bench.engine().told(&["inspect", "--format", "{{.State.Status}}", &other]);
        assert_eq!(state, "created");
        bench.engine().told(&["rm", &other]);

        // What is mounted is what was there when the container was made.
        let mount = format!("{}:/work", repository.display());
        let made = client.run(&["create", "--volume", &mount, IMAGE, "ls", "/work"]);
        let made = String::from_utf8(made.stdout).unwrap();
        fs::remove_dir(&repository).unwrap();
        symlink("/etc", &repository).unwrap();
        let said = client.refusal(&["start", "--attach", made.trim()]);
        assert!(said.contains("is not what the container was made with"), "{said}");
        sandbox.close().await;
    });
}

/// What one tries that has taken over a program on this host.
const PRY: &str = r#"
for path in /root /home /var /run /etc/shadow /sys HOST ENGINE; do [ -e "$path" ] && echo "seen $path"; done
for path in /usr/x /etc/x /proc/sys/kernel/core_pattern "$AROUND/x" /dev/x; do
  (echo x > "$path") 2> /dev/null && echo "written $path"; done
kill -0 "$HOST_PID" 2> /dev/null && echo "reached $HOST_PID"
mount -t tmpfs none /tmp 2> /dev/null && echo mounted
grep -vc Iface /proc/net/route
grep -E 'CapEff|CapBnd|NoNewPrivs' /proc/self/status
echo 'echo run' > script; chmod +x script; ./script 2> /dev/null && echo executed
id -u; pwd; echo kept > file; docker run --rm IMAGE echo from a container
sleep 600 > /dev/null 2>&1 &
exit 7"#;

#[test]
fn a_program_on_the_host_is_kept_to_its_jobs_workspace() {
    let name = "engine::door::a_program_on_the_host_is_kept_to_its_jobs_workspace";
    let Some(engine) = Engine::shared(name, EngineKind::Docker) else { return };
    run_on(engine, name, limited, async |bench| {
        let mut sandbox = bench.open(Limits::default()).await;
        let directory = sandbox.workspace().join("repository");
        fs::create_dir(&directory).unwrap();
        let private = tempfile::tempdir().unwrap();
        fs::write(private.path().join("file"), "private").unwrap();
        let door = sandbox.0.engine().await.unwrap().unwrap();
        let socket = bench.engine().host().trim_start_matches("unix://").to_owned();
        let script = PRY.replace("IMAGE", IMAGE).replace("ENGINE", &socket);
        let script = script.replace("HOST ", &format!("{} ", private.path().join("file").display()));
        let search_path = "/usr/local/bin:/usr/bin:/bin";
        let asked = ["sh", "-c", &script].map(str::to_owned);
        assert_eq!(door.confined("repository", "/nowhere", &asked), None);
        let argv = door.confined("repository", search_path, &asked).unwrap();
        let ran = Command::new(&argv[0])
            .args(&argv[1..])
            .env_clear()
            .env("PATH", search_path)
            .env("DOCKER_HOST", &door.address)
            .env("AROUND", &door.dir)
            .env("HOST_PID", std::process::id().to_string())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let (stdout, stderr) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
        assert_eq!(ran.status.code(), Some(7), "{stdout}{stderr}");
        let expected = format!(
            "0\nCapEff:\t000000000000000b\nCapBnd:\t000000000000000b\nNoNewPrivs:\t1\n0\n{}\nfrom a container\n",
            directory.display()
        );
        assert_eq!(stdout, expected, "{stderr}");
        assert_eq!(fs::read_to_string(directory.join("file")).unwrap(), "kept\n");
        let open = format!("{}", door.dir.display());
        let left = fs::read_dir("/proc").unwrap().filter_map(|entry| {
            let cwd = fs::read_link(entry.unwrap().path().join("cwd")).ok()?;
            cwd.starts_with(&open).then_some(cwd)
        });
        assert_eq!(left.collect::<Vec<_>>(), Vec::<std::path::PathBuf>::new());
        sandbox.close().await;
    });
}

#[test]
fn a_private_image_is_for_programs_of_jobs_that_may_pull_it() {
    let name = "engine::door::a_private_image_is_for_programs_of_jobs_that_may_pull_it";
    run_asking(name, async |bench| {
        let Some((registry, secret)) = private_image(name, bench.engine(), "door") else { return };
        pull_as_another(bench.engine(), &registry, &secret);
        let id = bench.engine().told(&["image", "inspect", "--format", "{{.Id}}", &secret]);

        let mut stranger = open(bench, RegistryCredentials::default()).await;
        let client = Client::of(bench, &mut stranger).await;
        for image in [&secret, &id] {
            client.refusal(&["image", "inspect", image]);
            client.refusal(&["run", "--rm", "--pull", "never", image, "true"]);
        }
        stranger.close().await;

        let mut owner = open(bench, login(&registry, PASSWORD)).await;
        let client = Client::of(bench, &mut owner).await;
        let seen = client.run(&["image", "inspect", "--format", "{{.Id}}", &secret]);
        assert_eq!(String::from_utf8_lossy(&seen.stdout).trim(), id, "{seen:?}");
        for image in [&secret, &id] {
            let made = client.run(&["create", image, "x"]);
            assert!(made.status.success(), "{made:?}");
        }
        owner.close().await;
    });
}
