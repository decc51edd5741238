//! Where a node finds others: addresses, and who names them.

use std::{
    net::{Ipv6Addr, SocketAddr},
    path::PathBuf,
};

/// What a lookup of seeds over HTTP asks for, unless the seed says otherwise: what Dynomite's
/// managers answer.
const FLORIDA_PATH: &str = "/REST/v1/admin/get_seeds";

/// One of the seeds.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SeedSource {
    /// A node, at `host:port`.
    Address(String),
    /// `dns://HOST:PORT`: a node at every address of the host, at the port.
    Addresses(String),
    /// `srv://NAME`: a node at every target of the service.
    Services(Record),
    /// `txt://NAME`: the nodes that the texts of the name list.
    Texts(Record),
    /// `http://HOST[:PORT][/PATH]`: the nodes that the page lists.
    Page {
        /// Whom to ask, `host:port`.
        host: String,
        /// What for.
        path: String,
    },
    /// `file:PATH`: the nodes that the file lists.
    File(PathBuf),
    /// `embedder:NAME`: the nodes that the program around this one names.
    Embedder(String),
}

/// A record of a name service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The whole name.
    pub name: String,
    /// Whom to ask; `None`: those in `/etc/resolv.conf`.
    pub server: Option<SocketAddr>,
}

impl SeedSource {
    /// Reads a seed, unless it is not allowed.
    pub fn parse(text: &str) -> Option<Self> {
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return None;
        }
        let (scheme, rest) = text.split_once(':')?;
        let behind = || rest.strip_prefix("//").filter(|rest| !rest.is_empty());
        match scheme {
            "dns" if rest.starts_with("//") => {
                behind().filter(|rest| is_endpoint(rest)).map(|rest| Self::Addresses(rest.into()))
            }
            "srv" if rest.starts_with("//") => behind().and_then(Record::parse).map(Self::Services),
            "txt" if rest.starts_with("//") => behind().and_then(Record::parse).map(Self::Texts),
            "http" if rest.starts_with("//") => behind().and_then(page),
            "file" if rest.starts_with(['/', '.']) => Some(Self::File(rest.into())),
            "embedder" if rest.parse::<u16>().is_err() && !rest.is_empty() => {
                Some(Self::Embedder(rest.into()))
            }
            _ => is_endpoint(text).then(|| Self::Address(text.into())),
        }
    }
}

impl Record {
    /// `NAME[?server=ADDRESS:PORT]`
    fn parse(text: &str) -> Option<Self> {
        let (name, server) = match text.split_once('?') {
            Some((name, option)) => {
                (name, Some(option.strip_prefix("server=")?.parse::<SocketAddr>().ok()?))
            }
            None => (text, None),
        };
        let labels = name.strip_suffix('.').unwrap_or(name).split('.');
        let fits = |label: &str| (1..=63).contains(&label.len());
        (name.len() <= 253 && labels.clone().all(fits)).then(|| Self { name: name.into(), server })
    }
}

fn page(text: &str) -> Option<SeedSource> {
    let (host, path) = match text.find('/') {
        Some(at) => text.split_at(at),
        None => (text, FLORIDA_PATH),
    };
    let has_port = host.rsplit_once(':').is_some_and(|(_, port)| !port.contains(']'));
    let host = if has_port { host.to_owned() } else { format!("{host}:80") };
    is_endpoint(&host).then(|| SeedSource::Page { host, path: path.into() })
}

/// Whether this can be the address of a listening process. It is looked up when it is needed, and
/// again when that fails.
pub(super) fn is_endpoint(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    !host.is_empty()
        && !host.contains('/')
        && host.bytes().all(|byte| byte.is_ascii_graphic())
        && port.parse::<u16>().is_ok_and(|port| port > 0)
}

/// The nodes of a list: `host:port`, or what Dynomite lists, `host:port:rack:dc:tokens`, with white
/// space or `|` between them. What is neither is left out, and returned as well.
pub fn listed(text: &str) -> (Vec<String>, Vec<String>) {
    let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
    let words = lines.flat_map(|line| line.split(|c: char| c.is_ascii_whitespace() || c == '|'));
    let mut found = (Vec::new(), Vec::new());
    for word in words.filter(|word| !word.is_empty()) {
        match address(word) {
            Some(address) => found.0.push(address),
            None => found.1.push(word.to_owned()),
        }
    }
    found
}

fn address(word: &str) -> Option<String> {
    let of_dynomite = || plain_address(word.rsplitn(4, ':').nth(3)?);
    plain_address(word).or_else(of_dynomite)
}

fn plain_address(text: &str) -> Option<String> {
    let (host, port) = text.rsplit_once(':').filter(|_| is_endpoint(text))?;
    if host.starts_with('[') || !host.contains(':') {
        return Some(text.to_owned());
    }
    // Dynomite puts no brackets around these.
    host.parse::<Ipv6Addr>().ok().map(|host| format!("[{host}]:{port}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_of_all_kinds_are_read() {
        let record = |name: &str, server: Option<&str>| Record {
            name: name.into(),
            server: server.map(|server| server.parse().expect("an address")),
        };
        let page =
            |host: &str, path: &str| SeedSource::Page { host: host.into(), path: path.into() };
        for (text, expected) in [
            ("a:1", SeedSource::Address("a:1".into())),
            ("[::1]:7", SeedSource::Address("[::1]:7".into())),
            ("dns:53", SeedSource::Address("dns:53".into())),
            ("file:53", SeedSource::Address("file:53".into())),
            ("dns://nodes.local:16379", SeedSource::Addresses("nodes.local:16379".into())),
            ("srv://_q._tcp.x.", SeedSource::Services(record("_q._tcp.x.", None))),
            (
                "txt://x?server=127.0.0.1:8600",
                SeedSource::Texts(record("x", Some("127.0.0.1:8600"))),
            ),
            ("http://m:8080/seeds?all", page("m:8080", "/seeds?all")),
            ("http://m", page("m:80", FLORIDA_PATH)),
            ("http://[::1]/x", page("[::1]:80", "/x")),
            ("file:/etc/seeds", SeedSource::File("/etc/seeds".into())),
            ("embedder:mine", SeedSource::Embedder("mine".into())),
        ] {
            assert_eq!(SeedSource::parse(text), Some(expected), "{text}");
        }
        for text in [
            "a",
            "a:0",
            ":1",
            "dns://a",
            "dns://",
            "srv://",
            "srv://a..b",
            "txt://a?server=b:1",
            "txt://a?other=1",
            "http://",
            "http://:80/",
            "https://a/",
            "a b:1",
            "file:",
            "ftp://a:1",
        ] {
            assert_eq!(SeedSource::parse(text), None, "{text}");
        }
    }

    #[test]
    fn lists_are_those_of_dynomite_too() {
        let text = "a:8101:r1:dc1:0|10.0.0.2:8101:r2:dc1:1,2,3\n# none:1\n b:1 [::1]:2\tfe80::1:8101:r:d:9";
        let (found, wrong) = listed(text);
        assert_eq!(found, ["a:8101", "10.0.0.2:8101", "b:1", "[::1]:2", "[fe80::1]:8101"]);
        assert!(wrong.is_empty(), "{wrong:?}");
        assert_eq!(
            listed("a a:1:2 <html>"),
            (vec![], vec!["a".into(), "a:1:2".into(), "<html>".into()])
        );
    }
}
