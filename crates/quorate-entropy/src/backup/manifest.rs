//! What a backup is made of.
//!
//! ```text
//! { "format": "quorate backup", "version": 1,
//!   "sha256": of "backup" as it stands, without spaces,
//!   "backup": {
//!     "number": 4,                     backups into this folder so far
//!     "began_ms", "ended_ms":          wall clock of whoever took it
//!     "cluster": name, "identity":     of the stamps, 32 hexadecimal digits
//!     "members": [{ "name", "client_address", "peer_address", "dc", "rack" }],
//!     "files": [{ "name", "bytes" }],
//!     "slots": [                       all 16,384, in order
//!       { "slot", "digest",            as QUORATE SLOTDIGEST gave it right before
//!         "moving": true,              it was another right behind
//!         "node": 2,                   the member it came from
//!         "replicas": 3,               compared with each other when it was read
//!         "also": [0],                 members that had something else: their states are in it too
//!         "backup": 3,                 which backup read it
//!         "keys", "bytes", "file", "offset", "sha256" } ] } }
//! ```
//!
//! What is empty, zero or false is left out. `file` and `node` are places in the lists.

use quorate_proto::{Slot, slot::SLOTS};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sha2::{Digest as _, Sha256};

const FORMAT: &str = "quorate backup";
const VERSION: u32 = 1;

/// A backup: where each slot of a cluster is, and what it must be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Backups into this folder so far, this one included.
    pub number: u64,
    /// When reading began, in milliseconds since 1970.
    pub began_ms: u64,
    /// When it had ended.
    pub ended_ms: u64,
    /// The cluster's name.
    pub cluster: String,
    /// Whose stamps these are, in hexadecimal: the same as in the streams.
    pub identity: String,
    /// The cluster's members.
    pub members: Vec<MemberRecord>,
    /// The data files.
    pub files: Vec<DataFile>,
    /// Every slot, in order.
    pub slots: Vec<SlotRecord>,
}

/// A member of the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberRecord {
    /// Its name.
    pub name: String,
    /// Where clients reach it.
    pub client_address: String,
    /// Where other nodes reach it.
    pub peer_address: String,
    /// Its datacentre.
    pub dc: String,
    /// Its rack.
    pub rack: String,
}

/// A data file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataFile {
    /// Its name in the folder.
    pub name: String,
    /// Its length.
    pub bytes: u64,
}

/// A slot in a backup.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotRecord {
    /// Its number.
    pub slot: u16,
    /// Its digest right before it was read.
    #[serde(with = "hexadecimal")]
    pub digest: u128,
    /// Whether the digest was another one right behind: then what was read holds at least what
    /// the digest is of.
    #[serde(default, skip_serializing_if = "is_default")]
    pub moving: bool,
    /// The member that it was read from.
    pub node: usize,
    /// Replicas whose digests were compared when it was read, this one included.
    pub replicas: usize,
    /// Members whose digests differed: their states stand behind those of `node`. They are merged
    /// by a restore; a server that knows no states sees what `node` had.
    #[serde(default, skip_serializing_if = "is_default")]
    pub also: Vec<usize>,
    /// The backup into this folder that read it.
    pub backup: u64,
    /// Keys that show something.
    #[serde(default, skip_serializing_if = "is_default")]
    pub keys: u64,
    /// Length of its part of the stream.
    #[serde(default, skip_serializing_if = "is_default")]
    pub bytes: u64,
    /// The file that it is in.
    #[serde(default, skip_serializing_if = "is_default")]
    pub file: usize,
    /// Where in the file.
    #[serde(default, skip_serializing_if = "is_default")]
    pub offset: u64,
    /// Checksum of its part, in hexadecimal; empty when there is none.
    #[serde(default, skip_serializing_if = "is_default")]
    pub sha256: String,
}

