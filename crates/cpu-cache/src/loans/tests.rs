use crate::{CpuCache, IdKind, Setup, cpu_state::CpuState};
use strata_os::SystemPages;
use strata_size_classes::{ObjectSource, PageSize, Pages8K, SizeClass};
use strata_sync::atomic::Ordering;

pub(crate) const USUAL: i64 = 256 << 10;

/// Nobody gives it anything: no cache here has objects.
pub(crate) struct NoObjects;

// SAFETY: it hands nothing out, and takes nothing.
unsafe impl ObjectSource for NoObjects {
    fn take(&self, _: SizeClass, _: &mut [*mut u8]) -> usize {
        0
    }
    unsafe fn give(&self, _: SizeClass, _: &mut [*mut u8]) {}
}

/// A cache of four CPUs of which two were used, each with what is left of the usual limit to it then.
pub(crate) fn with_two_used() -> Option<CpuCache> {
    let cache = CpuCache::new();
    let limit_bytes = usize::try_from(USUAL).expect("a size");
    let setup = Setup { table: Pages8K::TABLE, ids: 4, id_kind: IdKind::Cpu, area: 0, limit_bytes };
    // SAFETY: no section runs in these tests, so that no area is looked at.
    if unsafe { cache.set_up_for_one_thread(&SystemPages::new(), setup) }.is_err() {
        std::println!("left out: no caches here");
        return None;
    }
    for id in 0..2 {
        cache.populate(state(&cache, id), id);
        assert_eq!(state(&cache, id).limit_bytes(), USUAL);
    }
    Some(cache)
}

pub(crate) fn state(cache: &CpuCache, id: u32) -> &CpuState {
    cache.state(id).expect("one of four")
}

fn granted(state: &CpuState) -> i64 {
    state.granted_bytes.load(Ordering::Relaxed)
}

/// All limits, of used CPUs and of others.
fn all_limits(cache: &CpuCache) -> i64 {
    let used: i64 = (0..2).map(|id| state(cache, id).limit_bytes()).sum();
    used + cache.unused_limit.load(Ordering::Relaxed)
}

/// Moves so much of the first CPU's limit to the second, whatever that leaves.
fn lend_to_second(cache: &CpuCache, bytes: i64) {
    state(cache, 0).receive_share(-bytes);
    state(cache, 1).receive_share(bytes);
}

#[test]
fn what_is_called_back_pays_what_a_cpu_owes_before_it_is_granted() {
    const DEBT: i64 = 100 << 10;
    let Some(cache) = with_two_used() else { return };
    // It lent all that it had, and a lower limit took more.
    lend_to_second(&cache, USUAL + DEBT);
    let poor = state(&cache, 0);
    assert_eq!(poor.limit_bytes(), -DEBT);
    poor.set_poor(true);
    // A step comes, of the limits of CPUs that were never used.
    let granted_now = cache.recall(&NoObjects, 0);
    assert_eq!(granted_now, (USUAL - DEBT) as u64, "of a step, what the debt left");
    assert_eq!(granted(poor), USUAL - DEBT);
    assert_eq!((poor.limit_bytes(), poor.reserve_bytes.load(Ordering::Relaxed)), (USUAL - DEBT, 0));
    assert!(!poor.is_poor(), "until the next miss");
    assert_eq!(all_limits(&cache), 4 * USUAL);
    // Now it owes nothing, and misses as much as it owed.
    assert_eq!(cache.recall(&NoObjects, 0), DEBT as u64);
    assert_eq!(cache.recall(&NoObjects, 0), 0, "it has the usual limit");
    assert_eq!((poor.limit_bytes(), granted(poor)), (USUAL, USUAL));
    assert_eq!(all_limits(&cache), 4 * USUAL);
}

#[test]
fn a_cpu_that_owes_more_than_a_step_is_granted_nothing_until_that_is_paid() {
    let Some(cache) = with_two_used() else { return };
    lend_to_second(&cache, 4 * USUAL);
    let poor = state(&cache, 0);
    // Three steps of debt: those that were never used keep a fifth each, so that the second CPU has to give.
    for step in 1..=3 {
        assert_eq!(cache.recall(&NoObjects, 0), 0, "step {step}");
        assert_eq!((poor.limit_bytes(), granted(poor)), ((step - 3) * USUAL, 0));
        assert_eq!(all_limits(&cache), 4 * USUAL);
    }
    let kept = 2 * (USUAL / super::KEPT_SHARE);
    assert_eq!(cache.unused_limit.load(Ordering::Relaxed), kept, "all but what is kept");
    assert_eq!(cache.recall(&NoObjects, 0), USUAL as u64);
    assert_eq!(cache.recall(&NoObjects, 0), 0);
    assert!(state(&cache, 1).limit_bytes() >= USUAL, "nobody gives what it needs itself");
    assert_eq!(all_limits(&cache), 4 * USUAL);
}

