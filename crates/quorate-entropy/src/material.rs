//! The pre-shared secret: a key and an initialisation vector, each in a file of its own.
//!
//! A file holds either the secret itself (white space at its end is not part of it, and only its
//! first 16 bytes count) or a PEM block with at least 16 bytes in its base64 body. Secrets appear
//! neither in `Debug` output nor in errors, and are wiped when dropped.

use std::{fmt, fs, path::Path};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use zeroize::{Zeroize as _, Zeroizing};

use super::{
    EntropyError, EntropyResult,
    wire::{ENTROPY_IV_LEN, ENTROPY_KEY_LEN},
};

/// Longest file that is looked at as a secret.
const FILE_LENGTH_MAX: u64 = 64 << 10;

const PEM_BEGIN: &str = "-----BEGIN ";
const PEM_END: &str = "-----END ";

macro_rules! secret {
    ($(#[$doc:meta])* $name:ident, $length:expr, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone)]
        pub struct $name([u8; $length]);

        impl $name {
            /// A secret from its bytes.
            pub fn from_bytes(bytes: [u8; $length]) -> Self {
                Self(bytes)
            }

            /// A secret from the contents of a file.
            pub fn from_contents(contents: &[u8]) -> EntropyResult<Self> {
                extract(contents).map(Self).map_err(|why| {
                    EntropyError::KeyMaterial(format!(concat!($what, ": {}"), why))
                })
            }

            /// Reads a file.
            pub fn load(path: &Path) -> EntropyResult<Self> {
                let contents = read(path).and_then(|contents| extract(&contents));
                contents.map(Self).map_err(|why| {
                    let path = path.display();
                    EntropyError::KeyMaterial(format!(concat!($what, " file {}: {}"), path, why))
                })
            }

            pub(super) fn bytes(&self) -> &[u8; $length] {
                &self.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(secret)"))
            }
        }

        impl Drop for $name {
            fn drop(&mut self) {
                self.0.zeroize();
            }
        }
    };
}

secret! {
    /// The pre-shared key, 16 bytes.
    EntropyKey, ENTROPY_KEY_LEN, "key"
}

secret! {
    /// The pre-shared initialisation vector of the classic protocol, 16 bytes. Version 2 uses it
    /// as further 16 bytes of secret.
    EntropyIv, ENTROPY_IV_LEN, "iv"
}

/// Both halves of the pre-shared secret.
#[derive(Clone, Debug)]
pub struct EntropyMaterial {
    /// The key.
    pub key: EntropyKey,
    /// The initialisation vector.
    pub iv: EntropyIv,
}

/// Reads the key file and the IV file.
pub fn load_material(key_file: &Path, iv_file: &Path) -> EntropyResult<EntropyMaterial> {
    Ok(EntropyMaterial { key: EntropyKey::load(key_file)?, iv: EntropyIv::load(iv_file)? })
}

fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, String> {
    let length = fs::metadata(path).map_err(|error| error.to_string())?.len();
    if length > FILE_LENGTH_MAX {
        return Err(format!("{length} bytes; at most {FILE_LENGTH_MAX} are read"));
    }
    fs::read(path).map(Zeroizing::new).map_err(|error| error.to_string())
}

fn extract<const LENGTH: usize>(contents: &[u8]) -> Result<[u8; LENGTH], String> {
    let text = contents.trim_ascii_end();
    let decoded = match std::str::from_utf8(text.trim_ascii_start()) {
        Ok(text) if text.starts_with(PEM_BEGIN) => Some(pem_body(text)?),
        _ => None,
    };
    let secret = decoded.as_ref().map_or(text, |body| body.as_slice());
    let first = secret.first_chunk::<LENGTH>().copied();
    first.ok_or_else(|| format!("{} bytes of secret; {LENGTH} are needed", secret.len()))
}

fn pem_body(text: &str) -> Result<Zeroizing<Vec<u8>>, String> {
    let Some((_label, rest)) = text.split_once('\n') else {
        return Err("PEM block without an END line".into());
    };
    let Some((body, _)) = rest.split_once(PEM_END) else {
        return Err("PEM block without an END line".into());
    };
    let joined: Zeroizing<String> =
        Zeroizing::new(body.chars().filter(|each| !each.is_ascii_whitespace()).collect());
    // The decoder's error would show bytes of the secret.
    let decoded = STANDARD.decode(joined.as_bytes());
    decoded.map(Zeroizing::new).map_err(|_| "PEM block with bad base64".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(contents: &str) -> Result<[u8; 16], String> {
        let key = EntropyKey::from_contents(contents.as_bytes());
        key.map(|key| *key.bytes()).map_err(|error| error.to_string())
    }

    #[test]
    fn the_first_sixteen_bytes_count() {
        assert_eq!(key("0123456789012345"), Ok(*b"0123456789012345"));
        assert_eq!(key("01234567890123456"), Ok(*b"0123456789012345"));
        assert_eq!(key("0123456789012345 \r\n\n"), Ok(*b"0123456789012345"));
        assert_eq!(
            key("012345678901234\n"),
            Err("key material: key: 15 bytes of secret; 16 are needed".into())
        );
        assert_eq!(key(""), Err("key material: key: 0 bytes of secret; 16 are needed".into()));
    }

    #[test]
    fn pem_blocks_hold_base64() {
        // "0123456789abcdef" and "0123456789abcdefgh"
        let block = |body: &str| format!("-----BEGIN KEY-----\n{body}\n-----END KEY-----\n");
        assert_eq!(key(&block("MDEyMzQ1Njc4OWFiY2RlZg==")), Ok(*b"0123456789abcdef"));
        assert_eq!(key(&block("MDEyMzQ1Njc4\r\nOWFiY2RlZmdo")), Ok(*b"0123456789abcdef"));
        let error = key(&block("MDEyMzQ1")).expect_err("too short");
        assert_eq!(error, "key material: key: 6 bytes of secret; 16 are needed");
        for (contents, why) in [
            ("-----BEGIN KEY-----", "PEM block without an END line"),
            ("-----BEGIN KEY-----\nMDEy", "PEM block without an END line"),
            (&block("!!!!"), "PEM block with bad base64"),
        ] {
            assert_eq!(key(contents), Err(format!("key material: key: {why}")));
        }
    }

    #[test]
    fn debug_output_shows_no_secret() {
        let material = EntropyMaterial {
            key: EntropyKey::from_bytes(*b"secret-secret-se"),
            iv: EntropyIv::from_bytes(*b"vector-vector-ve"),
        };
        let shown = format!("{material:?}");
        assert!(!shown.contains("115") && !shown.contains("secret-secret"), "{shown}");
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = EntropyIv::load(Path::new("/nonexistent/iv")).expect_err("missing");
        assert!(error.to_string().starts_with("key material: iv file /nonexistent/iv: "));
    }
}
