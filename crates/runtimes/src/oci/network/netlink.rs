//! The kernel's network configuration, by messages: what little of it is needed here.

use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, bind, recv, sendto, socket_with,
};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

/// How long the kernel may take to answer: microseconds, but on a busy host.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);
/// Bytes that the kernel sends at once, at most.
const LONGEST_ANSWER: usize = 64 << 10;
/// Bytes of a list of all there is of something.
const LONGEST_LIST: usize = 64 << 20;
/// Bytes of a message before what it holds: length, kind, flags, number, sender.
const HEADER: usize = 16;
/// Kinds of messages.
const FAULT: u16 = 2;
const LAST: u16 = 3;

pub(super) const REQUEST: u16 = 0x1;
pub(super) const ANSWERED: u16 = 0x4;
pub(super) const NEW: u16 = 0x400;
pub(super) const APPENDED: u16 = 0x800;
/// A list of all there is.
const LIST: u16 = 0x300;

/// Protocols: links, addresses and routes, which has the number 0, and the packet filter.
pub(super) const ROUTES: Option<Protocol> = None;
pub(super) const FILTER: Option<Protocol> = Some(rustix::net::netlink::NETFILTER);

/// A message to the kernel, being written.
#[derive(Debug, Clone)]
pub(super) struct Message(Vec<u8>);

impl Message {
    /// With `body`, the fixed part of a message of its kind.
    pub(super) fn new(kind: u16, flags: u16, body: &[u8]) -> Self {
        let mut bytes = vec![0; 4];
        bytes.extend(kind.to_ne_bytes());
        bytes.extend((flags | REQUEST).to_ne_bytes());
        bytes.extend([0; 8]);
        bytes.extend(body);
        Self(bytes)
    }

    /// Adds an attribute.
    pub(super) fn with(mut self, attribute: &Attribute) -> Self {
        pad(&mut self.0);
        self.0.extend(&attribute.0);
        self
    }

    fn finish(mut self, number: u32) -> Vec<u8> {
        pad(&mut self.0);
        let length = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        self.0[0..4].copy_from_slice(&length.to_ne_bytes());
        self.0[8..12].copy_from_slice(&number.to_ne_bytes());
        self.0
    }
}

/// A part of a message that has a kind, and parts of its own or a value.
#[derive(Debug, Clone)]
pub(super) struct Attribute(Vec<u8>);

/// Set in the kind of an attribute that holds others.
const NESTED: u16 = 0x8000;

impl Attribute {
    pub(super) fn bytes(kind: u16, value: &[u8]) -> Self {
        let length = u16::try_from(value.len() + 4).unwrap_or(u16::MAX);
        let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
        bytes.extend(value);
        pad(&mut bytes);
        Self(bytes)
    }

    /// A number in the order of networks.
    pub(super) fn number(kind: u16, value: u32) -> Self {
        Self::bytes(kind, &value.to_be_bytes())
    }

    pub(super) fn text(kind: u16, value: &str) -> Self {
        Self::bytes(kind, &[value.as_bytes(), &[0]].concat())
    }

    pub(super) fn nested(kind: u16, parts: impl IntoIterator<Item = Self>) -> Self {
        let parts: Vec<u8> = parts.into_iter().flat_map(|part| part.0).collect();
        Self::bytes(kind | NESTED, &parts)
    }
}

fn pad(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}

