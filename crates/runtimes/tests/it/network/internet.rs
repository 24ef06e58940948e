//! A host and an internet, in network namespaces of a test's own. Nothing leaves them.

use rustix::mount::{MountPropagationFlags, mount_bind, mount_change};
use rustix::thread::{UnshareFlags, gettid, unshare_unsafe};
use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::sync::mpsc;

/// Where everybody listens.
const PORT: u16 = 7777;
/// Whom the host asks for names, by UDP and TCP; a name is that of [`NAMED`], whatever it is.
const RESOLVER: &str = "9.9.9.9";
const NAMED: Named = Named { ipv4: Some([1, 1, 1, 1]), ipv6: None };
/// Whom it asks where IPv6 is all it has.
const RESOLVER_V6: &str = "2620:fe::9";
const NAMED_V6: Named = Named { ipv4: None, ipv6: Some([0x2606, 0x4700, 0, 0, 0, 0, 0, 0x1111]) };
/// Whom it asks where a program of its own does that for it.
const STUB: &str = "127.0.0.53";
const NAMED_BY_STUB: Named = Named { ipv4: Some([93, 184, 216, 34]), ipv6: None };

/// What a resolver says that a name is.
#[derive(Clone, Copy)]
struct Named {
    ipv4: Option<[u8; 4]>,
    ipv6: Option<[u16; 8]>,
}

const GATEWAY: &str = "192.168.77.1";

/// The host's addresses: a private one, and two public ones, beside its loopback.
pub(super) const HOST: [&str; 3] = ["192.168.77.2", "9.9.9.77", "2a00:77::2"];
/// Whoever else is there, at each of these, TCP and UDP: on the internet and not. The gateway is the last.
pub(super) const OTHERS: [&str; 18] = [
    "1.1.1.1",
    "93.184.216.34",
    "2606:4700::1111",
    "10.20.3.4",
    "fd12:3456::1",
    "10.0.0.1",
    "172.16.0.1",
    "100.64.0.1",
    "169.254.169.254",
    "192.0.2.1",
    "198.18.61.2",
    "203.0.113.9",
    "fd00:ec2::254",
    "fd99::1",
    "2002:a00:1::1",
    "64:ff9b::a00:1",
    "64:ff9b::101:101",
    GATEWAY,
];

const INTERNET: &str = "
ip link set lo up
for address in $1; do
  case $address in *:*) ip addr add $address dev lo nodad;; *) ip addr add $address dev lo;; esac
done
";
const HOST_LINKS: &str = r#"
ip link set lo up
echo "0 2147483647" > /proc/sys/net/ipv4/ping_group_range
ip link add up0 type veth peer name down0 netns "$1"
ip addr add 192.168.77.2/24 dev up0
ip addr add 9.9.9.77/32 dev up0
ip addr add 2a00:77::2/64 dev up0 nodad
ip link set up0 up
ip route add default via 192.168.77.1
ip -6 route add default via 2a00:77::1
"#;
const OTHER_END: &str = "
ip addr add 192.168.77.1/24 dev down0
ip addr add 2a00:77::1/64 dev down0 nodad
ip link set down0 up
ip route add 9.9.9.77/32 dev down0
";

/// Puts this thread, and all that it will start, on the host: a network namespace whose only way leads to another
/// one, where everybody is.
pub(super) fn enter() {
    let (tell, told) = mpsc::channel();
    let (linked, links) = mpsc::channel();
    std::thread::spawn(move || {
        unshare(UnshareFlags::NEWNET);
        let all = OTHERS.iter().filter(|other| **other != GATEWAY).chain([&RESOLVER, &RESOLVER_V6]);
        sh(INTERNET, &all.copied().collect::<Vec<_>>().join(" "));
        tell.send(gettid().as_raw_nonzero().to_string()).unwrap();
        links.recv().unwrap();
        sh(OTHER_END, "");
        listen(OTHERS.iter().copied());
        resolve(RESOLVER, NAMED);
        resolve(RESOLVER_V6, NAMED_V6);
        tell.send(String::new()).unwrap();
    });
    let internet = told.recv().unwrap();
    unshare(UnshareFlags::NEWNET | UnshareFlags::NEWNS);
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).unwrap();
    let names = tempfile::Builder::new().permissions(fs::Permissions::from_mode(0o644)).tempfile().unwrap();
    fs::write(names.path(), format!("nameserver {RESOLVER}\nsearch example.test\n")).unwrap();
    mount_bind(names.path(), "/etc/resolv.conf").unwrap();
    sh(HOST_LINKS, &internet);
    linked.send(()).unwrap();
    told.recv().unwrap();
    listen(HOST.iter().copied().chain(["127.0.0.1", "::1"]));
}

