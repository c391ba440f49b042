//! How far an address leads that somebody else named: a redirect, a signed URL, the place of a session.
//!
//! What a user or a setting names may lie anywhere. What a server out in the world names must lie out there too: not on this
//! computer and not in its network, where Ferry would be let in as a neighbour and the server is not. Who is out there is told
//! by the address that the answer came from, and where a name leads by the addresses that the connection is made to, so that a
//! name which changes its mind in between gains nothing. Through a proxy, which looks names up itself, only what the URL shows
//! is judged.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use serde::{Deserialize, Serialize};
use url::{Host, Url};

use crate::http::address::{is_loopback, is_loopback_name};

/// Where a request may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Reach {
    /// Wherever the user or a setting says, or somebody who is inside as well.
    Anywhere,
    /// To addresses of the public network only.
    Outward,
}

/// An address and how far it may lead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Destination {
    /// May be a secret: never shown whole.
    pub url: Url,
    /// By who named it.
    pub reach: Reach,
}

impl Destination {
    /// One that the user or a setting named.
    pub fn own(url: Url) -> Self {
        Self { url, reach: Reach::Anywhere }
    }
}

/// Whether an address is of this computer or of a network of its own rather than of the public one (IANA's special-purpose
/// registries, RFC 6890; shared address space, RFC 6598). One that carries another within counts as that.
///
/// 198.18.0.0/15 (RFC 2544) is not: nobody lives there, and tunnels hand out its addresses for all names of the world.
#[must_use]
pub fn is_inward(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            let [a, b, c, _] = address.octets();
            address.is_private()
                || address.is_loopback()
                || address.is_link_local()
                || address.is_multicast()
                || a == 0
                || (a == 100 && b & 0xc0 == 64)
                || (a == 192 && b == 0 && c == 0)
                // Reserved, and broadcast.
                || a >= 240
        }
        IpAddr::V6(address) => carried(address).map_or_else(
            || {
                address.is_loopback()
                    || address.is_unspecified()
                    || address.is_multicast()
                    || address.is_unique_local()
                    || address.is_unicast_link_local()
                    // Site-local, deprecated and still routed within (RFC 3879).
                    || address.segments()[0] & 0xffc0 == 0xfec0
            },
            |inner| is_inward(IpAddr::V4(inner)),
        ),
    }
}

/// The address of version 4 that one of version 6 stands for: mapped and compatible (RFC 4291), translated (RFC 2765 and
/// 6052, also the local prefix of RFC 8215), 6to4 (RFC 3056), ISATAP (RFC 5214).
fn carried(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let parts = address.segments();
    let two = |high: u16, low: u16| Some(Ipv4Addr::from((u32::from(high) << 16) | u32::from(low)));
    match parts {
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => None,
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low]
        | [0, 0, 0, 0, 0xffff, 0, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x64, 0xff9b, 1, .., high, low]
        | [_, _, _, _, 0 | 0x200, 0x5efe, high, low]
        | [0x2002, high, low, ..] => two(high, low),
        _ => None,
    }
}

/// Whether a URL shows by itself that it leads inward.
pub(crate) fn shows_inward(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => is_inward(address.into()),
        Some(Host::Ipv6(address)) => is_inward(address.into()),
        Some(Host::Domain(_)) | None => is_loopback(url),
    }
}

/// How far an address may lead that this one named, where nobody noted at the time from where it answered: by where its name
/// leads now. One that is not found is out there.
pub(crate) async fn on_word_of(teller: &Url) -> Reach {
    let is_inside = match teller.host() {
        _ if shows_inward(teller) => true,
        Some(Host::Domain(name)) => {
            let found = tokio::net::lookup_host((name, 0)).await;
            found.is_ok_and(|mut found| found.any(|address| is_inward(address.ip())))
        }
        _ => false,
    };
    if is_inside { Reach::Anywhere } else { Reach::Outward }
}

/// Looks names up for connections, and lets through what may be reached.
pub(super) struct Names(pub Reach);

impl Resolve for Names {
    fn resolve(&self, name: Name) -> Resolving {
        let reach = self.0;
        Box::pin(async move {
            let name = name.as_str();
            // Never asked of anybody: a name server could say otherwise (RFC 6761, section 6.3).
            if is_loopback_name(name) {
                let here = [IpAddr::from(Ipv4Addr::LOCALHOST), IpAddr::from(Ipv6Addr::LOCALHOST)];
                return let_through(here.map(|address| SocketAddr::new(address, 0)).into_iter(), reach);
            }
            let_through(tokio::net::lookup_host((name, 0)).await?, reach)
        })
    }
}