/// The attributes in `bytes`, each with its kind.
pub(super) fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16::from_ne_bytes(bytes.get(0..2)?.try_into().ok()?));
        let kind = u16::from_ne_bytes(bytes.get(2..4)?.try_into().ok()?) & !NESTED;
        let value = bytes.get(4..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// A socket to the kernel. It is of the network namespace that the thread which made it was in, whoever uses it.
#[derive(Debug)]
pub(super) struct Netlink {
    socket: OwnedFd,
    number: u32,
}

impl Netlink {
    /// For messages of that `protocol`, and for what the kernel tells those `groups`.
    pub(super) fn open(protocol: Option<Protocol>, groups: u32) -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC;
        let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, protocol)?;
        set_socket_timeout(&socket, Timeout::Recv, Some(ANSWER_LIMIT))?;
        bind(&socket, &SocketAddrNetlink::new(0, groups))?;
        Ok(Self { socket, number: 0 })
    }

    /// Sends messages that take effect together or, for protocols without that, one after the other.
    ///
    /// # Errors
    /// What the kernel had against the first of them that failed.
    pub(super) fn send(&mut self, messages: Vec<Message>) -> io::Result<()> {
        let first = self.number + 1;
        let mut bytes = Vec::new();
        let mut asked = 0;
        for message in messages {
            self.number += 1;
            asked += usize::from(is_answered(&message));
            bytes.extend(message.finish(self.number));
        }
        sendto(&self.socket, &bytes, SendFlags::empty(), &SocketAddrNetlink::new(0, 0))?;
        while asked > 0 {
            for (kind, number, body) in parse(&self.receive()?) {
                if kind != FAULT || number < first {
                    continue;
                }
                fault(&body)?;
                asked -= 1;
            }
        }
        Ok(())
    }

    /// All there is of what `message` asks for: kinds and bodies.
    pub(super) fn list(&mut self, mut message: Message) -> io::Result<Vec<(u16, Vec<u8>)>> {
        self.number += 1;
        let flags = REQUEST | LIST;
        message.0[6..8].copy_from_slice(&flags.to_ne_bytes());
        let bytes = message.finish(self.number);
        sendto(&self.socket, &bytes, SendFlags::empty(), &SocketAddrNetlink::new(0, 0))?;
        let (mut listed, mut length) = (Vec::new(), 0);
        loop {
            let received = self.receive()?;
            length += received.len();
            if length > LONGEST_LIST {
                return Err(io::Error::other(format!("the kernel lists more than {LONGEST_LIST} bytes")));
            }
            for (kind, number, body) in parse(&received) {
                match kind {
                    _ if number != self.number => {}
                    LAST => return Ok(listed),
                    FAULT => fault(&body)?,
                    _ => listed.push((kind, body)),
                }
            }
        }
    }

    /// What the kernel has told its groups by now: kinds and bodies.
    pub(super) fn heard(&self) -> io::Result<Vec<(u16, Vec<u8>)>> {
        let mut buffer = vec![0; LONGEST_ANSWER];
        match recv(&self.socket, &mut buffer[..], RecvFlags::DONTWAIT) {
            Ok((length, _)) => {
                Ok(parse(&buffer[..length]).into_iter().map(|(kind, _, body)| (kind, body)).collect())
            }
            Err(Errno::AGAIN) => Ok(Vec::new()),
            Err(error) => Err(error.into()),
        }
    }

    fn receive(&self) -> io::Result<Vec<u8>> {
        let mut buffer = vec![0; LONGEST_ANSWER];
        let (length, _) =
            rustix::io::retry_on_intr(|| recv(&self.socket, &mut buffer[..], RecvFlags::empty()))?;
        buffer.truncate(length);
        Ok(buffer)
    }
}

impl AsFd for Netlink {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn is_answered(message: &Message) -> bool {
    message.0.get(6..8).is_some_and(|flags| u16::from_ne_bytes([flags[0], flags[1]]) & ANSWERED != 0)
}

/// Kinds, numbers and bodies.
fn parse(mut bytes: &[u8]) -> Vec<(u16, u32, Vec<u8>)> {
    let mut found = Vec::new();
    while let Some(header) = bytes.get(..HEADER) {
        let word =
            |at: usize| u32::from_ne_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let length = word(0) as usize;
        let Some(body) = bytes.get(HEADER..length) else { break };
        found.push((u16::from_ne_bytes([header[4], header[5]]), word(8), body.to_owned()));
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    found
}

/// What an answer says went wrong, if something did.
fn fault(body: &[u8]) -> io::Result<()> {
    let code = body.get(..4).and_then(|code| code.try_into().ok()).map_or(0, i32::from_ne_bytes);
    if code == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(-code)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let inner = [Attribute::text(1, "abc"), Attribute::number(2, 7)];
        let message = Message::new(5, ANSWERED, &[9; 4]).with(&Attribute::nested(3, inner));
        let found = parse(&message.finish(11));
        let [(kind, number, body)] = &found[..] else { panic!("{found:?}") };
        assert_eq!((*kind, *number, &body[..4]), (5, 11, &[9; 4][..]));
        let [(3, nested)] = attributes(&body[4..]).collect::<Vec<_>>()[..] else { panic!("{body:?}") };
        let parts: Vec<_> = attributes(nested).collect();
        assert_eq!(parts, [(1, &b"abc\0"[..]), (2, &[0, 0, 0, 7][..])]);
    }

    #[test]
    fn what_is_cut_off_is_left_out() {
        let whole = Message::new(5, 0, &[1; 8]).finish(1);
        assert_eq!(parse(&whole[..whole.len() - 1]), []);
        assert_eq!(parse(&[]), []);
        assert_eq!(attributes(&[9, 0, 1, 0, 5]).count(), 0);
    }

    #[test]
    fn the_kernel_answers_and_refuses() {
        let mut netlink = Netlink::open(ROUTES, 0).unwrap();
        // All links; there is a loopback at least.
        assert!(!netlink.list(Message::new(18, 0, &[0; 16])).unwrap().is_empty());
        let refused = netlink.send(vec![Message::new(16, ANSWERED, &[0; 2])]).unwrap_err();
        assert!(refused.raw_os_error().is_some(), "{refused}");
    }
}
