//! `quorate bench search`: the search engine in this process, on one thread, beside its peers.
//!
//! Both sides get the same data and questions, take turns, and are measured by their CPU time. The
//! peers are programs of their own, which answer lines of their standard input (see [`peer`]), so
//! that nothing of theirs is part of this one.

mod peer;
mod points;
mod text;
mod vectors;
mod words;

use anyhow::{Context as _, Result, ensure};

const EXAMPLES: &str = "Examples:
  quorate bench search --hnswlib python3 --tantivy tantivy-peer
                                    python3 has the packages numpy and hnswlib; tantivy-peer is built in
                                    tests/long/tantivy by 'cargo build --release'
  quorate bench search --vectors 50000x768 --documents 0 --hnswlib python3
  quorate bench search --vectors 0x0 --documents 100000";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// How many vectors, and of how many dimensions; 0x0: none
    #[arg(long, value_name = "COUNTxDIMENSIONS", default_value = "100000x128")]
    vectors: String,
    /// How many short documents of generated words; 0: none
    #[arg(long, default_value_t = 500_000)]
    documents: usize,
    /// Questions of a kind that a round asks
    #[arg(long, default_value_t = 1000)]
    queries: usize,
    /// Times that each measurement is taken, in turns
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// A Python that has hnswlib and numpy, to compare vectors with
    #[arg(long, value_name = "PROGRAM")]
    hnswlib: Option<std::path::PathBuf>,
    /// The program of tests/long/tantivy, to compare text with
    #[arg(long, value_name = "PROGRAM")]
    tantivy: Option<std::path::PathBuf>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    ensure!(arguments.queries > 0 && arguments.rounds > 0, "queries and rounds: at least 1");
    let sizes = arguments.vectors.split_once('x');
    let sizes = sizes.and_then(|(count, width)| Some((count.parse().ok()?, width.parse().ok()?)));
    let Some(sizes @ ((0, 0) | (1000.., 1..=4096))) = sizes else {
        anyhow::bail!(
            "vectors: '{}' is not allowed; allowed: 0x0, or at least 1000 of 1 to 4096 dimensions",
            arguments.vectors
        );
    };
    ensure!(
        arguments.documents == 0 || arguments.documents >= 1000,
        "documents: '{}' is not allowed; allowed: 0, or at least 1000",
        arguments.documents
    );
    if sizes.0 > 0 {
        vectors::run(sizes, arguments)?;
    }
    if arguments.documents > 0 {
        text::run(arguments)?;
    }
    Ok(())
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// CPU time of this thread, in seconds.
fn thread_seconds() -> Result<f64> {
    // The kernel brings the figure up to date when a thread stops running.
    std::thread::sleep(std::time::Duration::from_micros(1));
    let text = std::fs::read_to_string("/proc/thread-self/schedstat");
    let text = text.context("the CPU time of a thread is only known on Linux")?;
    let nanoseconds = text.split(' ').next().and_then(|word| word.parse::<u64>().ok());
    Ok(nanoseconds.context("/proc/thread-self/schedstat: unexpected text")? as f64 / 1e9)
}
