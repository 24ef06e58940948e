use crate::harness::{Bench, SPARE_DISK, TestSandbox};
use images::RegistryCredentials;
use runtimes::oci::OciRuntime;
use runtimes::{Limits, Runtime, SandboxSpec};

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
