//! Backed hugepages that nobody uses.

mod figures;

use crate::{
    huge_address_map::{HugeAddressMap, NodeHandle},
    huge_range::HugeRange,
    node_store::NodeStore,
    time_series::{Extremes, TimeSeries},
};
use figures::UsageExtremes;
pub use figures::{HugeCacheFigures, RecentRange, UsageEpoch, UsageHistory};
use strata_os::PageSource;
use strata_span::{Hugepage, HugepageCount, Platform};

/// Keeps backed hugepages for programs that give and take, as many as recent demand would have
/// used.
///
/// The limit grows when a hugepage is missed that a dip in demand has just sent away: up to the
/// lesser of the recent fall from the peak and the recent rise from the floor. It shrinks when the
/// cache has held a fifth of it or more all the time. Both look at windows of two seconds. (Hunter
/// et al., OSDI 2021, section 4.3.)
///
/// The long history stands behind all else, so that a small program has the rest on one page.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct HugeCache {
    ranges: HugeAddressMap,
    /// The limit, less [`Self::LEAST_LIMIT`].
    limit_above_least: usize,
    /// Hugepages that were got from here, or through here, and are in use.
    usage: HugepageCount,
    usage_range: Window,
    off_peak_range: Window,
    size_range: Window,
    hits: u64,
    misses: u64,
    /// When the last few of these were that more than one hugepage was taken for, the latest first.
    missed_ns: [u64; Self::MISSES_IN_TURN],
    fills: u64,
    overflows: u64,
    fast_unbacked: u64,
    periodic_unbacked: u64,
    /// Hugepage-milliseconds that the cache held.
    regret: u64,
    /// When regret was last brought up to date.
    regret_until_ns: u64,
    /// When the limit was last looked at for shrinking.
    shrunk_ns: u64,
    /// Usage over the last ten minutes.
    usage_history: TimeSeries<UsageExtremes, { UsageHistory::EPOCHS }, { UsageHistory::EPOCH_NS }>,
}

/// Two seconds in sixteen slots.
type Window = TimeSeries<Extremes, 16, { HugeCache::WINDOW_NS / 16 }>;

/// Some of these.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CacheCounts {
    pub(crate) hits: u64,
    pub(crate) overflows: u64,
    pub(crate) periodic_unbacked: u64,
}

impl HugeCache {
    /// The limit never falls below this many hugepages. At half, loads that swing by 20 MiB fault;
    /// at twice, 20 MiB more stay with an idle program.
    const LEAST_LIMIT: usize = 10;
    /// How far back dips and rises are looked for; TCMalloc's two cache times of one second. At
    /// half, phases longer than a second fault their memory in again; at twice, the cache outlives
    /// them by seconds.
    const WINDOW_NS: u64 = 2_000_000_000;
    /// So many misses of long runs within so long are many: each is a call or two to the kernel. At twice as many, or half
    /// of the time, blocks of 10 MiB that are made one after the other on a busy machine are few.
    const MISSES_IN_TURN: usize = 4;
    const QUICKLY_NS: u64 = 32_000_000;
    const MILLISECOND_NS: u64 = 1_000_000;
    /// For how long nobody wanted hugepages that are idle: their owner has looked back for two seconds at all that
    /// is in use. At twice, a third less is faulted in again, and demand that swings within seconds keeps a
    /// twentieth more.
    pub(crate) const IDLE_NS: u64 = Self::WINDOW_NS / 2;
    /// The same of what goes at the rate, wanted of late or not: what moves faster than this is in use. With
    /// nothing, frames that come and go 25 times a second are faulted in again at the whole rate; at four times as
    /// much a twentieth more stays.
    pub(crate) const MOVING_NS: u64 = Self::WINDOW_NS / 16;

