//! A proxy for one git command: SOCKS version 5 (RFC 1928) on a port of the loopback, for HTTP and HTTPS
//! alike. It resolves names itself and connects to no address that is forbidden.

use super::fault::GitFault;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Connections of one command at one time. Git uses one or two.
const CONNECTIONS: usize = 16;
/// How long a client may take to say whom it wants to be connected to.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long a connection to one address may take.
const CONNECT: Duration = Duration::from_secs(15);

const VERSION: u8 = 5;
const NO_AUTHENTICATION: u8 = 0;
const CONNECT_COMMAND: u8 = 1;
const IPV4: u8 = 1;
const NAME: u8 = 3;
const IPV6: u8 = 4;
const GRANTED: u8 = 0;
const NOT_ALLOWED: u8 = 2;
const UNREACHABLE: u8 = 4;

/// Why the latest connection did not come about.
type Trouble = Arc<Mutex<Option<GitFault>>>;

/// The proxy. It ends, with all its connections, when this is dropped.
pub(super) struct Socks {
    address: SocketAddr,
    trouble: Trouble,
    _task: JoinSet<()>,
}

impl Socks {
    /// Opens the proxy.
    pub(super) async fn open() -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let (address, trouble) = (listener.local_addr()?, Trouble::default());
        let mut task = JoinSet::new();
        task.spawn(serve(listener, Arc::clone(&trouble)));
        Ok(Self { address, trouble, _task: task })
    }

    /// Where it is, for a client that leaves names to it.
    pub(super) fn url(&self) -> String {
        format!("socks5h://{}", self.address)
    }

    /// Tells a failed command's cause as far as it is known here: git hears only that it did not work.
    pub(super) fn explained(&self, fault: GitFault) -> GitFault {
        let trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner).take();
        match (trouble, fault) {
            (Some(GitFault::Refused { cause: ours }), GitFault::Refused { cause }) => {
                let begin = cause.find("': ").map_or(cause.as_str(), |end| &cause[..=end]);
                GitFault::Refused { cause: format!("{begin}: {ours}") }
            }
            (Some(ours), _) => ours,
            (None, fault) => fault,
        }
    }
}

async fn serve(listener: TcpListener, trouble: Trouble) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Some(_) = connections.join_next() => {}
            accepted = listener.accept(), if connections.len() < CONNECTIONS => match accepted {
                Ok((client, _)) => {
                    let trouble = Arc::clone(&trouble);
                    connections.spawn(async move {
                        // Git tells what came of it.
                        let _ = attend(client, &trouble).await;
                    });
                }
                Err(fault) => {
                    tracing::warn!(error = %fault, "git can't be connected to its source");
                    return;
                }
            },
        }
    }
}

async fn attend(mut client: TcpStream, trouble: &Trouble) -> io::Result<()> {
    let (host, port) = timeout(HANDSHAKE, asked_for(&mut client)).await??;
    let found = connect(&host, port).await;
    let (code, server, fault) = match found {
        Ok(server) => (GRANTED, Some(server), None),
        Err(fault @ GitFault::Forbidden { .. }) => (NOT_ALLOWED, None, Some(fault)),
        Err(fault) => (UNREACHABLE, None, Some(fault)),
    };
    *trouble.lock().unwrap_or_else(PoisonError::into_inner) = fault;
    client.write_all(&[VERSION, code, 0, IPV4, 0, 0, 0, 0, 0, 0]).await?;
    if let Some(mut server) = server {
        copy_bidirectional(&mut client, &mut server).await?;
    }
    Ok(())
}

/// Shakes hands, and gives the host and port that a client wants to be connected to.
async fn asked_for(client: &mut TcpStream) -> io::Result<(String, u16)> {
    let foreign = || io::Error::new(io::ErrorKind::InvalidData, "this is not SOCKS as curl speaks it");
    let [version, methods] = read(client).await?;
    if version != VERSION {
        return Err(foreign());
    }
    client.read_exact(&mut vec![0; methods.into()]).await?;
    client.write_all(&[VERSION, NO_AUTHENTICATION]).await?;
    let [version, command, _, kind] = read(client).await?;
    if (version, command) != (VERSION, CONNECT_COMMAND) {
        return Err(foreign());
    }
    let host = match kind {
        IPV4 => Ipv4Addr::from(read::<4>(client).await?).to_string(),
        IPV6 => Ipv6Addr::from(read::<16>(client).await?).to_string(),
        NAME => {
            let [length] = read(client).await?;
            let mut name = vec![0; length.into()];
            client.read_exact(&mut name).await?;
            String::from_utf8(name).map_err(|_| foreign())?
        }
        _ => return Err(foreign()),
    };
    Ok((host, u16::from_be_bytes(read(client).await?)))
}

async fn read<const N: usize>(client: &mut TcpStream) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    client.read_exact(&mut bytes).await?;
    Ok(bytes)
}

async fn connect(host: &str, port: u16) -> Result<TcpStream, GitFault> {
    let trouble = |what: String| GitFault::Refused { cause: what };
    let found = tokio::net::lookup_host((host, port)).await;
    let found: Vec<_> = found.map_err(|fault| trouble(format!("can't resolve {host}: {fault}")))?.collect();
    check(host, &found)?;
    let mut last = "it has no address".to_owned();
    for address in found {
        match timeout(CONNECT, TcpStream::connect(address)).await {
            Ok(Ok(server)) => return Ok(server),
            Ok(Err(fault)) => last = fault.to_string(),
            Err(_) => last = format!("no answer within {} seconds", CONNECT.as_secs()),
        }
    }
    Err(trouble(format!("can't connect to {host} on port {port}: {last}")))
}

