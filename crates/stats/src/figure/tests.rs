use super::{Mebibytes, ThreeDigits};
use std::format;

#[test]
fn three_digits_are_shown_as_c_shows_them() {
    let shown = |number: f64| format!("{}", ThreeDigits(number));
    // What printf("%.3g") prints, from the reference's samples and by hand.
    assert_eq!(shown(2430.0), "2.43e+03");
    assert_eq!(shown(237.0), "237");
    assert_eq!(shown(5.03), "5.03");
    assert_eq!(shown(16.0), "16");
    assert_eq!(shown(0.0), "0");
    assert_eq!(shown(999.6), "1e+03");
    assert_eq!(shown(0.000_123_4), "0.000123");
    assert_eq!(shown(0.000_012_34), "1.23e-05");
    assert_eq!(shown(-0.5), "-0.5");
}

#[test]
fn three_digits_stand_to_the_right() {
    assert_eq!(format!("{:8}|", ThreeDigits(237.0)), "     237|");
}

#[test]
fn mebibytes_obey_width_and_precision() {
    assert_eq!(format!("{:7.1}", Mebibytes(16_709_337_136)), "15935.3");
    assert_eq!(format!("{:7.1}", Mebibytes(76_920)), "    0.1");
}
