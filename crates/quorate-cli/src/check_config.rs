//! `quorate check-config`: what a configuration file says, or what is wrong with it.

use std::path::PathBuf;

use anyhow::{Context as _, Result};

use crate::settings::read_file;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The file to check
    file: PathBuf,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let settings = read_file(&arguments.file)?
        .validate()
        .with_context(|| format!("{} is wrong", arguments.file.display()))?;
    println!("{} is fine:", arguments.file.display());
    println!("{settings:#?}");
    Ok(())
}
