//! Each finding, with a program that provokes it, and one that must not.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_types,
    reason = "a test may fail, and std's locks are not the heap's"
)]

use std::sync::{Mutex, MutexGuard, PoisonError};
use strata_alloc::{
    Config, CpuIdChoice, FrontEndChoice, HeapConfig, PageHeapChoice, SelectedPageHeap,
};
use strata_os::{CallKinds, FailingPages, Fault, ManualClock, SystemPages};
use strata_page_heap::{MemoryLimits, PageHeap, ReleaseReason};
use strata_size_classes::Pages8K;
use strata_span::PageCount;
use strata_stats::{
    Figures, Finding, Findings, RenderPageHeap, Snapshot, WhyNoThread, WhyNotReleased, explain,
};
use strata_temeraire::HugePageAware;

/// Threads keep words for two heaps at a time, so that tests run one after the other.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The standard heap, for which no time passes: however slow a test runs, nothing goes back or moves by itself.
struct Still;

impl HeapConfig for Still {
    type Pages = Pages8K;
    type Source = SystemPages;
    type PageHeap = SelectedPageHeap<Pages8K>;
    type Clock = ManualClock;

    fn source() -> &'static SystemPages {
        static SOURCE: SystemPages = SystemPages::new();
        &SOURCE
    }
    fn clock() -> &'static ManualClock {
        &CLOCK
    }
    fn configure(page_heap: &Self::PageHeap, config: &Config) {
        page_heap.select(config.page_heap);
    }
}

static CLOCK: ManualClock = ManualClock::new(1_000_000_000);

type Heap<C = Still> = strata_alloc::Heap<C>;

fn snapshot<C: HeapConfig>(heap: &Heap<C>) -> Snapshot {
    Snapshot::take(heap.core().unwrap())
}

/// What stands out now, with all that the page heap knows; printed, so that a failure shows the words.
fn found<C: HeapConfig>(heap: &Heap<C>, earlier: Option<&Snapshot>) -> Findings
where
    <C::PageHeap as PageHeap<C::Pages>>::Figures: RenderPageHeap,
{
    let core = heap.core().unwrap();
    let page_heap = core.page_heap().figures(core);
    let snapshot = snapshot(heap);
    let figures = Figures { snapshot: &snapshot, page_heap: page_heap.details(), kernel: None };
    let findings = explain(figures, earlier);
    println!("{findings}");
    findings
}

fn has(findings: &Findings, is_it: impl Fn(&Finding) -> bool) -> bool {
    findings.iter().any(is_it)
}

fn free<C: HeapConfig>(heap: &Heap<C>, blocks: impl IntoIterator<Item = *mut u8>) {
    for block in blocks {
        // SAFETY: the tests hand in blocks of this heap, each once.
        unsafe { heap.deallocate(block) };
    }
}

fn many<C: HeapConfig>(heap: &Heap<C>, count: usize, size: usize) -> Vec<*mut u8> {
    (0..count).map(|_| heap.allocate(size)).collect()
}

/// Binds the thread to the CPU that it runs on.
fn stay_on_this_cpu() {
    // SAFETY: asks a number.
    let cpu = usize::try_from(unsafe { libc::sched_getcpu() }).unwrap();
    // SAFETY: a set of CPUs is an array of integers.
    let mut set: libc::cpu_set_t = unsafe { core::mem::zeroed() };
    // SAFETY: the number is checked against the set's size there.
    unsafe { libc::CPU_SET(cpu, &mut set) };
    // SAFETY: the set is as long as said.
    assert_eq!(unsafe { libc::sched_setaffinity(0, size_of_val(&set), &raw const set) }, 0);
}

