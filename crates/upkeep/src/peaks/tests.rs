use super::Peaks;

#[test]
fn nothing_is_idle_before_the_delay_has_passed() {
    let mut peaks = Peaks::NONE;
    for _ in 0..Peaks::EPOCHS {
        assert_eq!(peaks.idle(100, 0), 0);
        peaks.end_epoch(0);
    }
    assert_eq!(peaks.idle(100, 0), 100);
}

#[test]
fn what_the_peak_would_want_again_is_not_idle() {
    let mut peaks = Peaks::NONE;
    for peak in [10, 70, 30, 20] {
        peaks.end_epoch(peak);
    }
    assert_eq!(peaks.idle(90, 10), 30, "60 of the 90 were in use at the peak");
    assert_eq!(peaks.idle(50, 10), 0);
    assert_eq!(peaks.idle(90, 80), 90, "more is in use than then");
    // The peak is forgotten when four epochs have passed it.
    for peak in [10, 10] {
        peaks.end_epoch(peak);
    }
    assert_eq!(peaks.idle(90, 10), 70, "of the 20 above what is in use");
}
