//! Whom a job asks for names.

use super::host::Ways;
use super::{DNS, DNS_V6};
use std::net::IpAddr;

/// Bytes that are taken over of the host's own.
const LONGEST: usize = 4 << 10;
/// What the host's resolver is believed to have checked, a job's can't believe of somebody else.
const NOT_TAKEN_OVER: &str = "trust-ad";

/// A job's `/etc/resolv.conf`, by the `host`'s: the program that carries its packets asks the host's resolver.
pub(super) fn text(host: &str, ways: Ways) -> String {
    let asked = [(ways.ipv4, IpAddr::from(DNS)), (ways.ipv6, IpAddr::from(DNS_V6))];
    let mut lines: Vec<_> =
        asked.into_iter().filter(|(leads, _)| *leads).map(|(_, dns)| format!("nameserver {dns}\n")).collect();
    let mut room = LONGEST;
    for line in host.lines() {
        let mut words = line.split_whitespace();
        let Some(keyword @ ("search" | "domain" | "options")) = words.next() else { continue };
        let kept: Vec<_> = words.filter(|word| *word != NOT_TAKEN_OVER).collect();
        let kept = format!("{keyword} {}\n", kept.join(" "));
        if kept.trim_end() != keyword && kept.len() <= room {
            room -= kept.len();
            lines.push(kept);
        }
    }
    lines.concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_asked_of_the_carrier_and_looked_for_where_the_host_does() {
        let host = "# by hand\nnameserver 127.0.0.53\nsearch corp.example  example\noptions edns0 trust-ad\n";
        let both = Ways { ipv4: true, ipv6: true };
        assert_eq!(
            text(host, both),
            "nameserver 198.18.61.3\nnameserver fd00::3\nsearch corp.example example\noptions edns0\n"
        );
        let one = Ways { ipv4: false, ipv6: true };
        assert_eq!(text("options trust-ad\n", one), "nameserver fd00::3\n");
        assert!(text(&"search a\n".repeat(10_000), one).len() <= LONGEST + 100);
    }
}
