//! What stops a program, and the line that it leaves.

#![cfg(not(strata_loom))]

use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use strata_sync::Once;

const VARIABLE: &str = "STRATA_SYNC_TEST_CHILD";

#[test]
fn a_once_begun_again_by_its_runner_stops_with_one_line() {
    if std::env::var_os(VARIABLE).is_some() {
        let once = Once::new();
        once.call_once(|| once.call_once(|| ()));
        return;
    }
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["a_once_begun_again_by_its_runner_stops_with_one_line", "--exact", "--nocapture"])
        .env(VARIABLE, "1")
        .output()
        .unwrap();
    assert_eq!(child.status.signal(), Some(libc::SIGABRT));
    assert_eq!(
        String::from_utf8(child.stderr).unwrap(),
        "strata: once: begun again by the thread that is running it\n"
    );
}
