//! What clients hear while a node recovers its data.
//!
//! Recovery takes as long as the disk does. Clients that come meanwhile are not left without an
//! answer: `INFO` says that the node is loading, and everything else is refused, as Redis does.
//! Nothing is promised to them: what one may send, and how many there are, is bounded, and all are
//! disconnected when the node begins to serve.

use std::{
    collections::VecDeque,
    io::{self, Read as _, Write as _},
    net::Shutdown,
    sync::atomic::{AtomicBool, Ordering},
    thread::{Builder, scope},
    time::Duration,
};

use bytes::BytesMut;
use mio::{
    Events, Interest, Poll, Token, Waker,
    net::{TcpListener, TcpStream},
};
use quorate_node::shard::REDIS_VERSION;
use quorate_proto::resp::{Command, CommandReader, ReplyWriter};

use super::{clock::Clock, listener::Sockets, sockets::WAKE};
use crate::limits::{LOADING_BYTES_MAX, LOADING_CLIENTS_MAX, LOADING_PATIENCE};

const LOADING: &str = "LOADING Redis is loading the dataset in memory";

/// Runs `recover`. Once it has taken [`LOADING_PATIENCE`], clients that come are answered
/// meanwhile.
pub(crate) fn answer_during<T>(
    sockets: &mut Sockets,
    clock: Clock,
    recover: impl FnOnce() -> T,
) -> io::Result<T> {
    let poll = Poll::new()?;
    let waker = Waker::new(poll.registry(), WAKE)?;
    let is_over = AtomicBool::new(false);
    scope(|scope| {
        let loading = Loading {
            poll,
            listeners: sockets.of_clients().collect(),
            clients: VecDeque::new(),
            last_token: WAKE,
            info: info(clock.now().wall_ms() / 1000),
            is_over: &is_over,
        };
        let run = move || {
            if let Err(error) = loading.run() {
                tracing::warn!(%error, "clients are not answered until the data is recovered");
            }
        };
        Builder::new().name("quorate-loading".into()).spawn_scoped(scope, run)?;
        // Also when it panics: the thread is waited for.
        let _end = End { is_over: &is_over, waker: &waker };
        Ok(recover())
    })
}

/// Ends the thread when it is dropped.
struct End<'a> {
    is_over: &'a AtomicBool,
    /// Outlives the thread: closed before it has woken it, it would not.
    waker: &'a Waker,
}

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Release);
        if let Err(error) = self.waker.wake() {
            tracing::error!(%error, "the thread that answers while data is recovered cannot be woken");
        }
    }
}

/// The answer to `INFO`, whichever sections it asks for.
fn info(started_s: u64) -> String {
    format!(
        "# Server\r\nredis_version:{REDIS_VERSION}\r\nquorate_version:{}\r\nprocess_id:{}\r\n\r\n\
         # Persistence\r\nloading:1\r\nasync_loading:0\r\nloading_start_time:{started_s}\r\n",
        env!("CARGO_PKG_VERSION"),
        std::process::id(),
    )
}

struct Loading<'a> {
    poll: Poll,
    /// By token, behind [`WAKE`].
    listeners: Vec<&'a mut TcpListener>,
    /// In the order in which they came.
    clients: VecDeque<Client>,
    last_token: Token,
    info: String,
    is_over: &'a AtomicBool,
}

