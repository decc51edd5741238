//! One question to a source of seeds.

use std::{
    fs::File,
    io::{self, Read as _, Write as _},
    net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs as _, UdpSocket},
    path::Path,
    time::Instant,
};

use quorate_node::{
    config::{Record, SeedSource, listed},
    dns::{self, Answer, Kind},
};

use super::Listed;
use crate::limits::{SEEDS_ATTEMPTS, SEEDS_LIST_MAX, SEEDS_PATIENCE};

const NAME_PORT: u16 = 53;
const RESOLV_CONF: &str = "/etc/resolv.conf";

pub(super) fn ask(source: &SeedSource) -> io::Result<Listed> {
    match source {
        SeedSource::Addresses(host) => {
            let addresses = host.to_socket_addrs()?;
            Ok((addresses.map(|address| address.to_string()).collect(), Vec::new()))
        }
        SeedSource::Services(record) => {
            let records = look_up(record, Kind::Service)?;
            let place = |record| match record {
                // A dot alone: there is no such service.
                dns::Record::Service { target, port } if !target.is_empty() => {
                    Some(format!("{target}:{port}"))
                }
                dns::Record::Service { .. } | dns::Record::Text(_) => None,
            };
            Ok((records.into_iter().filter_map(place).collect(), Vec::new()))
        }
        SeedSource::Texts(record) => {
            let texts =
                look_up(record, Kind::Text)?.into_iter().filter_map(|record| match record {
                    dns::Record::Text(text) => Some(text),
                    dns::Record::Service { .. } => None,
                });
            Ok(listed(&texts.collect::<Vec<_>>().join("\n")))
        }
        SeedSource::Page { host, path } => fetch(host, path).map(|text| listed(&text)),
        SeedSource::File(path) => read(path).map(|text| listed(&text)),
        _ => Err(io::ErrorKind::Unsupported.into()),
    }
}

fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(SEEDS_LIST_MAX).read_to_string(&mut text)?;
    Ok(text)
}

/// Asks the name services in turn, and each of them again, until one answers.
fn look_up(record: &Record, kind: Kind) -> io::Result<Vec<dns::Record>> {
    let servers = record.server.map_or_else(name_servers, |server| Ok(vec![server]))?;
    let mut outcome = Err(io::Error::other(format!("{RESOLV_CONF} names no name service")));
    for server in (0..SEEDS_ATTEMPTS).flat_map(|_| &servers) {
        outcome = query(*server, &record.name, kind);
        if outcome.is_ok() {
            break;
        }
    }
    outcome.map(|answer| answer.records)
}

fn name_servers() -> io::Result<Vec<SocketAddr>> {
    let text = read(Path::new(RESOLV_CONF))?;
    let named = text.lines().filter_map(|line| line.trim().strip_prefix("nameserver"));
    let addresses = named.filter_map(|rest| rest.trim().parse::<IpAddr>().ok());
    Ok(addresses.map(|address| SocketAddr::new(address, NAME_PORT)).collect())
}

fn query(server: SocketAddr, name: &str, kind: Kind) -> io::Result<Answer> {
    let mut id = [0; 2];
    getrandom::fill(&mut id).map_err(io::Error::other)?;
    let question = dns::question(u16::from_be_bytes(id), name, kind).map_err(io::Error::other)?;
    let anywhere = if server.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(anywhere)?;
    socket.connect(server)?;
    socket.send(&question)?;
    let deadline = Instant::now() + SEEDS_PATIENCE;
    let mut message = vec![0; dns::MESSAGE_MAX];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        socket.set_read_timeout(Some(left))?;
        let length = socket.recv(&mut message)?;
        match dns::answer(&question, kind, &message[..length]) {
            Ok(answer) if answer.is_truncated => return query_stream(server, &question, kind),
            // Whoever guesses must not end the wait for the answer.
            Err(dns::DnsError::Unasked) => {}
            outcome => return outcome.map_err(io::Error::other),
        }
    }
}

/// An answer that fits no datagram.
fn query_stream(server: SocketAddr, question: &[u8], kind: Kind) -> io::Result<Answer> {
    let mut stream = connect(server)?;
    let length = u16::try_from(question.len()).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes()[..], question].concat())?;
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut message)?;
    dns::answer(question, kind, &message).map_err(io::Error::other)
}

fn connect(server: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&server, SEEDS_PATIENCE)?;
    stream.set_read_timeout(Some(SEEDS_PATIENCE))?;
    stream.set_write_timeout(Some(SEEDS_PATIENCE))?;
    Ok(stream)
}

/// The text of a page.
fn fetch(host: &str, path: &str) -> io::Result<String> {
    let mut outcome = Err(io::ErrorKind::NotFound.into());
    for server in host.to_socket_addrs()? {
        outcome = connect(server);
        if outcome.is_ok() {
            break;
        }
    }
    let mut stream = outcome?;
    let request = format!(
        "GET {path} HTTP/1.0\r\nHost: {host}\r\nUser-Agent: quorate\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes())?;
    let (mut answer, mut piece) = (Vec::new(), [0; 4096]);
    let deadline = Instant::now() + SEEDS_PATIENCE;
    loop {
        let count = stream.read(&mut piece)?;
        if count == 0 {
            break;
        }
        answer.extend_from_slice(&piece[..count]);
        if answer.len() as u64 > SEEDS_LIST_MAX || Instant::now() > deadline {
            let text = "the page is longer, or takes longer, than a list of seeds may";
            return Err(io::Error::other(text));
        }
    }
    page_body(&String::from_utf8_lossy(&answer)).map(str::to_owned)
}

fn page_body(answer: &str) -> io::Result<&str> {
    let malformed = || io::Error::other("what answers does not speak HTTP");
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(malformed)?;
    let mut lines = head.split("\r\n");
    let mut status = lines.next().unwrap_or_default().split(' ');
    if !status.next().is_some_and(|version| version.starts_with("HTTP/1.")) {
        return Err(malformed());
    }
    let code = status.next().unwrap_or_default();
    if code != "200" {
        return Err(io::Error::other(format!("the answer has status {code}, not 200")));
    }
    let headers = lines.filter_map(|line| line.split_once(':'));
    for (name, value) in headers {
        if name.eq_ignore_ascii_case("transfer-encoding") {
            return Err(io::Error::other("the answer is in chunks, which HTTP/1.0 has not"));
        }
        let is_length = name.eq_ignore_ascii_case("content-length");
        if is_length && value.trim().parse() != Ok(body.len()) {
            return Err(io::Error::other("the page was cut off"));
        }
    }
    Ok(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_what_follows_the_head() {
        let body = |answer: &str| page_body(answer).map(str::to_owned).map_err(|e| e.to_string());
        assert_eq!(body("HTTP/1.1 200 OK\r\nServer: x\r\n\r\na:1|b:1"), Ok("a:1|b:1".into()));
        assert_eq!(body("HTTP/1.0 200\r\ncontent-length: 3\r\n\r\na:1"), Ok("a:1".into()));
        for (answer, why) in [
            ("", "does not speak HTTP"),
            ("+PONG\r\n\r\n", "does not speak HTTP"),
            ("HTTP/1.1 503 Busy\r\n\r\n", "status 503"),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\na:1", "in chunks"),
            ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\na:1", "cut off"),
        ] {
            assert!(body(answer).expect_err(answer).contains(why), "{answer}");
        }
    }
}
