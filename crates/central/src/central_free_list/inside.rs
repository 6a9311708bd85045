//! Kernel pages inside of a class's spans go back to the kernel.
//!
//! The objects that lie on such a page are claimed under the lock: out, as far as the span knows, so that nobody
//! gets one and the span is not whole. The lock is dropped while the kernel takes the pages. Then the objects are
//! free as they were. The class's count of objects that are out does not move.
//!
//! Granules on which no object lies (before the first object of a span, or behind the last) go only beside others:
//! nothing would keep the span meanwhile.

use super::{CentralFreeList, add};
use crate::granules::{GranuleSet, Granules};
use strata_page_heap::kernel_page_bytes;
use strata_size_classes::{PageSize, SizeClass};
use strata_span::{Address, Platform, SpanHandle, SpanList};

/// Granules of a span whose objects are claimed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Claimed {
    span: SpanHandle,
    granules: Granules,
    set: GranuleSet,
    /// A granule that stays, if there is one.
    pub(crate) staying: Option<Address>,
}

impl Claimed {
    /// Bytes that are to go.
    pub(crate) const fn bytes(&self) -> usize {
        self.set.len() * self.granules.bytes()
    }

    /// Calls `visit` with the start and the bytes of each run of them.
    pub(crate) fn for_each_run(&self, visit: impl FnMut(Address, usize)) {
        self.granules.for_each_run(self.set, visit);
    }
}

impl<P: PageSize> CentralFreeList<P> {
    /// Bytes of a span's granules that could go back, and have not; none where `most_bytes` is less than one, of which
    /// [`Self::claim`] takes nothing.
    pub(crate) fn releasable_bytes<E: Platform<Pages = P>>(
        &self,
        platform: &E,
        class: SizeClass,
        span: SpanHandle,
        most_bytes: u64,
    ) -> usize {
        let _spans = self.spans.lock();
        self.releasable(platform, class, span)
            .filter(|(granules, _)| granules.bytes() as u64 <= most_bytes)
            .map_or(0, |(granules, set)| set.len() * granules.bytes())
    }

    /// Claims the objects on granules of a span that are to go back, at most about `most_bytes`.
    pub(crate) fn claim<E: Platform<Pages = P>>(
        &self,
        platform: &E,
        class: SizeClass,
        span: SpanHandle,
        most_bytes: u64,
    ) -> Option<Claimed> {
        let mut spans = self.spans.lock();
        let (granules, all) = self.releasable(platform, class, span)?;
        let most = usize::try_from(most_bytes).unwrap_or(usize::MAX) / granules.bytes();
        let set = all.first(most);
        // SAFETY: the span is of this class, and the lock is held.
        let objects = unsafe { granules.claim(&span, set) };
        if objects == 0 {
            return None;
        }
        spans.set_objects_out(span, span.objects_out() + objects);
        let gone = GranuleSet::released(&span).with(all);
        Some(Claimed { span, granules, set, staying: granules.first_outside(gone) })
    }

    /// Frees the objects on claimed granules again; `taken`: the kernel took the granules. A span that became whole
    /// meanwhile is the answer's.
    pub(crate) fn unclaim<E: Platform<Pages = P>>(
        &self,
        platform: &E,
        claimed: &Claimed,
        taken: bool,
    ) -> SpanList {
        let Claimed { span, granules, set, .. } = *claimed;
        let mut whole = SpanList::new();
        let mut spans = self.spans.lock();
        // SAFETY: the span is of this class, since objects of it are out, and the lock is held.
        let objects = unsafe { granules.unclaim(&span, set) };
        let out = span.objects_out().wrapping_sub(objects);
        spans.set_objects_out(span, out);
        let mut released_bytes = 0_u64;
        if out == 0 {
            spans.tallies.count_completed(&span, platform.now_ns());
            // What went before is counted no more, and what went now never was.
            let before = GranuleSet::released(&span);
            GranuleSet::default().set_released(&span);
            released_bytes = released_bytes.wrapping_sub((before.len() * granules.bytes()) as u64);
            span.set_class(SizeClass::NONE);
            whole.push_back(span);
        } else if taken {
            // Somebody else may have claimed granules without objects, too.
            let before = GranuleSet::released(&span);
            before.with(set).set_released(&span);
            released_bytes = (set.without(before).len() * granules.bytes()) as u64;
        }
        self.count(|| {
            add(&self.released_bytes, released_bytes);
            add(&self.spans_returned, whole.len() as u64);
        });
        whole
    }

    /// The granules of a span that could go back, and have not; none if it is not a span of this class, or no
    /// object lies on any of them. The lock is held.
    #[unsafe(link_section = ".text_rarely")]
    fn releasable<E: Platform<Pages = P>>(
        &self,
        platform: &E,
        class: SizeClass,
        span: SpanHandle,
    ) -> Option<(Granules, GranuleSet)> {
        // A span gets and loses its class under its class's lock.
        if span.class() != class || class.is_none() {
            return None;
        }
        let size = P::TABLE.size(class);
        let granules = Granules::of::<P>(&span, size, kernel_page_bytes(platform))?;
        // SAFETY: the span is of this class, so it is prepared, and the lock is held.
        let empty = unsafe { granules.empty(&span) };
        let set = empty.without(GranuleSet::released(&span));
        granules.have_objects(set).then_some((granules, set))
    }
}

#[cfg(all(test, not(strata_loom)))]
mod tests;