    pub(crate) const EMPTY: Self = Self {
        ranges: HugeAddressMap::EMPTY,
        limit_above_least: 0,
        usage: HugepageCount::ZERO,
        usage_range: Window::EMPTY,
        off_peak_range: Window::EMPTY,
        size_range: Window::EMPTY,
        usage_history: TimeSeries::EMPTY,
        hits: 0,
        misses: 0,
        missed_ns: [0; Self::MISSES_IN_TURN],
        fills: 0,
        overflows: 0,
        fast_unbacked: 0,
        periodic_unbacked: 0,
        regret: 0,
        regret_until_ns: 0,
        shrunk_ns: 0,
    };

    /// Hugepages held.
    pub(crate) const fn size(&self) -> HugepageCount {
        self.ranges.total()
    }

    /// Most hugepages to hold.
    pub(crate) const fn limit(&self) -> HugepageCount {
        HugepageCount::new(Self::LEAST_LIMIT + self.limit_above_least)
    }

    /// The fewest that were held at any moment of the last `window_ns`: nobody wanted them in all that time.
    pub(crate) fn idle(&self, now_ns: u64, window_ns: u64) -> HugepageCount {
        let recent = self.size_range.recent(now_ns, window_ns).filter_map(Extremes::least);
        recent.min().map_or(self.size(), |least| HugepageCount::new(least).min(self.size()))
    }

    /// Hugepages in use that came through here.
    pub(crate) const fn usage(&self) -> HugepageCount {
        self.usage
    }

    /// The ranges held.
    pub(crate) const fn ranges(&self) -> &HugeAddressMap {
        &self.ranges
    }

    /// A run of `count` backed hugepages at a multiple of `align` hugepages, with a promise of a
    /// node. None if the cache has no such run: then the caller gets it elsewhere and says so to
    /// [`Self::note_taken_elsewhere`].
    pub(crate) fn allocate<E: Platform>(
        &mut self,
        platform: &E,
        count: HugepageCount,
        align: usize,
        nodes: &mut NodeStore,
        now_ns: u64,
    ) -> Option<HugeRange> {
        let (node, first) = self.ranges.find_aligned(count, align)?;
        let range = self.take_part(platform, node, first, count, nodes, now_ns)?;
        self.note_hit(now_ns, count);
        Some(range)
    }

    /// Takes up to `most` backed hugepages from `first` on, with a promise of a node, for a run in
    /// use that ends there. Once the run has all that it needs, [`Self::note_hit`] or
    /// [`Self::note_taken_elsewhere`] counts them; what is not needed after all goes back with
    /// [`Self::put`].
    pub(crate) fn take_at<E: Platform>(
        &mut self,
        platform: &E,
        first: Hugepage,
        most: HugepageCount,
        nodes: &mut NodeStore,
        now_ns: u64,
    ) -> Option<HugeRange> {
        let node = self.ranges.beginning_at(first)?;
        let count = node.range().count.min(most);
        self.take_part(platform, node, first, count, nodes, now_ns)
    }

    /// Notes a hit: `count` hugepages that the cache had are in use now.
    pub(crate) fn note_hit(&mut self, now_ns: u64, count: HugepageCount) {
        self.hits += 1;
        self.raise_usage(now_ns, count);
    }

    /// Notes a miss: `count` hugepages are in use now that the cache did not have.
    pub(crate) fn note_taken_elsewhere(&mut self, now_ns: u64, count: HugepageCount) {
        self.misses += 1;
        if count > HugepageCount::ONE {
            self.missed_ns.rotate_right(1);
            if let Some(latest) = self.missed_ns.first_mut() {
                *latest = now_ns;
            }
        }
        self.raise_usage(now_ns, count);
        self.raise_limit(now_ns);
    }

    /// Whether long runs were missed in quick succession a moment ago.
    pub(crate) fn misses_much(&self, now_ns: u64) -> bool {
        let [.., earliest] = self.missed_ns;
        earliest != 0 && now_ns.saturating_sub(earliest) < Self::QUICKLY_NS
    }