impl Loading<'_> {
    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Acquire)
    }

    fn run(mut self) -> io::Result<()> {
        let outcome = self.answer();
        for client in &mut self.clients {
            // Whoever has asked is answered, if possible.
            let _ = client.serve(&self.info);
        }
        for listener in &mut self.listeners {
            // It is registered with the thread of a shard next, and may not be here.
            let _ = self.poll.registry().deregister(*listener);
        }
        outcome
    }

    fn answer(&mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(64);
        // Those that come meanwhile wait to be accepted: most starts are over by then.
        wait(&mut self.poll, &mut events, Some(LOADING_PATIENCE))?;
        if self.is_over() {
            return Ok(());
        }
        tracing::info!("the data is being recovered; clients are answered LOADING");
        for listener in &mut self.listeners {
            let token = next(&mut self.last_token);
            self.poll.registry().register(*listener, token, Interest::READABLE)?;
        }
        while !self.is_over() {
            wait(&mut self.poll, &mut events, None)?;
            for event in &events {
                match event.token() {
                    WAKE => {}
                    Token(number) if number <= self.listeners.len() => self.accept(number - 1),
                    token => self.serve(token),
                }
            }
        }
        Ok(())
    }

    /// Takes those that wait at a listener, up to one that cannot be taken: the others come with
    /// the next one. Too many make those go that came first.
    fn accept(&mut self, listener: usize) {
        while !self.is_over()
            && let Ok((mut stream, _)) = self.listeners[listener].accept()
        {
            let token = next(&mut self.last_token);
            let interest = Interest::READABLE | Interest::WRITABLE;
            if self.poll.registry().register(&mut stream, token, interest).is_err() {
                return;
            }
            if self.clients.len() == LOADING_CLIENTS_MAX {
                self.clients.pop_front();
            }
            self.clients.push_back(Client::new(token, stream));
        }
    }

    fn serve(&mut self, token: Token) {
        let Ok(position) = self.clients.binary_search_by_key(&token, |client| client.token) else {
            return;
        };
        if self.clients[position].serve(&self.info).is_err() {
            self.clients.remove(position);
        }
    }
}

/// A token that nobody had.
fn next(last: &mut Token) -> Token {
    last.0 += 1;
    *last
}

fn wait(poll: &mut Poll, events: &mut Events, patience: Option<Duration>) -> io::Result<()> {
    match poll.poll(events, patience) {
        Err(error) if error.kind() != io::ErrorKind::Interrupted => Err(error),
        _ => Ok(()),
    }
}

/// A client that is told that the node is loading.
struct Client {
    token: Token,
    stream: TcpStream,
    reader: CommandReader,
    input: BytesMut,
    output: Vec<u8>,
    /// Bytes that it may still send, or be sent.
    left: usize,
}

impl Client {
    fn new(token: Token, stream: TcpStream) -> Self {
        Self {
            token,
            stream,
            reader: CommandReader::new(),
            input: BytesMut::new(),
            output: Vec::new(),
            left: LOADING_BYTES_MAX,
        }
    }

