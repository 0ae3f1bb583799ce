//! Where the end of a job is told: which URLs are taken, and which addresses may be called.
//!
//! A function that calls where a stranger wants it to could be sent to what only it can reach: the credentials of a container, an
//! administrator's page behind a firewall. So a URL is read by one strict grammar, and an address is called only if anybody could: the
//! one that is connected to, not the one that a name had before.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use lambda_http::http::{Uri, uri::Scheme};

/// Characters of the longest URL.
pub const LONGEST_URL: usize = 2048;

/// IPv4 networks that are not for anybody: IANA's special-purpose registry (RFC 6890 and its updates), multicast, and what is reserved.
const SPECIAL_V4: [(Ipv4Addr, u8); 16] = [
    (Ipv4Addr::new(0, 0, 0, 0), 8),
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    (Ipv4Addr::new(100, 64, 0, 0), 10),
    (Ipv4Addr::new(127, 0, 0, 0), 8),
    // Link-local, and where AWS has a machine's metadata and a container's credentials.
    (Ipv4Addr::new(169, 254, 0, 0), 16),
    // Azure's own service to its machines, which looks public.
    (Ipv4Addr::new(168, 63, 129, 16), 32),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 0, 0, 0), 24),
    (Ipv4Addr::new(192, 0, 2, 0), 24),
    (Ipv4Addr::new(192, 88, 99, 0), 24),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
    (Ipv4Addr::new(198, 18, 0, 0), 15),
    (Ipv4Addr::new(198, 51, 100, 0), 24),
    (Ipv4Addr::new(203, 0, 113, 0), 24),
    (Ipv4Addr::new(224, 0, 0, 0), 4),
    (Ipv4Addr::new(240, 0, 0, 0), 4),
];

/// The only IPv6 network that is for anybody so far. Mapped addresses, NAT64's, unique-local and link-local ones are outside of it.
const GLOBAL_V6: (Ipv6Addr, u8) = (Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3);
/// Networks within it that are not: protocols (Teredo and others, which carry an IPv4 address), documentation, 6to4.
const SPECIAL_V6: [(Ipv6Addr, u8); 4] = [
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23),
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32),
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20),
];

/// What the last label of names is that no public receiver has. (RFC 6761, 6762 and 9476; ICANN's `internal`.)
const PRIVATE_NAMES: [&str; 8] = ["alt", "arpa", "home", "internal", "invalid", "lan", "local", "localhost"];

/// A network, as its first address and the bits that all its addresses share.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Network {
    first: IpAddr,
    bits: u8,
}

impl Network {
    fn contains(self, address: IpAddr) -> bool {
        let same = |first: u128, address: u128, width: u8| {
            let free = width - self.bits;
            u32::from(free) >= u128::BITS || first >> free == address >> free
        };
        match (self.first, address) {
            (IpAddr::V4(first), IpAddr::V4(address)) => same(u32::from(first).into(), u32::from(address).into(), 32),
            (IpAddr::V6(first), IpAddr::V6(address)) => same(first.into(), address.into(), 128),
            _ => false,
        }
    }
}

/// Which addresses may be called: public ones, and those of networks that the operator names.
#[derive(Debug, Clone, Default)]
pub struct Reach {
    also: Vec<Network>,
}

impl Reach {
    /// With these networks, such as `10.0.0.0/8,fd00::/8`; None when one is none.
    pub fn parse(networks: &str) -> Option<Self> {
        let network = |text: &str| {
            let (first, bits) = text.split_once('/')?;
            let network = Network { first: first.parse().ok()?, bits: bits.parse().ok()? };
            (network.bits <= if network.first.is_ipv4() { 32 } else { 128 }).then_some(network)
        };
        let also = networks.split(',').map(str::trim).filter(|text| !text.is_empty()).map(network);
        Some(Self { also: also.collect::<Option<_>>()? })
    }

    /// Whether this address may be called.
    pub fn allows(&self, address: IpAddr) -> bool {
        is_public(address) || self.also.iter().any(|network| network.contains(address))
    }
}

