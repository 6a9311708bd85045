//! What is expected of blocks that grow.

use super::{BELIEVED_FROM, CREDIT_BYTES, FORGETS_AT, GrowthHistory, STEPS, step};
use strata_sync::atomic::{AtomicU32, AtomicUsize};

fn history() -> GrowthHistory {
    GrowthHistory {
        came_to: [const { AtomicU32::new(0) }; STEPS],
        unpaid_bytes: AtomicUsize::new(0),
    }
}

/// `count` blocks that double until they have `bytes`.
fn chains(history: &GrowthHistory, count: u32, bytes: usize) {
    for _ in 0..count {
        let mut size = 64;
        while size < bytes {
            history.note(size, 2 * size);
            size *= 2;
        }
    }
}

#[test]
fn steps_are_powers_of_two_above_two_kibibytes() {
    let expected = [(0, 0), (2048, 0), (2049, 1), (4096, 1), (4097, 2), (256 << 10, 7)];
    for (bytes, number) in expected {
        assert_eq!(step(bytes), number, "{bytes} bytes");
    }
    assert_eq!((step((256 << 10) + 1), step(usize::MAX)), (STEPS, STEPS));
}

#[test]
fn blocks_are_expected_to_go_as_far_as_those_before_them() {
    let history = history();
    assert_eq!(history.expected_of(4096), None, "nobody grew yet");
    chains(&history, BELIEVED_FROM, 64 << 10);
    assert_eq!(history.expected_of(2048), None, "such are not counted");
    assert_eq!(history.expected_of(4000), Some(64 << 10));
    assert_eq!(history.expected_of(32 << 10), Some(64 << 10));
    assert_eq!(history.expected_of(64 << 10), None, "there they ended");
    assert_eq!(history.expected_of(128 << 10), None);
}

#[test]
fn what_goes_beyond_all_classes_is_expected_to_fill_the_longest() {
    let history = history();
    chains(&history, BELIEVED_FROM, 4 << 20);
    assert_eq!(history.expected_of(4096), Some(256 << 10));
    assert_eq!(history.expected_of(256 << 10), None);
    assert_eq!(history.expected_of(1 << 20), None);
}

#[test]
fn nothing_is_expected_where_three_in_four_end() {
    let history = history();
    for _ in 0..100 {
        chains(&history, 1, 64 << 10);
        chains(&history, 3, 8192);
    }
    assert_eq!(history.expected_of(4096), Some(8192), "so far all go");
    assert_eq!(history.expected_of(8192), None);
    assert_eq!(history.expected_of(16384), Some(64 << 10), "who comes so far goes on");
}

#[test]
fn blocks_that_begin_further_on_say_nothing_about_those_that_come_from_below() {
    let history = history();
    chains(&history, 20, 8192);
    (0..60).for_each(|_| history.note(8192, 16384));
    assert_eq!(history.expected_of(4096), Some(8192), "three times as many grew from there");
}

#[test]
fn a_program_that_changes_is_noticed_within_what_is_remembered() {
    let history = history();
    chains(&history, 10 * FORGETS_AT, 64 << 10);
    let is_fooled = |_: &u32| {
        chains(&history, 1, 4096);
        history.expected_of(4096).is_some()
    };
    let fooled = (0..2 * FORGETS_AT).take_while(is_fooled).count();
    assert!(fooled <= FORGETS_AT as usize, "{fooled} blocks were believed to grow on");
}

#[test]
fn room_is_lent_until_the_credit_is_used_up_and_again_when_it_was_paid_back() {
    let history = history();
    assert!(!history.lend(CREDIT_BYTES + 1));
    let piece = CREDIT_BYTES / 4;
    assert!((0..4).all(|_| history.lend(piece)));
    assert!(!history.lend(1));
    history.pay_back(piece);
    assert!(history.lend(piece) && !history.lend(1));
    history.pay_back(usize::MAX);
    assert!(history.lend(CREDIT_BYTES), "what is paid beyond the debt is not kept");
}

#[test]
fn a_random_history_never_expects_less_than_there_is() {
    let history = history();
    let mut state = 0x5eed_u64;
    let mut below = |bound: usize| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % bound
    };
    for _ in 0..20_000 {
        let from = below(1 << 19);
        history.note(from, from + below(1 << 19));
        let bytes = below(1 << 19);
        if let Some(expected) = history.expected_of(bytes) {
            assert!(expected > bytes && expected <= 256 << 10, "{expected} for {bytes}");
        }
    }
}