#[test]
fn a_program_in_good_shape_has_no_findings() {
    let _alone = alone();
    let heap: Heap = Heap::with(Config::DEFAULT);
    let mut blocks = many(&heap, 50_000, 200);
    blocks.extend(many(&heap, 500, 20_000));
    blocks.extend(many(&heap, 10, 4 << 20));
    let earlier = snapshot(&heap);
    // It works: as much goes as comes.
    for index in 0..20_000 {
        let place = index * 7 % 50_000;
        free(&heap, [core::mem::replace(&mut blocks[place], heap.allocate(200))]);
    }
    assert_eq!(found(&heap, Some(&earlier)).iter().count(), 0);
    free(&heap, blocks);
}

#[test]
fn few_objects_in_many_spans_are_fragmentation() {
    let _alone = alone();
    let heap: Heap = Heap::with(Config::DEFAULT);
    let blocks = many(&heap, 64_000, 512);
    let is_it =
        |finding: &Finding| matches!(finding, Finding::FragmentedClass { object_bytes: 512, .. });
    assert!(!has(&found(&heap, None), is_it), "all of them are in use");
    let (stay, go): (Vec<_>, Vec<_>) =
        blocks.into_iter().enumerate().partition(|(index, _)| index % 16 == 0);
    free(&heap, go.into_iter().map(|(_, block)| block));
    // What caches hold is not in spans.
    heap.release(0);
    let findings = found(&heap, None);
    assert!(has(&findings, is_it));
    free(&heap, stay.into_iter().map(|(_, block)| block));
    heap.release(0);
    assert!(!has(&found(&heap, None), is_it), "none of them is in use");
}

/// None of the classes stands out among what is in use, and all of them together do.
#[test]
fn few_objects_in_spans_of_many_classes_are_fragmentation_too() {
    let _alone = alone();
    let heap: Heap = Heap::with(Config::DEFAULT);
    let ground = many(&heap, 40, 8 << 20);
    for block in &ground {
        // SAFETY: the block is ours and so long.
        unsafe { block.write_bytes(1, 8 << 20) };
    }
    let sizes = [100, 140, 200, 300, 400, 600, 800, 1200, 2000, 3000];
    let blocks: Vec<_> =
        sizes.iter().flat_map(|size| many(&heap, (2 << 20) / size, *size)).collect();
    let is_it = |finding: &Finding| matches!(finding, Finding::FragmentedClasses { classes: 8..=10, free_bytes, .. } if *free_bytes > 10 << 20);
    assert!(!has(&found(&heap, None), is_it), "all of them are in use");
    let (stay, go): (Vec<_>, Vec<_>) =
        blocks.into_iter().enumerate().partition(|(index, _)| index % 16 == 0);
    free(&heap, go.into_iter().map(|(_, block)| block));
    heap.release(0);
    assert!(has(&found(&heap, None), is_it));
    free(&heap, stay.into_iter().map(|(_, block)| block));
    heap.release(0);
    assert!(!has(&found(&heap, None), is_it), "none of them is in use");
    free(&heap, ground);
}

/// A third of each span is free: too little for a class to be called hollow, and a large part of the heap.
#[test]
fn holes_that_are_a_large_part_of_the_heap_are_fragmentation_whatever_part_of_its_spans_they_are() {
    let _alone = alone();
    let is_one =
        |finding: &Finding| matches!(finding, Finding::FragmentedClass { object_bytes: 512, .. });
    let are_several = |finding: &Finding| matches!(finding, Finding::FragmentedClasses { classes: 8..=10, free_bytes, .. } if *free_bytes > 5 << 20);
    let sizes = [100, 140, 200, 300, 400, 600, 800, 1200, 2000, 3000];
    type IsIt = fn(&Finding) -> bool;
    for (sizes, bytes, is_it) in
        [(&[512][..], 24 << 20, is_one as IsIt), (&sizes[..], 2 << 20, are_several as IsIt)]
    {
        let heap: Heap = Heap::with(Config::DEFAULT);
        let mut blocks = Vec::new();
        for size in sizes {
            let mut of_a_size = many(&heap, bytes / size, *size).into_iter();
            while let Some(go) = of_a_size.next() {
                blocks.push((go, false));
                blocks.extend(of_a_size.by_ref().take(2).map(|stay| (stay, true)));
            }
        }
        assert!(!has(&found(&heap, None), is_it), "all of them are in use");
        let (stay, go): (Vec<_>, Vec<_>) = blocks.into_iter().partition(|(_, stays)| *stays);
        free(&heap, go.into_iter().map(|(block, _)| block));
        heap.release(0);
        assert!(has(&found(&heap, None), is_it), "a third is free");
        // Beside as much as makes it a small part, it is none.
        let ground = many(&heap, 16, 8 << 20);
        for block in &ground {
            // SAFETY: the block is ours and so long.
            unsafe { block.write_bytes(1, 8 << 20) };
        }
        assert!(!has(&found(&heap, None), is_it), "it is a twentieth of the heap now");
        free(&heap, ground);
        free(&heap, stay.into_iter().map(|(block, _)| block));
    }
}