    /// Answers what has come. An error ends the connection.
    fn serve(&mut self, info: &str) -> io::Result<()> {
        let mut scratch = [0; 4 << 10];
        loop {
            match self.flush() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                flushed => flushed?,
            }
            if self.left == 0 {
                // Closed as a whole, it would take back what is on its way when more has come.
                return self.stream.shutdown(Shutdown::Write);
            }
            match self.stream.read(&mut scratch) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => self.take(&scratch[..count], info),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        while !self.output.is_empty() {
            match self.stream.write(&self.output) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => drop(self.output.drain(..count)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn take(&mut self, bytes: &[u8], info: &str) {
        self.input.extend_from_slice(bytes);
        self.spend(bytes.len());
        while self.left > 0 {
            match self.reader.next(&mut self.input) {
                Ok(Some(command)) => self.answer(&command, info),
                Ok(None) => return,
                Err(error) => {
                    ReplyWriter::new(&mut self.output, false).error(error);
                    self.left = 0;
                }
            }
        }
        if self.output.is_empty() {
            // What it sends is larger than what it may send, and will not be waited for.
            ReplyWriter::new(&mut self.output, false).error(LOADING);
        }
    }

    fn answer(&mut self, command: &Command, info: &str) {
        let before = self.output.len();
        let mut writer = ReplyWriter::new(&mut self.output, false);
        match command.name().to_ascii_lowercase().as_slice() {
            b"info" => writer.text(info),
            b"quit" => {
                writer.ok();
                self.left = 0;
            }
            _ => writer.error(LOADING),
        }
        self.spend(self.output.len() - before);
    }

    fn spend(&mut self, bytes: usize) {
        self.left = self.left.saturating_sub(bytes);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read as _, Write as _},
        net::{SocketAddr, TcpStream},
    };

    use super::*;
    use quorate_node::config::Settings;

    fn sockets() -> Sockets {
        let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut settings = Settings::default();
        (settings.listen, settings.peer_listen) = (loopback, Some(loopback));
        // What waits at several listeners is accepted in no order.
        settings.shards = 1;
        Sockets::open(&settings).expect("free ports")
    }

    /// What comes back on a connection until as many bytes are there, or it is closed.
    fn answer(mut stream: &TcpStream, length: usize) -> String {
        let mut bytes = vec![0; length];
        let mut count = 0;
        while count < length {
            match stream.read(&mut bytes[count..]) {
                Ok(0) | Err(_) => break,
                Ok(more) => count += more,
            }
        }
        String::from_utf8_lossy(&bytes[..count]).into_owned()
    }

    fn connect(sockets: SocketAddr, request: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(sockets).expect("somebody listens");
        stream.write_all(request).expect("it is open");
        stream
    }

    const LOADING_REPLY: &str = "-LOADING Redis is loading the dataset in memory\r\n";

    #[test]
    fn clients_are_answered_while_data_is_recovered_and_not_afterwards() {
        let mut sockets = sockets();
        let address = sockets.addresses().expect("they are open").clients;
        let outcome = answer_during(&mut sockets, Clock::start(), || {
            let client =
                connect(address, b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\nPING\r\nINFO server\r\nQUIT\r\n");
            let answers = answer(&client, 1 << 16);
            assert!(answers.starts_with(&LOADING_REPLY.repeat(2)), "{answers}");
            assert!(answers.contains("\r\nloading:1\r\nasync_loading:0\r\nloading_start_time:"));
            assert!(answers.ends_with("\r\n+OK\r\n"), "{answers}");
            "recovered"
        });
        assert_eq!(outcome.expect("it can poll"), "recovered");
        let poll = Poll::new().expect("a poll");
        for mut listeners in sockets.by_shard() {
            listeners.register(poll.registry()).expect("nobody else has it");
        }
    }

    #[test]
    fn no_client_holds_anything_up() {
        let mut sockets = sockets();
        let address = sockets.addresses().expect("they are open").clients;
        let outcome = answer_during(&mut sockets, Clock::start(), || {
            let silent: Vec<TcpStream> = (0..2 * LOADING_CLIENTS_MAX)
                .map(|_| connect(address, b"*2\r\n$3\r\nGET\r\n$5\r\nhal"))
                .collect();
            let large = connect(address, b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1000000\r\n");
            for _ in 0..LOADING_BYTES_MAX >> 10 {
                (&large).write_all(&[b'x'; 1 << 10]).expect("it is read");
            }
            assert!(answer(&large, LOADING_REPLY.len()).starts_with(LOADING_REPLY));
            let deaf = connect(address, &b"INFO\r\n".repeat(5_000));
            assert_eq!(answer(&connect(address, b"PING\r\n"), LOADING_REPLY.len()), LOADING_REPLY);
            (silent, deaf)
        });
        let (silent, deaf) = outcome.expect("it can poll");
        assert!(silent.iter().all(|client| answer(client, 1).is_empty()));
        assert!(answer(&deaf, 2 * LOADING_BYTES_MAX).len() < LOADING_BYTES_MAX + (1 << 10));
    }

    #[test]
    #[should_panic(expected = "a bug")]
    fn a_panic_is_not_waited_for() {
        let _ = answer_during(&mut sockets(), Clock::start(), || panic!("a bug"));
    }
}
