//! The rules in the kernel: two tables of packet filters in a job's network namespace, over which it has no
//! rights. They hold for whatever leaves by whichever device, however a program has its packets routed.
//!
//! Routes alone would not do: who binds a socket to a device is taken to know that everything is reached there.

use super::netlink::{ANSWERED, APPENDED, Attribute, Message, NEW, Netlink};
use super::policy::{Rule, Verdict};
use super::{DNS, DNS_V6};
use ipnet::IpNet;
use std::io;

const TABLE: &str = "executor";
const LEAVING: &str = "leaving";
const REFUSED: &str = "refused";
const IPV4: u8 = 2;
const IPV6: u8 = 10;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMPV6: u8 = 58;
/// The number of a namespace's own loopback, always.
const LOOPBACK: u32 = 1;
const DNS_PORT: u16 = 53;
/// What neighbours and routers ask of each other, which only the kernel sends: first and last kind.
const NEIGHBOURS: (u8, u8) = (133, 136);

/// Has the namespace of `netlink`, one of the packet filter's, hold to `rules` from now on.
pub(super) fn load(netlink: &mut Netlink, rules: &[Rule]) -> io::Result<()> {
    let mut messages = vec![boundary(BEGIN)];
    for family in [IPV4, IPV6] {
        messages.extend(table(family, rules));
    }
    messages.push(boundary(END));
    netlink.send(messages)
}

const BEGIN: u16 = 0x10;
const END: u16 = 0x11;
const NFTABLES: u16 = 10;
const NEW_TABLE: u16 = 0;
const DELETE_TABLE: u16 = 2;
const NEW_CHAIN: u16 = 3;
const NEW_RULE: u16 = 6;

/// What is between the two takes effect at once, or not at all.
fn boundary(kind: u16) -> Message {
    let [high, low] = NFTABLES.to_be_bytes();
    Message::new(kind, 0, &[0, 0, high, low])
}

fn message(kind: u16, family: u8, flags: u16) -> Message {
    Message::new(NFTABLES << 8 | kind, flags | ANSWERED, &[family, 0, 0, 0])
}

fn table(family: u8, rules: &[Rule]) -> Vec<Message> {
    let named = |kind, flags| message(kind, family, flags).with(&Attribute::text(1, TABLE));
    // One that is not there can't be deleted.
    let mut messages = vec![named(NEW_TABLE, NEW), named(DELETE_TABLE, 0), named(NEW_TABLE, NEW)];
    let hook = Attribute::nested(4, [Attribute::number(1, 3), Attribute::number(2, 0)]);
    messages.push(named(NEW_CHAIN, NEW).with(&Attribute::text(3, REFUSED)));
    messages.push(
        named(NEW_CHAIN, NEW)
            .with(&Attribute::text(3, LEAVING))
            .with(&hook)
            .with(&Attribute::number(5, ACCEPT))
            .with(&Attribute::text(7, "filter")),
    );
    let rule = |chain, expressions: Vec<Attribute>| {
        named(NEW_RULE, NEW | APPENDED)
            .with(&Attribute::text(2, chain))
            .with(&Attribute::nested(4, expressions))
    };
    // A program is to hear of it at once, not after minutes of trying.
    messages.push(rule(REFUSED, [is_protocol(TCP), vec![reject_tcp()]].concat()));
    messages.push(rule(REFUSED, vec![reject(family)]));
    let about = rules.iter().filter(|rule| matches!(rule.to, IpNet::V4(_)) == (family == IPV4));
    messages.extend(exceptions(family).into_iter().map(|expressions| rule(LEAVING, expressions)));
    messages
        .extend(about.map(|about| rule(LEAVING, [is_to(about.to), vec![verdict(about.verdict)]].concat())));
    messages
}

