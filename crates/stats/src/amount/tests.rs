use super::{Amount, Change, Percent};
use std::format;

#[test]
fn amounts_have_a_unit_in_which_they_are_below_a_thousand_and_some() {
    for (bytes, shown) in [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        ((1 << 20) - 1, "1.0 MiB"),
        (12_900_000, "12.3 MiB"),
        (3 << 40, "3.0 TiB"),
        (u64::MAX, "16384.0 PiB"),
    ] {
        assert_eq!(format!("{}", Amount(bytes)), shown);
    }
}

#[test]
fn amounts_of_one_width_have_their_points_in_one_column() {
    for (bytes, shown) in [(7, "     7 B  "), (1536, "   1.5 KiB"), (900 << 20, " 900.0 MiB")] {
        assert_eq!(format!("{:10}", Amount(bytes)), shown);
    }
}

#[test]
fn changes_have_a_sign_always() {
    assert_eq!(
        format!("{} {} {}", Change(0), Change(-2048), Change(1 << 20)),
        "+0 B -2.0 KiB +1.0 MiB"
    );
    assert_eq!(format!("{:11}", Change(-1536)), "   -1.5 KiB");
    assert_eq!(format!("{}", Change(i64::MIN)), "-8192.0 PiB");
}

#[test]
fn a_share_of_nothing_is_none() {
    assert_eq!(format!("{:.1}", Percent { part: 5, whole: 0 }), "0.0 %");
    assert_eq!(format!("{:.1}", Percent { part: 1, whole: 8 }), "12.5 %");
}
