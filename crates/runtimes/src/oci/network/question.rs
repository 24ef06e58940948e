//! A question to a name server, as a job's programs ask it.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

/// How long an answer may take; then it is asked once more.
const LIMIT: Duration = Duration::from_millis(500);
const TRIES: usize = 2;
/// Bytes of an answer that is not asked for in another way.
const LONGEST: usize = 512;
const PORT: u16 = 53;
const HEADER: usize = 12;
const RECURSION: u8 = 1;
const A: u16 = 1;
const AAAA: u16 = 28;
const INTERNET: u16 = 1;
/// What begins a reference to a name that was there already.
const REFERENCE: u8 = 0xc0;

/// The addresses of `name`, as the server at `server` knows them; none if it has none.
pub(super) fn ask(server: IpAddr, name: &str) -> io::Result<Vec<IpAddr>> {
    let any =
        if server.is_ipv4() { IpAddr::from(Ipv4Addr::UNSPECIFIED) } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind(SocketAddr::new(any, 0))?;
    socket.connect(SocketAddr::new(server, PORT))?;
    socket.set_read_timeout(Some(LIMIT))?;
    let mut found = exchange(&socket, &question(1, name, A)?)?;
    // Whoever has the one is not asked for nothing else; a server may know of one kind only.
    found.extend(exchange(&socket, &question(2, name, AAAA)?).unwrap_or_default());
    Ok(found)
}

fn exchange(socket: &UdpSocket, question: &[u8]) -> io::Result<Vec<IpAddr>> {
    let mut buffer = [0; LONGEST];
    let mut last = io::Error::from(io::ErrorKind::TimedOut);
    for _ in 0..TRIES {
        socket.send(question)?;
        // An answer to what was asked before may still come.
        loop {
            match socket.recv(&mut buffer) {
                Ok(length) if buffer[..2] == question[..2] => return Ok(addresses(&buffer[..length])),
                Ok(_) => {}
                Err(error) => {
                    last = error;
                    break;
                }
            }
        }
    }
    Err(last)
}

fn question(number: u16, name: &str, kind: u16) -> io::Result<Vec<u8>> {
    let mut bytes = [number.to_be_bytes(), [RECURSION, 0], [0, 1], [0; 2], [0; 2], [0; 2]].concat();
    for label in name.split('.').filter(|label| !label.is_empty()) {
        let length = u8::try_from(label.len()).ok().filter(|length| *length < 64);
        bytes.push(length.ok_or(io::ErrorKind::InvalidInput)?);
        bytes.extend(label.bytes());
    }
    bytes.push(0);
    bytes.extend([kind.to_be_bytes(), INTERNET.to_be_bytes()].concat());
    Ok(bytes)
}

/// Those in an answer, as far as it can be read.
fn addresses(answer: &[u8]) -> Vec<IpAddr> {
    let mut found = Vec::new();
    let count = |at: usize| number(answer, at).unwrap_or_default();
    let (questions, answers) = (count(4), count(6));
    let mut at = HEADER;
    for _ in 0..questions {
        let Some(end) = after_name(answer, at) else { return found };
        at = end + 4;
    }
    for _ in 0..answers {
        let Some(fixed) = after_name(answer, at) else { return found };
        let Some((kind, length)) = number(answer, fixed).zip(number(answer, fixed + 8)) else { return found };
        let data = fixed + 10;
        at = data + usize::from(length);
        let Some(data) = answer.get(data..at) else { return found };
        let address = match kind {
            A => <[u8; 4]>::try_from(data).ok().map(IpAddr::from),
            AAAA => <[u8; 16]>::try_from(data).ok().map(IpAddr::from),
            _ => None,
        };
        found.extend(address);
    }
    found
}

fn number(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn after_name(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match *bytes.get(at)? {
            0 => return Some(at + 1),
            length if length & REFERENCE == REFERENCE => return Some(at + 2),
            length => at += 1 + usize::from(length),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a server says of `name` by two addresses, the first by way of another name.
    fn answer(question: &[u8]) -> Vec<u8> {
        let mut bytes = question.to_vec();
        bytes[7] = 3;
        for (kind, data) in [(5, &[1, b'x', 0][..]), (A, &[10, 1, 2, 3][..]), (A, &[10, 1, 2, 4][..])] {
            bytes.extend([REFERENCE, 12]);
            bytes.extend([kind.to_be_bytes(), INTERNET.to_be_bytes(), [0; 2], [0; 2]].concat());
            bytes.extend(u16::try_from(data.len()).unwrap().to_be_bytes());
            bytes.extend(data);
        }
        bytes
    }

    #[test]
    fn addresses_are_read_and_nothing_else() {
        let question = question(1, "sg.example.com", A).unwrap();
        assert_eq!(question[HEADER..HEADER + 4], [2, b's', b'g', 7]);
        let answer = answer(&question);
        let expected: Vec<IpAddr> = ["10.1.2.3", "10.1.2.4"].map(|ip| ip.parse().unwrap()).into();
        assert_eq!(addresses(&answer), expected);
        assert_eq!(addresses(&question), [] as [IpAddr; 0]);
        for cut in 0..answer.len() {
            assert!(addresses(&answer[..cut]).len() < 2);
        }
        assert!(super::question(1, &"x".repeat(64), A).is_err());
    }
}