/// What passes whatever the rules are: the loopback, questions about names, and neighbours.
fn exceptions(family: u8) -> Vec<Vec<Attribute>> {
    let mut exceptions = vec![[is_leaving_by(LOOPBACK), vec![pass()]].concat()];
    let dns = if family == IPV4 {
        IpNet::from(std::net::IpAddr::V4(DNS))
    } else {
        IpNet::from(std::net::IpAddr::V6(DNS_V6))
    };
    for protocol in [UDP, TCP] {
        let port = transport(2, &DNS_PORT.to_be_bytes());
        exceptions.push([is_to(dns), is_protocol(protocol), port, vec![pass()]].concat());
    }
    if family == IPV6 {
        let (first, last) = NEIGHBOURS;
        let kind = [load_from(TRANSPORT, 0, 1), compare(AT_LEAST, &[first]), compare(AT_MOST, &[last])];
        exceptions.push([is_protocol(ICMPV6), kind.to_vec(), vec![pass()]].concat());
    }
    exceptions
}

const ACCEPT: u32 = 1;
const GOTO: u32 = (-4_i32).cast_unsigned();
/// Where a value is put that is then compared.
const REGISTER: u32 = 1;
const VERDICT_REGISTER: u32 = 0;
const NETWORK: u32 = 1;
const TRANSPORT: u32 = 2;
const EQUAL: u32 = 0;
const AT_MOST: u32 = 3;
const AT_LEAST: u32 = 5;

fn expression(name: &str, parts: impl IntoIterator<Item = Attribute>) -> Attribute {
    Attribute::nested(1, [Attribute::text(1, name), Attribute::nested(2, parts)])
}

fn value(kind: u16, bytes: &[u8]) -> Attribute {
    Attribute::nested(kind, [Attribute::bytes(1, bytes)])
}

fn load_from(header: u32, offset: u32, length: u32) -> Attribute {
    let parts = [(1, REGISTER), (2, header), (3, offset), (4, length)];
    expression("payload", parts.map(|(kind, value)| Attribute::number(kind, value)))
}

fn compare(how: u32, bytes: &[u8]) -> Attribute {
    expression("cmp", [Attribute::number(1, REGISTER), Attribute::number(2, how), value(3, bytes)])
}

fn transport(offset: u32, bytes: &[u8]) -> Vec<Attribute> {
    vec![load_from(TRANSPORT, offset, bytes.len() as u32), compare(EQUAL, bytes)]
}

fn meta(key: u32) -> Attribute {
    expression("meta", [Attribute::number(1, REGISTER), Attribute::number(2, key)])
}

fn is_leaving_by(device: u32) -> Vec<Attribute> {
    vec![meta(5), compare(EQUAL, &device.to_ne_bytes())]
}

fn is_protocol(protocol: u8) -> Vec<Attribute> {
    vec![meta(16), compare(EQUAL, &[protocol])]
}

fn is_to(network: IpNet) -> Vec<Attribute> {
    let (at, address, mask) = match network {
        IpNet::V4(net) => (16, net.network().octets().to_vec(), net.netmask().octets().to_vec()),
        IpNet::V6(net) => (24, net.network().octets().to_vec(), net.netmask().octets().to_vec()),
    };
    let length = address.len() as u32;
    let numbers =
        [(1, REGISTER), (2, REGISTER), (3, length)].map(|(kind, value)| Attribute::number(kind, value));
    let masked = numbers.into_iter().chain([value(4, &mask), value(5, &vec![0; address.len()])]);
    vec![load_from(NETWORK, at, length), expression("bitwise", masked), compare(EQUAL, &address)]
}

fn immediate(parts: impl IntoIterator<Item = Attribute>) -> Attribute {
    let verdict = Attribute::nested(2, [Attribute::nested(2, parts)]);
    expression("immediate", [Attribute::number(1, VERDICT_REGISTER), verdict])
}

fn pass() -> Attribute {
    immediate([Attribute::number(1, ACCEPT)])
}

fn verdict(verdict: Verdict) -> Attribute {
    match verdict {
        Verdict::Pass => pass(),
        Verdict::Refuse => immediate([Attribute::number(1, GOTO), Attribute::text(2, REFUSED)]),
    }
}

fn reject_tcp() -> Attribute {
    expression("reject", [Attribute::number(1, 1)])
}

/// Administratively prohibited, in each family's own number for that.
fn reject(family: u8) -> Attribute {
    let code = if family == IPV4 { 13 } else { 1 };
    expression("reject", [Attribute::number(1, 0), Attribute::bytes(2, &[code])])
}
