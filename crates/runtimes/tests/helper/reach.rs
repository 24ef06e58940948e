//! What a step tries in order to reach somebody: one line for each attempt, with what was answered or why not.
#![expect(unsafe_code, reason = "binding a socket to a device has no safe wrapper")]

use std::io::{self, Read, Write};
use std::mem::MaybeUninit;
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs, UdpSocket};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::process::ExitCode;
use std::time::Duration;

const PORT: u16 = 7777;
const LIMIT: Duration = Duration::from_secs(5);
const DEVICE: &[u8] = b"eth0\0";

/// Takes attempts like `tcp 1.1.1.1`, makes all of them at once and writes them down in their order.
pub(crate) fn main(attempts: impl Iterator<Item = String>) -> ExitCode {
    let threads: Vec<_> =
        attempts.map(|attempt| std::thread::spawn(move || (make(&attempt), attempt))).collect();
    for thread in threads {
        let Ok((made, attempt)) = thread.join() else { return ExitCode::FAILURE };
        let told = made.unwrap_or_else(|error| format!("failed: {error}"));
        if writeln!(io::stdout(), "{attempt} -> {told}").is_err() {
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn make(attempt: &str) -> io::Result<String> {
    let (how, whom) = attempt.split_once(' ').ok_or(io::ErrorKind::InvalidInput)?;
    let address = || -> io::Result<SocketAddr> {
        let address: IpAddr = whom.parse().map_err(io::Error::other)?;
        Ok((address, PORT).into())
    };
    match how {
        "tcp" => tcp(address()?),
        "udp" => udp(&UdpSocket::bind(any(address()?))?, address()?),
        // Whoever binds to a device has the kernel take for granted that everything is on its wire.
        "bound-tcp" => bound_tcp(address()?),
        "bound-udp" => {
            let socket = UdpSocket::bind(any(address()?))?;
            bind_to_device(socket.as_raw_fd())?;
            udp(&socket, address()?)
        }
        "name" => {
            let found = (whom, PORT).to_socket_addrs()?.next().ok_or(io::ErrorKind::NotFound)?;
            tcp(found)
        }
        "dns" => resolve(whom.parse().map_err(io::Error::other)?),
        "ping" => ping(address()?),
        // ICMP by a raw socket; whole packets; whole frames.
        "raw" => socket(libc::AF_INET, libc::SOCK_RAW, libc::IPPROTO_ICMP),
        "packet" => socket(libc::AF_INET, libc::SOCK_RAW, libc::IPPROTO_RAW),
        "frame" => socket(libc::AF_PACKET, libc::SOCK_RAW, 0x0300),
        "route" => {
            socket(libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_NETFILTER).and_then(|_| change_routes())
        }
        _ => Err(io::ErrorKind::InvalidInput.into()),
    }
}

fn any(like: SocketAddr) -> SocketAddr {
    let any = if like.is_ipv4() { [0; 4].into() } else { [0_u16; 8].into() };
    SocketAddr::new(any, 0)
}

fn tcp(to: SocketAddr) -> io::Result<String> {
    listen_to(TcpStream::connect_timeout(&to, LIMIT)?)
}

fn listen_to(mut stream: TcpStream) -> io::Result<String> {
    stream.set_read_timeout(Some(LIMIT))?;
    let mut said = String::new();
    stream.read_to_string(&mut said)?;
    if said.is_empty() { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(said) }
}

fn udp(socket: &UdpSocket, to: SocketAddr) -> io::Result<String> {
    socket.set_read_timeout(Some(Duration::from_millis(1_500)))?;
    socket.set_broadcast(true)?;
    socket.send_to(b"?", to)?;
    let mut said = [0; 100];
    let (length, _) = socket.recv_from(&mut said)?;
    Ok(String::from_utf8_lossy(&said[..length]).into_owned())
}

/// Asks a resolver for an address by TCP, as programs do whose answer does not fit a packet.
fn resolve(whom: IpAddr) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&(whom, 53).into(), LIMIT)?;
    stream.set_read_timeout(Some(LIMIT))?;
    let mut question = vec![0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    question.extend(b"\x06mirror\x07example\x00\x00\x01\x00\x01");
    stream.write_all(&[&[0, question.len() as u8][..], &question].concat())?;
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut answer = vec![0; u16::from_be_bytes(length).into()];
    stream.read_exact(&mut answer)?;
    let address = answer.last_chunk::<4>().ok_or(io::ErrorKind::UnexpectedEof)?;
    Ok(IpAddr::from(*address).to_string())
}

/// By the socket that needs no rights, where groups may have it.
fn ping(whom: SocketAddr) -> io::Result<String> {
    // SAFETY: it takes three numbers.
    let socket = checked(unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM, libc::IPPROTO_ICMP) })?;
    // SAFETY: nobody else has this descriptor.
    let socket = UdpSocket::from(unsafe { OwnedFd::from_raw_fd(socket) });
    socket.set_read_timeout(Some(LIMIT))?;
    socket.connect((whom.ip(), 0))?;
    socket.send(&[8, 0, 0, 0, 0, 1, 0, 1])?;
    let length = socket.recv(&mut [0; 100])?;
    if length == 8 { Ok("answered".to_owned()) } else { Err(io::ErrorKind::InvalidData.into()) }
}