#[test]
fn caches_in_which_nothing_moves_are_idle() {
    let _alone = alone();
    // The cache stays the same one: no other CPU's, and not that of another id.
    stay_on_this_cpu();
    let mut config = Config::DEFAULT;
    config.cpu_id = CpuIdChoice::Cpu;
    let heap: Heap = Heap::with(config);
    // Who was given much may cache much.
    let ground = many(&heap, 16_000, 4096);
    for size in [4096, 8192, 16_384, 32_768, 65_536, 262_144] {
        for _ in 0..40 {
            let blocks = many(&heap, (2 << 20) / size, size);
            free(&heap, blocks);
        }
    }
    let earlier = snapshot(&heap);
    let held = earlier.cpus.held_bytes();
    assert!(held >= 1 << 20, "{held} bytes are cached");
    let block = heap.allocate(1 << 20);
    free(&heap, [block]);
    let is_it =
        |finding: &Finding| matches!(finding, Finding::IdleCpuCaches { since_earlier: true, .. });
    assert!(has(&found(&heap, Some(&earlier)), is_it), "large blocks are not cached");
    let taken = many(&heap, 200, 4096);
    assert!(!has(&found(&heap, Some(&earlier)), is_it), "one was used");
    free(&heap, taken);
    free(&heap, ground);
}

#[test]
fn caches_that_hold_more_than_the_program_are_large() {
    let _alone = alone();
    let mut config = Config::DEFAULT;
    config.front_end = FrontEndChoice::PerThread;
    let heap: Heap = Heap::with(config);
    let is_it = |finding: &Finding| matches!(finding, Finding::LargeCaches { .. });
    let mut classes = Vec::new();
    let core_is_there = heap.allocate(1);
    let shape = snapshot(&heap);
    for (_, class) in shape.classes.iter() {
        let size = class.object_bytes as usize;
        classes.extend(many(&heap, (600 << 10) / size + 1, size));
    }
    assert!(!has(&found(&heap, None), is_it), "all of it is in use");
    free(&heap, classes);
    assert!(has(&found(&heap, None), is_it));
    heap.release(0);
    assert!(!has(&found(&heap, None), is_it), "the caches are empty");
    free(&heap, [core_is_there]);
}

#[test]
fn free_pages_that_nobody_gave_back_are_told_with_the_reason() {
    let _alone = alone();
    for page_heap in [PageHeapChoice::Legacy, PageHeapChoice::Temeraire] {
        let mut config = Config::DEFAULT;
        config.page_heap = page_heap;
        let heap: Heap = Heap::with(config);
        let is_it = |finding: &Finding| matches!(finding, Finding::UnreleasedPages { .. });
        let mut blocks = many(&heap, 60, 1 << 20);
        assert!(!has(&found(&heap, None), is_it), "all of it is in use");
        // Half of it: of a heap that falls to a quarter, frees themselves give back.
        let rest = blocks.split_off(30);
        free(&heap, blocks);
        assert!(has(&found(&heap, None), |finding| matches!(
            finding,
            Finding::UnreleasedPages {
                why: WhyNotReleased::NobodyAsked { no_thread: WhyNoThread::NotAsked },
                ..
            }
        )));
        heap.release(usize::MAX);
        assert!(!has(&found(&heap, None), is_it), "all of it went");
        free(&heap, rest);
    }
}

