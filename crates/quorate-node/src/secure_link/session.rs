//! The keys of one link: what both sides derive from the secret and from what they have said.

use aws_lc_rs::aead::{AES_256_GCM, LessSafeKey, UnboundKey};
use hkdf::Hkdf;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::records::{NONCE, Opener, RecordKey, Sealer};

/// Bytes of a hello or a challenge.
pub(super) const HELLO: usize = 36;

/// Bytes of a proof.
pub(super) const PROOF: usize = 32;

const SALT: &[u8] = b"quorate link 1";

/// A side of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Dialer,
    Acceptor,
}

impl Side {
    fn other(self) -> Self {
        match self {
            Self::Dialer => Self::Acceptor,
            Self::Acceptor => Self::Dialer,
        }
    }

    fn label(self, what: Label) -> &'static str {
        match (self, what) {
            (Self::Dialer, Label::Proof) => "dialer proof",
            (Self::Dialer, Label::Key) => "dialer key",
            (Self::Dialer, Label::Nonce) => "dialer nonce",
            (Self::Acceptor, Label::Proof) => "acceptor proof",
            (Self::Acceptor, Label::Key) => "acceptor key",
            (Self::Acceptor, Label::Nonce) => "acceptor nonce",
        }
    }
}

#[derive(Clone, Copy)]
enum Label {
    Proof,
    Key,
    Nonce,
}

/// One secret, with the transcript of one link.
pub(super) struct Session {
    secret: Hkdf<Sha256>,
    transcript: [u8; 32],
}

impl Session {
    pub(super) fn new(
        secret: &[u8],
        cluster: &str,
        hello: &[u8; HELLO],
        challenge: &[u8; HELLO],
    ) -> Self {
        // The others have fixed lengths, so no two transcripts are written with the same bytes.
        let said = Sha256::new().chain_update(hello).chain_update(challenge);
        let transcript = said.chain_update(cluster).finalize().into();
        Self { secret: Hkdf::new(Some(SALT), secret), transcript }
    }

    fn derive<const LENGTH: usize>(&self, side: Side, what: Label) -> Zeroizing<[u8; LENGTH]> {
        let mut derived = Zeroizing::new([0; LENGTH]);
        let info = [side.label(what).as_bytes(), &self.transcript];
        let outcome = self.secret.expand_multi_info(&info, &mut *derived);
        outcome.expect("invariant: far fewer bytes than HKDF can make");
        derived
    }

    fn mac(&self, side: Side) -> Hmac<Sha256> {
        let key: Zeroizing<[u8; 32]> = self.derive(side, Label::Proof);
        let mac = Hmac::<Sha256>::new_from_slice(&*key);
        mac.expect("invariant: HMAC takes keys of any length").chain_update(self.transcript)
    }

    /// Proof that `side` has the secret.
    pub(super) fn proof(&self, side: Side) -> [u8; PROOF] {
        self.mac(side).finalize().into_bytes().into()
    }

    /// Whether this is the proof of `side`; how long that takes does not depend on how wrong it is.
    pub(super) fn is_proof(&self, side: Side, proof: &[u8; PROOF]) -> bool {
        self.mac(side).verify_slice(proof).is_ok()
    }

    /// What `side` sends with, and what it receives with.
    pub(super) fn ciphers(&self, side: Side) -> (Sealer, Opener) {
        (Sealer(self.record_key(side)), Opener(self.record_key(side.other())))
    }

    fn record_key(&self, side: Side) -> RecordKey {
        let key: Zeroizing<[u8; 32]> = self.derive(side, Label::Key);
        let nonce: Zeroizing<[u8; NONCE]> = self.derive(side, Label::Nonce);
        let key = UnboundKey::new(&AES_256_GCM, &*key);
        let key = key.expect("invariant: a key of AES-256 has 32 bytes");
        RecordKey::new(LessSafeKey::new(key), *nonce)
    }
}