fn bound_tcp(to: SocketAddr) -> io::Result<String> {
    let family = if to.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    // SAFETY: it takes three numbers.
    let socket = checked(unsafe { libc::socket(family, libc::SOCK_STREAM, 0) })?;
    // SAFETY: nobody else has this descriptor.
    let stream = TcpStream::from(unsafe { OwnedFd::from_raw_fd(socket) });
    bind_to_device(socket)?;
    // Connecting is not tried for longer than this.
    stream.set_write_timeout(Some(LIMIT))?;
    // SAFETY: zeros are an address of no family, and the longest there is has room here.
    let mut name: libc::sockaddr_storage = unsafe { MaybeUninit::zeroed().assume_init() };
    let length = match to {
        SocketAddr::V4(to) => {
            // SAFETY: the storage is large and aligned enough for any address.
            let name = unsafe { &mut *(&raw mut name).cast::<libc::sockaddr_in>() };
            name.sin_family = libc::AF_INET as u16;
            name.sin_port = to.port().to_be();
            name.sin_addr.s_addr = u32::from_ne_bytes(to.ip().octets());
            size_of::<libc::sockaddr_in>()
        }
        SocketAddr::V6(to) => {
            // SAFETY: as above.
            let name = unsafe { &mut *(&raw mut name).cast::<libc::sockaddr_in6>() };
            name.sin6_family = libc::AF_INET6 as u16;
            name.sin6_port = to.port().to_be();
            name.sin6_addr.s6_addr = to.ip().octets();
            size_of::<libc::sockaddr_in6>()
        }
    };
    // SAFETY: the kernel reads as many bytes of the address as it is told that there are.
    checked(unsafe { libc::connect(socket, (&raw const name).cast(), length as u32) })?;
    listen_to(stream)
}

fn bind_to_device(socket: i32) -> io::Result<()> {
    // SAFETY: the kernel reads as many bytes as it is told that there are.
    let bound = unsafe {
        let (option, length) = (libc::SO_BINDTODEVICE, DEVICE.len() as u32);
        libc::setsockopt(socket, libc::SOL_SOCKET, option, DEVICE.as_ptr().cast(), length)
    };
    checked(bound).map(drop)
}

fn socket(family: i32, kind: i32, protocol: i32) -> io::Result<String> {
    // SAFETY: it takes three numbers.
    let socket = checked(unsafe { libc::socket(family, kind, protocol) })?;
    // SAFETY: nobody else has this descriptor.
    drop(unsafe { OwnedFd::from_raw_fd(socket) });
    Ok("a socket".to_owned())
}

/// Takes its loopback down, as whoever has rights over a network may.
fn change_routes() -> io::Result<String> {
    // SAFETY: it takes three numbers.
    let socket = checked(unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM, 0) })?;
    // SAFETY: nobody else has this descriptor.
    let _socket = unsafe { OwnedFd::from_raw_fd(socket) };
    // SAFETY: zeros are a request about a device without a name.
    let mut request: libc::ifreq = unsafe { MaybeUninit::zeroed().assume_init() };
    request.ifr_name[..2].copy_from_slice(&[b'l' as libc::c_char, b'o' as libc::c_char]);
    // SAFETY: the kernel reads one request, which outlives the call.
    checked(unsafe { libc::ioctl(socket, libc::SIOCSIFFLAGS as _, &raw mut request) })?;
    Ok("changed".to_owned())
}

fn checked(result: i32) -> io::Result<i32> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
