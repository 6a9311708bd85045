use super::Ahead;
use crate::hugepage_aware::HugePageAware;
use core::cell::RefCell;
use std::{boxed::Box, rc::Rc, thread_local};
use strata_os::{
    AddressRange, Advice, CallKind, CallKinds, FailingPages, Fault, ManualClock, MapError,
    PageSourceLayer, SimulatedPages, SystemPages, ThpMode,
};
use strata_page_heap::{
    Density, HugepageBreak, MemoryLimits, PageHeap, ReleaseReason, SpanRequest,
};
use strata_size_classes::{PageSize, Pages8K};
use strata_span::{Ground, Hugepage, PageCount, SpanHandle};

const KIB: usize = 1 << 10;
const IN_USE: usize = 1 << 20;
/// 16 KiB in a quarter of a millisecond are a little less than 64 MiB a second.
const SLOW_NS: u64 = 250_000;
const FAST_NS: u64 = SLOW_NS / 2;

fn pages(bytes: usize) -> PageCount<Pages8K> {
    PageCount::holding(bytes).unwrap()
}

/// What is faulted in ahead of each of ten spans of 16 KiB, so many ns apart, in KiB.
fn of_ten(apart_ns: u64, in_use_bytes: usize) -> [usize; 10] {
    let mut ahead = Ahead::NONE;
    core::array::from_fn(|number| {
        let now_ns = (number as u64 + 1_000_000) * apart_ns;
        ahead.note(pages(16 * KIB), pages(in_use_bytes), now_ns).bytes() / KIB
    })
}

#[test]
fn a_heap_that_grows_fast_has_a_part_of_what_it_has_faulted_in_ahead() {
    // The first two spans are measured from a moment when nobody measured yet.
    let ahead = of_ten(FAST_NS, IN_USE);
    assert_eq!(ahead, [0, 0, 0, 32, 0, 32, 0, 32, 0, 32]);
    assert_eq!(of_ten(FAST_NS, 2 * IN_USE)[3], 64);
    assert_eq!(of_ten(FAST_NS, 1000 * IN_USE)[3], 64);
}

#[test]
fn one_that_grows_slowly_or_is_small_has_none() {
    assert_eq!(of_ten(SLOW_NS, 1000 * IN_USE), [0; 10]);
    assert!(Ahead::is_for(pages(IN_USE)) && !Ahead::is_for(pages(IN_USE - 8 * KIB)));
    assert_eq!(grown(127, 10_000, false, 0), (0, 0));
    assert_eq!(of_ten(0, 1000 * IN_USE), [0; 10], "a clock that stands tells nothing");
}

#[test]
fn what_was_faulted_in_ahead_counts_as_taken_when_the_next_fresh_span_comes() {
    let mut ahead = Ahead::NONE;
    let note = |ahead: &mut Ahead, now_ns| ahead.note(pages(8 * KIB), pages(IN_USE), now_ns);
    ahead.note_ahead(pages(32 * KIB));
    assert_eq!(note(&mut ahead, 1_000_000_000), PageCount::ZERO, "long after nothing");
    ahead.note_ahead(pages(32 * KIB));
    assert_eq!(note(&mut ahead, 1_000_500_000), pages(32 * KIB), "40 KiB in half a millisecond");
}

type Dense = Ground<Pages8K, FailingPages<SimulatedPages>, SystemPages, ManualClock>;

/// A heap on small pages takes so many spans of many objects, so many ns apart, and its program writes to each. Answers
/// with the bytes that are in memory and in no span, and with how often the kernel was advised.
fn grown(spans: usize, apart_ns: u64, refuse: bool, limit_bytes: u64) -> (u64, u64) {
    let source = SimulatedPages::new().with_faults().with_thp_mode(ThpMode::Never);
    let clock = ManualClock::new(1_000_000_000);
    let ground: Dense = Ground::new(FailingPages::new(source), SystemPages::new(), clock);
    let heap = Box::new(HugePageAware::<Pages8K>::new());
    heap.set_limits(MemoryLimits { soft_bytes: limit_bytes, hard_bytes: 0 });
    if refuse {
        ground.source.arm(Fault::always().of(CallKinds::ADVISE).with_errno(22));
    }
    let request = SpanRequest { density: Density::Dense, ..SpanRequest::of(PageCount::ONE) };
    for _ in 0..spans {
        ground.clock.advance(apart_ns);
        let span = heap.allocate(&ground, request).unwrap();
        let page = AddressRange::new(span.start::<Pages8K>().value(), Pages8K::BYTES);
        ground.source.source().touch(page);
    }
    let stats = heap.stats();
    let resident = ground.source.source().figures().resident_bytes as u64;
    assert_eq!(resident, stats.backed_bytes(), "the books know what is in memory");
    (resident - stats.in_use_bytes, ground.source.calls(CallKind::Advise))
}

