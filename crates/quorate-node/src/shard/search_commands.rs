//! `FT.*` as clients send it: what is answered here, what the catalog is asked, and what all
//! partitions are asked.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use quorate_cluster::coordinator::Terms;
use quorate_proto::{
    Level,
    command::Call,
    resp::{Command, ReplyWriter, parse_integer},
};
use quorate_search::{
    Language, Schema,
    analysis::Forms,
    query::{Dialect, explain},
    schema::{Kind, Source},
};

use quorate_store::JsonPath;

use super::{Now, Shard, Waiter, job::Plan};
use crate::{
    reactor::ControlMail,
    search::{
        Change, Leave, answers_in_part, check_setting,
        coverage::Coverage,
        default_dialect, not_found,
        plans::{DeleteDocuments, Find, Gather, Join, Question, Target},
        query::Query,
        query_memory, write_config,
    },
};

/// What a command becomes.
pub(super) enum Deed {
    /// A reply.
    Reply(Vec<u8>),
    /// A change of the catalog.
    Change(Change),
    /// A job, which may have less time than others, and a change of the catalog behind it.
    Job(Box<dyn Plan>, Option<Duration>, Option<Change>),
    /// A job about a key, on the terms of any command.
    Keyed(Box<dyn Plan>),
}

impl Shard {
    /// A command of the search.
    pub(super) fn search_command(&mut self, now: Now, key: usize, call: Call) {
        if self.sessions[key].replies.waiting() > 0 {
            self.sessions[key].held = Some(call);
            return;
        }
        if call.spec().name == "ft.cursor" {
            return self.cursor_command(now, key, call);
        }
        match self.deed(now, key, &call) {
            Ok(Deed::Reply(reply)) => self.reply(key, &call, &reply),
            Err(error) => self.refuse(key, &call, error),
            Ok(Deed::Change(change)) => {
                let waiter = self.expect_alone(key, call.command());
                self.change_catalog(waiter, change);
            }
            Ok(Deed::Keyed(plan)) => {
                let terms = Terms { resp3: false, ..self.terms(now, key, &call) };
                let waiter = self.expect_alone(key, call.command());
                self.start_job(now, waiter, plan, terms);
            }
            Ok(Deed::Job(plan, time, change)) => {
                let mut terms = self.search_terms(now, key, &call);
                if let Some(time) = time {
                    terms.deadline = terms.deadline.min(now.monotonic + time);
                }
                let mut waiter = self.expect_alone(key, call.command());
                if let Some(change) = change {
                    waiter = Waiter::Change { change: Box::new(change), then: Box::new(waiter) };
                }
                self.start_job(now, waiter, plan, terms);
            }
        }
    }

    /// One replica answers, whatever the level of the connection.
    fn search_terms(&self, now: Now, key: usize, call: &Call) -> Terms {
        Terms { read_level: Level::One, resp3: false, ..self.terms(now, key, call) }
    }

    /// Asks the control for a change of the catalog; its reply goes to `waiter`.
    pub(super) fn change_catalog(&mut self, waiter: Waiter, change: Change) {
        let ticket = self.waiters.insert(waiter) as u64;
        self.to_control.push(ControlMail::Catalog { shard: self.id, ticket, change });
    }

    /// Whether there is any index.
    pub(super) fn has_indexes(&self) -> bool {
        self.storage.search.catalog.indexes().next().is_some()
    }

    /// What the indexes say otherwise than the documents, a line each.
    pub(crate) fn index_faults(&mut self) -> Vec<String> {
        self.storage.index_faults()
    }

    /// The digest of the catalog that the shard goes by.
    pub(crate) fn catalog_digest(&self) -> u64 {
        self.storage.search.catalog.digest()
    }

