//! What a link between nodes is protected by: proof of the cluster's secret, then sealed records.
//!
//! ```text
//! dialer   -> acceptor   hello      magic:4 "QRTs"  nonce:32
//! acceptor -> dialer     challenge  magic:4 "QRTs"  nonce:32
//! dialer   -> acceptor   proof      32 bytes; its records may follow at once
//! acceptor -> dialer     proof      32 bytes, then its records
//! acceptor -> dialer     refusal    magic:4 "QRTx"  code:u8, in place of what it would say
//!   1  the acceptor has no secret    2  the proof is wrong
//!
//! record     := length:u32, little-endian; as many bytes: AES-256-GCM of 1 to 65536 bytes of the
//!               link, the tag of 16 bytes last; the length is authenticated with them
//! transcript := SHA-256(hello || challenge || name of the cluster)
//! derived    := HKDF-SHA-256(secret, salt "quorate link 1", info label || transcript)
//!   "dialer proof", "acceptor proof"    key of HMAC-SHA-256(transcript)
//!   "dialer key", "acceptor key"        32 bytes, one for each direction
//!   "dialer nonce", "acceptor nonce"    12 bytes; record n uses it XOR n, n as 8 bytes big-endian
//! ```
//!
//! Inside are the frames that links without a secret carry in the clear. What it guarantees: bytes
//! that leave [`SecureLink::plain`] were sent on this very connection, in this order, by a process
//! that has the secret and belongs to a cluster of the same name. A recording of another
//! connection, also of the same two nodes, does not open, since both nonces are in the keys. Who
//! the other node is, and to which shard it speaks, is said by the first frame inside. The dialer
//! proves first: whoever only knocks gets nothing that depends on the secret. There is no forward
//! secrecy: who learns the secret can read what was recorded.
//!
//! It opens no socket and draws no random number: nonces are made from a key that is drawn at the
//! start of the process and from a count of links.

mod records;
mod secret;
mod session;

#[cfg(test)]
mod tests;

use std::{
    fmt, mem,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::{Buf as _, BytesMut};
use hmac::{Hmac, KeyInit as _, Mac as _};
use quorate_proto::{
    frame,
    message::{Message, RefusalCode, Refused},
};
use sha2::Sha256;
use zeroize::Zeroizing;

use records::{Opener, Sealer};
pub use secret::{ClusterSecret, SECRET_LENGTH_MAX, SECRET_LENGTH_MIN, SECRETS_MAX, SecretError};
use session::{HELLO, PROOF, Session, Side};

const MAGIC: [u8; 4] = *b"QRTs";
const REFUSAL: [u8; 4] = *b"QRTx";
const REFUSAL_LENGTH: usize = 5;

/// What a node without the secret is told by one that has it.
const SECRET_WANTED: &str = "the node that refuses has a cluster secret, and this one has none: \
                             set cluster_secret_file or QUORATE_CLUSTER_SECRET on every node";

/// Why a link cannot be trusted. Nothing that came after the fault was used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LinkFault {
    /// The other side speaks in the clear.
    #[error("the other node has no cluster secret, and this one has")]
    PeerWithoutSecret,
    /// The other side wants a proof, and this one has nothing to prove.
    #[error("the other node has a cluster secret, and this one has none")]
    PeerWithSecret,
    /// The other side has another secret, or another name of the cluster.
    #[error("the cluster secret, or the name of the cluster, is not that of the other node")]
    WrongSecret,
    /// What arrived is no handshake.
    #[error("what is at the other end speaks another protocol")]
    Stranger,
    /// A record was made by nobody who has the keys, or is not the one whose turn it is.
    #[error("bytes were changed, repeated or left out on their way")]
    Changed,
}

/// What a refusal says.
#[derive(Clone, Copy)]
enum Refusing {
    NoSecret = 1,
    WrongProof = 2,
}

/// What the links of one node have in common.
pub struct LinkSecurity {
    secret: Option<ClusterSecret>,
    cluster: String,
    /// What nonces are made with: drawn for this process.
    fresh: Zeroizing<[u8; 32]>,
    /// Nonces made so far.
    drawn: AtomicU64,
}

impl LinkSecurity {
    /// Links of a cluster of this name. `fresh` is as random as a key, and no other process has it.
    pub fn new(secret: Option<ClusterSecret>, cluster: String, fresh: [u8; 32]) -> Self {
        Self { secret, cluster, fresh: Zeroizing::new(fresh), drawn: AtomicU64::new(0) }
    }

    /// Whether there is a secret.
    pub fn has_secret(&self) -> bool {
        self.secret.is_some()
    }

    /// The dialer's side of a new link.
    pub fn dial(self: &Arc<Self>, address: &str) -> SecureLink {
        let mut link = SecureLink::new(Stage::Clear, address);
        if self.secret.is_some() {
            let hello = self.hello();
            link.output.extend_from_slice(&hello);
            link.stage = Stage::Dialled { security: Arc::clone(self), hello };
        }
        link
    }

