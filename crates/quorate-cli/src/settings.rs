//! Where settings come from: a file, and flags that override it.

use std::path::PathBuf;

use anyhow::{Result, anyhow};
use clap::{Arg, ArgAction, ArgMatches, Command};
use quorate::{
    ClusterSecret, Settings,
    config::{SETTINGS, Setting, Shape},
};

mod file;

pub(crate) use file::File;

const CONFIG: &str = "config";

/// What is said of a node on the command line. Each flag overrides the key of the same name in the
/// file.
#[derive(Clone, Debug)]
pub(crate) struct Flags {
    config: Option<PathBuf>,
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
        settings.validate().map_err(|errors| anyhow!(file.explain(&errors)))?;
        Ok(settings)
    }
}

/// The secret of the cluster, for those who hand secrets to processes so.
const SECRET_VARIABLE: &str = "QUORATE_CLUSTER_SECRET";

fn secret_of_environment() -> Result<Option<ClusterSecret>> {
    let Some(text) = std::env::var_os(SECRET_VARIABLE) else { return Ok(None) };
    let secret = ClusterSecret::parse(text.as_encoded_bytes());
    secret.map(Some).map_err(|error| anyhow!("{SECRET_VARIABLE}: {error}"))
}

impl clap::Args for Flags {
    fn augment_args(command: Command) -> Command {
        let config = Arg::new(CONFIG)
            .long(CONFIG)
            .value_name("FILE")
            .value_parser(clap::value_parser!(PathBuf))
            .help("YAML file with the same settings as these flags, in snake_case");
        SETTINGS.iter().fold(command.arg(config), |command, setting| command.arg(flag(setting)))
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
        Ok(Self { config: matches.get_one(CONFIG).cloned(), given })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}