    fn deed(&mut self, now: Now, key: usize, call: &Call) -> Result<Deed, String> {
        let command = call.command();
        let arguments: Vec<&[u8]> = command.args().skip(1).collect();
        let first = arguments.first().copied().unwrap_or_default();
        let name = first.to_vec();
        let resp3 = self.sessions[key].resp3;
        Ok(match call.spec().name {
            "ft.create" | "ft._createifnx" => {
                let schema = Schema::create(&arguments[1..]).map_err(|error| error.to_string())?;
                check_paths(&schema, first)?;
                let lenient = call.spec().name == "ft._createifnx";
                Deed::Change(Change::Create { name, arguments: schema.arguments(), lenient })
            }
            "ft.alter" => {
                let arguments = arguments[1..].iter().map(|word| word.to_vec()).collect();
                Deed::Change(Change::Alter { name, arguments })
            }
            "ft.dropindex" | "ft._dropindexifx" => self.drop_index(call, &arguments)?,
            "ft.aliasadd" | "ft._aliasaddifnx" | "ft.aliasupdate" => Deed::Change(Change::Alias {
                alias: name,
                index: arguments[1].to_vec(),
                replaces: call.spec().name == "ft.aliasupdate",
                lenient: call.spec().name == "ft._aliasaddifnx",
            }),
            "ft.aliasdel" | "ft._aliasdelifx" => {
                let lenient = call.spec().name == "ft._aliasdelifx";
                Deed::Change(Change::DropAlias { alias: name, lenient })
            }
            "ft.dictadd" | "ft.dictdel" => Deed::Change(Change::Words {
                dictionary: name,
                words: arguments[1..].iter().map(|word| word.to_vec()).collect(),
                add: call.spec().name == "ft.dictadd",
            }),
            "ft.synupdate" => synonyms(name, &arguments)?,
            "ft.config" => self.search_config(command, &arguments, resp3)?,
            "ft.search" => self.find(&arguments, resp3, false)?,
            "ft.aggregate" => self.aggregate(&arguments, resp3, false)?,
            "ft.hybrid" => self.hybrid(now, &arguments, resp3, false)?,
            "ft.regex" => self.regex(&arguments, resp3)?,
            "ft.profile" => self.profile(now, &arguments, resp3)?,
            name @ ("ft.sugadd" | "ft.sugget" | "ft.sugdel" | "ft.suglen") => {
                Self::suggest(name, &arguments, resp3)?
            }
            "ft.tagvals" => {
                let target = self.target(first)?;
                let field = target.schema.field(arguments[1]);
                let field = field.ok_or("SEARCH_ATTR_BAD No such field")?;
                if !matches!(field.kind, Kind::Tag(_)) {
                    return Err("SEARCH_ATTR_BAD Not a tag field".into());
                }
                self.gather_partitions(target, vec![arguments[1].to_vec()], Join::Tags, resp3)
            }
            "ft.info" => {
                let target = self.target(first)?;
                self.gather_partitions(target, Vec::new(), Join::Info, resp3)
            }
            "ft.spellcheck" => self.spellcheck(&arguments, resp3)?,
            _ => Deed::Reply(self.describe_search(call, &arguments, resp3)?),
        })
    }

    /// What the catalog tells.
    fn describe_search(
        &self,
        call: &Call,
        arguments: &[&[u8]],
        resp3: bool,
    ) -> Result<Vec<u8>, String> {
        let mut out = Vec::new();
        let mut writer = ReplyWriter::new(&mut out, resp3);
        let catalog = &self.storage.search.catalog;
        let first = arguments.first().copied().unwrap_or_default();
        match call.spec().name {
            "ft._list" => {
                let names: Vec<&[u8]> = catalog.indexes().map(|index| index.name).collect();
                writer.set(names.len());
                names.iter().for_each(|name| writer.simple(&String::from_utf8_lossy(name)));
            }
            "ft.aliaslist" => {
                let index = catalog.resolve(first).ok_or_else(|| not_found(first))?;
                let names: Vec<&[u8]> = catalog.aliases(index.name).collect();
                writer.set(names.len());
                names.iter().for_each(|name| writer.bulk(name));
            }
            "ft.dictdump" => {
                let words = catalog.dictionary(first);
                writer.set(words.len());
                words.iter().for_each(|word| writer.text(word));
            }
            "ft.syndump" => {
                let index = catalog.resolve(first).ok_or_else(|| not_found(first))?;
                let synonyms = catalog.synonyms(index.name);
                writer.map(synonyms.iter().count());
                for (word, groups) in synonyms.iter() {
                    writer.text(word);
                    writer.array(groups.len());
                    groups.iter().for_each(|group| writer.text(group));
                }
            }
            "ft.explain" => writer.text(&self.explained(arguments)?),
            "ft.explaincli" => {
                let text = self.explained(arguments)?;
                let lines: Vec<&str> = text.split('\n').collect();
                writer.array(lines.len());
                lines.iter().for_each(|line| writer.simple(line));
            }
            _ => return Err("ERR this command cannot be executed here".into()),
        }
        Ok(out)
    }

    fn explained(&self, arguments: &[&[u8]]) -> Result<String, String> {
        let target = self.target(arguments[0])?;
        let query = Query::parse(&arguments[1..], self.dialect())?;
        let language = query.language.or(target.schema.language).unwrap_or(Language::English);
        let node = query.node(&target.schema)?;
        let forms = Forms { schema: &target.schema, synonyms: &target.synonyms, language };
        let forms = |word: &str, node: &quorate_search::query::Node| match query.verbatim {
            true => Vec::new(),
            false => forms.asked(word, node.fields, &node.attributes),
        };
        Ok(explain(&node, &target.schema, &forms))
    }