    /// The acceptor's side of a new link.
    pub fn accept(self: &Arc<Self>, address: &str) -> SecureLink {
        let stage = match self.secret {
            Some(_) => Stage::Accepted { security: Arc::clone(self) },
            None => Stage::Unknown,
        };
        SecureLink::new(stage, address)
    }

    fn hello(&self) -> [u8; HELLO] {
        let number = self.drawn.fetch_add(1, Ordering::Relaxed);
        let mac = Hmac::<Sha256>::new_from_slice(&*self.fresh);
        let mac = mac.expect("invariant: HMAC takes keys of any length");
        let nonce = mac.chain_update(number.to_be_bytes()).finalize().into_bytes();
        let mut hello = [0; HELLO];
        hello[..MAGIC.len()].copy_from_slice(&MAGIC);
        hello[MAGIC.len()..].copy_from_slice(&nonce);
        hello
    }

    /// A session for each secret that holds.
    fn sessions(&self, hello: &[u8; HELLO], challenge: &[u8; HELLO]) -> Vec<Session> {
        let secrets = self.secret.iter().flat_map(ClusterSecret::all);
        secrets.map(|secret| Session::new(secret, &self.cluster, hello, challenge)).collect()
    }
}

/// How far a link has come.
enum Stage {
    /// Nobody has a secret.
    Clear,
    /// Accepted without a secret: whether the other side has one shows in its first bytes.
    Unknown,
    /// Dialled; the challenge is awaited.
    Dialled { security: Arc<LinkSecurity>, hello: [u8; HELLO] },
    /// This side, the dialer, has sent its proof, and awaits that of the acceptor.
    Answered { session: Session },
    /// Accepted; the hello is awaited.
    Accepted { security: Arc<LinkSecurity> },
    /// This side, the acceptor, awaits a proof: with which secret will show.
    Challenged { sessions: Vec<Session> },
    /// Both sides have proved the secret.
    Proved,
    /// Nothing is taken any more.
    Failed(LinkFault),
}

/// One side of a link.
pub struct SecureLink {
    stage: Stage,
    /// Where the other side is, for people.
    address: String,
    /// Bytes that have arrived and are not looked at yet: less than a record.
    input: BytesMut,
    /// What they said.
    plain: BytesMut,
    /// Bytes of the handshake to send.
    output: Vec<u8>,
    /// What is to be sent once there are keys.
    waiting: Vec<u8>,
    ciphers: Option<Box<(Sealer, Opener)>>,
}

impl SecureLink {
    fn new(stage: Stage, address: &str) -> Self {
        Self {
            stage,
            address: address.into(),
            input: BytesMut::new(),
            plain: BytesMut::new(),
            output: Vec::new(),
            waiting: Vec::new(),
            ciphers: None,
        }
    }

    /// Where the other side is, for people.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// What the other side has said and nobody has taken yet.
    pub fn plain(&mut self) -> &mut BytesMut {
        &mut self.plain
    }

    /// Bytes have arrived. What is to be sent in return, also after an error, comes with the next
    /// [`SecureLink::seal`].
    ///
    /// # Errors
    /// The link must be closed. What was said before the fault stays in [`SecureLink::plain`].
    pub fn receive(&mut self, bytes: &[u8]) -> Result<(), LinkFault> {
        if matches!(self.stage, Stage::Clear) {
            self.plain.extend_from_slice(bytes);
            return Ok(());
        }
        self.input.extend_from_slice(bytes);
        loop {
            match self.step() {
                Ok(true) => {}
                Ok(false) => return Ok(()),
                Err(fault) => {
                    self.stage = Stage::Failed(fault);
                    self.input.clear();
                    return Err(fault);
                }
            }
        }
    }

    /// Turns bytes to say into bytes to send, with what the handshake has to say before them.
    pub fn seal(&mut self, bytes: &mut Vec<u8>) {
        match (&mut self.ciphers, &self.stage) {
            (Some(ciphers), _) => ciphers.0.seal(bytes),
            (None, Stage::Clear | Stage::Unknown) => {}
            (None, _) => self.waiting.append(bytes),
        }
        if !self.output.is_empty() {
            self.output.append(bytes);
            *bytes = mem::take(&mut self.output);
        }
    }

