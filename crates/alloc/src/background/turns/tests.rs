use super::*;
use std::thread;

fn nobodys() -> Turns {
    Turns {
        holder: AtomicUsize::new(0),
        waiting: AtomicU32::new(0),
        ended: core::sync::atomic::AtomicU32::new(0),
    }
}

/// What a thread of its own is told that waits for `patience_ns`.
fn another_has_a_turn(turns: &Turns, patience_ns: u64) -> bool {
    thread::scope(|scope| {
        scope.spawn(|| turns.take(patience_ns).is_some()).join().expect("it ends")
    })
}

#[test]
fn one_thread_at_a_time_has_the_turn_and_others_wait_as_long_as_they_want() {
    let turns = nobodys();
    let turn = turns.take(0).expect("it is nobody's");
    assert!(!another_has_a_turn(&turns, 1_000_000));
    drop(turn);
    assert!(another_has_a_turn(&turns, 0));
}

#[test]
fn a_handler_that_interrupts_its_own_turn_does_not_wait_for_it() {
    let turns = nobodys();
    let turn = turns.take(0);
    assert!(turns.take(u64::MAX).is_none());
    assert!(!another_has_a_turn(&turns, 0), "the turn is not over by that");
    drop(turn);
}

#[test]
fn a_child_forgets_the_turn_of_others_and_goes_on_with_that_of_its_own() {
    let turns = nobodys();
    let turn = turns.take(0);
    turns.forget_others();
    assert!(!another_has_a_turn(&turns, 0), "the thread that forked in the middle of its turn");
    thread::scope(|scope| {
        scope.spawn(|| turns.forget_others());
    });
    assert!(another_has_a_turn(&turns, 0), "the child of another thread");
    drop(turn);
}

#[test]
fn who_waits_is_woken_when_a_turn_ends_and_nobody_else_is() {
    let turns = nobodys();
    drop(turns.take(0));
    assert_eq!(turns.ended.load(Ordering::Relaxed), 0, "nobody waited");
    let turn = turns.take(0);
    thread::scope(|scope| {
        let other = scope.spawn(|| turns.take(u64::MAX).is_some());
        while turns.waiting.load(Ordering::Relaxed) == 0 {
            thread::yield_now();
        }
        drop(turn);
        assert!(other.join().expect("it ends"));
    });
    assert!(turns.ended.load(Ordering::Relaxed) >= 1, "somebody waited");
    assert_eq!(turns.waiting.load(Ordering::Relaxed), 0);
}

#[test]
fn many_threads_have_their_turns_one_after_the_other() {
    let (turns, inside) = (nobodys(), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..if cfg!(miri) { 10 } else { 500 } {
                    let turn = turns.take(u64::MAX).expect("it waits as long as it takes");
                    assert_eq!(inside.fetch_add(1, Ordering::Relaxed), 0);
                    thread::yield_now();
                    inside.fetch_sub(1, Ordering::Relaxed);
                    drop(turn);
                }
            });
        }
    });
    assert_eq!(turns.waiting.load(Ordering::Relaxed), 0);
}
