//! The layers of a heap over address space that does not exist.

use core::fmt::{self, Debug, Formatter};

use strata_central::MiddleTier;
use strata_os::{CallKind, Clock, ManualClock, PageSource, SimulatedPages, SystemPages};
use strata_page_heap::{PageHeap, ReleaseReason, SpanRequest};
use strata_size_classes::{ClassEntry, PageSize, SizeClass};
use strata_span::{Ground, MetadataArena, PageCount, Platform, SpanHandle};
use strata_upkeep::{
    Counters, INTERVAL_NS, LONGEST_NS, Looks, ReleasePolicy, Schedule, THREAD_FROM_BYTES,
};

use crate::{
    Layer, Moment, SimulatedCpus, ThreadKind, Touching, Unsupported, recent_peak::RecentPeak,
    simulated_layers::SimulatedLayers,
};

/// Steps that one look of a program's thread does at most.
const STEPS_PER_LOOK: u32 = 8;

/// Steps of a heap at rest, in one stretch of time: what does not change in an hour does not change in a year.
const MOST_RESTS: u32 = 8 * 60;

/// How a heap is kept in shape.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Upkeep {
    /// What goes back to the kernel by itself.
    pub policy: ReleasePolicy,
    /// Who does that.
    pub thread: ThreadKind,
}

/// A heap for one thread that plays all CPUs. Its blocks are addresses at which nothing stands.
pub struct SimulatedHeap<'a, P: PageSize, H: PageHeap<P>> {
    layers: SimulatedLayers<'a, P, H>,
    schedule: Schedule,
    thread: ThreadKind,
    has_thread: bool,
    /// When the next step of upkeep is due; 0 before the first look at the clock.
    due_ns: u64,
    requested_bytes: u64,
    block_bytes: u64,
    recent: RecentPeak,
}

impl<'a, P: PageSize, H: PageHeap<P>> SimulatedHeap<'a, P, H> {
    /// An empty heap.
    ///
    /// # Errors
    ///
    /// Where there are no caches of CPUs.
    pub fn new(
        pages: &'a SimulatedPages,
        clock: &'a ManualClock,
        cpus: u32,
        upkeep: Upkeep,
    ) -> Result<Self, Unsupported> {
        let page_heap = Box::new(Touching::<H>::EMPTY);
        page_heap.tell(pages);
        let layers = SimulatedLayers {
            ground: Ground::new(pages, SystemPages::new(), clock),
            page_heap,
            middle: Box::new(MiddleTier::new()),
            cpus: SimulatedCpus::new(P::TABLE, cpus)?,
            policy: upkeep.policy,
            counters: Counters::new(),
            looks: Looks::new(),
        };
        Ok(Self {
            layers,
            schedule: Schedule::new(),
            thread: upkeep.thread,
            has_thread: upkeep.thread == ThreadKind::Always,
            due_ns: if upkeep.thread == ThreadKind::Always { INTERVAL_NS } else { 0 },
            requested_bytes: 0,
            block_bytes: 0,
            recent: RecentPeak::NONE,
        })
    }

    /// A block for `size` bytes, aligned to `align`, a power of two, from a thread on `cpu`; none if there can be no such
    /// block.
    pub fn allocate(&mut self, cpu: u32, size: usize, align: usize) -> Option<usize> {
        let SimulatedLayers { ground, page_heap, middle, cpus, .. } = &self.layers;
        let misses = cpus.misses();
        let (address, bytes) = match entry::<P>(size, align) {
            Some(entry) => {
                let source = middle.with(ground, &**page_heap);
                let object = cpus.take(cpu, &source, entry.class());
                let address = (!object.is_null()).then(|| object.expose_provenance())?;
                page_heap.touch_block(address, entry.size());
                self.note_misses_since(misses);
                (address, entry.size())
            }
            None => {
                let span = page_heap.allocate(ground, request::<P>(size, align)?)?;
                span.set_class(SizeClass::NONE);
                let (address, bytes) = (span.start::<P>().value(), span.bytes::<P>());
                self.note_large(bytes);
                (address, bytes)
            }
        };
        self.requested_bytes += size as u64;
        self.block_bytes += bytes as u64;
        Some(address)
    }

    /// Takes a block back from a thread on `cpu`.
    ///
    /// # Panics
    ///
    /// Where no block begins at `address`.
    pub fn deallocate(&mut self, cpu: u32, address: usize, size: usize) {
        self.requested_bytes = self.requested_bytes.saturating_sub(size as u64);
        let class = self.layers.ground.map().class_at(address);
        if class.is_none() {
            let span = self.span_at(address);
            let bytes = span.bytes::<P>();
            self.block_bytes = self.block_bytes.saturating_sub(bytes as u64);
            // SAFETY: a span without class that begins at a block's address is that block's own, from this heap, and the
            // caller gives it up.
            unsafe { self.layers.page_heap.deallocate(&self.layers.ground, span) };
            return self.note_large(bytes);
        }
        self.block_bytes = self.block_bytes.saturating_sub(P::TABLE.size(class) as u64);
        let SimulatedLayers { ground, page_heap, middle, cpus, .. } = &self.layers;
        let misses = cpus.misses();
        let source = middle.with(ground, &**page_heap);
        let object = core::ptr::with_exposed_provenance_mut(address);
        // SAFETY: the page map says that the object is of that class; the caller gives it up, and the source is the
        // one that it came from.
        unsafe { cpus.give(cpu, &source, class, object) };
        self.note_misses_since(misses);
    }

