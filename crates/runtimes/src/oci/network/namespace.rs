//! A network namespace for a job: made ahead, closed to everything private, and not the job's to change.
#![expect(
    unsafe_code,
    reason = "unshare(2) has no safe wrapper, since it can also split file descriptor tables"
)]

use super::netlink::{ANSWERED, Attribute, FILTER, Message, NEW, Netlink, ROUTES};
use super::{DEVICE, GATEWAY, GATEWAY_V6, JOB, JOB_V6, MTU, PREFIX, PREFIX_V6, Ways, device};
use crate::oci::users::namespace;
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe};
use std::fs::{self, File};
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

/// What the kernel tells of links.
const LINKS: u32 = 1;
const NEW_LINK: u16 = 16;
const NEW_ADDRESS: u16 = 20;
const NEW_ROUTE: u16 = 24;
/// Bytes of a link before its attributes.
const LINK_HEADER: usize = 16;
const NAME: u16 = 3;
const UP: u32 = 1;
/// Somebody takes what leaves by the link, and the kernel gives it to them.
const CARRIES: u32 = 1 << 16;
const LOOPBACK: u32 = 1;
/// No look whether somebody else has an address.
const UNQUESTIONED: u32 = 2;
/// What root of a job may do in any network of its own, where it would need rights over the namespace: take
/// small port numbers, and ask whether others answer. And nobody's word on routes is taken.
///
/// Groups are the writer's, and so fewer where this process is an ordinary user's; the later holds where it can.
const SETTINGS: [(&str, &str); 4] = [
    ("/proc/sys/net/ipv4/ip_unprivileged_port_start", "0"),
    ("/proc/sys/net/ipv4/ping_group_range", "0 65535"),
    ("/proc/sys/net/ipv4/ping_group_range", "0 2147483647"),
    ("/proc/sys/net/ipv6/conf/default/accept_ra", "0"),
];

/// Whose it is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Owner {
    /// That of this process, an ordinary user's root.
    Same,
    /// One whose root is that number on the host.
    NewRoot(u32),
}

/// It is there as long as this is, or somebody is in it.
#[derive(Debug)]
pub(super) struct Namespace {
    net: OwnedFd,
    /// The user namespace that has rights over it, if it is not this process's.
    user: Option<OwnedFd>,
}

/// Sockets that are of a namespace, wherever they are used.
#[derive(Debug)]
pub(super) struct Sockets {
    pub(super) routes: Netlink,
    pub(super) filter: Netlink,
}

impl Namespace {
    /// Makes one with a loopback. Blocking, for some milliseconds.
    pub(super) fn make(owner: Owner) -> io::Result<(Self, Sockets)> {
        let made = match owner {
            Owner::Same => Self { net: on_its_own_thread(unshare)?, user: None },
            Owner::NewRoot(root) => {
                let (user, net) = namespace::make_with_network(root)?;
                Self { net, user: Some(user) }
            }
        };
        let sockets = made.inside(|| {
            for (setting, value) in SETTINGS {
                if let Err(error) = fs::write(setting, value) {
                    tracing::debug!(%error, setting, "failed to set up a job's network");
                }
            }
            Ok(Sockets { routes: Netlink::open(ROUTES, LINKS)?, filter: Netlink::open(FILTER, 0)? })
        });
        let mut sockets = sockets?;
        sockets.routes.send(vec![change_link(LOOPBACK)])?;
        Ok((made, sockets))
    }

    /// Adds the job's device. It is up, so that it is heard of when somebody takes what leaves by it.
    pub(super) fn add_device(&self, routes: &mut Netlink) -> io::Result<()> {
        self.inside(device::make)?;
        let name = Attribute::text(NAME, DEVICE);
        routes.send(vec![change_link(0).with(&name).with(&Attribute::bytes(4, &MTU.to_ne_bytes()))])
    }

    /// Does something in it.
    pub(super) fn inside<T: Send>(&self, work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
        on_its_own_thread(|| {
            move_into_link_name_space(self.net.as_fd(), Some(LinkNameSpaceType::Network))?;
            work()
        })
    }

    /// It, for our own processes while this one lives.
    pub(super) fn path(&self) -> PathBuf {
        format!("/proc/{}/fd/{}", std::process::id(), self.net.as_raw_fd()).into()
    }

    pub(super) fn net(&self) -> BorrowedFd<'_> {
        self.net.as_fd()
    }

    pub(super) fn user(&self) -> Option<BorrowedFd<'_>> {
        self.user.as_ref().map(AsFd::as_fd)
    }

    pub(super) fn try_clone(&self) -> io::Result<Self> {
        let user = self.user.as_ref().map(OwnedFd::try_clone).transpose()?;
        Ok(Self { net: self.net.try_clone()?, user })
    }
}

/// Threads of a runtime's pool come back; one that changes its namespace must not.
fn on_its_own_thread<T: Send>(work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    std::thread::scope(|scope| {
        let done = std::thread::Builder::new().name("namespace".to_owned()).spawn_scoped(scope, work)?.join();
        done.unwrap_or_else(|_| Err(io::Error::other("the thread that makes a namespace failed")))
    })
}