#[test]
fn a_cpu_that_was_never_used_calls_nothing_back() {
    let Some(cache) = with_two_used() else { return };
    assert_eq!(cache.recall(&NoObjects, 2), 0);
    assert_eq!(cache.recall(&NoObjects, 4), 0, "there is no such CPU");
    assert_eq!(all_limits(&cache), 4 * USUAL);
}

#[test]
fn what_was_borrowed_stays_until_the_program_has_half_of_what_it_was_borrowed_for() {
    let Some(cache) = with_two_used() else { return };
    let rich = state(&cache, 0);
    assert_eq!(cache.take_unused_limit(USUAL, 0), USUAL);
    rich.receive_share(USUAL);
    lend_to_second(&cache, -USUAL / 2);
    let limit = 5 * USUAL / 2;
    let size = usize::try_from(USUAL).expect("a size");
    // A fourth of it is less than the limit, and half is more.
    cache.count_out(rich, 8, size);
    cache.return_loans(&NoObjects);
    assert_eq!((rich.limit_bytes(), all_limits(&cache)), (limit, 4 * USUAL));
    cache.count_out(rich, -4, size);
    cache.return_loans(&NoObjects);
    assert_eq!((rich.limit_bytes(), all_limits(&cache)), (USUAL, 4 * USUAL));
    assert_eq!(state(&cache, 1).limit_bytes(), USUAL);
}

#[test]
fn limits_add_up_in_the_child_of_a_fork_whatever_was_underway() {
    let Some(cache) = with_two_used() else { return };
    let (first, second) = (state(&cache, 0), state(&cache, 1));
    cache.settle_limits();
    assert_eq!((first.limit_bytes(), all_limits(&cache)), (USUAL, 4 * USUAL), "they did");
    // Taken from one, and not given to another yet.
    assert_eq!(first.lend(USUAL / 2, 0), USUAL / 2);
    cache.settle_limits();
    assert_eq!((first.limit_bytes(), all_limits(&cache)), (USUAL, 4 * USUAL));
    // The usual limit was raised, and one CPU knew of it.
    cache.limit_word.store(4 * USUAL as u64, Ordering::Relaxed);
    first.receive_share(3 * USUAL);
    cache.settle_limits();
    assert_eq!((first.limit_bytes(), second.limit_bytes()), (4 * USUAL, 4 * USUAL));
    assert_eq!(all_limits(&cache), 16 * USUAL);
    // And lowered: what no unused limit is left for comes off those that have more.
    cache.limit_word.store(USUAL as u64, Ordering::Relaxed);
    cache.settle_limits();
    assert_eq!(all_limits(&cache), 4 * USUAL);
    assert_eq!(cache.unused_limit.load(Ordering::Relaxed), 0);
    assert!(first.limit_bytes() >= USUAL && second.limit_bytes() >= USUAL);
    // A thread was about to count a CPU that it used first.
    let Some(cache) = with_two_used() else { return };
    cache.populated_ids.fetch_sub(1, Ordering::Relaxed);
    cache.settle_limits();
    assert_eq!((cache.never_used(), all_limits(&cache)), (2, 4 * USUAL));
    // It had not taken its limit yet.
    let Some(cache) = with_two_used() else { return };
    cache.populate(state(&cache, 2), 2);
    state(&cache, 2).receive_share(-USUAL);
    cache.unused_limit.fetch_add(USUAL, Ordering::Relaxed);
    cache.populated_ids.fetch_sub(1, Ordering::Relaxed);
    cache.settle_limits();
    assert_eq!((cache.never_used(), state(&cache, 2).limit_bytes()), (1, USUAL));
    assert_eq!((all_limits(&cache), cache.unused_limit_bytes()), (3 * USUAL, USUAL as u64));
}