    pub(super) fn dialect(&self) -> Dialect {
        default_dialect(&self.storage.search.catalog)
    }

    /// The index that a name or an alias stands for.
    pub(super) fn target(&self, name: &[u8]) -> Result<Arc<Target>, String> {
        self.storage.search.target(name).map(Arc::new).ok_or_else(|| not_found(name))
    }

    pub(super) fn question(&mut self, target: Arc<Target>, arguments: Vec<Vec<u8>>) -> Question {
        let coverage = Coverage::new(self.topology(), self.node.settings.shards);
        let in_part = answers_in_part(&self.storage.search.catalog);
        let leave = Leave { number: self.draw(), in_part, ..Leave::default() };
        let is_told = self.topology().peers().next().is_none();
        Question { target, coverage, arguments, leave, is_told }
    }

    fn gather_partitions(
        &mut self,
        target: Arc<Target>,
        arguments: Vec<Vec<u8>>,
        join: Join,
        resp3: bool,
    ) -> Deed {
        let question = self.question(target, arguments);
        let bytes_max = query_memory(&self.storage.search.catalog);
        Deed::Job(Box::new(Gather { question, join, resp3, begun: false, bytes_max }), None, None)
    }

    pub(super) fn find(
        &mut self,
        arguments: &[&[u8]],
        resp3: bool,
        profiled: bool,
    ) -> Result<Deed, String> {
        let target = self.target(arguments[0])?;
        let query = Query::parse(&arguments[1..], self.dialect())?;
        if query.marks() && target.schema.options.no_highlight {
            let option = match target.schema.options.no_offsets {
                true => "NOOFFSETS",
                false => "NOHL",
            };
            return Err(format!(
                "SEARCH_QUERY_BAD Cannot use highlight/summarize because {option} was specified at \
                 index level"
            ));
        }
        if query.expand {
            let refused = match (resp3, target.schema.source, query.dialect >= Dialect::Three) {
                (false, ..) => Some("EXPAND format is only supported with RESP3"),
                (_, Source::Hash, _) => Some("EXPAND format is only supported with JSON"),
                (.., false) => Some("EXPAND format requires dialect 3 or greater"),
                _ => None,
            };
            if let Some(text) = refused {
                return Err(format!("SEARCH_PARSE_ARGS {text}"));
            }
        }
        let time = self.query_time(query.timeout_ms);
        // What is missing is decided once, here, and told to all.
        let mut words: Vec<Vec<u8>> = arguments[1..].iter().map(|word| word.to_vec()).collect();
        words.extend([b"DIALECT".to_vec(), (query.dialect as u64 + 1).to_string().into_bytes()]);
        let question = self.question(target, words);
        let bytes_max = query_memory(&self.storage.search.catalog);
        let find = Find::new(question, query, resp3, (profiled, bytes_max))?;
        Ok(Deed::Job(Box::new(find), time, None))
    }

    /// `FT.DROPINDEX index [DD]`
    fn drop_index(&mut self, call: &Call, arguments: &[&[u8]]) -> Result<Deed, String> {
        let lenient = call.spec().name == "ft._dropindexifx";
        let change = Change::Drop { name: arguments[0].to_vec(), lenient };
        match arguments.get(1) {
            None => Ok(Deed::Change(change)),
            Some(word) if word.eq_ignore_ascii_case(b"DD") && arguments.len() == 2 => {
                let target = match self.target(arguments[0]) {
                    Ok(target) => target,
                    Err(_) if lenient => return Ok(Deed::Change(change)),
                    Err(error) => return Err(error),
                };
                let question = self.question(target, Vec::new());
                let plan = DeleteDocuments { question, stage: 0, keys: Vec::new() };
                Ok(Deed::Job(Box::new(plan), None, Some(change)))
            }
            Some(word) => Err(format!(
                "SEARCH_ARG_UNRECOGNIZED Unknown argument `{}`",
                String::from_utf8_lossy(word)
            )),
        }
    }