    /// Makes a block longer or shorter as realloc does: in its place if it can, else in another. None if there can
    /// be no such block; the old one then stays.
    ///
    /// # Panics
    ///
    /// As for [`Self::deallocate`].
    pub fn reallocate(
        &mut self,
        cpu: u32,
        address: usize,
        old_size: usize,
        size: usize,
    ) -> Option<usize> {
        if self.stays(address, size) {
            self.requested_bytes =
                self.requested_bytes.saturating_sub(old_size as u64) + size as u64;
            return Some(address);
        }
        let moved = self.allocate(cpu, size, 1)?;
        self.deallocate(cpu, address, old_size);
        Some(moved)
    }

    /// Whether the block can hold `size` bytes where it is, and is not much too long for that.
    fn stays(&mut self, address: usize, size: usize) -> bool {
        let class = self.layers.ground.map().class_at(address);
        let wanted = entry::<P>(size, 1);
        if !class.is_none() {
            return wanted.is_some_and(|wanted| wanted.class() == class);
        }
        let span = self.span_at(address);
        let before = span.bytes::<P>();
        let Some(request) = request::<P>(size, 1).filter(|_| wanted.is_none()) else {
            return false;
        };
        if request.pages.bytes() <= before {
            return request.pages.bytes() > before / 2;
        }
        // SAFETY: the span is a block of this heap, and nobody else has this heap.
        let grown =
            unsafe { self.layers.page_heap.extend(&self.layers.ground, span, request.pages) };
        self.block_bytes += (span.bytes::<P>() - before) as u64;
        grown
    }

    /// Gives about `bytes` back to the kernel, if so much is free; says how much.
    pub fn release(&mut self, bytes: u64, reason: ReleaseReason) -> u64 {
        let pages = PageCount::new(usize::try_from(bytes).unwrap_or(usize::MAX) >> P::SHIFT);
        let SimulatedLayers { ground, page_heap, .. } = &self.layers;
        page_heap.release(ground, pages, reason).bytes() as u64
    }

    /// Lets time pass up to `end_ns`, with the steps of upkeep that a thread of the heap's own does meanwhile, if
    /// there is one. A time that has passed already is an end, too.
    pub fn pass_to(&mut self, end_ns: u64) {
        let clock = *self.layers.ground.clock();
        let mut rests = 0;
        while self.has_thread && self.due_ns <= end_ns && rests < MOST_RESTS {
            let now_ns = self.due_ns.max(clock.now_ns());
            clock.set(now_ns);
            self.step(now_ns);
            rests += u32::from(self.schedule.is_at_rest());
        }
        clock.set(end_ns);
    }

    /// The page heap.
    pub fn page_heap(&self) -> &H {
        self.layers.page_heap.heap()
    }

    /// What upkeep did.
    pub const fn upkeep(&self) -> &Counters {
        &self.layers.counters
    }

    /// How things stand; `at_us` is passed on. Costs a walk over the books of the address space.
    pub fn moment(&self, at_us: u64) -> Moment {
        let SimulatedLayers { ground, page_heap, middle, cpus, .. } = &self.layers;
        let pages = ground.source().figures();
        let (heap, middle) = (page_heap.stats(), middle.stats());
        let mut hugepage_bytes = 0;
        page_heap.for_each_reservation(|range| {
            let residency = ground.source().residency(range).unwrap_or_default();
            hugepage_bytes += residency.hugepage_bytes as u64;
        });
        let backed_bytes = pages.resident_bytes as u64;
        // What is away inside of spans lies under free objects, of whichever layer has them.
        let mut away = page_heap.away_inside();
        let backed_in_use = heap.in_use_bytes.saturating_sub(away);
        let mut but_away = |bytes: u64| {
            let gone = away.min(bytes);
            away -= gone;
            bytes - gone
        };
        let mut fragmentation = [0; Layer::ALL.len()];
        for (bytes, layer) in fragmentation.iter_mut().zip(Layer::ALL).rev() {
            *bytes = match layer {
                Layer::Rounding => but_away(self.block_bytes - self.requested_bytes),
                Layer::CpuCaches => but_away(cpus.held_bytes()),
                Layer::TransferCaches => but_away(middle.transfer_bytes),
                Layer::CentralFreeLists => but_away(middle.central_bytes),
                Layer::PageHeap => backed_bytes.saturating_sub(backed_in_use),
            };
        }
        Moment {
            at_us,
            live_bytes: self.requested_bytes,
            in_use_bytes: heap.in_use_bytes,
            wanted_bytes: self.recent.at(ground.clock().now_ns()).saturating_sub(heap.in_use_bytes),
            backed_bytes,
            booked_bytes: heap.backed_bytes(),
            hugepage_bytes,
            fragmentation,
            // What went back is still away, or came again.
            released_bytes: pages.released_bytes as u64 + pages.refaulted_bytes,
            refaulted_bytes: pages.refaulted_bytes,
            calls: CALLS.iter().map(|&kind| pages.calls(kind)).sum(),
        }
    }

