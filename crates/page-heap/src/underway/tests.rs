use super::*;
use std::thread;

/// Steps of another thread, which are in no block of this one's.
fn begin_elsewhere(underway: &Underway) {
    thread::scope(|scope| {
        scope.spawn(|| underway.begin());
    });
}

fn end_elsewhere(underway: &Underway) {
    thread::scope(|scope| {
        scope.spawn(|| underway.end());
    });
}

#[test]
fn a_step_that_never_ends_is_waited_for_once_and_others_beside_it_are_waited_for_still() {
    let underway = Underway::new();
    begin_elsewhere(&underway);
    let mut attempts = 0;
    let found: Option<()> = underway.retry_after_others(|| {
        attempts += 1;
        (None, underway.has_others())
    });
    assert_eq!((found, attempts), (None, 2), "before it waited, and after it");
    assert!(!underway.has_others(), "nobody waits for it again");
    begin_elsewhere(&underway);
    assert!(underway.has_others());
    end_elsewhere(&underway);
    assert!(!underway.has_others());
    // It ends after all.
    end_elsewhere(&underway);
    begin_elsewhere(&underway);
    assert!(underway.has_others(), "one that begins later is waited for");
    end_elsewhere(&underway);
}

#[test]
fn who_found_nothing_has_what_others_let_go_of() {
    let underway = Underway::new();
    begin_elsewhere(&underway);
    let mut attempts = 0;
    let found = underway.retry_after_others(|| {
        attempts += 1;
        if attempts == 1 {
            end_elsewhere(&underway);
            return (None, true);
        }
        (Some(attempts), underway.has_others())
    });
    assert_eq!(found, Some(2));
    assert_eq!(underway.given_up.load(Ordering::Relaxed), 0);
}
