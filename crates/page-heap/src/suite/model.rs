//! A heap and what the suite knows of it.

use super::{Seed, parts, test_ground::TestGround};
use crate::{
    Density, Ended, PageHeap, PageHeapStats, ReleaseReason, ReleasedBytes, SpanRequest, Temperature,
};
use core::cell::Cell;
use std::vec::Vec;
use strata_os::{AddressRange, Clock};
use strata_span::SizeClass;
use strata_span::{HUGEPAGE_BYTES, PageCount, PageId, PageSize, Platform, SpanHandle, SpanPlace};

/// A heap, the spans that it handed out, and what it should say of itself.
pub(super) struct Model<'a, P: PageSize, H: PageHeap<P>> {
    pub(super) ground: &'a TestGround<P>,
    pub(super) heap: &'a H,
    out: Vec<Out<P>>,
    in_use: PageCount<P>,
    released: ReleasedBytes,
    /// The most that the heap had from its source.
    most_system_bytes: Cell<u64>,
}

/// A span that is out.
#[derive(Clone, Copy)]
pub(super) struct Out<P: PageSize> {
    span: SpanHandle,
    first: PageId<P>,
    pages: PageCount<P>,
}

impl<P: PageSize> Out<P> {
    fn range(self) -> AddressRange {
        self.pages.range_from(self.first)
    }
}

impl<P: PageSize, H: PageHeap<P>> Drop for Model<'_, P, H> {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            parts::note(self.heap);
        }
    }
}

impl<'a, P: PageSize, H: PageHeap<P>> Model<'a, P, H> {
    pub(super) fn new(ground: &'a TestGround<P>, heap: &'a H) -> Self {
        let released = ReleasedBytes::default();
        Self {
            ground,
            heap,
            out: Vec::new(),
            in_use: PageCount::ZERO,
            released,
            most_system_bytes: Cell::new(0),
        }
    }

    pub(super) fn out(&self) -> usize {
        self.out.len()
    }

    /// The length of the span at `index`.
    pub(super) fn pages(&self, index: usize) -> PageCount<P> {
        self.out[index].pages
    }

    /// Allocates, and compares what it got with the wish. False if it got nothing.
    pub(super) fn allocate(&mut self, request: SpanRequest<P>) -> bool {
        let Some(span) = self.heap.allocate(self.ground, request) else { return false };
        let (first, pages) = (span.first::<P>(), request.pages);
        assert_eq!(span.pages(), pages.get(), "a span is as long as wished");
        assert_eq!(first.number() % request.align.get(), 0, "a span is as aligned as wished");
        assert_eq!(span.place(), SpanPlace::InUse);
        assert_eq!(span.class(), SizeClass::NONE, "a span comes without a class");
        let out = Out { span, first, pages };
        self.ground.note_handed_out(out.range(), span.is_zeroed());
        self.out.push(out);
        self.in_use += pages;
        self.check_map(out);
        true
    }

    /// Gives the span at `index` back.
    pub(super) fn deallocate(&mut self, index: usize) {
        let out = self.take_out(index);
        // SAFETY: the span came from this heap on this ground, and the model forgot it.
        unsafe { self.heap.deallocate(self.ground, out.span) };
        self.check_map_forgot(out);
    }

    /// Gives the span at `index` back, and to the kernel what the heap keeps of it as a run of its own; compares the
    /// figures.
    pub(super) fn deallocate_to_kernel(&mut self, index: usize) {
        let before = self.heap.stats();
        let out = self.take_out(index);
        // SAFETY: the span came from this heap on this ground, and the model forgot it.
        let ended = unsafe { self.heap.deallocate_to_kernel(self.ground, out.span) };
        self.check_map_forgot(out);
        let after = self.heap.stats();
        let bytes = out.pages.bytes() as u64;
        assert_eq!(after.in_use_bytes + bytes, before.in_use_bytes, "a span ended: {after:?}");
        assert_eq!(after.system_bytes, before.system_bytes, "address space stays: {after:?}");
        // Where the kernel refuses, or refused so often that it is not asked, what stood unbacked beside the span on its last
        // hugepage, or on the two across which it lies, may count as backed.
        let more = after.peak_backed_bytes - before.peak_backed_bytes;
        assert!(more < 2 * HUGEPAGE_BYTES as u64, "nothing becomes backed but a rest: {after:?}");
        let refusals = |stats: &PageHeapStats| stats.release_failures + stats.releases_withheld;
        assert!(more == 0 || refusals(&after) > refusals(&before), "a peak stays: {after:?}");
        let counted = after.released.policy - before.released.policy;
        assert!(counted <= bytes, "no more than the span can go");
        assert_ne!(ended, Ended::NotInUse, "it was");
        self.released.policy += counted;
    }

