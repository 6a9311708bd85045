use super::*;
use strata_size_classes::{PageSize, Pages8K, SizeClass};

fn class(size: usize) -> SizeClass {
    Pages8K::TABLE.entry(size).expect("a class").class()
}

fn granted(state: &CpuState) -> i64 {
    state.granted_bytes.load(Ordering::Relaxed)
}

fn available(state: &CpuState) -> i64 {
    state.available_bytes.load(Ordering::Relaxed)
}

/// The state of a CPU that was used, with such a limit.
fn populated(limit_bytes: i64) -> CpuState {
    let state = CpuState::new();
    assert!(state.populate());
    state.receive_share(limit_bytes);
    state
}

#[test]
fn a_cache_is_stopped_by_one_at_a_time_and_goes_on_with_the_length_that_it_was_given() {
    let state = CpuState::new();
    assert!(!state.region().is_stopped());
    assert_eq!(state.stop(), Some(RegionSize::LEAST));
    assert!(state.region().is_stopped());
    assert_eq!(state.stop(), None, "one at a time");
    state.start(RegionSize::GREATEST);
    assert!(!state.region().is_stopped());
    assert_eq!(state.region().size(), RegionSize::GREATEST);
    assert_eq!(state.stop(), Some(RegionSize::GREATEST));
}

#[test]
fn a_cpu_is_used_first_once() {
    let state = populated(1000);
    assert!(state.is_populated());
    assert!(!state.populate());
    assert_eq!(state.limit_bytes(), 1000);
}

#[test]
fn a_share_is_given_up_from_the_reserve_first_and_never_from_capacities() {
    let state = populated(200 << 10);
    state.grant(1, i64::MAX);
    assert_eq!(granted(&state), 64 << 10);
    assert_eq!(state.claim(1, 40 << 10), 1);
    assert_eq!(state.give_up_share(130 << 10), 130 << 10);
    assert_eq!(granted(&state), 64 << 10, "the reserve sufficed");
    assert_eq!(
        state.give_up_share(1 << 20),
        30 << 10,
        "the rest of the reserve, and what is available"
    );
    assert_eq!((granted(&state), available(&state)), (40 << 10, 0));
    assert_eq!(state.limit_bytes(), 40 << 10);
    assert_eq!(state.give_up_share(1), 0);
    state.receive_share(160 << 10);
    assert_eq!(state.limit_bytes(), 200 << 10);
}

#[test]
fn a_limit_below_what_is_granted_is_owed_until_capacities_give_it_back() {
    let state = populated(200 << 10);
    state.grant(100 << 10, i64::MAX);
    assert_eq!(state.claim(1, 70 << 10), 1);
    state.receive_share(-(150 << 10));
    assert_eq!(state.limit_bytes(), 50 << 10);
    assert_eq!(state.pay_debt(), 20 << 10, "what is available is not enough");
    assert_eq!((granted(&state), available(&state)), (70 << 10, 0));
    state.grant(1, i64::MAX);
    assert_eq!(available(&state), 0, "nothing is granted");
    state.unclaim(1, 70 << 10);
    assert_eq!(state.pay_debt(), 0);
    assert_eq!(
        (granted(&state), available(&state), state.limit_bytes()),
        (50 << 10, 50 << 10, 50 << 10)
    );
    // Below what it has: capacities have nothing of the rest.
    state.receive_share(-(80 << 10));
    assert_eq!(state.pay_debt(), 0);
    assert_eq!((granted(&state), state.limit_bytes()), (0, -(30 << 10)));
    state.receive_share(180 << 10);
    assert_eq!(state.limit_bytes(), 150 << 10, "every change counts");
}

#[test]
fn who_lends_keeps_what_it_was_granted_and_the_part_that_is_to_stay() {
    let state = populated(200 << 10);
    assert_eq!(state.lend(50 << 10, 40 << 10), 50 << 10);
    assert_eq!(state.limit_bytes(), 150 << 10);
    assert_eq!(state.lend(1 << 20, 40 << 10), 110 << 10, "all but what is to stay");
    assert_eq!(state.limit_bytes(), 40 << 10);
    assert_eq!(state.lend(1, 40 << 10), 0);
    state.receive_share(160 << 10);
    state.grant(100 << 10, i64::MAX);
    assert_eq!(state.lend(1 << 20, 40 << 10), 100 << 10, "all that was not granted");
    assert_eq!((granted(&state), state.limit_bytes()), (100 << 10, 100 << 10));
}

