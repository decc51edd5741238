//! `quorate check-config`: what a configuration file says, or what is wrong with it.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use quorate::{Settings, config::SETTINGS};

use crate::settings::File;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The file to check
    file: PathBuf,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let wrong = || format!("{} is wrong", arguments.file.display());
    let file = File::read(&arguments.file).with_context(wrong)?;
    let settings = Settings::read(&file.values().collect::<Vec<_>>())
        .map_err(|errors| anyhow::anyhow!(file.explain(&errors)))
        .with_context(wrong)?;
    println!("{} is fine:", arguments.file.display());
    for setting in SETTINGS {
        println!("{}: {}", setting.key, setting.show(&settings));
    }
    Ok(())
}
