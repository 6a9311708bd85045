use super::Count;

const OUTPUT: &str = "
running 2 tests
test a ... ok
test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 1 filtered out; finished in 0.00s
   Doc-tests x
test result: FAILED. 12 passed; 3 failed; 0 ignored; 0 measured; 0 filtered out
";

#[test]
fn all_result_lines_of_an_output_are_added_up() {
    assert_eq!(Count::in_output(OUTPUT), Count { passed: 14, failed: 3 });
}

#[test]
fn other_lines_count_nothing() {
    assert_eq!(Count::in_line("test passed ... ok"), Count::default());
    assert_eq!(Count::in_line("5 passed; 5 failed"), Count::default());
    assert_eq!(Count::in_line("test result: strange"), Count::default());
}