fn let_through(
    found: impl Iterator<Item = SocketAddr>,
    reach: Reach,
) -> Result<Addrs, Box<dyn std::error::Error + Send + Sync>> {
    let found: Vec<SocketAddr> = found.collect();
    if reach == Reach::Anywhere {
        return Ok(Box::new(found.into_iter()));
    }
    let outward: Vec<SocketAddr> = found.iter().copied().filter(|address| !is_inward(address.ip())).collect();
    if outward.is_empty() && !found.is_empty() {
        return Err(Box::new(LedInward));
    }
    Ok(Box::new(outward.into_iter()))
}

/// A name that has no address but of this computer or its network.
#[derive(Debug)]
pub(super) struct LedInward;

impl fmt::Display for LedInward {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name leads to this computer or its own network")
    }
}

impl std::error::Error for LedInward {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_here_or_near_by_is_told_from_the_public_network() {
        for inward in [
            "127.0.0.1",
            "127.9.9.9",
            "0.0.0.0",
            "0.1.2.3",
            "10.1.2.3",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "100.127.255.255",
            "192.0.0.8",
            "224.0.0.251",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "fe80::1",
            "fc00::1",
            "fd12::1",
            "fec0::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::ffff:0:10.0.0.1",
            "::127.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::a00:1",
            "2002:7f00:1::",
            "2002:c0a8:101::1",
            "2001:db8::5efe:10.0.0.1",
            "2001:db8::200:5efe:192.168.0.1",
        ] {
            assert!(is_inward(inward.parse().unwrap()), "{inward}");
        }
        for outward in [
            "1.1.1.1",
            "8.8.8.8",
            "172.15.0.1",
            "172.32.0.1",
            "100.63.255.255",
            "100.128.0.1",
            "169.253.1.1",
            "198.18.0.7",
            "223.255.255.255",
            "2606:4700::1111",
            "2001:4860:4860::8888",
            "64:ff9b::808:808",
            "::ffff:8.8.8.8",
            "2002:808:808::1",
        ] {
            assert!(!is_inward(outward.parse().unwrap()), "{outward}");
        }
    }

    #[test]
    fn a_url_that_leads_inward_shows_it_however_its_host_is_written() {
        let shows = |text: &str| shows_inward(&Url::parse(text).unwrap());
        for inward in [
            "http://127.1/",
            "http://0x7f000001/",
            "http://2130706433/",
            "http://0177.0.0.1/",
            "http://0/",
            "http://127。0。0。1/",
            "http://%31%32%37.0.0.1/",
            "http://[::ffff:7f00:1]/",
            "http://[0:0:0:0:0:0:0:1]:81/",
            "http://LOCALHOST/",
            "http://localhost./",
            "http://a.b.localhost.:8080/",
        ] {
            assert!(shows(inward), "{inward}");
        }
        for unknown in
            ["http://router/", "http://127.0.0.1.example/", "http://notlocalhost/", "http://8.8.8.8/"]
        {
            assert!(!shows(unknown), "{unknown}");
        }
    }

    #[tokio::test]
    async fn who_is_inside_may_name_neighbours_and_whose_name_is_not_found_may_not() {
        for (teller, reach) in [
            ("http://192.168.1.9/a", Reach::Anywhere),
            ("http://nas.localhost:8080/a", Reach::Anywhere),
            ("http://8.8.8.8/a", Reach::Outward),
            ("http://name-that-is-not-found.invalid/a", Reach::Outward),
        ] {
            assert_eq!(on_word_of(&Url::parse(teller).unwrap()).await, reach, "{teller}");
        }
    }

    #[tokio::test]
    async fn a_name_of_this_computer_is_asked_of_nobody() {
        for (reach, is_found) in [(Reach::Anywhere, true), (Reach::Outward, false)] {
            for name in ["localhost", "a.localhost", "A.B.LOCALHOST", "localhost.", "a.localhost."] {
                let found = Names(reach).resolve(name.parse().unwrap()).await;
                let only_here = found.map(|mut found| found.all(|address| address.ip().is_loopback()));
                assert_eq!(only_here.unwrap_or(false), is_found, "{name} {reach:?}");
            }
        }
    }

    #[test]
    fn of_a_name_that_leads_both_ways_only_the_public_addresses_are_let_through() {
        let found = || ["10.0.0.1:0", "8.8.8.8:0", "[::1]:0"].map(|text| text.parse::<SocketAddr>().unwrap());
        let through = |reach| let_through(found().into_iter(), reach).map(Iterator::collect::<Vec<_>>);
        assert_eq!(through(Reach::Outward).unwrap(), found()[1..2]);
        assert_eq!(through(Reach::Anywhere).unwrap(), found());
        assert!(let_through(found()[..1].iter().copied(), Reach::Outward).is_err());
    }
}
