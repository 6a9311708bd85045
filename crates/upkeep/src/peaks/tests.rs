use super::{EPOCHS, GrowingPeaks, Peaks};

#[test]
fn nothing_is_idle_before_the_delay_has_passed() {
    let mut peaks = <Peaks>::NONE;
    for _ in 0..EPOCHS {
        assert_eq!(peaks.idle(100, 0), 0);
        peaks.end_epoch(0);
    }
    assert_eq!(peaks.idle(100, 0), 100);
}

#[test]
fn what_the_peak_would_want_again_is_not_idle() {
    let mut peaks = <Peaks>::NONE;
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

#[test]
fn what_growth_is_about_to_take_is_not_idle() {
    let mut peaks = GrowingPeaks::NONE;
    for peak in [100, 110, 120, 130, 140] {
        peaks.end_epoch(peak);
    }
    assert_eq!(peaks.idle(60, 140), 60);
    assert_eq!(peaks.idle_if_growth_goes_on(60, 140), 20, "it grew by 40, from 100 to 140");
    assert_eq!(peaks.idle_if_growth_goes_on(30, 140), 0);
    // What the peak would want again and what growth would are not two things.
    assert_eq!(peaks.idle_if_growth_goes_on(60, 120), 20);
    // It stops, and so many epochs later nothing more is expected.
    for _ in 0..8 {
        peaks.end_epoch(140);
    }
    assert_eq!(peaks.idle_if_growth_goes_on(60, 140), 60);
}

#[test]
fn what_comes_and_goes_is_no_growth() {
    let mut peaks = GrowingPeaks::NONE;
    for peak in [50, 200, 50, 60, 55, 70, 200, 60] {
        peaks.end_epoch(peak);
    }
    assert_eq!(peaks.idle_if_growth_goes_on(500, 50), 350);
    for peak in [10, 10, 10, 10] {
        peaks.end_epoch(peak);
    }
    assert_eq!(peaks.idle_if_growth_goes_on(500, 10), 500, "it shrank");
}
