use crate::{
    BackgroundThread, Config, Core, FrontEnd, Heap, HeapConfig, SelectedPageHeap, WhyPerThread,
};
use core::sync::atomic::Ordering;
use std::vec::Vec;
use strata_os::{Clock, ManualClock, SystemPages};
use strata_page_heap::PageHeap;
use strata_size_classes::{PageSize, Pages8K};

mod falls;
mod growth;

const SECOND_NS: u64 = 1_000_000_000;
const MIB: usize = 1 << 20;

static CLOCKS: [ManualClock; 32] = [const { ManualClock::new(SECOND_NS) }; 32];

/// The standard heap, with time in our hands: a clock for each test.
struct Timed<const TEST: usize>;

impl<const TEST: usize> HeapConfig for Timed<TEST> {
    type Pages = Pages8K;
    type Source = SystemPages;
    type PageHeap = SelectedPageHeap<Pages8K>;
    type Clock = ManualClock;

    fn source() -> &'static SystemPages {
        static SOURCE: SystemPages = SystemPages::new();
        &SOURCE
    }
    fn clock() -> &'static ManualClock {
        &CLOCKS[TEST]
    }
    fn configure(page_heap: &Self::PageHeap, config: &Config) {
        page_heap.select(config.page_heap);
    }
}

fn heap<const TEST: usize>(options: &str) -> Heap<Timed<TEST>> {
    Heap::with(Config::parse(options.as_bytes(), |complaint| std::panic!("{complaint}")))
}

/// A heap whose threads have words of their own. There are two sets of those in a program, and the tests
/// beside this one may have both for a while.
fn heap_with_words<const TEST: usize>(options: &str) -> Heap<Timed<TEST>> {
    loop {
        let heap = heap::<TEST>(options);
        allocate_and_free(&heap, 1, 100);
        let front_end = heap.core().unwrap().front_end();
        if !matches!(front_end, FrontEnd::PerThread(WhyPerThread::NoSlot)) {
            return heap;
        }
        drop(heap);
        std::thread::sleep(core::time::Duration::from_millis(1));
    }
}

fn allocate<C: HeapConfig>(heap: &Heap<C>, count: usize, size: usize) -> Vec<*mut u8> {
    let blocks: Vec<_> = (0..count).map(|_| heap.allocate(size)).collect();
    for &block in &blocks {
        // SAFETY: the block is ours and this long.
        unsafe { block.write_bytes(1, size) };
    }
    blocks
}

fn free<C: HeapConfig>(heap: &Heap<C>, blocks: Vec<*mut u8>) {
    for block in blocks {
        // SAFETY: the block is ours.
        unsafe { heap.deallocate(block) };
    }
}

fn allocate_and_free<C: HeapConfig>(heap: &Heap<C>, count: usize, size: usize) {
    free(heap, allocate(heap, count, size));
}

/// Lets `milliseconds` pass, with all the steps that a thread of the heap's own would do.
fn pass<C: HeapConfig<Clock = ManualClock>>(core: &Core<C>, milliseconds: u64) {
    let end_ns = C::clock().now_ns() + milliseconds * 1_000_000;
    while C::clock().now_ns() < end_ns {
        let now_ns = C::clock().now_ns();
        let due_ns = core.background_step(now_ns);
        C::clock().set(due_ns.clamp(now_ns, end_ns));
    }
}

fn released<C: HeapConfig>(core: &Core<C>) -> (u64, u64) {
    let released = core.page_heap().stats().released;
    (released.idle, released.policy)
}

#[test]
fn what_lies_in_transfer_caches_goes_back_in_time() {
    let heap = heap::<0>("");
    // Only the transfer cache has such objects: what a CPU's cache had would come down later, when the thread has moved on.
    std::thread::scope(|scope| {
        scope.spawn(|| allocate_and_free(&heap, 5000, 500)).join().unwrap();
    });
    let core = heap.core().unwrap();
    if let Some(cpus) = core.per_cpu() {
        for id in 0..cpus.used_ids() {
            cpus.drain(&core.source_of_objects(), id).unwrap();
        }
    }
    let class = Pages8K::TABLE.entry(500).unwrap().class();
    let before = core.middle().class_stats(class).transfer.used;
    assert!(before > 0, "the burst left objects in the transfer cache");
    // Another size keeps missing while seconds go by.
    for _ in 0..80 {
        CLOCKS[0].advance(SECOND_NS / 2);
        allocate_and_free(&heap, 3000, 3000);
    }
    let after = core.middle().class_stats(class).transfer;
    assert_eq!(after.used, 0, "{after:?}");
    assert_eq!(core.figures().in_use_bytes(), 0);
}

