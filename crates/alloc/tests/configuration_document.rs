//! `docs/configuration.md` and the parser know the same keys, values and defaults.

use strata_alloc::Config;

const DOCUMENT: &str = include_str!("../../../docs/configuration.md");
const PARSER: &str = include_str!("../src/config.rs");

/// A line of the table of keys.
struct Row {
    key: &'static str,
    values: Vec<&'static str>,
    default: &'static str,
}

/// The first table: key, values, default, and what it does.
fn rows() -> Vec<Row> {
    let table = DOCUMENT.lines().skip_while(|line| !line.starts_with("| key |")).skip(2);
    let rows = table.take_while(|line| line.starts_with('|')).map(|line| {
        let cells: Vec<&str> = line.split('|').collect();
        let key = in_backticks(cells[1]).next().expect("a key");
        let default = in_backticks(cells[3]).next().unwrap_or("none");
        Row { key, values: values(cells[2]), default }
    });
    rows.collect()
}

fn in_backticks(cell: &'static str) -> impl Iterator<Item = &'static str> {
    cell.split('`').skip(1).step_by(2)
}

/// The values that a cell names, and one of the kind that it describes.
fn values(cell: &'static str) -> Vec<&'static str> {
    let described = match cell.trim().split([' ', ',', ':']).next() {
        Some("bytes") => Some("64K"),
        Some("seconds") => Some("77"),
        Some("a") if cell.contains("time") => Some("77s"),
        Some("a") if cell.contains("path") => Some("/tmp/file"),
        _ => None,
    };
    let named = in_backticks(cell).filter(|word| !["s", "ms"].contains(word));
    described.into_iter().chain(named).collect()
}

/// What the parser makes of a pair, and whether it understood it.
fn parsed(key: &str, value: &str) -> (Config, bool) {
    // What is said of snapshots needs a file for them.
    let beside = match key {
        "snapshot_interval" | "snapshot_detail" => "snapshot_file:/tmp/file,",
        _ => "",
    };
    let mut understood = true;
    let config = Config::parse(format!("{beside}{key}:{value}").as_bytes(), |_| understood = false);
    (config, understood)
}

#[test]
fn every_documented_key_acts_and_every_value_is_understood() {
    let rows = rows();
    assert!(rows.len() > 20, "the table was not found");
    for Row { key, values, .. } in rows {
        let mut acts = Config::snapshot_file(format!("{key}:/tmp/file").as_bytes()).is_some();
        assert!(!values.is_empty(), "{key} has no value");
        for value in values {
            let (config, understood) = parsed(key, value);
            assert!(understood, "{key}:{value} is documented and not understood");
            acts |= config != Config::DEFAULT;
        }
        assert!(acts, "no documented value of {key} changes anything");
        let takes_any = parsed(key, "no such value").1;
        assert_eq!(takes_any, key.ends_with("_file"), "{key}");
    }
}

#[test]
fn every_documented_default_is_the_default() {
    for Row { key, default, .. } in rows() {
        if !key.ends_with("_file") {
            assert_eq!(parsed(key, default), (Config::DEFAULT, true), "{key}:{default}");
        }
    }
}

#[test]
fn every_key_of_the_parser_is_documented() {
    let rows = rows();
    let arms =
        PARSER.lines().filter_map(|line| line.trim().strip_prefix("b\"")?.split_once("\" =>"));
    // These two are values of limits.
    let keys: Vec<&str> =
        arms.map(|(key, _)| key).filter(|key| !["none", "cgroup"].contains(key)).collect();
    for key in &keys {
        assert!(rows.iter().any(|row| row.key == *key), "{key} is not documented");
    }
    assert_eq!(keys.len(), rows.len(), "the parser's arms were not found");
}
