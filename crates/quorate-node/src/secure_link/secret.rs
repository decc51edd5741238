//! The secret that the nodes of a cluster share.

use std::{fmt, fs, path::Path};

use zeroize::Zeroizing;

/// Shortest secret, in bytes.
pub const SECRET_LENGTH_MIN: usize = 16;

/// Longest secret, in bytes.
pub const SECRET_LENGTH_MAX: usize = 256;

/// How many secrets hold at a time: the one in use, and others while it is being replaced.
pub const SECRETS_MAX: usize = 4;

/// Longest file that is looked at as a secret.
const FILE_LENGTH_MAX: u64 = 4096;

const _: () = assert!(SECRETS_MAX * (SECRET_LENGTH_MAX + 2) < FILE_LENGTH_MAX as usize);

/// What every node of a cluster has and nobody else: one secret, or several while one is being
/// replaced. A node proves the first to others, and takes any from them.
///
/// It is wiped from memory when it is dropped, and appears in no log, error or `Debug` output.
#[derive(Clone, PartialEq, Eq)]
pub struct ClusterSecret(Vec<Zeroizing<Vec<u8>>>);

/// Why something is no secret of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0}; allowed: 1 to {SECRETS_MAX} secrets of {SECRET_LENGTH_MIN} to {SECRET_LENGTH_MAX} \
         bytes, with white space between them"
)]
pub struct SecretError(String);

impl ClusterSecret {
    /// Secrets with white space between them, as they stand in a file: the one to prove first.
    ///
    /// # Errors
    /// There is none, there are too many, or one is too short or too long.
    pub fn parse(contents: &[u8]) -> Result<Self, SecretError> {
        let words = contents.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
        let secrets: Vec<_> = words.map(|word| Zeroizing::new(word.to_vec())).collect();
        if secrets.is_empty() || secrets.len() > SECRETS_MAX {
            return Err(SecretError(format!("{} secrets", secrets.len())));
        }
        let fits = |secret: &Zeroizing<Vec<u8>>| {
            (SECRET_LENGTH_MIN..=SECRET_LENGTH_MAX).contains(&secret.len())
        };
        match secrets.iter().find(|secret| !fits(secret)) {
            Some(wrong) => Err(SecretError(format!("a secret of {} bytes", wrong.len()))),
            None => Ok(Self(secrets)),
        }
    }

    /// Reads a file.
    ///
    /// # Errors
    /// The file cannot be read, or is not allowed.
    pub fn load(path: &Path) -> Result<Self, SecretError> {
        let io = |error: std::io::Error| SecretError(error.to_string());
        let length = fs::metadata(path).map_err(io)?.len();
        if length > FILE_LENGTH_MAX {
            return Err(SecretError(format!("a file of {length} bytes")));
        }
        Self::parse(&Zeroizing::new(fs::read(path).map_err(io)?))
    }

    /// All that hold; the first is the one to prove.
    pub fn all(&self) -> impl Iterator<Item = &[u8]> {
        self.0.iter().map(|secret| secret.as_slice())
    }
}

impl fmt::Debug for ClusterSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClusterSecret({})", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "0123456789abcdef";

    #[test]
    fn secrets_stand_between_white_space() {
        let secret = ClusterSecret::parse(format!(" {ONE}\r\n\n{ONE}x\t").as_bytes());
        let secret = secret.expect("two secrets");
        let all: Vec<_> = secret.all().collect();
        assert_eq!(all, [ONE.as_bytes(), format!("{ONE}x").as_bytes()]);
        assert_eq!(format!("{secret:?}"), "ClusterSecret(2)");
    }

    #[test]
    fn what_is_wrong_is_told_without_the_secret() {
        let why = |text: &str| ClusterSecret::parse(text.as_bytes()).expect_err(text).to_string();
        let allowed = "; allowed: 1 to 4 secrets of 16 to 256 bytes, with white space between them";
        assert_eq!(why(" \n"), format!("0 secrets{allowed}"));
        assert_eq!(why(&format!("{ONE} ").repeat(5)), format!("5 secrets{allowed}"));
        assert_eq!(why(&ONE[1..]), format!("a secret of 15 bytes{allowed}"));
        assert_eq!(why(&"x".repeat(257)), format!("a secret of 257 bytes{allowed}"));
        let missing = ClusterSecret::load(Path::new("/nonexistent")).expect_err("missing");
        assert!(missing.to_string().contains("No such file"), "{missing}");
    }
}
