use core::time::Duration;
use std::thread;

use super::{BUCKETS, Watch, Watched, bucket, middle};

#[test]
fn the_middle_of_every_bucket_lies_in_it() {
    for number in 0..BUCKETS {
        assert_eq!(bucket(middle(number)), number);
    }
}

#[test]
fn buckets_are_narrower_than_two_percent_of_their_values() {
    let mut value = 64_u64;
    while value < 1 << 40 {
        let distance = middle(bucket(value)).abs_diff(value);
        assert!(distance * 50 <= value, "{value} is told as {}", middle(bucket(value)));
        value = value * 9 / 8 + 1;
    }
    assert_eq!(bucket(u64::MAX), BUCKETS - 1);
}

#[test]
fn quantiles_are_those_of_what_was_counted() {
    let mut watch = Watched::new();
    (0..990).for_each(|_| watch.count(10));
    (0..9).for_each(|_| watch.count(40));
    watch.count(5000);
    assert_eq!([0.5, 0.99, 0.999, 1.0].map(|part| watch.quantile(part)), [10, 10, 40, 5000]);
}

#[test]
fn a_call_that_waits_is_seen_to_take_as_long() {
    let mut watch = Watched::new();
    watch.time(|| thread::sleep(Duration::from_millis(20)));
    let seen = watch.latencies().expect("it looked");
    assert_eq!(seen.calls, 1);
    assert!(seen.max >= 19e6, "{seen:?}");
}

#[test]
fn what_another_thread_saw_is_added_and_a_restart_forgets() {
    let (mut one, mut other) = (Watched::new(), Watched::new());
    one.count(3);
    other.count(7);
    one.absorb(&other);
    assert_eq!(one.latencies().map(|seen| seen.calls), Some(2));
    one.restart();
    assert_eq!(one.latencies().map(|seen| seen.calls), Some(0));
}
