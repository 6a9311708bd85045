use super::{Entry, Golden, Verdict};
use crate::hotpath::kinds::Kinds;

fn entry(function: &str, instructions: u32, calls: u32) -> Entry {
    let kinds = Kinds { instructions, calls, ..Kinds::default() };
    Entry { function: function.to_owned(), kinds }
}

fn golden() -> Golden {
    let path = vec![entry("malloc", 41, 0), entry("operator delete, sized", 44, 0)];
    Golden { rustc: "rustc 1.95.0".to_owned(), path }
}

#[test]
fn what_is_written_is_read_back() {
    let text = golden().text().expect("the table can be written");
    assert!(text.starts_with("# What the fast paths"), "{text}");
    assert_eq!(Golden::parse(&text).expect("the table can be read"), golden());
}

#[test]
fn a_kind_that_is_missing_in_the_file_is_an_error() {
    let text = golden().text().expect("the table can be written").replace("stores = 0\n", "");
    let error = format!("{:#}", Golden::parse(&text).expect_err("a number is missing"));
    assert!(error.contains("stores"), "{error}");
}

#[test]
fn every_number_has_to_be_as_in_the_table() {
    assert_eq!(golden().verdict(&entry("malloc", 41, 0), true), Verdict::Same);
    assert_eq!(golden().verdict(&entry("malloc", 40, 0), true), Verdict::Different);
    let mut found = entry("malloc", 41, 0);
    found.kinds.stores = 1;
    assert_eq!(golden().verdict(&found, true), Verdict::Different);
}

#[test]
fn a_function_that_the_table_lacks_is_different() {
    assert_eq!(golden().verdict(&entry("free", 48, 0), true), Verdict::Different);
}

#[test]
fn another_compiler_excuses_a_difference() {
    let verdict = golden().verdict(&entry("malloc", 40, 0), false);
    assert_eq!(verdict, Verdict::ExcusablyDifferent);
    assert!(!verdict.is_failure());
}

#[test]
fn nothing_excuses_a_call() {
    let mut golden = golden();
    golden.path.push(entry("free", 50, 1));
    for is_comparable in [true, false] {
        let verdict = golden.verdict(&entry("free", 50, 1), is_comparable);
        assert_eq!(verdict, Verdict::Forbidden);
        assert!(verdict.is_failure());
    }
}

#[test]
fn a_function_that_is_only_in_the_table_is_named() {
    assert_eq!(golden().superfluous(&[entry("malloc", 1, 0)]), ["operator delete, sized"]);
}
