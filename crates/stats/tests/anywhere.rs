//! Snapshots from where nothing else can be had: in the middle of malloc, beside threads that allocate, without memory.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_types,
    reason = "a test may fail, and std's locks are not the heap's"
)]

use core::ffi::c_int;
use core::sync::atomic::{
    AtomicBool, AtomicPtr, AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};
use core::time::Duration;
use std::os::unix::thread::JoinHandleExt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use strata_alloc::{Config, Core, FrontEndChoice, Heap, HeapConfig, PageHeapChoice, Standard};
use strata_os::{FailingPages, Fault, MonotonicClock, SystemPages};
use strata_size_classes::Pages8K;
use strata_stats::{
    BoundedText, Category, Dialect, Extent, Ledger, Snapshot, parse_whole, report, report_json,
};
use strata_temeraire::HugePageAware;

/// Threads keep words for two heaps at a time, so that tests run one after the other.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Blocks of all kinds that come and go: most calls go past the caches, and take locks.
fn churn(heap: &Heap, seed: u64, goes_on: impl Fn() -> bool) {
    let mut random = seed | 1;
    let mut blocks: Vec<(*mut u8, usize)> = Vec::with_capacity(2000);
    while goes_on() {
        for _ in 0..200 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let choice = (random >> 33) as usize;
            if blocks.len() < 1000 && choice % 5 < 3 {
                let size = match choice % 64 {
                    0 => 300_000 + choice % 400_000,
                    1..8 => choice % 40_000,
                    _ => choice % 500,
                };
                blocks.push((heap.allocate(size), size));
            } else if let Some((block, size)) =
                blocks.get(choice % blocks.len().max(1)).copied().filter(|_| !blocks.is_empty())
            {
                blocks.swap_remove(choice % blocks.len());
                // SAFETY: the block is ours, and this is what it was asked for with.
                unsafe { heap.deallocate_sized(block, size, 1) };
            }
        }
    }
    for (block, size) in blocks {
        // SAFETY: the block is ours, and this is what it was asked for with.
        unsafe { heap.deallocate_sized(block, size, 1) };
    }
}

/// What is wrong with a snapshot that was taken while others moved at most `in_flight` bytes.
fn fault(snapshot: &Snapshot, in_flight: u64) -> Option<&'static str> {
    let ledger = Ledger::of(snapshot);
    let mapped = ledger.mapped_bytes;
    if mapped > 1 << 40 {
        return Some("mapped is torn");
    }
    for category in Category::all() {
        // One that is below zero by a little has a huge number.
        if ledger.bytes(category) > mapped + in_flight {
            return Some(category.name());
        }
    }
    if snapshot.is_complete() && ledger.unexplained().unsigned_abs() > in_flight {
        return Some("unexplained");
    }
    None
}

static CORE: AtomicPtr<Core<Standard>> = AtomicPtr::new(core::ptr::null_mut());
static TAKEN: AtomicU64 = AtomicU64::new(0);
static INCOMPLETE: AtomicU64 = AtomicU64::new(0);
static FAULTS: AtomicU64 = AtomicU64::new(0);

extern "C" fn take_in_handler(_signal: c_int) {
    let core = CORE.load(Acquire);
    if core.is_null() {
        return;
    }
    // SAFETY: the heap stands as long as its core is named here.
    let snapshot = Snapshot::take(unsafe { &*core });
    // One thread moves one batch or block at a time.
    let is_wrong = fault(&snapshot, 8 << 20).is_some();
    INCOMPLETE.fetch_add(u64::from(!snapshot.is_complete()), Relaxed);
    FAULTS.fetch_add(u64::from(is_wrong), Relaxed);
    TAKEN.fetch_add(1, Release);
}

