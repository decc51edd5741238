use super::*;

#[test]
fn every_row_is_found_by_its_name_in_any_case() {
    for spec in SPECS {
        let upper = spec.name.to_ascii_uppercase();
        assert_eq!(lookup(upper.as_bytes()).map(|found| found.name), Some(spec.name));
        assert_eq!(spec.name.to_ascii_lowercase(), spec.name);
    }
    assert!(lookup(b"nosuchcommand").is_none() && lookup(b"").is_none());
}

#[test]
fn rows_are_consistent() {
    for spec in SPECS {
        assert_eq!(
            spec.flags.has(Flags::WRITE),
            spec.class.writes() && !spec.is_internal(),
            "{}",
            spec.name
        );
        let keyless = matches!(spec.routing, Routing::Session | Routing::Keyspace | Routing::Slots);
        let has_keys = |keys: Keys| keys.specs().next().is_some();
        let with_keys = spec.subcommands.iter().any(|row| has_keys(row.keys));
        assert!(keyless || has_keys(spec.keys) || with_keys, "{}", spec.name);
        let is_keyless = spec.routing == Routing::Keyspace && has_keys(spec.keys);
        assert!(!is_keyless, "{}", spec.name);
        assert!(!has_keys(spec.keys) || !with_keys, "{}", spec.name);
        for access in spec.keys.specs().map(|keys| keys.access) {
            assert!(spec.class.writes() || !access.writes(), "{}", spec.name);
        }
    }
}