#[test]
fn pages_that_recent_demand_may_want_again_are_told_as_such() {
    let _alone = alone();
    let heap: Heap = Heap::with(Config::DEFAULT);
    // Short spans share hugepages, of which a quarter stays in use.
    // They are written to, so that hugepages are asked for: where none can break, what the rate allows goes at once.
    let blocks: Vec<*mut u8> = (0..1200)
        .flat_map(|_| many(&heap, 1, 100_000))
        // SAFETY: the block is ours and this long.
        .inspect(|&block| unsafe { block.write_bytes(1, 100_000) })
        .collect();
    let (stay, go): (Vec<_>, Vec<_>) =
        blocks.into_iter().enumerate().partition(|(index, _)| index % 4 == 0);
    free(&heap, go.into_iter().map(|(_, block)| block));
    heap.release(0);
    let core = heap.core().unwrap();
    core.page_heap().release(core, PageCount::<Pages8K>::new(8000), ReleaseReason::Policy);
    let is_recent_demand = |finding: &Finding| {
        matches!(finding, Finding::UnreleasedPages { why: WhyNotReleased::RecentDemand { .. }, .. })
    };
    assert!(has(&found(&heap, None), is_recent_demand));
    // It is the reason beside a thread, too, which leaves such pages.
    let page_heap = core.page_heap().figures(core);
    let mut snapshot = snapshot(&heap);
    snapshot.heap.background.has_thread = true;
    let figures = Figures { snapshot: &snapshot, page_heap: page_heap.details(), kernel: None };
    assert!(has(&explain(figures, None), is_recent_demand));
    // Beside more that would go it is not.
    let others = many(&heap, 300, 1 << 20);
    free(&heap, others);
    let findings = found(&heap, None);
    assert!(has(&findings, |finding| matches!(finding, Finding::UnreleasedPages { .. })));
    assert!(!has(&findings, is_recent_demand));
    assert!(findings.to_string().contains(" stay, on hugepages that are in use"));
    free(&heap, stay.into_iter().map(|(_, block)| block));
}

#[test]
fn hugepages_that_lost_pages_are_broken() {
    let _alone = alone();
    let heap: Heap = Heap::with(Config::DEFAULT);
    let blocks = many(&heap, 1200, 100_000);
    let (stay, go): (Vec<_>, Vec<_>) =
        blocks.into_iter().enumerate().partition(|(index, _)| index % 4 == 0);
    free(&heap, go.into_iter().map(|(_, block)| block));
    let is_it = |finding: &Finding| matches!(finding, Finding::BrokenHugepages { .. });
    assert!(!has(&found(&heap, None), is_it), "nothing was given back");
    heap.release(0);
    let core = heap.core().unwrap();
    // What recent demand may want again goes only for a limit.
    core.page_heap().release(core, PageCount::<Pages8K>::new(20_000), ReleaseReason::SoftLimit);
    assert!(has(&found(&heap, None), is_it));
    free(&heap, stay.into_iter().map(|(_, block)| block));
    heap.release(usize::MAX);
    assert!(!has(&found(&heap, None), is_it), "no span is left");
}

