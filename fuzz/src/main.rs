//! One target under libFuzzer: `QUORATE_FUZZ_TARGET` names it. With `QUORATE_FUZZ_CORPUS` its seeds
//! and regressions are written to that folder first, and as many mutations of them as
//! `QUORATE_FUZZ_MUTATIONS` says.
#![no_main]

use std::{env, fs, path::Path, sync::OnceLock};

use libfuzzer_sys::fuzz_target;
use quorate_fuzz::Target;

static TARGET: OnceLock<&Target> = OnceLock::new();

fn target() -> &'static Target {
    TARGET.get_or_init(|| {
        let name = env::var("QUORATE_FUZZ_TARGET").unwrap_or_default();
        Target::named(&name).unwrap_or_else(|| {
            let known: Vec<_> = quorate_fuzz::TARGETS.iter().map(|target| target.name).collect();
            panic!("QUORATE_FUZZ_TARGET: '{name}' is not allowed; allowed: {}", known.join(", "))
        })
    })
}

fn mutations() -> usize {
    let Ok(text) = env::var("QUORATE_FUZZ_MUTATIONS") else { return 0 };
    let refused = |_| panic!("QUORATE_FUZZ_MUTATIONS: '{text}' is not allowed; allowed: a number");
    text.parse().unwrap_or_else(refused)
}

fn write_inputs(folder: &Path) {
    let failed = |error| panic!("{}: {error}", folder.display());
    fs::create_dir_all(folder).unwrap_or_else(failed);
    for (number, input) in target().inputs(mutations()).into_iter().enumerate() {
        fs::write(folder.join(format!("seed-{number:04}")), input).unwrap_or_else(failed);
    }
}

fuzz_target!(
    init: {
        if let Some(folder) = env::var_os("QUORATE_FUZZ_CORPUS") {
            write_inputs(Path::new(&folder));
        }
    },
    |bytes: &[u8]| target().run(bytes)
);
