//! Every seed, every input that once made a target panic, and mutations of them. libFuzzer finds
//! more; this needs nothing but the compiler, and is the same each time.

use std::{fs, path::Path};

use quorate_fuzz::TARGETS;

/// Mutations that are tried of each target.
const MUTATIONS: usize = 100;

fn replay(name: &str) {
    let target = quorate_fuzz::Target::named(name).expect("it is in the table");
    assert!(!target.seeds().is_empty(), "{name} has no seeds");
    target.run(&[]);
    for input in target.inputs(MUTATIONS) {
        target.run(&input);
    }
}

#[test]
fn regressions_are_those_of_targets() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("regressions");
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        assert!(TARGETS.iter().any(|target| *target.name == *name), "{name:?} is no target");
    }
}

macro_rules! replays {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            replay(stringify!($name));
        })*

        #[test]
        fn every_target_is_replayed() {
            let names: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
            assert_eq!(names, [$(stringify!($name)),*]);
        }
    };
}

replays! {
    resp_command resp_reply peer_frame peer_message effect commands directory log_records
    hint_records node_json configuration manifest entropy_stream entropy_records entropy_commands
    entropy_secret secure_link named_seeds search_schema search_query
    search_expression search_aggregation search_wire json
    membership coordinator sync clocks handoff all_messages
}