    /// Forgets the span at `index`, which is about to be given back.
    fn take_out(&mut self, index: usize) -> Out<P> {
        let out = self.out.swap_remove(index);
        self.check_map(out);
        self.ground.source().note_given_back(out.range());
        self.in_use -= out.pages;
        out
    }

    /// No end of a span that was given back is one that is in use.
    fn check_map_forgot(&self, out: Out<P>) {
        for page in [out.first, out.first + out.pages - PageCount::ONE] {
            let found = self.ground.map().span_of(page);
            assert!(
                found.is_none_or(|span| span.place() != SpanPlace::InUse),
                "the map still has a span in use at {page:?}, which was given back"
            );
        }
    }

    /// Makes the span at `index` up to `pages` pages long, if the heap can, and compares what it got. Says whether the
    /// heap did.
    pub(super) fn extend(&mut self, index: usize, pages: PageCount<P>) -> bool {
        let before = self.out[index];
        let zeroed = before.span.is_zeroed();
        self.check_map(before);
        // SAFETY: the span came from this heap on this ground; the model has it, and enters no page.
        let extended = unsafe { self.heap.extend(self.ground, before.span, pages) };
        assert_eq!(before.span.first::<P>(), before.first, "a span grows at its end");
        assert_eq!(before.span.place(), SpanPlace::InUse);
        assert_eq!(before.span.class(), SizeClass::NONE, "a span that grows has no class");
        assert_eq!(before.span.is_zeroed(), zeroed, "what was known to be zero stays known");
        let expected = if extended { before.pages.max(pages) } else { before.pages };
        assert_eq!(before.span.pages(), expected.get(), "a span is as long as the answer says");
        let after = Out { pages: expected, ..before };
        self.check_map(after);
        if expected > before.pages {
            let added = expected - before.pages;
            let range = added.range_from(before.first + before.pages);
            self.ground.note_handed_out(range, false);
            self.in_use += added;
            self.check_map_forgot_end_of(before);
            self.out[index] = after;
        }
        extended
    }

    pub(super) fn deallocate_all(&mut self, seed: &mut Seed) {
        while !self.out.is_empty() {
            self.deallocate(seed.below(self.out.len()));
        }
        self.check();
        let stats = self.heap.stats();
        assert_eq!((stats.in_use_bytes, stats.spans_in_use), (0, 0), "everything was given back");
    }

    /// Releases, and compares the figures with what was returned.
    pub(super) fn release(&mut self, wanted: PageCount<P>, reason: ReleaseReason) -> PageCount<P> {
        let before = self.heap.stats();
        let released = self.heap.release(self.ground, wanted, reason);
        let after = self.heap.stats();
        let bytes = released.bytes() as u64;
        self.released.add(reason, bytes);
        assert_eq!(after.free_bytes + bytes, before.free_bytes, "what is released was free");
        // Where address space is short, some of it may leave the heap altogether.
        let left = before.system_bytes - after.system_bytes;
        assert_eq!(
            before.unmapped_bytes + bytes,
            after.unmapped_bytes + left,
            "what is released is unmapped"
        );
        assert_eq!(after.peak_backed_bytes, before.peak_backed_bytes, "a peak stays");
        if reason == ReleaseReason::HardLimit && after.release_failures == before.release_failures {
            let free = before.free_bytes.min(wanted.bytes() as u64);
            assert!(bytes >= free, "at the hard limit {free} bytes can be had, not {bytes}");
        }
        released
    }

    /// Lets some seconds pass, and has the heap do what is due then.
    pub(super) fn maintain(&mut self, seconds: u64) {
        self.ground.clock.advance(seconds * 1_000_000_000);
        let before = self.heap.stats();
        self.heap.maintain(self.ground, self.ground.clock.now_ns());
        let after = self.heap.stats();
        assert_eq!(after.in_use_bytes, before.in_use_bytes, "nothing comes and goes by itself");
        assert_eq!(after.released, before.released, "to give back is not maintenance");
    }

    /// Compares the figures and all spans that are out with the model.
    pub(super) fn check(&self) {
        let stats = self.heap.stats();
        assert_eq!(
            stats.system_bytes,
            stats.in_use_bytes + stats.free_bytes + stats.unmapped_bytes,
            "system = in use + free + unmapped: {stats:?}"
        );
        assert_eq!(stats.in_use_bytes, self.in_use.bytes() as u64, "{stats:?}");
        assert_eq!(stats.spans_in_use, self.out.len() as u64, "{stats:?}");
        assert!(stats.system_bytes <= stats.reserved_bytes, "{stats:?}");
        assert_eq!(self.heap.in_use_bytes(), stats.in_use_bytes);
        let backed = stats.in_use_bytes + stats.free_bytes;
        self.most_system_bytes.set(self.most_system_bytes.get().max(stats.system_bytes));
        let possible = backed..=self.most_system_bytes.get();
        assert!(possible.contains(&stats.peak_backed_bytes), "{stats:?}");
        if stats.limits.soft_hits == 0 {
            assert_eq!(stats.released.soft_limit, self.released.soft_limit, "no growth met it");
        }
        self.check_books();
    }