#[test]
fn what_a_growing_heap_faults_in_is_taken_but_for_the_last_of_it() {
    let spans = 1000;
    let (ahead, calls) = grown(spans, 10_000, false, 0);
    assert!(ahead <= Ahead::MOST_BYTES as u64, "{ahead}");
    // Up to 2 MiB it is less than 64 KiB each time; the first mebibyte nobody is asked about.
    assert!((70..200).contains(&calls), "{calls}");
    for spans in 100..400 {
        let (ahead, _) = grown(spans, 10_000, false, 0);
        assert!(ahead <= (spans * Pages8K::BYTES / Ahead::PART) as u64, "{ahead} at {spans}");
    }
}

#[test]
fn a_heap_that_grows_slowly_or_within_a_limit_faults_in_nothing() {
    assert_eq!(grown(1000, 1_000_000, false, 0), (0, 0));
    assert_eq!(grown(1000, 10_000, false, 1 << 30), (0, 0));
}

#[test]
fn a_kernel_that_refuses_is_left_alone() {
    let (ahead, calls) = grown(1000, 10_000, true, 0);
    assert_eq!(ahead, 0);
    assert!(calls < 40, "{calls}");
}

/// `ENOMEM` and `EINVAL`.
const NO_MEMORY: i32 = 12;
const NOT_KNOWN: i32 = 22;

/// What others do while the kernel faults memory of a hugepage in.
type Others = Rc<dyn Fn(Hugepage)>;

thread_local! {
    static OTHERS: RefCell<Option<Others>> = const { RefCell::new(None) };
}

/// Pages on which others do something just before the kernel faults memory in, and just after; and which may refuse to do
/// that, or stop halfway.
struct Interrupted {
    pages: SimulatedPages,
    answer: Answer,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Answer {
    Done,
    Halfway,
    Refused,
}

// SAFETY: all answers are those of the pages beneath, and what is refused changes nothing.
unsafe impl PageSourceLayer for Interrupted {
    type Beneath = SimulatedPages;

    fn beneath(&self) -> &SimulatedPages {
        &self.pages
    }

    fn advise(&self, range: AddressRange, advice: Advice) -> Result<(), MapError> {
        if advice == Advice::PopulateWrite {
            let hugepage = Hugepage::from_address(range.start);
            let others = || OTHERS.with_borrow(Clone::clone).iter().for_each(|it| it(hugepage));
            others();
            let fault_in = |range| strata_os::PageSource::advise(&self.pages, range, advice);
            let done = match self.answer {
                Answer::Done => fault_in(range),
                Answer::Halfway => {
                    let half = AddressRange::new(range.start, (range.bytes / 2) & !(4 * KIB - 1));
                    fault_in(half).and(Err(MapError::new(range.bytes, NO_MEMORY)))
                }
                Answer::Refused => Err(MapError::new(range.bytes, NOT_KNOWN)),
            };
            others();
            return done;
        }
        strata_os::PageSource::advise(&self.pages, range, advice)
    }
}

/// A program with two threads, of which the second has its turn while the first faults memory in.
struct Interleaved {
    ground: Ground<Pages8K, Interrupted, SystemPages, ManualClock>,
    heap: HugePageAware<Pages8K>,
}

impl Interleaved {
    fn take(&self) -> SpanHandle {
        let request = SpanRequest { density: Density::Dense, ..SpanRequest::of(PageCount::ONE) };
        let span = self.heap.allocate(&self.ground, request).unwrap();
        let page = AddressRange::new(span.start::<Pages8K>().value(), Pages8K::BYTES);
        self.ground.source.pages.touch(page);
        span
    }