#[test]
fn a_clock_that_jumps_back_does_not_stop_the_steps() {
    let heap = heap::<1>("");
    CLOCKS[1].set(1000 * SECOND_NS);
    allocate_and_free(&heap, 3000, 3000);
    let core = heap.core().unwrap();
    pass(core, 1000);
    let before = core.background_figures().steps;
    CLOCKS[1].set(SECOND_NS);
    for _ in 0..10 {
        CLOCKS[1].advance(SECOND_NS);
        allocate_and_free(&heap, 3000, 3000);
    }
    assert!(core.background_figures().steps >= before + 5);
    // What is idle by the new time goes back.
    pass(core, 10_000);
    let stats = core.page_heap().stats();
    assert!(stats.free_bytes <= 2 * MIB as u64, "{stats:?}");
}

#[test]
fn what_nobody_wants_goes_back_after_the_delay_and_not_before() {
    for page_heap in ["temeraire", "legacy"] {
        let options = std::format!("page_heap:{page_heap},release_rate:0,release_delay:9s");
        let heap = heap::<2>(&options);
        let blocks = allocate(&heap, 64, MIB);
        let core = heap.core().unwrap();
        pass(core, 20_000);
        free(&heap, blocks);
        let before = core.page_heap().stats();
        pass(core, 8_000);
        assert_eq!(released(core), (0, 0), "{page_heap}");
        pass(core, 6_000);
        assert_eq!(released(core).1, 0);
        let after = core.page_heap().stats();
        assert!(after.free_bytes <= 3 * MIB as u64, "{page_heap}: {before:?} {after:?}");
    }
}

#[test]
fn what_is_wanted_again_and_again_stays() {
    let heap = heap::<3>("release_rate:0,release_delay:3s");
    for _ in 0..30 {
        allocate_and_free(&heap, 64, MIB);
        pass(heap.core().unwrap(), 1_000);
    }
    let core = heap.core().unwrap();
    assert_eq!(released(core), (0, 0), "each second wants all of it");
    pass(core, 10_000);
    assert!(released(core).0 >= 60 * MIB as u64);
}

#[test]
fn the_rate_holds_whatever_is_wanted() {
    let heap = heap::<4>("release_rate:4M,release_delay:never");
    let kept = allocate(&heap, 64, MIB);
    let core = heap.core().unwrap();
    pass(core, 1_000);
    free(&heap, kept);
    pass(core, 5_000);
    let (idle, policy) = released(core);
    let mib = policy as usize / MIB;
    assert_eq!(idle, 0);
    assert!((14..=30).contains(&mib), "{mib} MiB in five seconds");
}

#[test]
fn never_is_never() {
    let heap = heap::<5>("release_rate:0,release_delay:never");
    allocate_and_free(&heap, 64, MIB);
    let core = heap.core().unwrap();
    pass(core, 100_000);
    assert_eq!(released(core), (0, 0));
}

#[test]
fn caches_of_cpus_that_nobody_uses_are_emptied() {
    let heap = heap_with_words::<6>("");
    allocate_and_free(&heap, 2000, 100);
    let core = heap.core().unwrap();
    let held = core.figures().cpu.held_bytes;
    if core.per_cpu().is_none() {
        return;
    }
    assert!(held > 0);
    for _ in 0..5 {
        pass(core, 1_000);
        // In use, without a miss.
        allocate_and_free(&heap, 1, 100);
    }
    assert!(core.figures().cpu.held_bytes > 0, "a cache in use is left alone");
    pass(core, 5_000);
    let figures = core.figures();
    assert_eq!((figures.cpu.held_bytes, figures.middle.transfer_bytes), (0, 0));
    assert!(core.background_figures().drained_bytes >= held);
}

