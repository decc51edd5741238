//! Makes modules of the pages of the book, whose links lead from module to module.

use std::{env, error::Error, fmt::Write as _, fs, path::Path};

const PAGES: &str = "../../docs/src";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    if env::var_os("CARGO_FEATURE_BOOK").is_none() {
        return Ok(());
    }
    println!("cargo::rerun-if-changed={PAGES}");
    let summary = fs::read_to_string(Path::new(PAGES).join("SUMMARY.md"))?;
    let mut modules = String::new();
    for path in summary.lines().filter_map(|line| line.split_once("](")?.1.strip_suffix(')')) {
        let page = as_module(&fs::read_to_string(Path::new(PAGES).join(path))?);
        writeln!(modules, "#[doc = {page:?}]\npub mod {} {{}}", module(path))?;
    }
    fs::write(Path::new(&env::var("OUT_DIR")?).join("book.rs"), modules)?;
    Ok(())
}

/// The name of the module of a page.
fn module(path: &str) -> String {
    let name = path.rsplit('/').next().unwrap_or(path);
    name.trim_end_matches(".md").replace('-', "_")
}

/// A page whose links to others lead to their modules, and whose drawings are no code.
fn as_module(page: &str) -> String {
    let mut text = String::new();
    let mut is_block = false;
    for line in page.lines() {
        if let Some(language) = line.trim_start().strip_prefix("```") {
            let opens_plain = !is_block && language.is_empty();
            is_block = !is_block;
            text += line;
            text += if opens_plain { "text\n" } else { "\n" };
            continue;
        }
        let mut pieces = line.split("](");
        text += pieces.next().unwrap_or_default();
        for piece in pieces {
            let (link, rest) = piece.split_once(')').unwrap_or((piece, ""));
            let (path, section) = link.split_once('#').unwrap_or((link, ""));
            text += "](";
            match path.strip_suffix(".md") {
                Some(_) if !link.contains("://") => {
                    text += "crate::book::";
                    text += &module(path);
                    if !section.is_empty() {
                        text += "#";
                        text += section;
                    }
                }
                _ => text += link,
            }
            text += ")";
            text += rest;
        }
        text += "\n";
    }
    text
}
