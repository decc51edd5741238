//! Fuzz targets: every parser, recovery from any disk, and whatever peers may say to a node.
//!
//! A target takes any bytes and must not panic; most also check what must hold of what was read.
//! Each has seeds, made from what three real nodes say to each other and leave on their disks
//! ([`recording`]). `fuzz/run` drives the targets with libFuzzer; the tests of this crate replay
//! the seeds, every input that once made a target panic, and mutations of them.

mod channel;
mod codecs;
mod directory;
mod documents;
mod json;
mod links;
mod mutations;
mod node;
mod pieces;
pub mod recording;
mod search;
mod seeds;

use std::{fs, path::Path};

/// Something that takes any bytes.
pub struct Target {
    /// Names it on the command line.
    pub name: &'static str,
    run: fn(&[u8]),
    seeds: fn() -> Vec<Vec<u8>>,
}

impl Target {
    const fn new(name: &'static str, run: fn(&[u8]), seeds: fn() -> Vec<Vec<u8>>) -> Self {
        Self { name, run, seeds }
    }

    /// The target of this name.
    pub fn named(name: &str) -> Option<&'static Self> {
        TARGETS.iter().find(|target| target.name == name)
    }

    /// Tries one input.
    ///
    /// # Panics
    /// When it finds a defect.
    pub fn run(&self, bytes: &[u8]) {
        (self.run)(bytes);
    }

    /// Inputs to begin with.
    pub fn seeds(&self) -> Vec<Vec<u8>> {
        (self.seeds)()
    }

    /// Seeds, what once made the target panic, and `mutations` of them: the same each time.
    pub fn inputs(&self, mutations: usize) -> Vec<Vec<u8>> {
        let mut inputs = self.seeds();
        inputs.extend(self.regressions());
        let mutations = mutations::mutations(&inputs, mutations);
        inputs.extend(mutations);
        inputs
    }

    fn regressions(&self) -> Vec<Vec<u8>> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("regressions").join(self.name);
        let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
        let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
        paths.sort();
        paths.iter().map(|path| fs::read(path).expect("a readable file")).collect()
    }
}

/// All targets.
pub const TARGETS: &[Target] = &[
    Target::new("resp_command", codecs::commands, codecs::command_seeds),
    Target::new("resp_reply", codecs::reply, codecs::reply_seeds),
    Target::new("peer_frame", codecs::frames, codecs::frame_seeds),
    Target::new("peer_message", codecs::message, codecs::message_seeds),
    Target::new("effect", codecs::effects, codecs::effect_seeds),
    Target::new("commands", node::commands, node::command_seeds),
    Target::new("directory", directory::files, directory::file_seeds),
    Target::new("log_records", directory::records, directory::record_seeds),
    Target::new("hint_records", directory::hints, directory::hint_seeds),
    Target::new("node_json", directory::identity, directory::identity_seeds),
    Target::new("configuration", documents::configuration, documents::configuration_seeds),
    Target::new("manifest", documents::manifest, documents::manifest_seeds),
    Target::new("entropy_stream", channel::stream, channel::stream_seeds),
    Target::new("entropy_records", channel::records, channel::record_seeds),
    Target::new("entropy_commands", channel::commands, channel::command_seeds),
    Target::new("entropy_secret", channel::secret, channel::secret_seeds),
    Target::new("secure_link", links::links, links::link_seeds),
    Target::new("named_seeds", seeds::named, seeds::named_seeds),
    Target::new("search_schema", search::schema, search::schema_seeds),
    Target::new("search_query", search::query, search::query_seeds),
    Target::new("search_expression", search::expression, search::expression_seeds),
    Target::new("search_aggregation", search::aggregation, search::aggregation_seeds),
    Target::new("search_wire", search::wire, search::wire_seeds),
    Target::new("json", json::documents, json::document_seeds),
    Target::new("membership", node::membership, node::membership_seeds),
    Target::new("coordinator", node::coordinator, node::coordinator_seeds),
    Target::new("sync", node::sync, node::sync_seeds),
    Target::new("clocks", node::clocks, node::clocks_seeds),
    Target::new("handoff", node::handoff, node::handoff_seeds),
    Target::new("all_messages", node::everything, node::everything_seeds),
];