#[test]
fn nothing_is_claimed_before_something_is_granted() {
    let state = CpuState::new();
    assert_eq!(state.claim(1, 8), 0);
    assert_eq!((granted(&state), available(&state)), (0, 0));
}

#[test]
fn a_grant_comes_in_steps_of_64_kib_until_the_allowance() {
    let state = populated(1 << 30);
    state.grant(1, 150 << 10);
    assert_eq!((granted(&state), available(&state)), (64 << 10, 64 << 10));
    state.grant(80 << 10, 150 << 10);
    assert_eq!(granted(&state), (144 << 10), "more than a step if more is wanted");
    state.grant(1, 150 << 10);
    assert_eq!(granted(&state), 150 << 10, "no step goes beyond the allowance");
    state.grant(1, 150 << 10);
    state.grant(usize::MAX, 150 << 10);
    assert_eq!((granted(&state), available(&state)), (150 << 10, 150 << 10));
}

#[test]
fn no_grant_goes_beyond_the_limit() {
    let state = populated(100);
    state.grant(1000, i64::MAX);
    assert_eq!((granted(&state), available(&state), state.limit_bytes()), (100, 100, 100));
    state.grant(1000, i64::MAX);
    assert_eq!(granted(&state), 100);
}

#[test]
fn an_allowance_that_shrank_takes_nothing_back_and_grants_nothing() {
    let state = populated(1 << 30);
    state.grant(1, 64 << 10);
    state.grant(1, 10);
    assert_eq!((granted(&state), available(&state)), (64 << 10, 64 << 10));
    let other = populated(1 << 30);
    other.grant(1, 0);
    other.grant(1, -5);
    assert_eq!((granted(&other), available(&other)), (0, 0));
}

#[test]
fn a_claim_gets_what_fits_and_what_is_unclaimed_can_be_claimed_again() {
    let state = populated(1 << 30);
    state.grant(100, 100);
    assert_eq!(state.claim(3, 32), 3);
    assert_eq!(available(&state), 4);
    assert_eq!(state.claim(1, 8), 0, "4 bytes are no object of 8");
    state.unclaim(2, 32);
    assert_eq!(available(&state), 68);
    assert_eq!(state.claim(u16::MAX, 8), 8);
    assert_eq!(available(&state), 4);
    assert_eq!(granted(&state), 100, "claims change no grant");
}

#[test]
fn the_greatest_claim_does_not_overflow() {
    let state = populated(i64::MAX);
    state.grant(usize::MAX, i64::MAX);
    assert_eq!(granted(&state), i64::MAX);
    assert_eq!(state.claim(u16::MAX, 256 << 10), u16::MAX);
    state.unclaim(u16::MAX, 256 << 10);
    assert_eq!(available(&state), i64::MAX);
}

#[test]
fn a_class_remembers_its_last_miss_and_how_many_of_the_kind_came_before() {
    let (state, small, large) = (CpuState::new(), class(8), class(4096));
    let first = state.note_underflow(small);
    assert!(!first.was_underflow(), "nothing came before the first");
    assert_eq!(first.repeats(), 0);
    for repeats in 0..10 {
        let memory = state.note_underflow(small);
        assert!(memory.was_underflow());
        assert_eq!(memory.repeats(), u32::min(repeats, 7), "counted up to 7");
    }
    let memory = state.note_overflow(small);
    assert!(memory.was_underflow(), "the miss before was an underflow");
    let memory = state.note_overflow(small);
    assert!(!memory.was_underflow());
    assert_eq!(memory.repeats(), 0, "another kind counts anew");
    assert_eq!(state.note_overflow(large).repeats(), 0, "each class remembers its own");
}

#[test]
fn misses_and_moves_are_counted() {
    let (state, small) = (CpuState::new(), class(8));
    state.note_underflow(small);
    state.note_overflow(small);
    state.note_overflow(small);
    state.note_refilled(32);
    state.note_flushed(5);
    state.note_flushed(6);
    assert_eq!(state.underflows.load(Ordering::Relaxed), 1);
    assert_eq!(state.overflows.load(Ordering::Relaxed), 2);
    assert_eq!((state.refilled_objects(), state.flushed_objects()), (32, 11));
}

