//! A program that Quorate is compared with: it answers each line of its standard input by a line
//! of JSON, and ends when its input does.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context as _, Result};

/// The running program, and a folder of files for it.
pub(super) struct Peer {
    name: &'static str,
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    folder: Folder,
}

/// A folder that is removed with what is in it.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        _ = std::fs::remove_dir_all(&self.0);
    }
}

impl Peer {
    /// Starts a program that is told its folder as the last argument.
    pub(super) fn start(name: &'static str, mut program: Command) -> Result<Peer> {
        let folder = format!("quorate-bench-{name}-{}", std::process::id());
        let folder = Folder(std::env::temp_dir().join(folder));
        std::fs::create_dir(&folder.0)
            .with_context(|| format!("cannot make the folder {}", folder.0.display()))?;
        program.arg(&folder.0).stdin(Stdio::piped()).stdout(Stdio::piped());
        let started = program.spawn();
        let mut child = started.with_context(|| format!("{name}: cannot start {program:?}"))?;
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().context("its output is a pipe")?);
        Ok(Peer { name, child, input, output, folder })
    }

    /// Writes a file that the program reads when it is told to.
    pub(super) fn give(&self, file: &str, content: impl AsRef<[u8]>) -> Result<()> {
        let path = self.folder.0.join(file);
        std::fs::write(&path, content).with_context(|| format!("cannot write {}", path.display()))
    }

    /// Tells the program a line, and waits for its answer.
    pub(super) fn tell(&mut self, line: &str) -> Result<Answer> {
        let name = self.name;
        let input = self.input.as_mut().context("its input is a pipe")?;
        writeln!(input, "{line}").with_context(|| format!("{name} has ended"))?;
        let mut answer = String::new();
        self.output.read_line(&mut answer).with_context(|| format!("{name}: cannot be read"))?;
        let answer = serde_json::from_str(&answer);
        Ok(Answer(answer.with_context(|| format!("{name} has failed, and said why above"))?))
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        drop(self.input.take());
        // Nothing depends on how it ends.
        _ = self.child.wait();
    }
}

/// What a program answered.
pub(super) struct Answer(serde_json::Value);

impl Answer {
    /// A number of it.
    pub(super) fn number(&self, name: &str) -> Result<f64> {
        self.0[name].as_f64().with_context(|| format!("no number '{name}' in {}", self.0))
    }
}
