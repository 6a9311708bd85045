use super::Span;
use std::string::ToString;

#[test]
fn times_are_told_in_the_units_that_they_have() {
    for (ns, text) in [
        (0, "0"),
        (250_000_000, "250ms"),
        (1_500_000, "1.5ms"),
        (60_000_000_000, "1m"),
        (300_000_000_000, "5m"),
        (120_250_000_000, "2m0.25s"),
        (3_601_000_000_000, "1h1s"),
    ] {
        assert_eq!(Span { ns }.to_string(), text);
    }
}
