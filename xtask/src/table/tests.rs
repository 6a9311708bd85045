use super::{Align, Table};

#[test]
fn columns_are_as_wide_as_their_widest_cell() {
    let mut table = Table::new([("name", Align::Left), ("ns", Align::Right)]);
    table.push(["a", "1.25"]);
    table.push(["longer name", "10"]);
    let expected = "\
name           ns
───────────  ────
a            1.25
longer name    10
";
    assert_eq!(table.to_string(), expected);
}

#[test]
fn missing_cells_are_blank_and_lines_end_without_spaces() {
    let mut table = Table::new([("a", Align::Left), ("b", Align::Left)]);
    table.push(["x"]);
    assert!(table.to_string().lines().all(|line| line == line.trim_end()));
}
