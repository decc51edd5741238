//! What can be chosen about the channel.

use std::{net::SocketAddr, path::PathBuf, str::FromStr, time::Duration};

use super::{
    EntropyMaterial, EntropyResult,
    error::config,
    load_material,
    wire::{
        BLOCK, DEFAULT_BUFFER_SIZE, DEFAULT_ENTROPY_PORT, DEFAULT_HEADER_SIZE, MAX_CIPHER_SIZE,
        check_sizes,
    },
};

/// Which protocol is spoken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// Authenticated encryption, proof of the secret on both sides, acknowledgement.
    #[default]
    V2,
    /// The published framing, for peers that know nothing else.
    Classic,
    /// A receiver takes either; a sender uses version 2.
    Any,
}

impl Protocol {
    /// The name used in configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::V2 => "v2",
            Self::Classic => "classic",
            Self::Any => "any",
        }
    }

    /// Whether a receiver takes the classic protocol.
    pub const fn classic(self) -> bool {
        matches!(self, Self::Classic | Self::Any)
    }

    /// Whether version 2 is spoken.
    pub const fn v2(self) -> bool {
        matches!(self, Self::V2 | Self::Any)
    }
}

impl FromStr for Protocol {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let all = [Self::V2, Self::Classic, Self::Any];
        all.into_iter().find(|protocol| protocol.name() == text).ok_or(())
    }
}

/// How long a peer may take. Only time spent waiting for the peer counts, not the time that the
/// own source or sink takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// Until a connection stands.
    pub connect: Duration,
    /// Until the peer has introduced itself and, in version 2, proved that it has the secret.
    pub handshake: Duration,
    /// Until the next 64 KiB have moved.
    pub idle: Duration,
    /// Until the receiver says, after the last byte, that the snapshot is applied.
    pub acknowledge: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            handshake: Duration::from_secs(10),
            idle: Duration::from_secs(30),
            acknowledge: Duration::from_secs(600),
        }
    }
}

/// Connections that a receiver serves at a time by default. Each holds at most two chunks.
pub const DEFAULT_CONNECTIONS_MAX: usize = 32;

/// Settings of a sender or a receiver.
#[derive(Clone, Debug)]
pub struct EntropyConfig {
    /// File with the pre-shared key.
    pub key_file: PathBuf,
    /// File with the pre-shared initialisation vector.
    pub iv_file: PathBuf,
    /// Where a receiver listens.
    pub listen_addr: SocketAddr,
    /// Local address that a sender dials from; any when there is none.
    pub send_addr: Option<SocketAddr>,
    /// `host:port` of the receiver that a sender dials.
    pub peer_endpoint: String,
    /// Most plaintext bytes in a chunk.
    pub buffer_size: usize,
    /// Length of the classic protocol's snapshot header.
    pub header_size: usize,
    /// Whether chunks of the classic protocol are encrypted. When false, a sender sends plaintext,
    /// and a receiver takes plaintext besides encrypted chunks. Version 2 always encrypts.
    pub encrypt: bool,
    /// Which protocol is spoken.
    pub protocol: Protocol,
    /// How long a peer may take.
    pub patience: Patience,
    /// Connections that a receiver serves at a time; further ones are closed at once.
    pub connections_max: usize,
}

impl Default for EntropyConfig {
    fn default() -> Self {
        Self {
            key_file: PathBuf::from("entropy.key"),
            iv_file: PathBuf::from("entropy.iv"),
            listen_addr: SocketAddr::from(([127, 0, 0, 1], DEFAULT_ENTROPY_PORT)),
            send_addr: None,
            peer_endpoint: format!("127.0.0.1:{DEFAULT_ENTROPY_PORT}"),
            buffer_size: DEFAULT_BUFFER_SIZE,
            header_size: DEFAULT_HEADER_SIZE,
            encrypt: true,
            protocol: Protocol::V2,
            patience: Patience::default(),
            connections_max: DEFAULT_CONNECTIONS_MAX,
        }
    }
}

impl EntropyConfig {
    /// Checks the settings.
    ///
    /// # Errors
    /// `Config`, naming the first setting with a value that is not allowed.
    pub fn validate(&self) -> EntropyResult<()> {
        let Self { buffer_size, header_size, .. } = *self;
        check_sizes(buffer_size, header_size)?;
        if self.encrypt && !buffer_size.is_multiple_of(BLOCK) {
            let text =
                format!("buffer_size {buffer_size}; allowed with encryption: multiples of 16");
            return Err(config(text));
        }
        let largest = MAX_CIPHER_SIZE - BLOCK;
        if self.encrypt && buffer_size > largest {
            // The padded chunk must fit the limit that the peer holds us to.
            let text =
                format!("buffer_size {buffer_size}; allowed with encryption: 16 to {largest}");
            return Err(config(text));
        }
        if !self.encrypt && !self.protocol.classic() {
            return Err(config("encrypt false; allowed only with the classic protocol"));
        }
        if self.connections_max == 0 {
            return Err(config("connections_max 0; allowed: 1 and more"));
        }
        Ok(())
    }

    /// Checks the settings and reads the secret.
    ///
    /// # Errors
    /// `Config` as [`EntropyConfig::validate`], `KeyMaterial` as [`load_material`].
    pub fn load_material(&self) -> EntropyResult<EntropyMaterial> {
        self.validate()?;
        load_material(&self.key_file, &self.iv_file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_refused_by_name_and_value() {
        type Change = fn(&mut EntropyConfig);
        let cases: [(Change, &str); 9] = [
            (|c| c.buffer_size = 0, "buffer_size 0; allowed: 1 to 5242880"),
            (|c| c.buffer_size = (5 << 20) + 16, "buffer_size 5242896; allowed: 1 to 5242880"),
            (
                |c| c.buffer_size = 5 << 20,
                "buffer_size 5242880; allowed with encryption: 16 to 5242864",
            ),
            (|c| c.buffer_size = 100, "buffer_size 100; allowed with encryption: multiples of 16"),
            (|c| c.header_size = 7, "header_size 7; allowed: 8 to 1024"),
            (|c| c.header_size = 1025, "header_size 1025; allowed: 8 to 1024"),
            (|c| c.encrypt = false, "encrypt false; allowed only with the classic protocol"),
            (|c| c.connections_max = 0, "connections_max 0; allowed: 1 and more"),
            (
                |c| (c.encrypt, c.protocol, c.buffer_size) = (false, Protocol::Classic, 0),
                "buffer_size 0; allowed: 1 to 5242880",
            ),
        ];
        for (change, text) in cases {
            let mut config = EntropyConfig::default();
            change(&mut config);
            let error = config.validate().expect_err(text);
            assert_eq!(error.to_string(), format!("configuration: {text}"));
        }
        let plain = EntropyConfig {
            encrypt: false,
            protocol: Protocol::Classic,
            buffer_size: 100,
            ..EntropyConfig::default()
        };
        assert!(plain.validate().is_ok() && EntropyConfig::default().validate().is_ok());
    }
}