/// Refuses a host that has any forbidden address: it would be a matter of luck which is taken.
pub(super) fn check(host: &str, found: &[SocketAddr]) -> Result<(), GitFault> {
    let forbidden = |address: &IpAddr| addresses::is_forbidden(*address);
    match found.iter().map(SocketAddr::ip).find(forbidden) {
        Some(address) => Err(GitFault::Forbidden { host: host.to_owned(), address }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the proxy answers to a client that wants to be connected.
    async fn answer(socks: &Socks, request: &[u8]) -> Vec<u8> {
        let mut client = TcpStream::connect(socks.address).await.unwrap();
        client.write_all(request).await.unwrap();
        let mut answer = Vec::new();
        // It may hang up before all was read.
        let _ = client.read_to_end(&mut answer).await;
        answer
    }

    fn by_name(name: &str, port: u16) -> Vec<u8> {
        let length = u8::try_from(name.len()).unwrap();
        [&[5, 1, 0, 5, 1, 0, NAME, length], name.as_bytes(), &port.to_be_bytes()].concat()
    }

    #[tokio::test]
    async fn forbidden_addresses_are_not_connected_to_however_they_are_asked_for() {
        let socks = Socks::open().await.unwrap();
        let v4 = [&[5, 1, 0, 5, 1, 0, IPV4, 169, 254, 169, 254, 0, 80][..]].concat();
        let link_local: Ipv6Addr = "fe80::1".parse().unwrap();
        let v6 = [&[5, 1, 0, 5, 1, 0, IPV6], &link_local.octets()[..], &[0, 80]].concat();
        let names = ["169.254.169.254", "2852039166", "0xa9fea9fe", "::ffff:169.254.169.254", "0.0.0.0"];
        let names = names.map(|name| by_name(name, 80));
        for request in names.into_iter().chain([v4, v6]) {
            let answer = answer(&socks, &request).await;
            assert_eq!(answer.get(..4), Some(&[5, NO_AUTHENTICATION, 5, NOT_ALLOWED][..]), "{request:?}");
            let told = socks.explained(GitFault::Refused { cause: "git is at a loss".to_owned() });
            assert!(matches!(told, GitFault::Forbidden { .. }), "{told:?}");
        }
    }

    #[test]
    fn a_name_with_one_forbidden_address_is_refused_whole() {
        let of = |texts: [&str; 2]| texts.map(|text| SocketAddr::new(text.parse().unwrap(), 443));
        assert!(check("git.test", &of(["10.0.0.1", "169.254.169.254"])).is_err());
        assert!(check("git.test", &of(["10.0.0.1", "::1"])).is_ok());
    }

    #[tokio::test]
    async fn the_rest_is_connected_to_and_heard_through() {
        let socks = Socks::open().await.unwrap();
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = server.local_addr().unwrap().port();
        let greet = async {
            let (mut stream, _) = server.accept().await.unwrap();
            stream.write_all(b"hello").await.unwrap();
        };
        let request = by_name("localhost", port);
        let (answer, ()) = tokio::join!(
            async {
                let mut client = TcpStream::connect(socks.address).await.unwrap();
                client.write_all(&request).await.unwrap();
                let mut answer = vec![0; 17];
                client.read_exact(&mut answer).await.unwrap();
                answer
            },
            greet
        );
        assert_eq!(answer, [&[5, 0, 5, GRANTED, 0, IPV4, 0, 0, 0, 0, 0, 0], &b"hello"[..]].concat());
    }

    #[tokio::test(start_paused = true)]
    async fn those_that_do_not_say_what_they_want_make_room_for_one_that_does() {
        let socks = Socks::open().await.unwrap();
        let mut silent = Vec::new();
        for _ in 0..CONNECTIONS {
            let mut client = TcpStream::connect(socks.address).await.unwrap();
            client.write_all(&[VERSION, 1]).await.unwrap();
            silent.push(client);
        }
        let request = by_name("169.254.169.254", 80);
        let answered = timeout(2 * HANDSHAKE, answer(&socks, &request)).await.expect("no room");
        assert_eq!(answered.get(3), Some(&NOT_ALLOWED));
    }

    #[tokio::test]
    async fn what_is_not_socks_gets_no_answer_and_why_nobody_was_reached_is_told() {
        let socks = Socks::open().await.unwrap();
        assert_eq!(answer(&socks, b"GET / HTTP/1.1\r\n\r\n").await, b"");
        let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
        let refused = answer(&socks, &by_name("127.0.0.1", free)).await;
        assert_eq!(refused.get(3), Some(&UNREACHABLE));
        let cause = "fatal: unable to access 'http://127.0.0.1/x/': cannot complete SOCKS5".to_owned();
        let told = socks.explained(GitFault::Refused { cause }).to_string();
        let begin = format!(
            "fatal: unable to access 'http://127.0.0.1/x/': can't connect to 127.0.0.1 on port {free}: "
        );
        assert!(told.starts_with(&begin), "{told}");
    }
}