#[test]
fn threads_that_are_idle_lose_their_caches_and_those_that_work_keep_theirs() {
    let heap = heap_with_words::<13>("front_end:per_thread,release_delay:2s");
    allocate_and_free(&heap, 200, 100);
    let core = heap.core().unwrap();
    let caches = || core.figures().thread_caches;
    if !strata_sync::asymmetric::prepare_heavy_fence() {
        return;
    }
    assert!(caches().held_bytes > 0);
    for _ in 0..5 {
        pass(core, 1_000);
        // In use, without a miss.
        allocate_and_free(&heap, 1, 100);
    }
    assert!(caches().held_bytes > 0, "a cache in use is left alone");
    let held = caches().held_bytes;
    pass(core, 5_000);
    assert_eq!((caches().caches, caches().held_bytes, caches().claimed_bytes), (0, 0, 0));
    assert!(core.background_figures().drained_bytes >= held);
    assert_eq!(core.figures().in_use_bytes(), 0);
    // And back.
    allocate_and_free(&heap, 200, 100);
    assert_eq!(caches().caches, 1);
    assert_eq!(core.figures().in_use_bytes(), core.figures().in_use_bytes_by_threads());
}

#[test]
fn a_heap_at_rest_is_left_alone_until_somebody_misses() {
    let heap = heap::<7>("release_delay:1s");
    allocate_and_free(&heap, 64, MIB);
    let core = heap.core().unwrap();
    pass(core, 20_000);
    assert!(core.background.at_rest.load(Ordering::Relaxed));
    let steps = core.background_figures().steps;
    pass(core, 30_000);
    assert_eq!(core.background_figures().steps, steps, "nothing to do");
    allocate_and_free(&heap, 64, MIB);
    assert!(!core.background.at_rest.load(Ordering::Relaxed));
    pass(core, 20_000);
    assert!(core.page_heap().stats().free_bytes <= 3 * MIB as u64);
}

#[test]
fn slow_paths_do_it_where_no_thread_does() {
    let heap = heap::<8>("release_rate:0,release_delay:1s,background_thread:false");
    allocate_and_free(&heap, 64, MIB);
    let core = heap.core().unwrap();
    // Small blocks that miss from time to time.
    for _ in 0..400 {
        CLOCKS[8].advance(SECOND_NS / 20);
        allocate_and_free(&heap, 1000, 3000);
    }
    let stats = core.page_heap().stats();
    assert!(stats.released.idle > 0 && stats.free_bytes <= 6 * MIB as u64, "{stats:?}");
    assert!(!core.background_figures().has_thread);
}

#[test]
fn the_child_of_a_fork_knows_whether_its_steps_are_held_by_nobody() {
    let heap = heap::<15>("");
    allocate_and_free(&heap, 1, 100);
    let background = &heap.core().unwrap().background;
    background.note_if_lost();
    assert!(!background.is_lost.load(Ordering::Relaxed));
    // As a thread that is not there in the child.
    background.schedule.acquire();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            background.note_if_lost();
            assert!(background.is_lost.load(Ordering::Relaxed));
            background.acquire();
            // SAFETY: this thread acquired it.
            unsafe { background.release() };
        });
    });
    assert!(background.schedule.try_lock().is_none(), "what was not had is not let go");
    // SAFETY: this thread has it.
    unsafe { background.schedule.release() };
}

#[test]
fn steps_of_two_threads_do_not_meet() {
    let heap = heap::<9>("release_delay:1s");
    allocate_and_free(&heap, 64, MIB);
    let core = heap.core().unwrap();
    let hold = core.hold_background();
    let steps = core.background_figures().steps;
    CLOCKS[9].advance(10 * SECOND_NS);
    std::thread::scope(|scope| {
        scope.spawn(|| core.background_step(CLOCKS[9].now_ns()));
    });
    assert_eq!(core.background_figures().steps, steps);
    drop(hold);
    core.background_step(CLOCKS[9].now_ns());
    assert_eq!(core.background_figures().steps, steps + 1);
}

