use super::{Options, pairs};
use clap::Parser;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    options: Options,
}

fn pairs_of(words: &[&str]) -> Result<Vec<String>, String> {
    let options = Line::try_parse_from(words).expect("it can be read").options;
    pairs(&options)
        .map(|pairs| pairs.iter().map(|pair| pair.to_string_lossy().into_owned()).collect())
}

#[test]
fn the_file_is_told_from_the_root() {
    let told = pairs_of(&["record", "-o", "x/y", "true"]).expect("a path");
    assert_eq!(told.len(), 1);
    assert!(told[0].starts_with("record_file:/") && told[0].ends_with("/x/y"), "{told:?}");
    let told = pairs_of(&["record", "--page-heap", "legacy", "-o", "/t", "true"]).expect("a path");
    assert_eq!(told, ["page_heap:legacy", "record_file:/t"]);
}

#[test]
fn paths_that_the_options_cannot_tell_are_refused() {
    let long = "x".repeat(300);
    for path in ["a,b", "a ", long.as_str()] {
        assert!(pairs_of(&["record", "-o", path, "true"]).is_err(), "{path}");
    }
}