    /// Takes back a run of backed hugepages, with its promise. The cache may be too large then:
    /// see [`Self::take_excess`].
    pub(crate) fn deallocate<E: Platform>(
        &mut self,
        platform: &E,
        range: HugeRange,
        nodes: &mut NodeStore,
        now_ns: u64,
    ) {
        self.lower_usage(now_ns, range.count);
        self.put(platform, range, nodes, now_ns);
        if self.size() > self.limit() {
            self.overflows += 1;
        } else {
            self.fills += 1;
        }
        if now_ns.wrapping_sub(self.shrunk_ns) >= Self::WINDOW_NS {
            self.lower_limit(now_ns);
        }
    }

    /// Notes that `count` hugepages in use came back, but not here: they are not backed.
    pub(crate) fn note_returned_elsewhere(&mut self, now_ns: u64, count: HugepageCount) {
        self.lower_usage(now_ns, count);
    }

    /// Puts a run in whose release failed: it is still backed.
    pub(crate) fn put<E: Platform>(
        &mut self,
        platform: &E,
        range: HugeRange,
        nodes: &mut NodeStore,
        now_ns: u64,
    ) {
        self.before_size_changes(now_ns);
        self.ranges.insert(range, nodes, |low, high| {
            platform.source().may_merge(low.first.range(low.count), high.first.range(high.count))
        });
        self.size_range.report(now_ns, self.size().get());
    }

    /// Takes out a run that is to be given back to the kernel, so that at least `keep` hugepages stay: a short one,
    /// cut at its end where it is longer than the excess: what stays and what goes are a run of free hugepages
    /// still. None if there is no excess.
    pub(crate) fn take_excess<E: Platform>(
        &mut self,
        platform: &E,
        keep: HugepageCount,
        nodes: &mut NodeStore,
        now_ns: u64,
    ) -> Option<HugeRange> {
        let excess = self.size().saturating_sub(keep);
        if excess == HugepageCount::ZERO {
            return None;
        }
        let node = self.ranges.find_fit(HugepageCount::ONE)?;
        self.before_size_changes(now_ns);
        let whole = node.range();
        let count = whole.count.min(excess);
        let first = whole.first + (whole.count - count);
        let range = self.ranges.take(platform, node, first, count, nodes)?;
        self.size_range.report(now_ns, self.size().get());
        Some(range)
    }

    /// Counts hugepages that were given back to the kernel because the cache overflowed.
    pub(crate) fn note_fast_unbacked(&mut self, count: HugepageCount) {
        self.fast_unbacked += count.get() as u64;
    }

    /// Counts hugepages that were given back to the kernel on request.
    pub(crate) fn note_periodic_unbacked(&mut self, count: HugepageCount) {
        self.periodic_unbacked += count.get() as u64;
    }

    /// Shrinks the limit if the cache was large all the while: by half of the least that it held,
    /// down to the least limit. Shrink first, trim then.
    pub(crate) fn lower_limit(&mut self, now_ns: u64) {
        self.shrunk_ns = now_ns;
        self.size_range.report(now_ns, self.size().get());
        let least = self.size_range.least(now_ns).unwrap_or(0);
        if least * 5 >= self.limit().get() {
            self.limit_above_least = self.limit_above_least.saturating_sub((least / 2).max(1));
        }
    }

    /// What was counted since the start.
    pub(crate) const fn counts(&self) -> CacheCounts {
        CacheCounts {
            hits: self.hits,
            overflows: self.overflows,
            periodic_unbacked: self.periodic_unbacked,
        }
    }

