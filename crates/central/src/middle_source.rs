//! The middle tier as caches see it.

use crate::{
    BackEnd, CentralFreeList, InsertLimits, MiddleTier, OnlyBackEnd, OtherBackEnds,
    StandardTransfer, TransferCache, TransferPolicy, central_free_list,
};
use core::fmt;
use strata_page_heap::PageHeap;
use strata_size_classes::{ObjectSource, PageSize, SizeClass};
use strata_span::{Platform, SpanList, SpanPlace};

/// Objects that move at once where a cache is emptied, which may be in an allocation for which there is no memory,
/// on a small stack: a quarter of a kibibyte of it.
pub(crate) const EMPTIED_AT_ONCE: usize = 32;

/// A [`MiddleTier`] on its platform and page heap: where caches get objects from and bring them back to.
///
/// Made for a call or a few; it is as large as five pointers.
pub struct MiddleSource<'a, E, H, R = OnlyBackEnd, T = StandardTransfer>
where
    E: Platform,
    H: PageHeap<E::Pages>,
    T: TransferPolicy,
{
    pub(crate) tier: &'a MiddleTier<E::Pages, T>,
    pub(crate) back_end: BackEnd<'a, E, H>,
    others: R,
    /// Whether only one cache comes for objects.
    one_cache: bool,
    /// Bytes of the objects that caches and program have together, as far as somebody knows.
    out_bytes: usize,
    /// Whether what comes back goes to its span at once.
    past_transfers: bool,
}

/// How many objects [`MiddleSource::take_telling`] took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// In front, what the transfer cache had.
    pub cached: usize,
    /// All together, with what spans had.
    pub all: usize,
}

impl<'a, E, H, R, T> MiddleSource<'a, E, H, R, T>
where
    E: Platform,
    H: PageHeap<E::Pages>,
    T: TransferPolicy,
{
    pub(crate) const fn new(
        tier: &'a MiddleTier<E::Pages, T>,
        back_end: BackEnd<'a, E, H>,
        others: R,
    ) -> Self {
        Self { tier, back_end, others, one_cache: false, out_bytes: 0, past_transfers: false }
    }
}

