//! What stops a program, and the line that it leaves.

#![cfg(not(strata_loom))]

use strata_os::ends_with_its_line;
use strata_sync::Once;

#[test]
fn a_once_begun_again_by_its_runner_stops_with_one_line() {
    ends_with_its_line("a_once_begun_again_by_its_runner_stops_with_one_line", |expect| {
        expect("once: begun again by the thread that is running it".into());
        let once = Once::new();
        once.call_once(|| once.call_once(|| ()));
    });
}