/// Why a manifest cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestError {
    /// It is no manifest, or is cut off.
    #[error("not the manifest of a backup: {0}")]
    Malformed(#[from] serde_json::Error),
    /// It is something else.
    #[error("format '{0}' is not '{FORMAT}'")]
    UnknownFormat(String),
    /// It was written by another version.
    #[error("version {0} of the format is unknown; this program knows {VERSION}")]
    UnknownVersion(u32),
    /// It was changed after it was written.
    #[error("damaged: its checksum is another one")]
    Checksum,
    /// It contradicts itself.
    #[error("it contradicts itself: {0}")]
    Inconsistent(String),
}

#[derive(Serialize, Deserialize)]
struct Head {
    format: String,
    version: u32,
}

#[derive(Serialize, Deserialize)]
struct Envelope<T> {
    format: String,
    version: u32,
    sha256: String,
    backup: T,
}

impl Manifest {
    /// Parses the file.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn decode(bytes: &[u8]) -> Result<Self, ManifestError> {
        let head: Head = parse(bytes)?;
        if head.format != FORMAT {
            return Err(ManifestError::UnknownFormat(head.format));
        }
        if head.version != VERSION {
            return Err(ManifestError::UnknownVersion(head.version));
        }
        let envelope: Envelope<Self> = parse(bytes)?;
        // Written out again rather than found in the text: spaces do not matter.
        if sha256(&serde_json::to_vec(&envelope.backup)?) != envelope.sha256 {
            return Err(ManifestError::Checksum);
        }
        envelope.backup.check()?;
        Ok(envelope.backup)
    }

    /// The file's contents.
    ///
    /// # Errors
    /// When it contradicts itself.
    pub fn encode(&self) -> Result<Vec<u8>, ManifestError> {
        self.check()?;
        let sha256 = sha256(&serde_json::to_vec(self)?);
        let format = FORMAT.to_owned();
        let mut bytes =
            serde_json::to_vec(&Envelope { format, version: VERSION, sha256, backup: self })?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    fn check(&self) -> Result<(), ManifestError> {
        let wrong = |text: String| Err(ManifestError::Inconsistent(text));
        if self.slots.len() != usize::from(SLOTS) {
            return wrong(format!("{} slots", self.slots.len()));
        }
        if let Some(file) = self.files.iter().find(|file| !is_data_file(&file.name)) {
            // A name that leads out of the folder must not be followed.
            return wrong(format!("'{}' is no name of a data file", file.name));
        }
        for (slot, record) in Slot::all().zip(&self.slots) {
            let end = record.offset.checked_add(record.bytes);
            let inside = |file: &DataFile| end.is_some_and(|end| end <= file.bytes);
            let fits = record.bytes == 0 || self.files.get(record.file).is_some_and(inside);
            let mut members = record.also.iter().chain([&record.node]);
            let known = members.all(|member| *member < self.members.len());
            if record.slot != slot.number() || !known || !fits {
                return wrong(format!("slot {}", slot.number()));
            }
        }
        Ok(())
    }

    /// Bytes of all slots.
    pub fn bytes(&self) -> u64 {
        self.slots.iter().map(|slot| slot.bytes).sum()
    }

    /// Keys of all slots.
    pub fn keys(&self) -> u64 {
        self.slots.iter().map(|slot| slot.keys).sum()
    }
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ManifestError> {
    Ok(serde_json::from_slice(bytes)?)
}

/// Name of the file into which backup `number` writes slots of a group.
pub(super) fn data_file(first: Slot, last: Slot, number: u64) -> String {
    format!("slots-{:05}-{:05}.{number:06}.resp", first.number(), last.number())
}

/// Whether a file may be one of a backup's.
pub(super) fn is_data_file(name: &str) -> bool {
    name.strip_prefix("slots-")
        .and_then(|rest| rest.strip_suffix(".resp"))
        .is_some_and(|inner| inner.bytes().all(|b| b.is_ascii_digit() || b == b'-' || b == b'.'))
}

/// SHA-256 in hexadecimal.
fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

mod hexadecimal {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub(super) fn serialize<S: Serializer>(value: &u128, out: S) -> Result<S::Ok, S::Error> {
        out.collect_str(&format_args!("{value:032x}"))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(input: D) -> Result<u128, D::Error> {
        let text = String::deserialize(input)?;
        u128::from_str_radix(&text, 16).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Manifest {
        let slots = Slot::all().map(|slot| SlotRecord {
            slot: slot.number(),
            digest: u128::MAX / 3 + u128::from(slot.number()),
            backup: 1,
            ..SlotRecord::default()
        });
        let mut manifest = Manifest {
            number: 1,
            began_ms: 1,
            ended_ms: 2,
            cluster: "c \"quoted\" \u{1f600}".into(),
            identity: "00".repeat(16),
            members: vec![MemberRecord { name: "n1".into(), ..MemberRecord::default() }],
            files: vec![DataFile { name: "slots-00000-00255.000001.resp".into(), bytes: 10 }],
            slots: slots.collect(),
        };
        manifest.slots[5] = SlotRecord {
            moving: true,
            also: vec![0],
            keys: 2,
            bytes: 7,
            offset: 3,
            sha256: "ab".into(),
            ..manifest.slots[5].clone()
        };
        manifest
    }

    #[test]
    fn what_is_written_is_read_again() {
        let manifest = sample();
        let bytes = manifest.encode().expect("consistent");
        assert_eq!(Manifest::decode(&bytes).expect("read"), manifest);
        // Spaces are nobody's damage.
        let value: serde_json::Value = serde_json::from_slice(&bytes).expect("JSON");
        let envelope: Envelope<Manifest> = serde_json::from_value(value).expect("an envelope");
        let pretty = serde_json::to_vec_pretty(&envelope).expect("JSON");
        assert_eq!(Manifest::decode(&pretty).expect("read"), manifest);
    }

    #[test]
    fn any_flipped_or_missing_byte_is_noticed() {
        let bytes = sample().encode().expect("consistent");
        // Every byte of the envelope, and some of the slots, of which there are a million bytes.
        let places = (0..150).chain((150..bytes.len() - 1).step_by(bytes.len() / 40));
        for place in places {
            let mut damaged = bytes.clone();
            damaged[place] ^= 1;
            assert!(Manifest::decode(&damaged).is_err(), "byte {place}");
            assert!(Manifest::decode(&bytes[..place]).is_err(), "cut off at {place}");
        }
    }

    #[test]
    fn what_is_unknown_is_refused_by_name() {
        let text = String::from_utf8(sample().encode().expect("consistent")).expect("text");
        let error =
            |text: &str| Manifest::decode(text.as_bytes()).expect_err("refused").to_string();
        let other = text.replacen("quorate backup", "another thing", 1);
        assert_eq!(error(&other), "format 'another thing' is not 'quorate backup'");
        let newer = r#"{"format":"quorate backup","version":2,"parts":[]}"#;
        let said = "version 2 of the format is unknown; this program knows 1";
        assert_eq!(error(newer), said);
        assert!(error("{}").starts_with("not the manifest of a backup"));
    }

    #[test]
    fn contradictions_are_refused() {
        let wrong = |change: fn(&mut Manifest)| {
            let mut manifest = sample();
            change(&mut manifest);
            assert!(matches!(manifest.encode(), Err(ManifestError::Inconsistent(_))));
        };
        wrong(|manifest| drop(manifest.slots.pop()));
        wrong(|manifest| manifest.slots.swap(3, 4));
        wrong(|manifest| manifest.slots[5].bytes = 8);
        wrong(|manifest| manifest.slots[5].offset = u64::MAX);
        wrong(|manifest| manifest.slots[5].file = 1);
        wrong(|manifest| manifest.slots[9].node = 1);
        wrong(|manifest| manifest.slots[9].also = vec![0, 1]);
        for name in ["../x", "slots-../../x.resp", "manifest.json", "/etc/passwd"] {
            let mut manifest = sample();
            manifest.files[0].name = name.into();
            assert!(manifest.encode().is_err(), "{name}");
        }
    }
}
