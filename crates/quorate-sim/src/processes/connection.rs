//! A blocking client of one node.

use std::{
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use bytes::BytesMut;
use quorate_proto::resp::reply::Value;

use crate::action::encode;

pub(super) struct Connection {
    stream: TcpStream,
    input: BytesMut,
}

impl Connection {
    pub(super) fn open(address: SocketAddr, patience: Duration) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, Duration::from_secs(2))?;
        stream.set_read_timeout(Some(patience))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, input: BytesMut::new() })
    }

    /// Runs a command; an error reply is a value.
    pub(super) fn run(&mut self, words: &[String]) -> io::Result<Value> {
        self.stream.write_all(&encode(words))?;
        let mut chunk = [0; 16 << 10];
        loop {
            let decoded = Value::decode(&self.input).map_err(io::Error::other)?;
            if let Some((value, length)) = decoded {
                let _ = self.input.split_to(length);
                return Ok(value);
            }
            match self.stream.read(&mut chunk)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                count => self.input.extend_from_slice(&chunk[..count]),
            }
        }
    }

    /// Runs a command whose words are given.
    pub(super) fn ask(&mut self, words: &[&str]) -> io::Result<Value> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        self.run(&words)
    }
}