    /// Fills the figures in, where nothing is told yet.
    pub(crate) fn fill_in(&self, figures: &mut HugeCacheFigures, now_ns: u64) {
        let recent = |window: &Window, current: usize| {
            let least = window.least(now_ns).unwrap_or(current).min(current);
            let greatest = window.greatest(now_ns).unwrap_or(current).max(current);
            RecentRange { least: least as u64, current: current as u64, greatest: greatest as u64 }
        };
        let (size, usage) = (self.size().get(), self.usage.get());
        let off_peak = self.usage_range.greatest(now_ns).unwrap_or(usage).saturating_sub(usage);
        let regret = self.regret + self.milliseconds_since(now_ns) * size as u64;
        figures.cached_hugepages = size as u64;
        figures.limit_hugepages = self.limit().get() as u64;
        figures.hits = self.hits;
        figures.misses = self.misses;
        figures.fills = self.fills;
        figures.overflows = self.overflows;
        figures.fast_unbacked_hugepages = self.fast_unbacked;
        figures.periodic_unbacked_hugepages = self.periodic_unbacked;
        figures.regret_mib_seconds = regret * 2 / 1000;
        figures.usage = recent(&self.usage_range, usage);
        figures.off_peak = recent(&self.off_peak_range, off_peak);
        figures.size = recent(&self.size_range, size);
        self.fill_in_usage(&mut figures.history, now_ns);
    }

    fn fill_in_usage(&self, history: &mut UsageHistory, now_ns: u64) {
        let numbered = self.usage_history.numbered(now_ns, u64::MAX);
        let reported = numbered.filter_map(|(number, epoch)| epoch.told(number));
        for (place, epoch) in history.epochs.iter_mut().zip(reported) {
            *place = epoch;
        }
    }

    fn take_part<E: Platform>(
        &mut self,
        platform: &E,
        node: NodeHandle,
        first: Hugepage,
        count: HugepageCount,
        nodes: &mut NodeStore,
        now_ns: u64,
    ) -> Option<HugeRange> {
        self.before_size_changes(now_ns);
        let range = self.ranges.take(platform, node, first, count, nodes)?;
        self.size_range.report(now_ns, self.size().get());
        // What was used and came back does not read as zero.
        Some(HugeRange { zeroed: false, ..range })
    }

    /// Raises the limit to what would have served the last dip.
    fn raise_limit(&mut self, now_ns: u64) {
        let usage = self.usage.get();
        let fall = self.off_peak_range.greatest(now_ns).unwrap_or(0);
        let rise = usage.saturating_sub(self.usage_range.least(now_ns).unwrap_or(usage));
        let dip = fall.min(rise);
        let wanted = dip + dip / 10;
        self.limit_above_least =
            self.limit_above_least.max(wanted.saturating_sub(Self::LEAST_LIMIT));
    }

    fn raise_usage(&mut self, now_ns: u64, count: HugepageCount) {
        self.note_usage(now_ns);
        self.usage += count;
        self.note_usage(now_ns);
        self.off_peak_range.report(now_ns, 0);
    }

    fn lower_usage(&mut self, now_ns: u64, count: HugepageCount) {
        self.note_usage(now_ns);
        debug_assert!(count <= self.usage, "more came back than went out");
        self.usage = self.usage.saturating_sub(count);
        self.note_usage(now_ns);
        let peak = self.usage_range.greatest(now_ns).unwrap_or(0);
        self.off_peak_range.report(now_ns, peak.saturating_sub(self.usage.get()));
    }

    fn note_usage(&mut self, now_ns: u64) {
        self.usage_range.report(now_ns, self.usage.get());
        if let Some(epoch) = self.usage_history.at(now_ns) {
            epoch.report(self.usage);
        }
    }

    /// Brings what depends on the size so far up to date.
    fn before_size_changes(&mut self, now_ns: u64) {
        self.size_range.report(now_ns, self.size().get());
        if self.size() == HugepageCount::ZERO || now_ns < self.regret_until_ns {
            self.regret_until_ns = now_ns;
            return;
        }
        let passed_ms = self.milliseconds_since(now_ns);
        self.regret += passed_ms * self.size().get() as u64;
        self.regret_until_ns += passed_ms * Self::MILLISECOND_NS;
    }

    /// Milliseconds since regret was last brought up to date; 0 if the clock jumped back.
    fn milliseconds_since(&self, now_ns: u64) -> u64 {
        now_ns.saturating_sub(self.regret_until_ns) / Self::MILLISECOND_NS
    }
}

#[cfg(test)]
mod tests;