/// The host gets another address.
pub(super) fn get(address: &'static str) {
    sh("ip addr add $1/32 dev up0", address);
    listen([address].into_iter());
}

/// The host's ways to anywhere are gone.
pub(super) fn leave() {
    sh("ip route del default; ip -6 route del default", "");
}

/// What is left to the host is IPv6.
pub(super) fn leave_ipv4() {
    sh("ip route del default; ip -4 addr flush dev up0", "");
    fs::write("/etc/resolv.conf", format!("nameserver {RESOLVER_V6}\n")).unwrap();
}

/// The host asks itself for names, as most do. What is told then is another address.
pub(super) fn ask_itself() {
    resolve(STUB, NAMED_BY_STUB);
    fs::write("/etc/resolv.conf", format!("nameserver {STUB}\n")).unwrap();
}

fn unshare(what: UnshareFlags) {
    #[expect(unsafe_code, reason = "it has no safe wrapper, since it can also split file descriptor tables")]
    // SAFETY: only `FILES` can break another thread's view of its descriptors, and it is not set.
    unsafe { unshare_unsafe(what) }.unwrap();
}

fn sh(script: &str, argument: &str) {
    let done = Command::new("sh").args(["-exc", script, "sh", argument]).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

/// Says to whoever asks at one of these addresses who it was that was asked.
fn listen(addresses: impl Iterator<Item = &'static str>) {
    for address in addresses {
        let at = SocketAddr::new(address.parse().unwrap(), PORT);
        let tcp = TcpListener::bind(at).unwrap();
        std::thread::spawn(move || {
            for mut stream in tcp.incoming().map_while(Result::ok) {
                let _ = stream.write_all(address.as_bytes());
                let _ = stream.shutdown(std::net::Shutdown::Write);
                let _ = stream.read(&mut [0]);
            }
        });
        let udp = UdpSocket::bind(at).unwrap();
        std::thread::spawn(move || {
            while let Ok((_, from)) = udp.recv_from(&mut [0; 100]) {
                let _ = udp.send_to(address.as_bytes(), from);
            }
        });
    }
}

/// Tells everybody who asks at that address the same.
fn resolve(address: &str, named: Named) {
    let at = SocketAddr::new(address.parse().unwrap(), 53);
    let (tcp, udp) = (TcpListener::bind(at).unwrap(), UdpSocket::bind(at).unwrap());
    std::thread::spawn(move || {
        let mut asked = [0; 512];
        while let Ok((length, from)) = udp.recv_from(&mut asked) {
            let _ = named.answer(&asked[..length]).map(|answer| udp.send_to(&answer, from));
        }
    });
    std::thread::spawn(move || {
        for mut stream in tcp.incoming().map_while(Result::ok) {
            let mut asked = [0; 512];
            let Ok(length) = stream.read(&mut asked) else { continue };
            // One question, which comes at once, after its length.
            let Some(answer) = asked.get(2..length).and_then(|question| named.answer(question)) else {
                continue;
            };
            let _ = stream.write_all(&[&[0, answer.len() as u8][..], &answer].concat());
        }
    });
}

impl Named {
    fn answer(self, question: &[u8]) -> Option<Vec<u8>> {
        // The name ends with an empty part; what kind of address is asked for follows.
        let end = question.get(12..)?.iter().position(|byte| *byte == 0)? + 12;
        let address = match question.get(end + 1..end + 3)? {
            [0, 1] => self.ipv4.map(|address| address.to_vec()),
            [0, 28] => self.ipv6.map(|address| Ipv6Addr::from(address).octets().to_vec()),
            _ => None,
        };
        let mut answer = question.get(..end + 5)?.to_vec();
        answer[2..12].copy_from_slice(&[0x81, 0x80, 0, 1, 0, u8::from(address.is_some()), 0, 0, 0, 0]);
        if let Some(address) = address {
            answer.extend([0xC0, 12, question[end + 1], question[end + 2], 0, 1, 0, 0, 0, 60, 0]);
            answer.push(address.len() as u8);
            answer.extend(address);
        }
        Some(answer)
    }
}
