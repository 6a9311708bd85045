use super::{Escaped, Moment};
use std::format;

#[test]
fn seconds_are_shown_as_dates() {
    for (seconds, shown) in [
        (0, "1970-01-01 00:00:00"),
        (951_782_399, "2000-02-28 23:59:59"),
        (951_782_400, "2000-02-29 00:00:00"),
        (1_795_340_470, "2026-11-22 09:41:10"),
        (4_107_542_400, "2100-03-01 00:00:00"),
    ] {
        assert_eq!(format!("{}", Moment(seconds)), shown);
    }
}

#[test]
fn names_of_programs_are_no_markup() {
    assert_eq!(format!("{}", Escaped("<b>\"&")), "&lt;b&gt;&quot;&amp;");
}