/// Whether anybody can reach it. An IPv4 address that travels inside an IPv6 one is not public, whatever it is.
fn is_public(address: IpAddr) -> bool {
    let in_v4 = |(first, bits): &(Ipv4Addr, u8)| Network { first: (*first).into(), bits: *bits }.contains(address);
    let in_v6 = |(first, bits): &(Ipv6Addr, u8)| Network { first: (*first).into(), bits: *bits }.contains(address);
    match address {
        IpAddr::V4(_) => !SPECIAL_V4.iter().any(in_v4),
        IpAddr::V6(_) => in_v6(&GLOBAL_V6) && !SPECIAL_V6.iter().any(in_v6),
    }
}

/// The server of a URL.
#[derive(Debug, Clone, PartialEq)]
pub enum Host {
    /// A name, which has to be resolved.
    Name(String),
    /// An address.
    Address(IpAddr),
}

/// A URL that is acceptable as it is written; what its name resolves to is seen when it is called.
#[derive(Debug, Clone)]
pub struct Webhook {
    /// As it was given, without the fragment, which is never sent.
    pub uri: Uri,
    /// Whom to connect to.
    pub host: Host,
    /// At which port.
    pub port: u16,
}

impl Webhook {
    /// Reads a URL, or tells what is wrong with it.
    pub fn parse(text: &str, reach: &Reach) -> Result<Self, &'static str> {
        const NOT_ONE: &str = "Input should be an https URL";
        if text.chars().count() > LONGEST_URL {
            return Err("Input should be at most 2048 characters");
        }
        // `Uri` takes what is not ASCII in a path, and no other reader need see the same in it.
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(
                "Input should be ASCII: an internationalized name begins with xn--, and other characters are percent-encoded",
            );
        }
        let uri: Uri = text.parse().map_err(|_| NOT_ONE)?;
        let authority = uri.authority().filter(|_| uri.scheme() == Some(&Scheme::HTTPS)).ok_or(NOT_ONE)?;
        if authority.as_str().contains('@') {
            return Err("Input should have no user name and no password");
        }
        let port = match authority.as_str().strip_prefix(authority.host()).ok_or(NOT_ONE)? {
            "" | ":" => 443,
            rest => {
                let digits = rest.strip_prefix(':').filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
                digits.and_then(|digits| digits.parse().ok()).ok_or(NOT_ONE)?
            }
        };
        if port != 443 && port < 1024 {
            return Err("Input should have port 443, or one from 1024 on");
        }
        let host = host(authority.host()).ok_or(NOT_ONE)?;
        let is_open = match &host {
            Host::Address(address) => reach.allows(*address),
            Host::Name(_) if !reach.also.is_empty() => true,
            Host::Name(name) => {
                let last = name.rsplit('.').next().unwrap_or_default();
                name.contains('.') && !PRIVATE_NAMES.contains(&last.to_ascii_lowercase().as_str())
            }
        };
        if !is_open {
            return Err("Input should name a server that is public");
        }
        Ok(Self { host, port, uri })
    }

    /// What the server is called in a request: its name, and the port where that is not `https`'s own.
    pub fn authority(&self) -> String {
        let host = match &self.host {
            Host::Name(name) => name.clone(),
            Host::Address(IpAddr::V6(address)) => format!("[{address}]"),
            Host::Address(IpAddr::V4(address)) => address.to_string(),
        };
        if self.port == 443 { host } else { format!("{host}:{}", self.port) }
    }
}