    /// Takes the next piece of the input. Returns whether it was whole.
    fn step(&mut self) -> Result<bool, LinkFault> {
        match &mut self.stage {
            Stage::Clear => Ok(false),
            Stage::Failed(fault) => Err(*fault),
            Stage::Unknown => {
                let Some(magic) = self.input.first_chunk() else { return Ok(false) };
                if *magic == MAGIC {
                    self.refuse(Refusing::NoSecret);
                    return Err(LinkFault::PeerWithSecret);
                }
                self.stage = Stage::Clear;
                self.plain = mem::take(&mut self.input);
                Ok(false)
            }
            Stage::Accepted { .. } => self.take_hello(),
            Stage::Challenged { .. } => self.take_proof(),
            Stage::Dialled { .. } => self.take_challenge(),
            Stage::Answered { .. } => self.take_answer(),
            Stage::Proved => {
                let ciphers = self.ciphers.as_mut().expect("invariant: who is proved has keys");
                ciphers.1.open(&mut self.input, &mut self.plain)
            }
        }
    }

    fn take_hello(&mut self) -> Result<bool, LinkFault> {
        let Stage::Accepted { security } = &self.stage else { return Ok(false) };
        match self.input.first_chunk() {
            None => return Ok(false),
            Some(&MAGIC) => {}
            Some(&frame::MAGIC) => {
                let text = SECRET_WANTED.into();
                let refused = Message::Refused(Refused { code: RefusalCode::Transient, text });
                frame::encode(&mut self.output, 0, 0, &refused);
                return Err(LinkFault::PeerWithoutSecret);
            }
            Some(_) => return Err(LinkFault::Stranger),
        }
        let Some(hello) = self.input.first_chunk::<HELLO>() else { return Ok(false) };
        let challenge = security.hello();
        let sessions = security.sessions(hello, &challenge);
        self.stage = Stage::Challenged { sessions };
        self.input.advance(HELLO);
        self.output.extend_from_slice(&challenge);
        Ok(true)
    }

    fn take_proof(&mut self) -> Result<bool, LinkFault> {
        let Stage::Challenged { sessions } = &self.stage else { return Ok(false) };
        let Some(proof) = self.input.first_chunk::<PROOF>() else { return Ok(false) };
        let Some(session) = sessions.iter().find(|each| each.is_proof(Side::Dialer, proof)) else {
            self.refuse(Refusing::WrongProof);
            return Err(LinkFault::WrongSecret);
        };
        self.output.extend_from_slice(&session.proof(Side::Acceptor));
        self.ciphers = Some(Box::new(session.ciphers(Side::Acceptor)));
        self.input.advance(PROOF);
        self.go_on_sealed();
        self.stage = Stage::Proved;
        Ok(true)
    }

    fn take_challenge(&mut self) -> Result<bool, LinkFault> {
        let Stage::Dialled { security, hello } = &self.stage else { return Ok(false) };
        match self.input.first_chunk() {
            None => return Ok(false),
            Some(&MAGIC) => {}
            Some(&REFUSAL) => return self.take_refusal(),
            Some(_) => return Err(LinkFault::Stranger),
        }
        let Some(challenge) = self.input.first_chunk::<HELLO>() else { return Ok(false) };
        // Its own words prove nothing, should somebody send them back.
        let session = security.sessions(hello, challenge).into_iter().next();
        let session = session.expect("invariant: who says hello has a secret");
        self.output.extend_from_slice(&session.proof(Side::Dialer));
        self.ciphers = Some(Box::new(session.ciphers(Side::Dialer)));
        self.input.advance(HELLO);
        self.go_on_sealed();
        self.stage = Stage::Answered { session };
        Ok(true)
    }

    fn take_answer(&mut self) -> Result<bool, LinkFault> {
        let Stage::Answered { session } = &self.stage else { return Ok(false) };
        if self.input.first_chunk() == Some(&REFUSAL) {
            return self.take_refusal();
        }
        let Some(proof) = self.input.first_chunk::<PROOF>() else { return Ok(false) };
        if !session.is_proof(Side::Acceptor, proof) {
            return Err(LinkFault::WrongSecret);
        }
        self.input.advance(PROOF);
        self.stage = Stage::Proved;
        Ok(true)
    }

    /// The other side says why it hangs up. Anybody could: it is for the log only.
    fn take_refusal(&self) -> Result<bool, LinkFault> {
        let Some(&[.., code]) = self.input.first_chunk::<REFUSAL_LENGTH>() else {
            return Ok(false);
        };
        Err(if code == Refusing::NoSecret as u8 {
            LinkFault::PeerWithoutSecret
        } else {
            LinkFault::WrongSecret
        })
    }

    fn refuse(&mut self, why: Refusing) {
        self.output.extend_from_slice(&REFUSAL);
        self.output.push(why as u8);
    }

    /// What had to wait for keys follows the proof.
    fn go_on_sealed(&mut self) {
        if let Some(ciphers) = &mut self.ciphers {
            ciphers.0.seal(&mut self.waiting);
            self.output.append(&mut self.waiting);
        }
    }
}

impl fmt::Debug for LinkSecurity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LinkSecurity").field("cluster", &self.cluster).finish_non_exhaustive()
    }
}

impl fmt::Debug for SecureLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecureLink").field("address", &self.address).finish_non_exhaustive()
    }
}
