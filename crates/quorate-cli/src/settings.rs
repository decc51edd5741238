//! Where settings come from: a file, and flags that override it.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow, ensure};
use clap::{Arg, ArgAction, ArgMatches, Command};
use quorate::{
    ClusterSecret, Settings,
    config::{SETTINGS, Setting, Shape},
};
use zeroize::Zeroizing;

use crate::token::JoinToken;

mod file;

pub(crate) use file::File;

const CONFIG: &str = "config";

const JOIN_TOKEN_FILE: &str = "join-token-file";

/// What is said of a node on the command line. Each flag overrides the key of the same name in the
/// file.
#[derive(Clone, Debug)]
pub(crate) struct Flags {
    config: Option<PathBuf>,
    join_token: Option<PathBuf>,
    given: Vec<(&'static Setting, String)>,
}

impl Flags {
    /// The checked settings of the file with the flags on top.
    pub(crate) fn settings(self) -> Result<Settings> {
        let file = self.config.as_deref().map(File::read).transpose()?.unwrap_or_default();
        let is_overridden = |key: &str| self.given.iter().any(|(setting, _)| setting.key == key);
        let of_file = file.values().filter(|(setting, _)| !is_overridden(setting.key));
        let given: Vec<_> = of_file.chain(self.given.iter().cloned()).collect();
        let mut settings =
            Settings::read(&given).map_err(|errors| anyhow!(file.explain(&errors)))?;
        settings.cluster_secret = secret_of_environment()?;
        if let Some((place, token)) = join_token(self.join_token.as_deref())? {
            let is_named = given.iter().any(|(setting, _)| setting.key == "cluster");
            apply(token, &mut settings, is_named).with_context(|| place)?;
        }
        settings.validate().map_err(|errors| anyhow!(file.explain(&errors)))?;
        Ok(settings)
    }
}

/// The secret of the cluster, for those who hand secrets to processes so.
const SECRET_VARIABLE: &str = "QUORATE_CLUSTER_SECRET";

pub(crate) fn secret_of_environment() -> Result<Option<ClusterSecret>> {
    let Some(text) = std::env::var_os(SECRET_VARIABLE) else { return Ok(None) };
    let secret = ClusterSecret::parse(text.as_encoded_bytes());
    secret.map(Some).map_err(|error| anyhow!("{SECRET_VARIABLE}: {error}"))
}

/// A token, for those who hand it to processes so.
const TOKEN_VARIABLE: &str = "QUORATE_JOIN_TOKEN";

/// The token that was given, and where.
fn join_token(file: Option<&Path>) -> Result<Option<(String, JoinToken)>> {
    let (place, text) = match (file, std::env::var(TOKEN_VARIABLE)) {
        (Some(file), _) => {
            let place = format!("{JOIN_TOKEN_FILE}: {}", file.display());
            let text = std::fs::read_to_string(file).with_context(|| place.clone())?;
            (place, Zeroizing::new(text))
        }
        (None, Ok(text)) => (TOKEN_VARIABLE.to_owned(), Zeroizing::new(text)),
        (None, Err(_)) => return Ok(None),
    };
    let token = JoinToken::parse(&text).with_context(|| place.clone())?;
    Ok(Some((place, token)))
}

/// The node asks the cluster of a token to take it in.
fn apply(token: JoinToken, settings: &mut Settings, is_named: bool) -> Result<()> {
    ensure!(
        !is_named || settings.cluster == token.cluster,
        "it is for the cluster {}, and cluster says {}",
        token.cluster,
        settings.cluster
    );
    settings.cluster = token.cluster;
    settings.join = true;
    for seed in token.seeds {
        if !settings.seeds.contains(&seed) {
            settings.seeds.push(seed);
        }
    }
    // A file that is named comes first, so that the secret can be replaced later.
    if settings.cluster_secret_file.is_none() && settings.cluster_secret.is_none() {
        settings.cluster_secret = token.secret;
    }
    Ok(())
}

impl clap::Args for Flags {
    fn augment_args(command: Command) -> Command {
        let config = Arg::new(CONFIG)
            .long(CONFIG)
            .value_name("FILE")
            .value_parser(clap::value_parser!(PathBuf))
            .help("YAML file with the same settings as these flags, in snake_case");
        let token = Arg::new(JOIN_TOKEN_FILE)
            .long(JOIN_TOKEN_FILE)
            .value_name("FILE")
            .value_parser(clap::value_parser!(PathBuf))
            .help(
                "File with a token (quorate token): its cluster is asked to take this node in, with \
                 its seeds and its secret",
            );
        let command = command.arg(config).arg(token);
        SETTINGS.iter().fold(command, |command, setting| command.arg(flag(setting)))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

fn flag(setting: &'static Setting) -> Arg {
    let (help, default) = (setting.help, setting.default);
    let help = match setting.shape() {
        Shape::One | Shape::OneOrNamed => format!("{help} [default: {default}]"),
        Shape::Flag => help.to_owned(),
        Shape::Many | Shape::Sections(_) => format!("{help}; may be given several times"),
    };
    let action = match setting.shape() {
        Shape::One | Shape::OneOrNamed => ArgAction::Set,
        Shape::Flag => ArgAction::SetTrue,
        Shape::Many | Shape::Sections(_) => ArgAction::Append,
    };
    let flag = Arg::new(setting.key).long(setting.flag()).action(action).help(help);
    let flag = match setting.shape() {
        Shape::Flag => flag,
        _ => flag.value_name(setting.placeholder).allow_negative_numbers(true),
    };
    let is_of_channel = setting.key.starts_with("entropy.");
    if is_of_channel { flag.help_heading("Reconciliation channel") } else { flag }
}

impl clap::FromArgMatches for Flags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut given = Vec::new();
        for setting in SETTINGS {
            match setting.shape() {
                Shape::Flag if matches.get_flag(setting.key) => {
                    given.push((setting, "true".into()))
                }
                Shape::Flag => {}
                Shape::One | Shape::OneOrNamed | Shape::Many | Shape::Sections(_) => {
                    let texts = matches.get_many::<String>(setting.key).into_iter().flatten();
                    given.extend(texts.map(|text| (setting, text.clone())));
                }
            }
        }
        Ok(Self {
            config: matches.get_one(CONFIG).cloned(),
            join_token: matches.get_one(JOIN_TOKEN_FILE).cloned(),
            given,
        })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}
