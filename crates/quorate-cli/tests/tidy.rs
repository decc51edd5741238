//! What a reviewer should not have to look for: sizes, dependencies, links and words of the whole
//! workspace.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// Lines of a file of production code.
const LINES_MAX: usize = 600;
/// Characters of a comment's line that is no row of a table; rustfmt sees to those of code.
const COLUMNS_MAX: usize = 110;

/// The crates, by how far below the others they are. Each may use those below it.
const LAYERS: [&[&str]; 6] = [
    &["quorate-proto"],
    &["quorate-log", "quorate-store", "quorate-cluster", "quorate-search"],
    &["quorate-entropy"],
    &["quorate-node"],
    &["quorate", "quorate-sim", "quorate-fuzz"],
    &["quorate-cli"],
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the workspace")
}

/// The files below some folders of the workspace with an extension, and what is in them.
fn files(folders: &[&str], extension: &str) -> BTreeMap<PathBuf, String> {
    let root = root();
    let mut found = BTreeMap::new();
    let mut left: Vec<PathBuf> = folders.iter().map(|folder| root.join(folder)).collect();
    while let Some(folder) = left.pop() {
        for entry in fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                left.push(path);
            } else if path.extension().is_some_and(|found| found == extension) {
                let text = fs::read_to_string(&path).expect("text");
                found.insert(path.strip_prefix(&root).expect("below it").to_path_buf(), text);
            }
        }
    }
    assert!(!found.is_empty(), "no .{extension} in {folders:?}");
    found
}

fn code() -> BTreeMap<PathBuf, String> {
    files(&["crates", "fuzz/src", "fuzz/tests", "tests/freestanding/src"], "rs")
}

fn pages() -> BTreeMap<PathBuf, String> {
    let mut pages = files(&["docs/src"], "md");
    for page in ["README.md", "CHANGELOG.md"] {
        pages.insert(page.into(), fs::read_to_string(root().join(page)).expect("a page"));
    }
    pages
}

fn is_test(path: &Path) -> bool {
    path.iter().any(|part| part == "tests" || part == "tests.rs" || part == "benches")
}

/// Fails with all that was found, one a line.
fn assert_none(what: &str, found: &[String]) {
    assert!(found.is_empty(), "{what}:\n{}", found.join("\n"));
}

#[test]
fn files_and_comments_are_short() {
    let mut found = Vec::new();
    for (path, text) in code() {
        let lines = text.lines().count();
        if lines > LINES_MAX && !is_test(&path) {
            found.push(format!("{}: {lines} lines", path.display()));
        }
        for (line, number) in text.lines().zip(1..) {
            let columns = line.chars().count();
            let is_prose = line.trim_start().starts_with("//") && !line.contains("| ");
            if columns > COLUMNS_MAX && is_prose {
                found.push(format!("{}:{number}: {columns} columns", path.display()));
            }
        }
    }
    assert_none("too long", &found);
}

#[test]
fn crates_use_only_those_below() {
    let mut found = Vec::new();
    let layer = |name: &str| LAYERS.iter().position(|layer| layer.contains(&name));
    for (path, manifest) in files(&["crates", "fuzz"], "toml") {
        let Some(name) = manifest.lines().find_map(|line| line.strip_prefix("name = ")) else {
            continue;
        };
        let name = name.trim_matches('"');
        let Some(own) = layer(name) else {
            found.push(format!("{}: {name} is in no layer", path.display()));
            continue;
        };
        let section = manifest.split("\n[").find(|section| section.starts_with("dependencies]"));
        for line in section.unwrap_or_default().lines() {
            let used = line.split(['.', ' ', '=']).next().unwrap_or_default();
            if layer(used).is_some_and(|used| used >= own) {
                found.push(format!("{}: {name} uses {used}", path.display()));
            }
        }
    }
    assert_none("dependencies that do not point down", &found);
}

#[test]
fn links_of_the_book_lead_somewhere() {
    let pages = pages();
    let anchors = |path: &Path| -> Option<Vec<String>> {
        let text = pages.get(path)?;
        let headings = text.lines().filter(|line| line.starts_with('#'));
        let named = text.split("<a id=\"").skip(1).filter_map(|rest| rest.split('"').next());
        let titles = headings.map(|line| anchor(line.trim_start_matches('#').trim()));
        Some(titles.chain(named.map(str::to_owned)).collect())
    };
    let mut found = Vec::new();
    for (path, text) in &pages {
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.contains("://") || link.contains(' ') {
                continue;
            }
            let (file, section) = link.split_once('#').map_or((link, None), |(f, s)| (f, Some(s)));
            let target = if file.is_empty() { path.clone() } else { beside(path, file) };
            let there = root().join(&target).exists();
            let section_there = section.is_none_or(|section| {
                anchors(&target).is_some_and(|all| all.iter().any(|anchor| anchor == section))
            });
            if !there || !section_there {
                found.push(format!("{}: {link}", path.display()));
            }
        }
    }
    assert_none("links that lead nowhere", &found);
}

/// What a link in `page` leads to, without steps upwards.
fn beside(page: &Path, link: &str) -> PathBuf {
    let mut target = page.parent().unwrap_or(Path::new("")).to_path_buf();
    for step in Path::new(link) {
        if step == ".." {
            target.pop();
        } else {
            target.push(step);
        }
    }
    target
}

/// The name that a heading has in links.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c.to_ascii_lowercase() }).collect()
}

#[test]
fn every_page_is_in_the_summary() {
    let pages = files(&["docs/src"], "md");
    let summary = &pages[Path::new("docs/src/SUMMARY.md")];
    let name = |path: &Path| path.strip_prefix("docs/src").expect("a page").display().to_string();
    let missing: Vec<String> = (pages.keys().map(|path| name(path)))
        .filter(|name| name != "SUMMARY.md" && !summary.contains(&format!("({name})")))
        .collect();
    assert_none("pages that no list has", &missing);
}

/// The last column of the glossary lists what is not said instead of a word.
#[test]
fn words_of_the_glossary_are_the_only_ones() {
    let glossary = Path::new("docs/src/glossary.md");
    let mut pages = pages();
    let rows = pages.remove(glossary).expect("a glossary");
    pages.remove(Path::new("CHANGELOG.md"));
    let mut refused = Vec::new();
    for row in rows.lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        assert_eq!(cells.len(), 3, "a word, what it means, and what is not said instead: {row}");
        let words = cells[2].split(',').map(str::trim).filter(|word| word.starts_with('`'));
        refused.extend(words.map(|word| word.trim_matches('`').to_lowercase()));
    }
    assert!(!refused.is_empty(), "the glossary refuses nothing");
    let mut found = Vec::new();
    // This file would find itself in what it looks for only if it said such words.
    for (path, text) in code().iter().chain(&pages) {
        for (line, number) in text.lines().zip(1..) {
            let lower = line.to_lowercase();
            for word in refused.iter().filter(|word| has_word(&lower, word)) {
                found.push(format!("{}:{number}: {word}", path.display()));
            }
        }
    }
    assert_none("words that the glossary has others for", &found);
}

/// Whether a line has a word, or words, not as a part of others. Parts of identifiers count.
fn has_word(line: &str, word: &str) -> bool {
    let letter = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric());
    line.match_indices(word).any(|(at, _)| {
        let (before, after) = (&line[..at], &line[at + word.len()..]);
        !letter(before.chars().next_back()) && !letter(after.chars().next())
    })
}