    fn give(&self, span: SpanHandle) {
        // SAFETY: it came from this heap, and nobody uses it.
        assert!(unsafe { self.heap.deallocate(&self.ground, span) });
    }

    /// Some spans come, two of them go again, and all that is free is to go back.
    fn interrupt(&self, hugepage: Hugepage) {
        let spans: [SpanHandle; 4] = core::array::from_fn(|_| self.take());
        self.give(spans[1]);
        self.give(spans[3]);
        self.heap.release(&self.ground, pages(1 << 30), ReleaseReason::Call);
        assert_eq!(
            self.heap.break_hugepage(&self.ground, hugepage, 8 * KIB),
            HugepageBreak::Refused,
            "nothing inside of spans goes either"
        );
    }

    /// What is in memory, by the kernel and by the heap's own books.
    fn resident_and_booked(&self) -> (u64, u64) {
        let resident = self.ground.source.pages.figures().resident_bytes as u64;
        (resident, self.heap.stats().backed_bytes())
    }
}

/// A heap grows, and each time memory is faulted in others interrupt that.
fn grow_interrupted(answer: Answer) {
    let source = SimulatedPages::new().with_faults().with_thp_mode(ThpMode::Never);
    let pages = Interrupted { pages: source, answer };
    let program = Rc::new(Interleaved {
        ground: Ground::new(pages, SystemPages::new(), ManualClock::new(1_000_000_000)),
        heap: HugePageAware::new(),
    });
    let (other, interrupts) = (Rc::clone(&program), Rc::new(RefCell::new(0)));
    let counted = Rc::clone(&interrupts);
    OTHERS.set(Some(Rc::new(move |hugepage| {
        *counted.borrow_mut() += 1;
        other.interrupt(hugepage);
    })));
    for _ in 0..1000 {
        program.ground.clock.advance(10_000);
        program.take();
        let (resident, booked) = program.resident_and_booked();
        assert_eq!(resident, booked, "after {} interrupts", interrupts.borrow());
    }
    OTHERS.take();
    assert!(
        *interrupts.borrow() > if answer == Answer::Done { 20 } else { 7 },
        "{}",
        interrupts.borrow()
    );
    // What was kept while memory was faulted in can go now.
    program.heap.release(&program.ground, self::pages(1 << 30), ReleaseReason::Call);
    let stats = program.heap.stats();
    assert_eq!((stats.free_bytes, program.heap.underway.steps()), (0, 0));
}

#[test]
fn what_others_do_while_memory_is_faulted_in_leaves_the_books_right() {
    grow_interrupted(Answer::Done);
}

#[test]
fn what_the_kernel_refuses_to_fault_in_does_not_count_as_backed() {
    grow_interrupted(Answer::Refused);
}

#[test]
fn what_the_kernel_faulted_in_before_it_had_no_more_memory_counts_as_backed() {
    let source = SimulatedPages::new().with_faults().with_thp_mode(ThpMode::Never);
    let pages = Interrupted { pages: source, answer: Answer::Halfway };
    let ground = Ground::new(pages, SystemPages::new(), ManualClock::new(1_000_000_000));
    let program = Interleaved { ground, heap: HugePageAware::new() };
    let mut ahead = 0;
    for _ in 0..400 {
        program.ground.clock.advance(10_000);
        program.take();
        let (resident, booked) = program.resident_and_booked();
        assert!((resident..resident + Pages8K::BYTES as u64).contains(&booked), "{resident}");
        ahead = ahead.max(booked - program.heap.stats().in_use_bytes);
    }
    assert!(ahead > 0, "nothing was faulted in");
    program.heap.release(&program.ground, self::pages(1 << 30), ReleaseReason::Call);
    assert_eq!(program.heap.stats().free_bytes, 0);
    let (resident, booked) = program.resident_and_booked();
    assert_eq!(resident, booked, "what went is not in memory");
}