    /// A thread of the program missed its cache: now and then it looks whether a step is due.
    fn note_misses_since(&mut self, before: u64) {
        if before < self.layers.cpus.misses() {
            self.note_in_use();
        }
        for _ in before..self.layers.cpus.misses() {
            if self.layers.looks.note_miss() {
                self.look();
            }
        }
    }

    fn note_in_use(&mut self) {
        let in_use = self.layers.page_heap.stats().in_use_bytes;
        self.recent.note(self.layers.ground.clock().now_ns(), in_use);
    }

    fn note_large(&mut self, bytes: usize) {
        self.note_in_use();
        if self.layers.looks.note_large(bytes) {
            self.look();
        }
    }

    /// What a look does in a program's heap, too: a thread is made, the rest ends, or what is due is done.
    fn look(&mut self) {
        let now_ns = self.layers.ground.clock().now_ns();
        if self.thread == ThreadKind::Auto && !self.has_thread {
            let stats = self.layers.page_heap.stats();
            self.has_thread = stats.backed_bytes() >= THREAD_FROM_BYTES;
            // A thread begins with a step.
            if self.has_thread {
                self.due_ns = now_ns.max(1);
                return;
            }
        }
        if self.due_ns == 0 {
            self.due_ns = now_ns.saturating_add(INTERVAL_NS);
            return;
        }
        if let Some(due_ns) = self.schedule.rouse(now_ns) {
            self.due_ns = due_ns;
            return;
        }
        let mut steps = if self.has_thread { 0 } else { STEPS_PER_LOOK };
        let is_due = |due_ns: u64| now_ns >= due_ns || due_ns - now_ns > LONGEST_NS;
        while steps > 0 && is_due(self.due_ns) {
            self.step(now_ns);
            steps -= 1;
        }
    }

    fn step(&mut self, now_ns: u64) {
        let rested = self.schedule.is_at_rest();
        self.due_ns = self.schedule.step(&self.layers, now_ns);
        if self.schedule.is_at_rest() && !rested {
            self.layers.looks.come_to_rest();
        }
        let map = self.layers.ground.map();
        self.layers.page_heap.end_step(|hugepage| map.tracker(hugepage).is_some());
    }

    fn span_at(&self, address: usize) -> SpanHandle {
        let span = self.layers.ground.map().span_at(address);
        let span = span.filter(|span| span.start::<P>().value() == address);
        span.expect("a block begins there")
    }
}

/// What reaches the kernel.
const CALLS: [CallKind; 6] = [
    CallKind::Reserve,
    CallKind::Unreserve,
    CallKind::Commit,
    CallKind::Decommit,
    CallKind::Release,
    CallKind::Advise,
];

/// The class for a block; none for one that is a span of its own.
fn entry<P: PageSize>(size: usize, align: usize) -> Option<ClassEntry> {
    // Every class is aligned as malloc has to be.
    if align <= 16 { P::TABLE.entry(size) } else { P::TABLE.entry_aligned(size, align) }
}

/// The span for a block; none for what no address space can hold.
fn request<P: PageSize>(size: usize, align: usize) -> Option<SpanRequest<P>> {
    let pages =
        PageCount::holding(size.max(1)).filter(|pages| pages.get() < 1 << (47 - P::SHIFT))?;
    let align = PageCount::new((align >> P::SHIFT).max(1));
    Some(SpanRequest { align, ..SpanRequest::of(pages) })
}

impl<P: PageSize, H: PageHeap<P>> Drop for SimulatedHeap<'_, P, H> {
    fn drop(&mut self) {
        give_back_books(&self.layers.ground.arena);
    }
}

/// Gives back the metadata of a heap that is about to go, whose parts free nothing when they are dropped.
pub(crate) fn give_back_books(arena: &MetadataArena) {
    let mut ranges = Vec::new();
    arena.for_each_range(|range| ranges.push(range));
    for range in ranges {
        // SAFETY: an arena's ranges are its heap's own, and its callers do not use that any more. What the kernel refuses
        // stays reserved.
        let _ = unsafe { SystemPages::new().unreserve(range) };
    }
}

impl<P: PageSize, H: PageHeap<P>> Debug for SimulatedHeap<'_, P, H> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimulatedHeap")
            .field("requested_bytes", &self.requested_bytes)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