/// The handler interrupts the thread wherever it is: holding the lock of a page heap, of a class, of the metadata arena,
/// in a system call. A snapshot that waited for the thread would wait for ever.
#[test]
fn a_signal_handler_in_the_middle_of_malloc_gets_a_snapshot() {
    const SNAPSHOTS: u64 = 150;
    let _alone = alone();
    // SAFETY: the handler allocates nothing and touches atomics alone.
    unsafe {
        libc::signal(libc::SIGUSR1, take_in_handler as extern "C" fn(c_int) as libc::sighandler_t)
    };
    for page_heap in [PageHeapChoice::Legacy, PageHeapChoice::Temeraire] {
        for front_end in [FrontEndChoice::PerCpu, FrontEndChoice::PerThread] {
            let mut config = Config::DEFAULT;
            (config.page_heap, config.front_end) = (page_heap, front_end);
            // Nothing is cached: each call is a slow one.
            (config.max_per_cpu_cache_size, config.max_total_thread_cache_bytes) = (0, 0);
            let heap: &'static Heap = Box::leak(Box::new(Heap::with(config)));
            let block = heap.allocate(1);
            CORE.store(core::ptr::from_ref(heap.core().unwrap()).cast_mut(), Release);
            let done: &'static AtomicBool = Box::leak(Box::new(AtomicBool::new(false)));
            let thread = std::thread::spawn(move || churn(heap, 7, || !done.load(Relaxed)));
            let begin = TAKEN.load(Acquire);
            let deadline = Instant::now() + Duration::from_secs(600);
            while TAKEN.load(Acquire) < begin + SNAPSHOTS {
                let before = TAKEN.load(Acquire);
                // SAFETY: the thread is joined below, so that its handle names it.
                unsafe {
                    libc::pthread_kill(thread.as_pthread_t() as libc::pthread_t, libc::SIGUSR1)
                };
                while TAKEN.load(Acquire) == before {
                    assert!(Instant::now() < deadline, "{page_heap:?}, {front_end:?}: it waits");
                    core::hint::spin_loop();
                }
            }
            CORE.store(core::ptr::null_mut(), Release);
            done.store(true, Relaxed);
            thread.join().unwrap();
            // SAFETY: the block is ours.
            unsafe { heap.deallocate(block) };
            let at_rest = Snapshot::take(heap.core().unwrap());
            assert!(at_rest.is_complete());
            let ledger = Ledger::of(&at_rest);
            assert_eq!((ledger.unexplained(), ledger.in_use_difference()), (0, 0));
            eprintln!("{page_heap:?}, {front_end:?}: {} incomplete", INCOMPLETE.swap(0, Relaxed));
            assert_eq!(FAULTS.load(Relaxed), 0, "{page_heap:?}, {front_end:?}");
            // The heap is leaked, and its words are free again for the next.
            heap.release(usize::MAX);
        }
    }
}

/// Takes two seconds; `STRATA_STRESS_SECONDS` says how long each of four heaps is looked at. Every sixteenth time
/// the whole report is made, and read back.
#[test]
fn snapshots_beside_sixteen_threads_are_never_torn_or_negative() {
    const THREADS: usize = 16;
    let _alone = alone();
    let seconds = std::env::var("STRATA_STRESS_SECONDS").ok().and_then(|text| text.parse().ok());
    for (page_heap, front_end) in [
        (PageHeapChoice::Legacy, FrontEndChoice::PerCpu),
        (PageHeapChoice::Legacy, FrontEndChoice::PerThread),
        (PageHeapChoice::Temeraire, FrontEndChoice::PerCpu),
        (PageHeapChoice::Temeraire, FrontEndChoice::PerThread),
    ] {
        let mut config = Config::DEFAULT;
        (config.page_heap, config.front_end) = (page_heap, front_end);
        let heap: Heap = Heap::with(config);
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for seed in 0..THREADS {
                let (heap, done) = (&heap, &done);
                scope.spawn(move || churn(heap, seed as u64, || !done.load(Relaxed)));
            }
            while heap.core().is_none() {
                std::thread::yield_now();
            }
            let core = heap.core().unwrap();
            let length = seconds.map_or(Duration::from_millis(500), Duration::from_secs);
            let end = Instant::now() + length;
            let mut taken = 0;
            let (mut wrong, mut unreadable) = (None, None);
            while Instant::now() < end && wrong.is_none() && unreadable.is_none() {
                let snapshot = Snapshot::take(core);
                // A thread that is stopped has one batch or block in its hands, and what it was told of a full or an
                // empty cache may be counted on both sides.
                wrong = fault(&snapshot, THREADS as u64 * (4 << 20));
                if taken % 16 == 0 {
                    let today = taken % 32 == 0;
                    let forms = [Dialect::TcmallocText, Dialect::TcmallocTextToday];
                    let mut text = String::new();
                    report(core, forms[usize::from(today)], &mut text).unwrap();
                    unreadable = parse_whole(&text).err().map(|error| (error, text.clone()));
                }
                taken += 1;
            }
            done.store(true, Relaxed);
            eprintln!("{page_heap:?}, {front_end:?}: {taken} snapshots");
            assert_eq!(wrong, None);
            assert!(unreadable.is_none(), "{unreadable:?}");
        });
        // A scope does not wait for the destructors of its threads' locals, which empty their caches.
        let at_rest = || {
            let ledger = Ledger::of(&Snapshot::take(heap.core().unwrap()));
            let is_at_rest = (ledger.unexplained(), ledger.in_use_bytes) == (0, 0);
            if !is_at_rest {
                std::thread::sleep(Duration::from_millis(5));
            }
            (ledger, is_at_rest)
        };
        let mut looks = (0..1000).map(|_| at_rest());
        let (ledger, is_at_rest) = looks.find(|look| look.1).unwrap_or_else(at_rest);
        assert!(is_at_rest, "{ledger:?}");
        assert_eq!(ledger.in_use_difference(), 0);
    }
}