#[test]
fn several_who_read_figures_keep_steps_away_until_the_last_is_done_and_hold_no_lock() {
    let heap = heap::<16>("release_delay:1s");
    allocate_and_free(&heap, 64, MIB);
    let core = heap.core().unwrap();
    let (first, second) = (core.hold_background(), core.hold_background());
    assert!(core.background.schedule.try_lock().is_some(), "a fork need not wait for them");
    CLOCKS[16].advance(10 * SECOND_NS);
    let now_ns = CLOCKS[16].now_ns();
    let steps = core.background_figures().steps;
    assert!(core.background_step(now_ns) < now_ns + SECOND_NS, "it is tried again soon");
    drop(first);
    core.background_step(now_ns);
    assert_eq!(core.background_figures().steps, steps);
    drop(second);
    core.background_step(now_ns);
    assert_eq!(core.background_figures().steps, steps + 1);
}

#[test]
fn the_child_of_a_fork_does_not_wait_for_readers_that_are_not_there() {
    let heap = heap::<17>("release_delay:1s");
    allocate_and_free(&heap, 64, MIB);
    let core = heap.core().unwrap();
    let hold = core.hold_background();
    core.background.forget_others();
    CLOCKS[17].advance(10 * SECOND_NS);
    let steps = core.background_figures().steps;
    core.background_step(CLOCKS[17].now_ns());
    assert_eq!(core.background_figures().steps, steps + 1);
    // One that came along into the child in the middle of it.
    drop(hold);
    // As a thread that found nothing and is not there.
    std::thread::scope(|scope| {
        scope.spawn(|| core::mem::forget(core.background.turns.take(0)));
    });
    assert!(core.background.turns.take(0).is_none());
    core.background.forget_others();
    assert!(core.background.turns.take(0).is_some());
    core.background_step(CLOCKS[17].now_ns());
    assert_eq!(core.background_figures().steps, steps + 2);
}

#[test]
fn a_fork_and_an_option_that_changes_do_not_wait_for_who_found_nothing() {
    let heap = heap::<18>("release_delay:1s,background_thread:false");
    allocate_and_free(&heap, 64, MIB);
    let core = heap.core().unwrap();
    let background = &core.background;
    let turn = core.take_turn();
    assert!(background.schedule.try_lock().is_some(), "a fork takes it at once");
    CLOCKS[18].advance(10 * SECOND_NS);
    let now_ns = CLOCKS[18].now_ns();
    let steps = core.background_figures().steps;
    core.background_step(now_ns);
    assert_eq!(core.background_figures().steps, steps, "the background stands still");
    drop(turn);
    for _ in 0..1000 {
        core.background_step(CLOCKS[18].now_ns());
        CLOCKS[18].advance(SECOND_NS);
    }
    assert!(background.at_rest.load(Ordering::Relaxed), "nothing is left to do");
    let turn = core.take_turn();
    core.wake_background();
    assert!(!background.at_rest.load(Ordering::Relaxed), "it looks again at what there is to do");
    drop(turn);
}

#[test]
fn a_heap_gets_a_thread_when_it_has_grown_and_loses_it_when_it_ends() {
    let heap: Heap = Heap::with(Config::parse(b"background_thread:true", |_| ()));
    allocate_and_free(&heap, 10, MIB);
    let core = heap.core().unwrap();
    assert!(!core.background_figures().has_thread, "10 MiB are small");
    allocate_and_free(&heap, 40, MIB);
    let figures = core.background_figures();
    assert_eq!((figures.has_thread, figures.thread_starts), (true, 1));
    let look_below_bytes = &core.background.fallen.look_below_bytes;
    look_below_bytes.store(u64::MAX, Ordering::Relaxed);
    allocate_and_free(&heap, 40, MIB);
    assert_eq!(core.background_figures().thread_starts, 1);
    assert_eq!(look_below_bytes.load(Ordering::Relaxed), 0, "frees leave it to the thread");
    drop(heap);
}