fn unshare() -> io::Result<OwnedFd> {
    // SAFETY: only `FILES` can break another thread's view of its descriptors, and it is not set.
    unsafe { unshare_unsafe(UnshareFlags::NEWNET) }?;
    Ok(File::open("/proc/thread-self/ns/net")?.into())
}

/// The job's device, if the kernel has told by now that somebody takes what leaves by it.
pub(super) fn carried(routes: &Netlink) -> io::Result<Option<u32>> {
    let number = |body: &[u8], at: usize| Some(u32::from_ne_bytes(body.get(at..at + 4)?.try_into().ok()?));
    let is_carried = |body: &[u8]| {
        let name = super::netlink::attributes(body.get(LINK_HEADER..).unwrap_or_default())
            .find(|(kind, _)| *kind == NAME);
        name.is_some_and(|(_, name)| name.strip_suffix(&[0]) == Some(DEVICE.as_bytes()))
            && number(body, 8).is_some_and(|flags| flags & CARRIES != 0)
    };
    let heard = routes.heard()?;
    let told = heard.iter().find(|(kind, body)| *kind == NEW_LINK && is_carried(body));
    Ok(told.and_then(|(_, body)| number(body, 4)))
}

/// Gives the job's device its addresses, and has it lead to everywhere.
pub(super) fn set_up(routes: &mut Netlink, device: u32, ways: Ways) -> io::Result<()> {
    let mut messages = Vec::new();
    let ipv4 = (IpAddr::from(JOB), PREFIX, IpAddr::from(GATEWAY));
    let ipv6 = (IpAddr::from(JOB_V6), PREFIX_V6, IpAddr::from(GATEWAY_V6));
    for (address, prefix, gateway) in [(ways.ipv4, ipv4), (ways.ipv6, ipv6)]
        .into_iter()
        .filter_map(|(leads, family)| leads.then_some(family))
    {
        messages.push(add_address(device, address, prefix));
        messages.push(add_default_route(device, gateway));
    }
    routes.send(messages)
}

/// Has a link be up: that of a number or, for 0, of a name that is added.
fn change_link(number: u32) -> Message {
    let up = UP.to_ne_bytes();
    Message::new(NEW_LINK, ANSWERED, &[[0; 4], number.to_ne_bytes(), up, up].concat())
}

fn family_and_bytes(address: IpAddr) -> (u8, Vec<u8>) {
    match address {
        IpAddr::V4(address) => (2, address.octets().to_vec()),
        IpAddr::V6(address) => (10, address.octets().to_vec()),
    }
}

fn add_address(device: u32, address: IpAddr, prefix: u8) -> Message {
    let (family, bytes) = family_and_bytes(address);
    let body = [[family, prefix, 0, 0], device.to_ne_bytes()].concat();
    Message::new(NEW_ADDRESS, ANSWERED | NEW, &body)
        .with(&Attribute::bytes(1, &bytes))
        .with(&Attribute::bytes(2, &bytes))
        .with(&Attribute::bytes(8, &UNQUESTIONED.to_ne_bytes()))
}

fn add_default_route(device: u32, gateway: IpAddr) -> Message {
    let (family, bytes) = family_and_bytes(gateway);
    // In the main table, by an operator, to anywhere, one host at a time.
    let body = [family, 0, 0, 0, 254, 4, 0, 1, 0, 0, 0, 0];
    Message::new(NEW_ROUTE, ANSWERED | NEW, &body)
        .with(&Attribute::bytes(5, &bytes))
        .with(&Attribute::bytes(4, &device.to_ne_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::Uid;
    use rustix::thread::set_thread_uid;
    use std::time::{Duration, Instant};

    #[test]
    fn the_device_is_heard_of_when_somebody_carries_and_outlasts_them() {
        let test =
            "oci::network::namespace::tests::the_device_is_heard_of_when_somebody_carries_and_outlasts_them";
        if !testkit::have_root() {
            return testkit::missing_part(test, "root");
        }
        let (namespace, Sockets { mut routes, .. }) = Namespace::make(Owner::NewRoot(65_534)).unwrap();
        namespace.add_device(&mut routes).unwrap();
        let hear = |limit| {
            let begun = Instant::now();
            while begun.elapsed() < limit {
                if let Some(device) = carried(&routes).unwrap() {
                    return Some(device);
                }
                std::thread::sleep(Duration::from_millis(1));
            }
            None
        };
        let by_stranger = namespace.inside(|| {
            set_thread_uid(Uid::from_raw(1_000))?;
            device::attach()
        });
        assert_eq!(by_stranger.unwrap_err().kind(), io::ErrorKind::PermissionDenied, "it is not everybody's");
        assert_eq!(hear(Duration::from_millis(50)), None, "nobody is there yet");
        let carrier = namespace.inside(device::attach).unwrap();
        assert!(hear(Duration::from_secs(10)).is_some());
        drop(carrier);
        let devices = namespace.inside(|| fs::read_to_string("/proc/thread-self/net/dev")).unwrap();
        assert!(devices.contains("eth0:"), "{devices}");
    }
}