    /// `FT.CONFIG GET|SET|HELP option [value]`
    fn search_config(
        &self,
        command: &Command,
        arguments: &[&[u8]],
        resp3: bool,
    ) -> Result<Deed, String> {
        let Some(option) = arguments.get(1) else {
            return Err("ERR wrong number of arguments for 'ft.config' command".into());
        };
        match command.arg(1).to_ascii_uppercase().as_slice() {
            b"SET" => {
                let value = arguments.get(2).copied().unwrap_or_default();
                check_setting(option, value)?;
                Ok(Deed::Change(Change::Setting { name: option.to_vec(), value: value.to_vec() }))
            }
            word @ (b"GET" | b"HELP") => {
                let mut out = Vec::new();
                let mut writer = ReplyWriter::new(&mut out, resp3);
                let catalog = &self.storage.search.catalog;
                write_config(&mut writer, catalog, option, word == b"HELP");
                Ok(Deed::Reply(out))
            }
            _ => Err("SEARCH_PARSE_ARGS No such action; GET, SET or HELP".into()),
        }
    }

    /// `FT.SPELLCHECK index query [DISTANCE n] [TERMS INCLUDE|EXCLUDE dictionary]... [DIALECT n]`
    fn spellcheck(&mut self, arguments: &[&[u8]], resp3: bool) -> Result<Deed, String> {
        let target = self.target(arguments[0])?;
        let (mut distance, mut dialect) = (1, None);
        let (mut included, mut excluded) = (Vec::new(), Vec::new());
        let mut words = arguments[2..].iter();
        while let Some(word) = words.next() {
            match word.to_ascii_uppercase().as_slice() {
                b"DISTANCE" => {
                    let found = words.next().and_then(|number| parse_integer(number));
                    let found = found.filter(|number| (1..=4).contains(number));
                    let refused = "SEARCH_PARSE_ARGS Invalid distance given, distance must be a \
                                   natural number between 1 to 4";
                    distance = u8::try_from(found.ok_or(refused)?).unwrap_or(1);
                }
                b"TERMS" => {
                    let (Some(which), Some(name)) = (words.next(), words.next()) else {
                        return Err("SEARCH_PARSE_ARGS TERM requires INCLUDE or EXCLUDE and a \
                                    dictionary"
                            .into());
                    };
                    let found: BTreeSet<String> = self.storage.search.catalog.dictionary(name);
                    if found.is_empty() {
                        let name = String::from_utf8_lossy(name);
                        return Err(format!("Dict does not exist: {name}"));
                    }
                    match which.to_ascii_uppercase().as_slice() {
                        b"INCLUDE" => included.push(found),
                        b"EXCLUDE" => excluded.push(found),
                        _ => {
                            return Err("SEARCH_PARSE_ARGS bad format, exclude/include operation \
                                        was not given"
                                .into());
                        }
                    }
                }
                b"DIALECT" => dialect = words.next().copied(),
                _ => {
                    let word = String::from_utf8_lossy(word);
                    return Err(format!("SEARCH_ARG_UNRECOGNIZED Unknown argument `{word}`"));
                }
            }
        }
        let own = (self.dialect() as u64 + 1).to_string().into_bytes();
        let dialect = dialect.map_or(own, <[u8]>::to_vec);
        let question = vec![
            distance.to_string().into_bytes(),
            arguments[1].to_vec(),
            b"DIALECT".to_vec(),
            dialect,
        ];
        let words: Vec<&[u8]> = question[1..].iter().map(Vec::as_slice).collect();
        Query::parse(&words, self.dialect())?.node(&target.schema)?;
        let join = Join::Spelling { included, excluded };
        Ok(self.gather_partitions(target, question, join, resp3))
    }
}

/// Refuses a schema of JSON documents with a path that cannot be read.
fn check_paths(schema: &Schema, index: &[u8]) -> Result<(), String> {
    let mut fields = schema.fields.iter().filter(|_| schema.source == Source::Json);
    let Some(field) = fields.find(|field| JsonPath::parse(&field.path).is_err()) else {
        return Ok(());
    };
    let text = |bytes| String::from_utf8_lossy(bytes);
    let (path, name, index) = (text(&field.path), text(&field.name), text(index));
    Err(format!("Invalid JSONPath '{path}' in attribute '{name}' in index '{index}'"))
}

/// `FT.SYNUPDATE index group [SKIPINITIALSCAN] word...`
fn synonyms(index: Vec<u8>, arguments: &[&[u8]]) -> Result<Deed, String> {
    let group = arguments[1].to_vec();
    let mut words = &arguments[2..];
    if words.first().is_some_and(|word| word.eq_ignore_ascii_case(b"SKIPINITIALSCAN")) {
        words = &words[1..];
    }
    if words.is_empty() {
        return Err("ERR wrong number of arguments for 'ft.synupdate' command".into());
    }
    let words = words.iter().map(|word| word.to_ascii_lowercase()).collect();
    Ok(Deed::Change(Change::Synonyms { index, group, words }))
}
