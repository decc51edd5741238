//! `quorate token`: all that a node needs in order to ask to be taken into a cluster, in one word.
//!
//! ```text
//! token := "quorate-join-1:" base64url without padding of (crc32c of text:u32 little-endian, text)
//! text  := cluster "\n" seeds with spaces between "\n" secrets with spaces between
//! ```
//! Nothing follows the second line break when the cluster has no secret.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail, ensure};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use quorate::ClusterSecret;
use quorate_proto::checksum::crc32c;
use zeroize::Zeroizing;

use crate::settings::secret_of_environment;

const PREFIX: &str = "quorate-join-1:";

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Peer address of a member through which the newcomer finds the cluster; may be given several times
    #[arg(long = "seed", value_name = "HOST:PORT", required = true)]
    seeds: Vec<String>,
    /// Name of the cluster
    #[arg(long, value_name = "NAME", default_value = "quorate")]
    cluster: String,
    /// File with the secret of the cluster [default: QUORATE_CLUSTER_SECRET, if that is set]
    #[arg(long, value_name = "FILE")]
    cluster_secret_file: Option<PathBuf>,
}

/// What a token carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct JoinToken {
    pub(crate) cluster: String,
    pub(crate) seeds: Vec<String>,
    pub(crate) secret: Option<ClusterSecret>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let secret = match &arguments.cluster_secret_file {
        Some(file) => Some(ClusterSecret::load(file).with_context(|| file.display().to_string())?),
        None => secret_of_environment()?,
    };
    let (cluster, seeds) = (arguments.cluster.clone(), arguments.seeds.clone());
    println!("{}", *JoinToken { cluster, seeds, secret }.to_text()?);
    Ok(())
}

impl JoinToken {
    fn to_text(&self) -> Result<Zeroizing<String>> {
        let has_line_break = self.cluster.contains('\n');
        ensure!(!has_line_break, "cluster: a token carries no name with a line break");
        let is_whole = |seed: &String| !seed.is_empty() && !seed.contains(char::is_whitespace);
        ensure!(self.seeds.iter().all(is_whole), "seed: an address has no white space");
        let mut text = Zeroizing::new(Vec::new());
        text.extend_from_slice(format!("{}\n{}\n", self.cluster, self.seeds.join(" ")).as_bytes());
        for (count, secret) in self.secret.iter().flat_map(ClusterSecret::all).enumerate() {
            text.extend_from_slice(if count > 0 { b" " } else { b"" });
            text.extend_from_slice(secret);
        }
        let mut checked = Zeroizing::new(crc32c(&text).to_le_bytes().to_vec());
        checked.extend_from_slice(&text);
        Ok(Zeroizing::new(PREFIX.to_owned() + &URL_SAFE_NO_PAD.encode(&checked)))
    }

    /// Reads a token, which may have white space around it.
    pub(crate) fn parse(token: &str) -> Result<Self> {
        let Some(encoded) = token.trim().strip_prefix(PREFIX) else {
            bail!("a token begins with {PREFIX}; make one with quorate token");
        };
        let decoded = URL_SAFE_NO_PAD.decode(encoded).ok().map(Zeroizing::new);
        let checked = decoded.as_ref().and_then(|decoded| decoded.split_first_chunk());
        let whole = checked.filter(|(sum, text)| u32::from_le_bytes(**sum) == crc32c(text));
        let (_, text) = whole.context("it is cut off or changed; copy it again")?;
        let mut lines = text.splitn(3, |byte| *byte == b'\n');
        let (Some(cluster), Some(seeds), Some(secret)) = (lines.next(), lines.next(), lines.next())
        else {
            bail!("it is of another version of quorate");
        };
        let text_of = |line: &[u8]| String::from_utf8(line.to_vec()).context("it is no text");
        let seeds = text_of(seeds)?.split(' ').map(str::to_owned).collect();
        let secret = (!secret.is_empty()).then(|| ClusterSecret::parse(secret)).transpose()?;
        Ok(Self { cluster: text_of(cluster)?, seeds, secret })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(secret: Option<&[u8]>) -> JoinToken {
        JoinToken {
            cluster: "shop".into(),
            seeds: vec!["10.0.0.1:7379".into(), "[::1]:7379".into()],
            secret: secret.map(|secret| ClusterSecret::parse(secret).expect("long enough")),
        }
    }

    #[test]
    fn a_token_says_what_it_was_made_of() {
        for secret in
            [None, Some(&b"0123456789abcdef"[..]), Some(b"0123456789abcdef fedcba9876543210")]
        {
            let token = token(secret);
            let text = token.to_text().expect("it can be written");
            assert_eq!(JoinToken::parse(&format!(" {}\n", *text)).expect("it is whole"), token);
        }
    }

    #[test]
    fn tokens_of_other_builds_are_read() {
        let text =
            "quorate-join-1:QDtPz3Nob3AKMTAuMC4wLjE6NzM3OSBbOjoxXTo3Mzc5CjAxMjM0NTY3ODlhYmNkZWY";
        assert_eq!(*token(Some(b"0123456789abcdef")).to_text().expect("it can be written"), text);
    }

    #[test]
    fn what_is_cut_off_or_changed_is_refused() {
        let text = token(Some(b"0123456789abcdef")).to_text().expect("it can be written");
        for end in 0..text.len() {
            assert!(JoinToken::parse(&text[..end]).is_err(), "{end}");
        }
        let changed = text.replace("quorate-join-1:", "quorate-join-2:");
        assert!(JoinToken::parse(&changed).unwrap_err().to_string().contains("begins with"));
        for at in PREFIX.len()..text.len() {
            let mut changed = text.as_bytes().to_vec();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            assert!(JoinToken::parse(str::from_utf8(&changed).expect("ASCII")).is_err(), "{at}");
        }
        let spaced = JoinToken { seeds: vec!["a b".into()], ..token(None) };
        assert!(spaced.to_text().is_err());
    }
}