impl<E, H, R, T> MiddleSource<'_, E, H, R, T>
where
    E: Platform,
    H: PageHeap<E::Pages>,
    R: OtherBackEnds,
    T: TransferPolicy,
{
    /// The same, where only one cache comes for objects, or several: what the only one gives back nobody else waits
    /// for, so that long objects go on to their spans ([`TransferPolicy::KEEPS_FOR_ONE_UP_TO`]). Several, unless
    /// this says otherwise.
    #[must_use]
    pub fn for_one_cache(self, one_cache: bool) -> Self {
        Self { one_cache, ..self }
    }

    /// The same, where caches and program have objects of so many bytes: transfer caches of long objects may hold a
    /// part of that ([`TransferPolicy::LONG_SHARE`]). None, unless this says otherwise.
    #[must_use]
    pub fn for_program_of(self, out_bytes: usize) -> Self {
        Self { out_bytes, ..self }
    }

    /// The same, for objects that nobody is going to want soon: what comes back goes to its span, past the transfer cache.
    #[must_use]
    pub fn past_transfers(self) -> Self {
        Self { past_transfers: true, ..self }
    }

    /// Moves what the class's transfer cache holds to the central free list; says how many objects.
    pub fn drain_transfer(&self, class: SizeClass) -> usize {
        self.empty_with(class, |out| self.tier.transfer(class).drain(out), usize::MAX)
    }

    /// The same for all classes; says how many bytes.
    pub fn drain_all_transfers(&self) -> usize {
        let table = E::Pages::TABLE;
        table.classes().map(|class| self.drain_transfer(class) * table.size(class)).sum()
    }

    /// Moves what nobody wanted since the last call from all transfer caches to the central free lists;
    /// says how many bytes. For the background, each few seconds.
    pub fn plunder(&self) -> usize {
        let table = E::Pages::TABLE;
        let mut bytes = 0;
        for class in table.classes() {
            let cache = self.tier.transfer(class);
            // One that was never used stays untouched.
            if cache.stats().max_capacity == 0 {
                continue;
            }
            let limit = usize::try_from(cache.used()).unwrap_or(usize::MAX);
            bytes += self.empty_with(class, |out| cache.plunder(out), limit) * table.size(class);
            cache.end_plunder();
        }
        bytes
    }

    /// Gives all spans of the tier to the page heap, whatever objects of them are out: the end of a
    /// back end, or its reset.
    ///
    /// The cost is a walk over the page map.
    ///
    /// # Safety
    ///
    /// Nobody uses an object of this back end any more, none is in a cache above, and no other
    /// thread uses the tier meanwhile.
    pub unsafe fn discard_all(&self) {
        for class in E::Pages::TABLE.classes() {
            // What belongs to other back ends goes home.
            self.drain_transfer(class);
            self.tier.central(class).forget_spans();
        }
        let mut spans = SpanList::new();
        self.back_end.platform.map().for_each_span(|span| {
            let of_class = !span.class().is_none() && span.place() == SpanPlace::InUse;
            if of_class && span.back_end() == self.back_end.number {
                spans.push_back(span);
            }
        });
        while let Some(span) = spans.pop_front() {
            // SAFETY: the span has a class and this back end's number, so it was made for the tier; the lists
            // have just forgotten it, and the caller promises that nobody uses its objects.
            unsafe { central_free_list::give_span_back(self.back_end, span) };
        }
    }

    /// Moves objects that `next` yields to the central free list, at most about `limit` of them.
    #[unsafe(link_section = ".text_rarely")]
    fn empty_with(
        &self,
        class: SizeClass,
        mut next: impl FnMut(&mut [*mut u8]) -> usize,
        limit: usize,
    ) -> usize {
        let mut objects = [core::ptr::null_mut(); EMPTIED_AT_ONCE];
        let mut moved = 0;
        while moved < limit {
            let count = next(&mut objects);
            let Some(objects) = objects.get_mut(..count) else { break };
            if objects.is_empty() {
                break;
            }
            // SAFETY: the transfer cache had the objects from `give`, and has just given them up.
            unsafe { self.give_to_central(class, objects) };
            moved += count;
        }
        moved
    }

    /// What [`ObjectSource::take`] does, and how many of the objects were in the transfer cache: those are in
    /// front, and each was in somebody's cache before.
    pub fn take_telling(&self, class: SizeClass, out: &mut [*mut u8]) -> Taken {
        let cached = self.cache(class).remove(out);
        let fresh = match out.get_mut(cached..) {
            Some(rest) if !rest.is_empty() => self.list(class).take(self.back_end, class, rest),
            _ => 0,
        };
        Taken { cached, all: cached + fresh }
    }

    /// Gives objects past the transfer cache.
    ///
    /// # Safety
    ///
    /// As for [`ObjectSource::give`].
    pub(crate) unsafe fn give_to_central(&self, class: SizeClass, objects: &mut [*mut u8]) {
        // SAFETY: the contract is the same.
        unsafe { self.list(class).give(self.back_end, &self.others, class, objects) };
    }

    fn list(&self, class: SizeClass) -> &CentralFreeList<E::Pages> {
        self.tier.central(class)
    }

    fn cache(&self, class: SizeClass) -> &TransferCache<T> {
        self.tier.transfer(class)
    }
}

// SAFETY: 1. the count is what transfer cache and central free list wrote into the front, one after the
// other. 2. the central free list hands out what is free in spans of its own, in the class's size and at
// multiples of it from a page on; the transfer cache only what was given back. 3. neither unwinds, nor knows
// a cache above.
unsafe impl<E, H, R, T> ObjectSource for MiddleSource<'_, E, H, R, T>
where
    E: Platform,
    H: PageHeap<E::Pages>,
    R: OtherBackEnds,
    T: TransferPolicy,
{
    fn take(&self, class: SizeClass, out: &mut [*mut u8]) -> usize {
        self.take_telling(class, out).all
    }

    unsafe fn give(&self, class: SizeClass, objects: &mut [*mut u8]) {
        let info = E::Pages::TABLE.info(class);
        let limits = InsertLimits::of::<T>(info.size as usize, self.out_bytes, self.one_cache);
        let cached = match limits.holds.max(limits.earns_to) {
            0 => 0,
            _ if self.past_transfers => 0,
            _ => self.cache(class).insert(self.back_end.platform, info, objects, limits),
        };
        if let Some(rest) = objects.get_mut(cached..)
            && !rest.is_empty()
        {
            // SAFETY: the contract is the same, and the transfer cache has not kept these.
            unsafe { self.give_to_central(class, rest) };
        }
    }
}

impl<E, H, R, T> fmt::Debug for MiddleSource<'_, E, H, R, T>
where
    E: Platform,
    H: PageHeap<E::Pages>,
    T: TransferPolicy,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MiddleSource").field("back_end", &self.back_end).finish_non_exhaustive()
    }
}