/// A heap whose source says no when it is told to.
struct Failing;

static SOURCE: FailingPages<SystemPages> = FailingPages::new(SystemPages::new());
static CLOCK: MonotonicClock = MonotonicClock::new();

impl HeapConfig for Failing {
    type Pages = Pages8K;
    type Source = FailingPages<SystemPages>;
    type PageHeap = HugePageAware<Pages8K>;
    type Clock = MonotonicClock;

    fn source() -> &'static Self::Source {
        &SOURCE
    }

    fn clock() -> &'static MonotonicClock {
        &CLOCK
    }
}

/// The program is at rest, and the background work empties caches, spans and pages: what a snapshot reads first has
/// not moved to what it reads later.
#[test]
fn nothing_is_counted_twice_while_the_background_work_moves_it() {
    let _alone = alone();
    for front_end in [FrontEndChoice::PerCpu, FrontEndChoice::PerThread] {
        let mut config = Config::DEFAULT;
        config.front_end = front_end;
        let heap: Heap = Heap::with(config);
        let core = {
            heap.allocate(64);
            heap.core().unwrap()
        };
        let mut now_ns = strata_os::Clock::now_ns(&MonotonicClock::new());
        for round in 0..20 {
            let blocks: Vec<_> =
                (0..3000).map(|block| heap.allocate(8 + block * 37 % 20_000)).collect();
            for block in blocks {
                // SAFETY: the block is ours.
                unsafe { heap.deallocate(block) };
            }
            let done = AtomicBool::new(false);
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    for _ in 0..100 {
                        now_ns += 100_000_000;
                        core.background_step(now_ns);
                    }
                    done.store(true, Release);
                });
                while !done.load(Acquire) {
                    let snapshot = Snapshot::take(core);
                    let ledger = Ledger::of(&snapshot);
                    let wrong = (ledger.unexplained(), ledger.in_use_difference());
                    assert_eq!(wrong, (0, 0), "{front_end:?}, round {round}: {ledger:?}");
                }
            });
        }
    }
}

#[test]
fn a_heap_that_gets_no_more_memory_tells_all_the_same() {
    let _alone = alone();
    let heap: Heap<Failing> = Heap::with(Config::DEFAULT);
    let first = heap.allocate(100);
    SOURCE.arm(Fault::always());
    let mut blocks = vec![first];
    loop {
        let block = heap.allocate(100_000);
        if block.is_null() {
            break;
        }
        blocks.push(block);
    }
    let core = heap.core().unwrap();
    let ledger = Ledger::of(&Snapshot::take(core));
    assert_eq!((ledger.unexplained(), ledger.in_use_difference()), (0, 0));
    let mut room = vec![0; 2 << 20];
    for dialect in Dialect::ALL {
        let mut text = BoundedText::new(&mut room);
        report(core, dialect, &mut text).unwrap();
        let (written, needed) = text.finish();
        assert!(written == needed && written > 100, "{dialect:?}");
    }
    let mut text = BoundedText::new(&mut room);
    report_json(core, Extent::Map, &mut text).unwrap();
    SOURCE.disarm();
    for block in blocks {
        // SAFETY: the block is ours.
        unsafe { heap.deallocate(block) };
    }
}