#[test]
fn growth_between_two_snapshots_is_told_and_churn_is_not() {
    let _alone = alone();
    let heap: Heap = Heap::with(Config::DEFAULT);
    let mut blocks = many(&heap, 20_000, 300);
    let earlier = snapshot(&heap);
    for _ in 0..5 {
        free(&heap, core::mem::take(&mut blocks));
        blocks = many(&heap, 20_000, 300);
    }
    let is_growth = |finding: &Finding| matches!(finding, Finding::Growth { .. });
    assert!(!has(&found(&heap, Some(&earlier)), is_growth), "it holds as much as before");
    blocks.extend(many(&heap, 30_000, 300));
    let findings = found(&heap, Some(&earlier));
    assert!(has(&findings, |finding| matches!(
        finding,
        Finding::Growth { class_bytes: 304 | 320, grown_bytes, .. } if *grown_bytes > 8_000_000
    )));
    assert!(!has(&found(&heap, None), is_growth), "one snapshot does not tell");
    blocks.extend(many(&heap, 30, 1 << 20));
    let findings = found(&heap, Some(&earlier));
    assert!(has(&findings, |finding| matches!(finding, Finding::Growth { class_bytes: 0, .. })));
    free(&heap, blocks);
}

#[test]
fn a_limit_that_is_met_is_told() {
    let _alone = alone();
    for page_heap in [PageHeapChoice::Legacy, PageHeapChoice::Temeraire] {
        let mut config = Config::DEFAULT;
        config.page_heap = page_heap;
        let heap: Heap = Heap::with(config);
        let is_it = |finding: &Finding| matches!(finding, Finding::LimitReached { .. });
        let blocks = many(&heap, 30, 1 << 20);
        let limits = MemoryLimits { soft_bytes: 33 << 20, hard_bytes: 0 };
        heap.core().unwrap().page_heap().set_limits(limits);
        assert!(!has(&found(&heap, None), is_it), "it is below the limit");
        free(&heap, blocks);
        let blocks = many(&heap, 5, 7 << 20);
        let findings = found(&heap, None);
        assert!(has(&findings, is_it), "{page_heap:?}: free pages went for new ones");
        let earlier = snapshot(&heap);
        assert!(!has(&found(&heap, Some(&earlier)), is_it), "not since then");
        free(&heap, blocks);
    }
}

#[test]
fn a_limit_that_is_met_when_nothing_is_free_is_told() {
    let _alone = alone();
    for page_heap in [PageHeapChoice::Legacy, PageHeapChoice::Temeraire] {
        for is_hard in [false, true] {
            let mut config = Config::DEFAULT;
            config.page_heap = page_heap;
            let heap: Heap = Heap::with(config);
            let mut blocks = many(&heap, 10, 2 << 20);
            let bytes = 40 << 20;
            let limits = match is_hard {
                true => MemoryLimits { soft_bytes: 0, hard_bytes: bytes },
                false => MemoryLimits { soft_bytes: bytes, hard_bytes: 0 },
            };
            heap.core().unwrap().page_heap().set_limits(limits);
            let is_it = |finding: &Finding| matches!(finding, Finding::LimitReached { .. });
            assert!(!has(&found(&heap, None), is_it), "it is below the limit");
            let more = (0..20).map(|_| heap.allocate(2 << 20)).filter(|block| !block.is_null());
            blocks.extend(more);
            assert_eq!(blocks.len() < 30, is_hard, "{page_heap:?}: {}", blocks.len());
            let of_this_kind = |finding: &Finding| matches!(finding, Finding::LimitReached { hits: 1.., refused, .. } if (*refused > 0) == is_hard);
            assert!(has(&found(&heap, None), of_this_kind), "{page_heap:?}, {is_hard}");
            let earlier = snapshot(&heap);
            assert!(!has(&found(&heap, Some(&earlier)), is_it), "not since then");
            free(&heap, blocks);
        }
    }
}

#[test]
fn books_that_outgrow_the_program_are_told() {
    let _alone = alone();
    let heap: Heap = Heap::with(Config::DEFAULT);
    let is_it = |finding: &Finding| matches!(finding, Finding::LargeMetadata { .. });
    let blocks = many(&heap, 60_000, 30_000);
    assert!(!has(&found(&heap, None), is_it), "the program holds much more");
    free(&heap, blocks);
    heap.release(usize::MAX);
    assert!(has(&found(&heap, None), is_it), "structures of spans stay");
}