    /// The same, where growth may have met the soft limit.
    pub(super) fn check_books(&self) {
        let stats = self.heap.stats();
        let sum = stats.in_use_bytes + stats.free_bytes + stats.unmapped_bytes;
        assert_eq!(stats.system_bytes, sum, "system = in use + free + unmapped: {stats:?}");
        assert_eq!(stats.in_use_bytes, self.in_use.bytes() as u64, "{stats:?}");
        // An allocation under pressure may have released by itself, at one of the limits.
        let ReleasedBytes { soft_limit, hard_limit, .. } = self.released;
        let own = ReleasedBytes { soft_limit, hard_limit, ..stats.released };
        assert_eq!(own, self.released, "bytes released by reason");
        assert!(stats.released.hard_limit >= hard_limit && stats.released.soft_limit >= soft_limit);
        for out in &self.out {
            assert_eq!(out.span.place(), SpanPlace::InUse);
            assert_eq!(out.span.range::<P>(), out.range(), "a span in use is left alone");
        }
    }

    /// Compares the reservations with the spans that are out.
    pub(super) fn check_reservations(&self) {
        let mut reservations = Vec::new();
        self.heap.for_each_reservation(|range| reservations.push(range));
        let sum: usize = reservations.iter().map(|range| range.bytes).sum();
        assert_eq!(self.heap.stats().reserved_bytes, sum as u64, "reservations add up");
        for out in &self.out {
            let (start, last) = (out.range().start, out.range().end() - 1);
            for address in [start, last] {
                assert!(
                    reservations.iter().any(|range| range.contains(address)),
                    "{out:?} lies outside of all reservations",
                    out = out.range()
                );
            }
        }
    }

    /// The last page of a span that grew lies within it now, and only ends of spans are in the map.
    fn check_map_forgot_end_of(&self, before: Out<P>) {
        if before.pages > PageCount::ONE {
            let last = before.first + before.pages - PageCount::ONE;
            assert_eq!(self.ground.map().span_of(last), None, "{last:?} lies within a span");
        }
    }

    /// Compares the map's entries with a span that is out.
    fn check_map(&self, out: Out<P>) {
        for page in [out.first, out.first + out.pages - PageCount::ONE] {
            assert_eq!(
                self.ground.map().span_of(page),
                Some(out.span),
                "the map finds {out:?}",
                out = out.range()
            );
            assert!(self.ground.map().class_at(page.address().value()).is_none());
        }
    }
}

/// A length for a span to grow to: by a few pages, by half, to twice as much, or up to the end of a hugepage.
pub(super) fn random_growth<P: PageSize>(pages: PageCount<P>, seed: &mut Seed) -> PageCount<P> {
    let pages = pages.get();
    let grown = match seed.below(8) {
        0..3 => pages + 1 + seed.below(8),
        3..5 => pages + pages / 2,
        5..7 => pages * 2,
        _ => pages.next_multiple_of(PageCount::<P>::PER_HUGEPAGE.get()),
    };
    PageCount::new(grown)
}

/// A wish as programs have them: mostly small, some of hugepages, few of a gigabyte; rarely
/// aligned.
pub(super) fn random_request<P: PageSize>(seed: &mut Seed) -> SpanRequest<P> {
    let per_hugepage = PageCount::<P>::PER_HUGEPAGE.get();
    let pages = match seed.below(100) {
        0..60 => 1 + seed.below(8),
        60..80 => 1 + seed.below(per_hugepage),
        80..95 => 1 + seed.below(4 * per_hugepage),
        95..99 => per_hugepage * (1 + seed.below(8)),
        _ => 1 + seed.below(600 * per_hugepage),
    };
    let align = match seed.below(20) {
        0..17 => 1,
        17..19 => 1 << seed.below(1 + per_hugepage.ilog2() as usize),
        _ => per_hugepage << seed.below(6),
    };
    let density = if pages == 1 && seed.below(2) == 0 { Density::Dense } else { Density::Sparse };
    let temperature = match seed.below(12) {
        0 => Temperature::Sampled,
        1 => Temperature::Cold,
        _ => Temperature::Normal,
    };
    SpanRequest { pages: PageCount::new(pages), align: PageCount::new(align), density, temperature }
}