#[test]
fn a_class_remembers_when_it_last_missed_and_for_want_of_slots_how_often() {
    let state = populated(1000);
    let (small, large) = (class(8), class(1024));
    assert_eq!(state.last_misses(small), [None, None]);
    state.note_underflow(small);
    assert!(matches!(state.last_misses(small), [Some(_), None]));
    state.note_overflow(large);
    assert!(matches!(state.last_misses(large), [None, Some(_)]));
    for _ in 0..3 {
        state.note_slot_miss(small);
    }
    state.note_slot_miss(large);
    assert_eq!((state.slot_misses_of(small), state.slot_misses_of(large)), (3, 1));
    assert_eq!(state.slot_misses.load(Ordering::Relaxed), 4);
}

#[test]
fn the_age_of_a_tick_is_the_time_since_then_in_its_steps() {
    const STEP_NS: u64 = 1 << 24;
    let at = |steps: u64| Tick::of(steps * STEP_NS);
    assert_eq!(at(5).age_ns(at(5)), 0);
    assert_eq!(at(5).age_ns(at(1000)), 995 * STEP_NS);
    // The clock goes round after two years, and is believed when it jumps back by a little.
    assert_eq!(at((1 << 32) - 2).age_ns(at((1 << 32) + 8)), 10 * STEP_NS);
    assert_eq!(at(1000).age_ns(at(990)), 0);
    // 0 stands for never.
    assert_eq!(at(0), at(1));
}

#[test]
fn bytes_that_a_cpu_counts_apart_all_reach_the_sum_and_never_lack_32_kib() {
    let (state, mut sum, mut truth) = (CpuState::new(), 0, 0);
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..10_000 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let bytes = i64::try_from(random >> 49).expect("15 bits");
        let bytes = if random & 1 << 40 == 0 { bytes } else { -bytes };
        truth += bytes;
        sum += state.count_out(bytes);
        assert!((truth - sum).abs() < 32 << 10, "{truth} counted, {sum} in the sum");
    }
    sum += state.count_out(1 << 40);
    assert_eq!(sum, truth + (1 << 40), "whatever was pending went along");
}

#[test]
fn stolen_capacity_is_claimed_or_available_and_counted_by_victims() {
    let state = CpuState::new();
    let steps = [
        // Nothing was stolen, of which nothing is wanted, and then something.
        ((0, 0), (0, 64), 0, 0, 0),
        ((0, 0), (2, 64), 0, 0, 0),
        // More than enough, enough, and too little, but for what is available.
        ((4096 + 64, 3), (2, 2048), 2, 64, 3),
        ((4096, 1), (1, 4096), 1, 64, 4),
        ((4032, 2), (1, 4096), 1, 0, 6),
        ((4095, 1), (1, 4096), 0, 4095, 7),
        ((100, 1), (3, 2000), 2, 195, 8),
    ];
    for ((bytes, victims), (wanted, size), got, available, resizes) in steps {
        assert_eq!(state.claim_stolen(Stolen { bytes, victims }, wanted, size), got);
        assert_eq!(state.available_bytes.load(Ordering::Relaxed), available);
        assert_eq!(state.resizes.load(Ordering::Relaxed), resizes);
    }
}

#[test]
fn a_cpu_earns_twice_its_allowance_by_256_costly_turns_among_8192_misses() {
    let (state, small) = (populated(1 << 30), class(8));
    let turn = |misses: usize, allowance: i64| {
        for _ in 0..misses {
            state.note_overflow(small);
        }
        state.note_costly_turn(allowance);
    };
    (0..10_000).for_each(|_| turn(33, 1000));
    assert_eq!(state.earned_bytes(), 0, "one miss in 33");
    turn(10_000, 1000);
    (1..255).for_each(|_| turn(32, 1000));
    assert_eq!(state.earned_bytes(), 0, "not yet");
    turn(32, 1000);
    assert_eq!(state.earned_bytes(), 2000);
    (0..256).for_each(|_| turn(1, 2000));
    assert_eq!(state.earned_bytes(), 4000, "and twice that by as many more");
}

#[test]
fn what_was_earned_is_revoked_with_what_was_granted_as_far_as_no_capacity_takes_it_up() {
    let state = populated(1 << 20);
    state.grant(200 << 10, i64::MAX);
    assert_eq!(state.claim(3, 10 << 10), 3);
    state.revoke_earned();
    assert_eq!(granted(&state), 200 << 10, "nothing was earned");
    (0..256).for_each(|_| state.note_costly_turn(1000));
    state.revoke_earned();
    assert_eq!((granted(&state), available(&state), state.earned_bytes()), (30 << 10, 0, 0));
    assert_eq!(state.limit_bytes(), 1 << 20);
}
