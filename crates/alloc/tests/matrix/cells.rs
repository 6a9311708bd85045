//! The twenty-four cells.

use core::marker::PhantomData;
use std::{
    env,
    sync::{Mutex, MutexGuard},
};
use strata_alloc::{Config, FrontEnd, FrontEndChoice, Heap, HeapConfig, PageHeapChoice, Standard};
use strata_cpu_cache::CpuCache;
use strata_example_buddy::BuddyPageHeap;
use strata_os::{MonotonicClock, Seed, SystemPages};
use strata_size_classes::PageSize;

/// One heap at a time: two may have the fast path, and the tests of a binary run at once.
static ONE_HEAP: Mutex<()> = Mutex::new(());

pub(crate) const PAGE_HEAPS: [(&str, PageHeapChoice); 2] =
    [("legacy", PageHeapChoice::Legacy), ("temeraire", PageHeapChoice::Temeraire)];
pub(crate) const FRONT_ENDS: [(&str, FrontEndChoice); 2] =
    [("per_cpu", FrontEndChoice::PerCpu), ("per_thread", FrontEndChoice::PerThread)];

/// The length of a random program.
pub(crate) fn steps(default: usize) -> usize {
    env::var("STRATA_MATRIX_STEPS").ok().and_then(|steps| steps.parse().ok()).unwrap_or(default)
}

/// The seed of the random programs, which a failing test has printed.
pub(crate) fn seed() -> Seed {
    Seed::from_environment_or(0x5eed)
}

/// A heap on the example's page heap, which is a type of its own.
pub(crate) struct OnBuddies<P: PageSize>(PhantomData<fn() -> P>);

impl<P: PageSize> HeapConfig for OnBuddies<P> {
    type Pages = P;
    type Source = SystemPages;
    type PageHeap = BuddyPageHeap<P>;
    type Clock = MonotonicClock;

    fn source() -> &'static SystemPages {
        static SOURCE: SystemPages = SystemPages::new();
        &SOURCE
    }

    fn clock() -> &'static MonotonicClock {
        static CLOCK: MonotonicClock = MonotonicClock::new();
        &CLOCK
    }
}

/// Runs a suite on fresh heaps of page size `P`, those that the environment's cell allows: on page heaps that are chosen at
/// start, and on the example's.
pub(crate) fn run<P: PageSize>(
    selected: impl Fn(&Heap<Standard<P>>),
    on_buddies: impl Fn(&Heap<OnBuddies<P>>),
) {
    for (page_heap_name, page_heap) in PAGE_HEAPS {
        run_cells::<P>(page_heap_name, |config| {
            assert_eq!(config.page_heap, page_heap);
            let heap = Heap::with(config);
            selected(&heap);
            check_front_end(&heap, config.front_end);
        });
    }
    run_cells::<P>("buddy", |config| {
        let heap = Heap::with(config);
        on_buddies(&heap);
        check_front_end(&heap, config.front_end);
    });
}

fn run_cells<P: PageSize>(page_heap: &str, suite: impl Fn(Config)) {
    let only = env::var("STRATA_MATRIX_CELL").ok();
    for (front_end_name, front_end) in FRONT_ENDS {
        let cell = format!("{}/{page_heap}/{front_end_name}", P::NAME);
        if only.as_ref().is_some_and(|only| *only != cell) {
            continue;
        }
        let _one: MutexGuard<'_, ()> =
            ONE_HEAP.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        println!("cell {cell}");
        let named = PAGE_HEAPS.iter().any(|(name, _)| *name == page_heap);
        let choice = if named { format!("page_heap:{page_heap},") } else { String::new() };
        let config =
            Config::parse(format!("{choice}front_end:{front_end_name}").as_bytes(), |complaint| {
                panic!("{complaint}")
            });
        assert_eq!(config.front_end, front_end);
        suite(config);
    }
}

/// A heap that was asked to run per CPU does, where the machine has restartable sequences at all.
fn check_front_end<C: HeapConfig>(heap: &Heap<C>, asked: FrontEndChoice) {
    let Some(core) = heap.core() else { return };
    let per_cpu = matches!(core.front_end(), FrontEnd::PerCpu(_));
    let possible = CpuCache::IS_SUPPORTED && strata_os::rseq::glibc_area().is_some();
    assert_eq!(per_cpu, asked == FrontEndChoice::PerCpu && possible, "{:?}", core.front_end());
}

/// Runs a suite in every cell.
macro_rules! for_each_cell {
    ($suite:path) => {{
        $crate::cells::run::<strata_size_classes::Pages4K>(
            |heap| $suite(heap),
            |heap| $suite(heap),
        );
        $crate::cells::run::<strata_size_classes::Pages8K>(
            |heap| $suite(heap),
            |heap| $suite(heap),
        );
        $crate::cells::run::<strata_size_classes::Pages32K>(
            |heap| $suite(heap),
            |heap| $suite(heap),
        );
        $crate::cells::run::<strata_size_classes::Pages256K>(
            |heap| $suite(heap),
            |heap| $suite(heap),
        );
    }};
}
pub(crate) use for_each_cell;
