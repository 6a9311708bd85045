//! How much was in use of late, and whether anybody did anything.

use super::{Memory, Next};
use crate::{INTERVAL_NS, Layers, ReleasePolicy, peaks::GrowingPeaks};
use strata_page_heap::PageHeap;

/// What was seen of the program's demand.
#[derive(Debug)]
pub(super) struct Seen {
    /// Pages in use.
    pub(super) pages: GrowingPeaks,
    /// What the count of activity was at the last look, and since when it is that; 0 before the first.
    activity: u64,
    quiet_since_ns: u64,
    epoch_ends_ns: u64,
}

impl Seen {
    pub(super) const NOTHING: Self =
        Self { pages: GrowingPeaks::NONE, activity: 0, quiet_since_ns: 0, epoch_ends_ns: 0 };

    /// Whether nobody missed for `delay_ns`.
    pub(super) fn is_quiet(&self, now_ns: u64, delay_ns: u64) -> bool {
        self.quiet_since_ns != 0 && now_ns.saturating_sub(self.quiet_since_ns) >= delay_ns
    }
}

/// One look.
#[inline(never)]
#[unsafe(link_section = ".text_rarely")]
pub(super) fn look<L: Layers>(
    layers: &L,
    now_ns: u64,
    policy: ReleasePolicy,
    memory: &mut Memory,
) -> Next {
    let seen = &mut memory.demand;
    let activity = layers.activity();
    // A clock that jumped back begins anew.
    if activity != seen.activity || seen.quiet_since_ns == 0 || seen.quiet_since_ns > now_ns {
        seen.activity = activity;
        seen.quiet_since_ns = now_ns.max(1);
    }
    // An epoch is never shorter than a third of the delay, however often somebody asks.
    let epoch_ns = (policy.delay_ns() / 3).max(1_000_000);
    if now_ns >= seen.epoch_ends_ns || seen.epoch_ends_ns - now_ns > epoch_ns {
        seen.epoch_ends_ns = now_ns.saturating_add(epoch_ns);
        seen.pages.end_epoch(layers.page_heap().take_peak_bytes());
        memory.inside_spans.end_epoch(layers.middle());
    }
    if seen.is_quiet(now_ns, policy.delay_ns().saturating_mul(2)) {
        return Next::AtRest;
    }
    Next::At(seen.epoch_ends_ns.min(now_ns.saturating_add(INTERVAL_NS)))
}