#[test]
fn hugepages_whose_large_block_is_gone_are_abandoned() {
    let _alone = alone();
    let heap: Heap = Heap::with(Config::DEFAULT);
    let is_it = |finding: &Finding| matches!(finding, Finding::AbandonedTails { .. });
    let large = many(&heap, 4, 3 << 20);
    // Spans that lie on their tails.
    let small = many(&heap, 40, 100_000);
    assert!(!has(&found(&heap, None), is_it), "the large blocks are there");
    free(&heap, large);
    assert!(has(&found(&heap, None), is_it));
    free(&heap, small);
    heap.release(0);
    assert!(!has(&found(&heap, None), is_it), "the tails are free too");
}

#[test]
fn a_heap_that_has_to_do_without_caches_per_cpu_says_why() {
    let _alone = alone();
    let heaps: [Heap; 3] = [(); 3].map(|()| Heap::with(Config::DEFAULT));
    let blocks = heaps.each_ref().map(|heap| heap.allocate(10));
    let is_it = |finding: &Finding| matches!(finding, Finding::NoPerCpuCaches { .. });
    assert!(has(&found(&heaps[2], None), is_it), "threads have words for two heaps");
    let per_cpu = matches!(snapshot(&heaps[0]).heap.front_end, strata_alloc::FrontEnd::PerCpu(_));
    assert_eq!(has(&found(&heaps[0], None), is_it), !per_cpu);
    for (heap, block) in heaps.iter().zip(blocks) {
        free(heap, [block]);
    }
    let mut config = Config::DEFAULT;
    config.front_end = FrontEndChoice::PerThread;
    drop(heaps);
    let asked: Heap = Heap::with(config);
    free(&asked, [asked.allocate(10)]);
    assert!(!has(&found(&asked, None), is_it), "somebody wanted it so");
}

/// A heap whose kernel takes nothing back when it is told so.
struct Refusing;

static SOURCE: FailingPages<SystemPages> = FailingPages::new(SystemPages::new());
impl HeapConfig for Refusing {
    type Pages = Pages8K;
    type Source = FailingPages<SystemPages>;
    type PageHeap = HugePageAware<Pages8K>;
    type Clock = ManualClock;

    fn source() -> &'static Self::Source {
        &SOURCE
    }

    fn clock() -> &'static ManualClock {
        &CLOCK
    }
}

#[test]
fn a_kernel_that_takes_nothing_back_is_told() {
    let _alone = alone();
    let heap: Heap<Refusing> = Heap::with(Config::DEFAULT);
    free(&heap, many(&heap, 30, 1 << 20));
    let is_it = |finding: &Finding| matches!(finding, Finding::RefusedReleases { .. });
    assert!(!has(&found(&heap, None), is_it), "nobody asked it to");
    SOURCE.arm(Fault::always().of(CallKinds::RELEASE));
    heap.release(usize::MAX);
    SOURCE.disarm();
    let findings = found(&heap, None);
    assert!(has(&findings, is_it));
    assert!(has(&findings, |finding| matches!(
        finding,
        Finding::UnreleasedPages { why: WhyNotReleased::Refused { .. }, .. }
    )));
}

#[test]
fn a_kernel_that_makes_nothing_accessible_is_told() {
    let _alone = alone();
    let heap: Heap = Heap::with(Config::DEFAULT);
    free(&heap, [heap.allocate(1)]);
    let is_it = |finding: &Finding| matches!(finding, Finding::RefusedAccess { .. });
    assert!(!has(&found(&heap, None), is_it), "nothing refuses it");
    let mut snapshot = snapshot(&heap);
    snapshot.heap.mapped_anew = 3;
    let core = heap.core().unwrap();
    let page_heap = core.page_heap().figures(core);
    let figures = Figures { snapshot: &snapshot, page_heap: page_heap.details(), kernel: None };
    assert!(has(&explain(figures, None), |finding| *finding == Finding::RefusedAccess { times: 3 }));
}
