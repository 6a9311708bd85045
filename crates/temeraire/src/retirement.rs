//! Hugepages that leave the parts that they served in: to the cache, or to the kernel.

use crate::{
    departures::{Cause, Departure, Departures},
    handle::Handle,
    huge_range::HugeRange,
    state::State,
    tracker::HugepageTracker,
};
use strata_span::{HugepageCount, PageCount, PageSize, Platform};

impl<P: PageSize> State<P> {
    /// Moves a hugepage that the filler is done with to where it belongs.
    #[unsafe(link_section = ".text_rarely")]
    pub(crate) fn retire<E: Platform<Pages = P>>(
        &mut self,
        platform: &E,
        tracker: Handle<HugepageTracker>,
        cause: Cause,
        now_ns: u64,
        departures: &mut Departures,
    ) {
        let range = HugeRange {
            first: tracker.hugepage(),
            count: HugepageCount::ONE,
            free_since_ns: tracker.free_since_ns(),
            zeroed: false,
        };
        self.filler.count_completed(&tracker, now_ns);
        let backed_pages = tracker.free_pages();
        let (forbidden, was_released) = (tracker.is_forbidden(), tracker.was_released.get());
        // Of what the kernel backs page by page, what was never touched counts as backed in the cache. At less than
        // half, the books would say too much.
        let mostly_backed = cause == Cause::Emptied
            && tracker.is_by_page()
            && !was_released
            && 2 * backed_pages >= Self::PER_HUGEPAGE;
        self.dismiss(platform, tracker);
        let whole = (backed_pages == Self::PER_HUGEPAGE || mostly_backed) && !forbidden;
        // What the kernel would not take counts as backed in the cache, too: see `settle`.
        if whole || !forbidden && self.refusals.holds_back(now_ns) {
            self.cache.deallocate(platform, range, &mut self.nodes, now_ns);
            self.note_peak();
            return;
        }
        self.emptied_broken += u64::from(was_released || forbidden);
        self.cache.note_returned_elsewhere(now_ns, range.count);
        self.depart(Departure { range, backed_pages, cause, forbidden }, departures);
    }

    /// Gives the wholly backed hugepage that the filler keeps although it is empty to the cache, if there is one.
    pub(crate) fn give_up_spare<E: Platform<Pages = P>>(&mut self, platform: &E, now_ns: u64) {
        if let Some(spare) = self.filler.take_spare() {
            self.give_up(platform, spare, now_ns);
        }
    }

    /// Gives a hugepage that the filler kept although it was empty to the cache. What of it is not backed counts as such
    /// there.
    #[unsafe(link_section = ".text_rarely")]
    pub(crate) fn give_up<E: Platform<Pages = P>>(
        &mut self,
        platform: &E,
        empty: Handle<HugepageTracker>,
        now_ns: u64,
    ) {
        let range = HugeRange {
            first: empty.hugepage(),
            count: HugepageCount::ONE,
            free_since_ns: empty.free_since_ns(),
            zeroed: false,
        };
        self.filler.count_completed(&empty, now_ns);
        self.dismiss(platform, empty);
        self.cache.deallocate(platform, range, &mut self.nodes, now_ns);
        self.note_peak();
    }

    /// Takes from the cache what it has too much.
    pub(crate) fn trim_cache<E: Platform>(
        &mut self,
        platform: &E,
        now_ns: u64,
        departures: &mut Departures,
    ) {
        let keep = self.cache.limit();
        if self.cache.size() > keep && self.refusals.holds_back(now_ns) {
            return;
        }
        while self.has_room(departures)
            && let Some(range) = self.cache.take_excess(platform, keep, &mut self.nodes, now_ns)
        {
            self.depart_backed(range, Cause::Overflow, departures);
        }
    }

    /// Whether one more may depart with `departures`: one at a time where the kernel refused so often that it is
    /// only tried.
    pub(crate) fn has_room(&self, departures: &Departures) -> bool {
        !departures.is_full() && (departures.is_empty() || !self.refusals.are_many())
    }

    /// Starts the departure of a backed run.
    pub(crate) fn depart_backed(
        &mut self,
        range: HugeRange,
        cause: Cause,
        departures: &mut Departures,
    ) {
        let backed_pages = range.count.pages::<P>().get();
        self.depart(Departure { range, backed_pages, cause, forbidden: false }, departures);
    }

    /// Ends a departure; `taken`: the kernel took the memory. Says how many pages it took.
    pub(crate) fn settle<E: Platform>(
        &mut self,
        platform: &E,
        departure: &Departure,
        taken: bool,
    ) -> PageCount<P> {
        let now_ns = self.time(platform);
        let range = departure.range;
        let backed = departure.backed_pages;
        self.leaving.backed_pages -= backed;
        self.leaving.unbacked_pages -= range.count.pages::<P>().get() - backed;
        if departure.forbidden {
            self.forbidden_hugepages -= 1;
        }
        if !taken {
            // What part of it is backed is not known any more: all of it counts as such.
            self.cache.put(platform, range, &mut self.nodes, now_ns);
            self.note_peak();
            return PageCount::ZERO;
        }
        let free = HugeRange { free_since_ns: now_ns, zeroed: true, ..range };
        self.allocator.deallocate(platform, free, &mut self.nodes);
        match departure.cause {
            Cause::Overflow => self.cache.note_fast_unbacked(range.count),
            Cause::Periodic => self.cache.note_periodic_unbacked(range.count),
            Cause::Emptied => self.filler.unaccounted_pages += backed,
            Cause::EmptiedInRelease => {}
        }
        PageCount::new(backed)
    }

    fn depart(&mut self, departure: Departure, departures: &mut Departures) {
        let pages = departure.range.count.pages::<P>().get();
        self.leaving.backed_pages += departure.backed_pages;
        self.leaving.unbacked_pages += pages - departure.backed_pages;
        departures.push(departure);
    }
}