#[test]
fn a_small_heap_gets_a_thread_when_many_threads_of_the_program_have_ended() {
    let heap: Heap = Heap::with(Config::parse(b"background_thread:true", |_| ()));
    allocate_and_free(&heap, 2, MIB);
    let core = heap.core().unwrap();
    let ended = &core.threads.ended;
    ended.store(strata_upkeep::THREAD_FROM_ENDED_THREADS - 1, Ordering::Relaxed);
    allocate_and_free(&heap, 10, MIB);
    assert!(!core.background_figures().has_thread, "one is missing");
    ended.store(strata_upkeep::THREAD_FROM_ENDED_THREADS, Ordering::Relaxed);
    allocate_and_free(&heap, 10, MIB);
    assert!(core.background_figures().has_thread);
}

#[test]
fn a_heap_has_no_thread_unless_it_was_asked_for() {
    for config in [Config::DEFAULT, Config::parse(b"background_thread:false", |_| ())] {
        let heap: Heap = Heap::with(config);
        allocate_and_free(&heap, 40, MIB);
        assert!(!heap.core().unwrap().background_figures().has_thread);
        let asked = heap.start_background_thread();
        assert_eq!(asked, config.background_thread != BackgroundThread::Off);
    }
}

#[test]
fn heaps_with_threads_come_and_go() {
    for _ in 0..50 {
        let heap: Heap = Heap::with(Config::DEFAULT);
        assert!(heap.start_background_thread());
        allocate_and_free(&heap, 100, 1000);
    }
}

#[test]
fn kernel_pages_inside_of_spans_go_back_when_nobody_wants_them() {
    let heap = heap::<10>("release_rate:0,release_delay:3s");
    let mut blocks = allocate(&heap, 12_000, 512);
    // One in sixteen survives, on every span one.
    let survivors: Vec<_> = blocks.iter().copied().step_by(16).collect();
    let mut index = 0;
    blocks.retain(|_| {
        index += 1;
        index % 16 != 1
    });
    free(&heap, blocks);
    let core = heap.core().unwrap();
    let before = core.figures();
    pass(core, 2_000);
    assert_eq!(core.background_figures().swept_bytes, 0, "before the delay");
    pass(core, 10_000);
    let after = core.figures();
    let swept = after.background.swept_bytes;
    assert_eq!(after.middle.released_bytes, swept);
    assert!(swept >= before.middle.span_bytes / 3, "{swept} of {}", before.middle.span_bytes);
    assert_eq!(after.in_use_bytes(), before.in_use_bytes());
    assert_eq!(after.in_use_bytes(), after.in_use_bytes_by_threads());
    pass(core, 20_000);
    assert!(core.background.at_rest.load(Ordering::Relaxed), "what cannot go is left alone");
    for &block in &survivors {
        // SAFETY: the block is ours, and was filled.
        let bytes = unsafe { core::slice::from_raw_parts(block, 512) };
        assert!(bytes.iter().all(|&byte| byte == 1));
    }
    // What is wanted again counts as backed again.
    let again = allocate(&heap, 9_000, 512);
    assert!(core.figures().middle.released_bytes < swept / 2);
    free(&heap, again);
    free(&heap, survivors);
}

#[test]
fn what_is_inside_of_spans_stays_if_it_is_to_or_wanted_again_and_again() {
    let stays = heap::<12>("release_rate:0,release_delay:3s");
    let heap = heap::<11>("release_rate:0,release_delay:3s,release_inside_spans:false");
    let (mut kept, mut gone) = (Vec::new(), Vec::new());
    for (index, block) in allocate(&heap, 12_000, 512).into_iter().enumerate() {
        if index % 16 == 0 { kept.push(block) } else { gone.push(block) }
    }
    free(&heap, gone);
    let mut others = Vec::new();
    for _ in 0..8 {
        // Each second wants all of it.
        let (mut most, mut few) = (Vec::new(), Vec::new());
        for (index, block) in allocate(&stays, 12_000, 512).into_iter().enumerate() {
            if index % 300 == 0 { few.push(block) } else { most.push(block) }
        }
        free(&stays, most);
        others.extend(few);
        pass(stays.core().unwrap(), 1_000);
    }
    pass(heap.core().unwrap(), 20_000);
    assert_eq!(heap.core().unwrap().background_figures().swept_bytes, 0);
    assert_eq!(stays.core().unwrap().background_figures().swept_bytes, 0);
    free(&heap, kept);
    free(&stays, others);
}
