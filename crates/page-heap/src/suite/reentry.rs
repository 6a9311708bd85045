//! Programs that use the heap while it gives memory back.

use super::{
    Seed,
    model::{random_growth, random_request},
    parts,
    test_ground::TestGround,
};
use crate::{PageHeap, ReleaseReason};
use core::cell::RefCell;
use std::{rc::Rc, thread_local, vec::Vec};
use strata_os::{CallKinds, Clock, Fault};
use strata_span::{PageCount, PageSize, Platform, SpanHandle};

/// How deep programs may run inside of each other.
const DEEPEST: usize = 4;

thread_local! {
    /// What runs while memory is given back: the source knows a function alone.
    static INNER: RefCell<Option<Rc<dyn Fn()>>> = const { RefCell::new(None) };
}

/// A heap and the program over it.
struct Program<P: PageSize, H> {
    ground: TestGround<P>,
    heap: H,
    state: RefCell<ProgramState>,
}

struct ProgramState {
    seed: Seed,
    live: Vec<SpanHandle>,
    depth: usize,
}

/// A random program runs inside of the source's `release`, inside of itself, as another thread could at that moment: it
/// finds the heap in order and its lock free, gets nothing that is on its way to the kernel, and what comes back
/// meanwhile is not lost. Every twentieth release is refused.
pub fn programs_may_run_while_memory_is_given_back<P, H>(seed: Seed, steps: usize)
where
    P: PageSize,
    H: PageHeap<P> + 'static,
{
    let state = ProgramState { seed: seed.derived(16), live: Vec::new(), depth: 0 };
    let program = Rc::new(Program::<P, H> {
        ground: TestGround::new(),
        heap: H::EMPTY,
        state: RefCell::new(state),
    });
    program.ground.source().run_during_release(|| {
        let inner = INNER.with_borrow(Clone::clone);
        inner.into_iter().for_each(|run| run());
    });
    let inner = Rc::clone(&program);
    INNER.set(Some(Rc::new(move || inner.run_inside())));
    for _ in 0..steps {
        program.step();
        program.check();
    }
    program.ground.faults().disarm();
    while let Some(span) = program.any_span() {
        program.deallocate(span);
    }
    INNER.take();
    program.check();
    let free = program.heap.stats().free_bytes;
    let pages = PageCount::new(usize::try_from(free).unwrap_or(usize::MAX) >> P::SHIFT);
    program.heap.release(&program.ground, pages, ReleaseReason::HardLimit);
    assert_eq!(program.heap.stats().free_bytes, 0, "nothing was lost on the way");
    parts::note(&program.heap);
}

impl<P: PageSize, H: PageHeap<P>> Program<P, H> {
    fn below(&self, bound: usize) -> usize {
        self.state.borrow_mut().seed.below(bound)
    }

    fn run_inside(&self) {
        if self.state.borrow().depth == DEEPEST {
            return;
        }
        self.state.borrow_mut().depth += 1;
        for _ in 0..self.below(6) {
            self.step();
        }
        if self.below(20) == 0 {
            let fault = Fault::nth(1).of(CallKinds::RELEASE | CallKinds::DECOMMIT);
            self.ground.faults().arm(fault);
        }
        self.state.borrow_mut().depth -= 1;
    }

    fn any_span(&self) -> Option<SpanHandle> {
        let mut state = self.state.borrow_mut();
        let count = state.live.len();
        let index = state.seed.below(count.max(1));
        (count > 0).then(|| state.live.swap_remove(index))
    }

    fn deallocate(&self, span: SpanHandle) {
        self.ground.source().note_given_back(span.range::<P>());
        // SAFETY: the span came from this heap, and the program forgot it.
        unsafe { self.heap.deallocate(&self.ground, span) };
    }

    fn step(&self) {
        match self.below(20) {
            0..9 => {
                let mut request = random_request::<P>(&mut self.state.borrow_mut().seed);
                let most = 16 * PageCount::<P>::PER_HUGEPAGE.get();
                request.pages = PageCount::new(request.pages.get().min(most));
                // While a release is on its way, memory that it takes may be what there is not.
                let Some(span) = self.heap.allocate(&self.ground, request) else { return };
                self.ground.note_handed_out(span.range::<P>(), span.is_zeroed());
                self.state.borrow_mut().live.push(span);
            }
            9..16 => {
                if let Some(span) = self.any_span() {
                    self.deallocate(span);
                }
            }
            16 => {
                let Some(span) = self.any_span() else { return };
                let before = span.page_count::<P>();
                let wanted = random_growth(before, &mut self.state.borrow_mut().seed);
                // SAFETY: the span came from this heap, and the program has it.
                if unsafe { self.heap.extend(&self.ground, span, wanted) } && wanted > before {
                    let added = span.page_count::<P>() - before;
                    let range = added.range_from(span.first::<P>() + before);
                    self.ground.note_handed_out(range, false);
                }
                self.state.borrow_mut().live.push(span);
            }
            17 => {
                self.ground.clock.advance(self.state.borrow_mut().seed.next() % (1 << 36));
                self.heap.maintain(&self.ground, self.ground.clock.now_ns());
            }
            _ => {
                let reason = [ReleaseReason::Call, ReleaseReason::Idle, ReleaseReason::SoftLimit];
                let wanted = PageCount::new(1 + self.below(4000));
                let reason = reason[self.below(3)];
                self.heap.release(&self.ground, wanted, reason);
            }
        }
    }

    fn check(&self) {
        let stats = self.heap.stats();
        let live = self.state.borrow().live.iter().map(|span| span.bytes::<P>()).sum::<usize>();
        assert_eq!(stats.in_use_bytes, live as u64);
        let sum = stats.in_use_bytes + stats.free_bytes + stats.unmapped_bytes;
        assert_eq!(stats.system_bytes, sum, "{stats:?}");
    }
}
