//! What an agent and its nursery send each other: a text, and a descriptor with it.

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};

/// Bytes of a text: a path, or why something failed.
const LONGEST: usize = 8 << 10;

#[derive(Debug)]
pub(crate) struct Message {
    /// Never empty: that would be the end.
    pub(crate) text: Vec<u8>,
    pub(crate) descriptor: Option<OwnedFd>,
}

/// The two ends of a way for messages, which arrive whole.
pub(crate) fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?)
}

/// Sends a message at once or not at all.
pub(crate) fn send(socket: impl AsFd, message: &Message) -> io::Result<()> {
    let descriptor = message.descriptor.as_ref().map(AsFd::as_fd);
    let descriptors = descriptor.as_slice();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut with = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() {
        with.push(SendAncillaryMessage::ScmRights(descriptors));
    }
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    sendmsg(socket, &[IoSlice::new(&message.text)], &mut with, flags)?;
    Ok(())
}

/// Receives a message that is there; `None` when the other end is gone.
pub(crate) fn receive(socket: impl AsFd) -> io::Result<Option<Message>> {
    let mut text = vec![0; LONGEST];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut with = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
    let received = recvmsg(socket, &mut [IoSliceMut::new(&mut text)], &mut with, flags)?;
    text.truncate(received.bytes);
    let rights = with.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
        _ => None,
    });
    let descriptor = rights.flatten().next();
    Ok((!text.is_empty()).then_some(Message { text, descriptor }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::{Read, Write};

    #[test]
    fn a_text_and_what_goes_with_it_arrive_together() {
        let (ours, theirs) = pair().unwrap();
        let empty = receive(&theirs).unwrap_err();
        assert_eq!(empty.kind(), io::ErrorKind::WouldBlock);
        let (reads, writes) = rustix::pipe::pipe().unwrap();
        send(&ours, &Message { text: b"one".to_vec(), descriptor: Some(writes) }).unwrap();
        send(&ours, &Message { text: b"two".to_vec(), descriptor: None }).unwrap();
        drop(ours);
        let one = receive(&theirs).unwrap().unwrap();
        assert_eq!(one.text, b"one");
        File::from(one.descriptor.unwrap()).write_all(b"through").unwrap();
        let mut told = String::new();
        File::from(reads).read_to_string(&mut told).unwrap();
        assert_eq!(told, "through");
        let two = receive(&theirs).unwrap().unwrap();
        assert!(two.text == b"two" && two.descriptor.is_none());
        assert!(receive(&theirs).unwrap().is_none());
        let gone = send(&theirs, &Message { text: b"three".to_vec(), descriptor: None }).unwrap_err();
        assert_eq!(gone.kind(), io::ErrorKind::BrokenPipe);
    }
}
