//! The layers of a heap over address space that does not exist.

use core::fmt::{self, Debug, Formatter};

use strata_central::MiddleTier;
use strata_os::{CallKind, ManualClock, PageSource, SimulatedPages, SystemPages};
use strata_page_heap::{PageHeap, ReleaseReason, SpanRequest};
use strata_size_classes::{ClassEntry, PageSize, SizeClass};
use strata_span::{Ground, MetadataArena, PageCount, Platform, SpanHandle};

use crate::{Layer, Moment, SimulatedCpus, Touching, Unsupported};

/// A heap for one thread that plays all CPUs. Its blocks are addresses at which nothing stands.
pub struct SimulatedHeap<'a, P: PageSize, H: PageHeap<P>> {
    ground: Ground<P, &'a SimulatedPages, SystemPages, &'a ManualClock>,
    page_heap: Box<Touching<'a, H>>,
    middle: Box<MiddleTier<P>>,
    cpus: SimulatedCpus,
    requested_bytes: u64,
    block_bytes: u64,
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
    ) -> Result<Self, Unsupported> {
        let page_heap = Box::new(Touching::<H>::EMPTY);
        page_heap.tell(pages);
        Ok(Self {
            ground: Ground::new(pages, SystemPages::new(), clock),
            page_heap,
            middle: Box::new(MiddleTier::new()),
            cpus: SimulatedCpus::new(P::TABLE, cpus)?,
            requested_bytes: 0,
            block_bytes: 0,
        })
    }

    /// A block for `size` bytes, aligned to `align`, a power of two, from a thread on `cpu`; none if there can be no such
    /// block.
    pub fn allocate(&mut self, cpu: u32, size: usize, align: usize) -> Option<usize> {
        let (address, bytes) = match entry::<P>(size, align) {
            Some(entry) => {
                let source = self.middle.with(&self.ground, &*self.page_heap);
                let object = self.cpus.take(cpu, &source, entry.class());
                ((!object.is_null()).then(|| object.expose_provenance())?, entry.size())
            }
            None => {
                let span = self.page_heap.allocate(&self.ground, request::<P>(size, align)?)?;
                span.set_class(SizeClass::NONE);
                (span.start::<P>().value(), span.bytes::<P>())
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
        let class = self.ground.map().class_at(address);
        if class.is_none() {
            let span = self.span_at(address);
            self.block_bytes = self.block_bytes.saturating_sub(span.bytes::<P>() as u64);
            // SAFETY: a span without class that begins at a block's address is that block's own, from this heap, and the
            // caller gives it up.
            return unsafe { self.page_heap.deallocate(&self.ground, span) };
        }
        self.block_bytes = self.block_bytes.saturating_sub(P::TABLE.size(class) as u64);
        let source = self.middle.with(&self.ground, &*self.page_heap);
        let object = core::ptr::with_exposed_provenance_mut(address);
        // SAFETY: the page map says that the object is of that class; the caller gives it up, and the source is the one that
        // it came from.
        unsafe { self.cpus.give(cpu, &source, class, object) };
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
        let class = self.ground.map().class_at(address);
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
        let grown = unsafe { self.page_heap.extend(&self.ground, span, request.pages) };
        self.block_bytes += (span.bytes::<P>() - before) as u64;
        grown
    }

    /// Gives about `bytes` back to the kernel, if so much is free; says how much.
    pub fn release(&mut self, bytes: u64, reason: ReleaseReason) -> u64 {
        let pages = PageCount::new(usize::try_from(bytes).unwrap_or(usize::MAX) >> P::SHIFT);
        self.page_heap.release(&self.ground, pages, reason).bytes() as u64
    }

    /// What the background does every few seconds: idle caches are emptied, limits move between CPUs, transfer caches give
    /// up what nobody wanted.
    pub fn tidy(&mut self) {
        let source = self.middle.with(&self.ground, &*self.page_heap);
        self.cpus.drain_idle(&source);
        self.cpus.shuffle(&source);
        source.plunder();
    }

    /// The page heap.
    pub fn page_heap(&self) -> &H {
        self.page_heap.heap()
    }

    /// How things stand; `at_us` is passed on. Costs a walk over the books of the address space.
    pub fn moment(&self, at_us: u64) -> Moment {
        let pages = self.ground.source().figures();
        let (heap, middle) = (self.page_heap.stats(), self.middle.stats());
        let mut hugepage_bytes = 0;
        self.page_heap.for_each_reservation(|range| {
            let residency = self.ground.source().residency(range).unwrap_or_default();
            hugepage_bytes += residency.hugepage_bytes as u64;
        });
        let mut fragmentation = [0; Layer::ALL.len()];
        for (bytes, layer) in fragmentation.iter_mut().zip(Layer::ALL) {
            *bytes = match layer {
                Layer::Rounding => self.block_bytes - self.requested_bytes,
                Layer::CpuCaches => self.cpus.held_bytes(),
                Layer::TransferCaches => middle.transfer_bytes,
                Layer::CentralFreeLists => middle.central_bytes,
                Layer::PageHeap => heap.free_bytes,
            };
        }
        // The books count what is committed as resident. What heaps commit ahead of need is whole hugepages that nobody has
        // touched yet: these are not in memory.
        let backed_bytes = heap.in_use_bytes + heap.free_bytes;
        let ahead = (pages.resident_bytes as u64).saturating_sub(backed_bytes);
        Moment {
            at_us,
            live_bytes: self.requested_bytes,
            in_use_bytes: heap.in_use_bytes,
            backed_bytes,
            hugepage_bytes: hugepage_bytes.saturating_sub(ahead).min(backed_bytes),
            fragmentation,
            // What went back is still away, or came again.
            released_bytes: pages.released_bytes as u64 + pages.refaulted_bytes,
            refaulted_bytes: pages.refaulted_bytes,
            calls: CALLS.iter().map(|&kind| pages.calls(kind)).sum(),
        }
    }

    fn span_at(&self, address: usize) -> SpanHandle {
        let span = self.ground.map().span_at(address);
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
        give_back_books(&self.ground.arena);
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