/// A name of the DNS, or an address. What some readers take for an address and others for a name (`0x7f.1`, `2130706433`) is neither.
fn host(text: &str) -> Option<Host> {
    if let Some(address) = text.strip_prefix('[') {
        return address.strip_suffix(']')?.parse().ok().map(|address: Ipv6Addr| Host::Address(address.into()));
    }
    if let Ok(address) = text.parse::<Ipv4Addr>() {
        return Some(Host::Address(address.into()));
    }
    let is_label = |label: &str| {
        let inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        (1..=63).contains(&label.len()) && label.bytes().all(inner) && !label.starts_with('-') && !label.ends_with('-')
    };
    let name = text.strip_suffix('.').unwrap_or(text);
    let last = name.rsplit('.').next()?;
    let is_name = name.len() <= 253
        && name.split('.').all(is_label)
        && last.starts_with(|first: char| first.is_ascii_alphabetic());
    is_name.then(|| Host::Name(name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_that_anybody_can_reach_are_public() {
        let public =
            ["8.8.8.8", "1.1.1.1", "172.15.255.255", "172.32.0.1", "100.63.0.1", "2606:4700::1111", "2a00:1450::1"];
        for address in public {
            assert!(Reach::default().allows(address.parse().expect("an address")), "{address}");
        }
        let private = [
            "0.0.0.0",
            "0.1.2.3",
            "10.1.2.3",
            "100.64.0.1",
            "100.100.100.200",
            "127.0.0.1",
            "127.255.255.254",
            "169.254.169.254",
            "169.254.170.2",
            "168.63.129.16",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.8",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.7",
            "203.0.113.9",
            "224.0.0.1",
            "239.1.1.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:8.8.8.8",
            "::ffff:127.0.0.1",
            "::127.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b:1::1",
            "100::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::1",
            "3fff::1",
            "4000::1",
        ];
        for address in private {
            assert!(!Reach::default().allows(address.parse().expect("an address")), "{address}");
        }
    }

    #[test]
    fn an_operator_may_add_networks() {
        let reach = Reach::parse("10.0.0.0/8, fd00::/8").expect("networks");
        for address in ["10.1.2.3", "fd12::1", "8.8.8.8"] {
            assert!(reach.allows(address.parse().expect("an address")), "{address}");
        }
        for address in ["127.0.0.1", "fe80::1", "::ffff:10.1.2.3"] {
            assert!(!reach.allows(address.parse().expect("an address")), "{address}");
        }
        assert!(Reach::parse("0.0.0.0/0").expect("all").allows("127.0.0.1".parse().expect("an address")));
        for wrong in ["10.0.0.0", "10.0.0.0/33", "::/129", "home/8", "10.0.0.0/-1"] {
            assert!(Reach::parse(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn a_url_is_read_strictly() {
        let reach = Reach::default();
        let longest = format!("https://a.example/{}", "x".repeat(LONGEST_URL - 18));
        for url in [
            "https://a.example",
            "https://a.example/",
            "https://A.Example:8443/x?y=%20#z",
            "https://xn--mller-kva.example/",
            "HTTPS://a.example",
            "https://8.8.8.8/x",
            "https://[2606:4700::1111]:443/",
            "https://a.example.:443",
            "https://a_b.example/{x}",
            &longest,
        ] {
            assert!(Webhook::parse(url, &reach).is_ok(), "{url}: {:?}", Webhook::parse(url, &reach));
        }
        let longer = format!("{longest}x");
        for url in [
            "",
            "a.example",
            "//a.example",
            "/x",
            "http://a.example",
            "ftp://a.example",
            "https://",
            "https:///x",
            "https://a.example:0/",
            "https://a.example:22/",
            "https://a.example:1023",
            "https://a.example:65536/",
            "https://user@a.example/",
            "https://u:p@a.example",
            "https://a.example@127.0.0.1/",
            "https://localhost/",
            "https://LOCALHOST:8443",
            "https://a.localhost",
            "https://api.internal/",
            "https://printer.local",
            "https://printer",
            "https://127.0.0.1/",
            "https://0x7f.1/",
            "https://0177.0.0.1/",
            "https://2130706433/",
            "https://127.1/",
            "https://010.8.8.8/",
            "https://[::1]/",
            "https://[::ffff:8.8.8.8]/",
            "https://[fe80::1%25eth0]/",
            "https://169.254.169.254/latest",
            "https://müller.example/",
            "https://a.example/\u{e9}",
            "https://a example/",
            "https://a.example/a b",
            "https://-a.example/",
            "https://[2606:4700::1111]evil.example:443/",
            "https://a.example:+8443/",
            "https://a.example:8443:443/",
            "https://[2606:4700::1111]x/",
            "https://a..example/",
            "https://a.example\\@b.example/",
            "https://１２７.0.0.1/",
            "https://a.1/",
            &longer,
        ] {
            assert!(Webhook::parse(url, &reach).is_err(), "{url}");
        }
    }
}
