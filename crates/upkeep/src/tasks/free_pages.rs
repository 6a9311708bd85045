//! Free pages go back to the kernel: those that nobody wanted for a while, and some of the others at a rate.

use super::{Next, demand::Seen};
use crate::{INTERVAL_NS, Layers, ReleasePolicy};
use core::ops::RangeInclusive;
use strata_page_heap::{PageHeap, ReleaseReason};
use strata_span::{PageCount, Platform};

/// Fewest and most bytes that one step asks for; whole hugepages may be more. A mebibyte of small pages takes the
/// kernel some 80 µs, which a thread of the program bears where the heap has none of its own. Such a thread looks
/// once in 64 misses: with the fewest at all rates, traces have 0.024 of what is in use more free in the mean; at
/// twice the most, one call takes 0.7 ms.
const STEP_BYTES: RangeInclusive<u64> = LEAST_STEP_BYTES..=4 << 20;
const LEAST_STEP_BYTES: u64 = 1 << 20;

/// Time between two steps for each mebibyte of the first while there is more to give: a thousand mebibytes a
/// second, and at most a tenth of a processor.
const PAUSE_NS: u64 = 1_000_000;

/// Free bytes that stay whatever is idle: less is not worth the calls.
const KEPT_BYTES: u64 = 1 << 20;

/// How long a heap is quiet at least before nothing more is looked for: page heaps look at a second of their own
/// before whole hugepages are idle for them.
const SETTLED_NS: u64 = 2 * INTERVAL_NS + INTERVAL_NS / 2;

/// What the rate allows.
#[derive(Debug)]
pub(super) struct Allowance {
    /// Bytes that may go, and the time up to which they were allowed; 0 before the first look. Below zero where more went
    /// than was allowed.
    bytes: i64,
    allowed_until_ns: u64,
}

impl Allowance {
    pub(super) const NONE: Self = Self { bytes: 0, allowed_until_ns: 0 };

    /// Adds what a rate of `rate` bytes a second allows up to now; never more than that of two seconds, or than one
    /// step takes.
    fn grow(&mut self, now_ns: u64, rate: u64) {
        let elapsed_ns = now_ns.saturating_sub(self.allowed_until_ns).min(2 * INTERVAL_NS);
        let began = self.allowed_until_ns != 0;
        self.allowed_until_ns = now_ns.max(1);
        if began {
            let bytes = (rate as u128 * u128::from(elapsed_ns)) / u128::from(INTERVAL_NS);
            let most = if rate == 0 { 0 } else { rate.saturating_mul(2).max(LEAST_STEP_BYTES) };
            let most = i64::try_from(most).unwrap_or(i64::MAX);
            let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
            self.bytes = self.bytes.saturating_add(bytes).min(most);
        }
    }
}

/// One step: idle pages first, then what the rate allows.
#[inline(never)]
#[unsafe(link_section = ".text_rarely")]
pub(super) fn release<L: Layers>(
    layers: &L,
    now_ns: u64,
    policy: ReleasePolicy,
    seen: &Seen,
    allowance: &mut Allowance,
) -> Next {
    allowance.grow(now_ns, policy.rate);
    let stats = layers.page_heap().stats();
    let idle = if policy.releases_idle() {
        seen.pages.idle_if_growth_goes_on(stats.free_bytes, stats.in_use_bytes)
    } else {
        0
    };
    let step = step_bytes(policy.rate);
    if idle > KEPT_BYTES && give_pages(layers, idle.min(step), ReleaseReason::Idle) > 0 {
        return after(now_ns, idle.min(step));
    }
    let allowed = u64::try_from(allowance.bytes).unwrap_or(0).min(stats.free_bytes);
    let goes_at_the_rate = policy.rate > 0 && stats.free_bytes >= LEAST_STEP_BYTES;
    if allowed < LEAST_STEP_BYTES && goes_at_the_rate {
        return Next::At(now_ns.saturating_add(INTERVAL_NS / 4));
    }
    if allowed >= LEAST_STEP_BYTES {
        let given = give_pages(layers, allowed.min(step), ReleaseReason::Policy);
        allowance.bytes = allowance.bytes.saturating_sub(i64::try_from(given).unwrap_or(i64::MAX));
        if given > 0 {
            return after(now_ns, allowed.min(step));
        }
    }
    // What a peak of the last moments keeps may go in the next ones.
    let waits = seen.pages.greatest().is_none_or(|peak| peak > stats.in_use_bytes);
    if waits || !seen.is_quiet(now_ns, policy.delay_ns().max(SETTLED_NS)) {
        Next::At(now_ns.saturating_add(INTERVAL_NS / 4))
    } else {
        Next::AtRest
    }
}

/// What a step asks for at `rate` bytes a second: as much as the rate allows in an eighth of a second.
fn step_bytes(rate: u64) -> u64 {
    (rate / 8).clamp(*STEP_BYTES.start(), *STEP_BYTES.end())
}

/// When the next step is due after one that asked for `bytes`.
fn after(now_ns: u64, bytes: u64) -> Next {
    Next::At(now_ns.saturating_add(bytes.div_ceil(LEAST_STEP_BYTES).max(1) * PAUSE_NS))
}

fn give_pages<L: Layers>(layers: &L, bytes: u64, reason: ReleaseReason) -> u64 {
    let wanted = usize::try_from(bytes)
        .ok()
        .and_then(PageCount::<<L::Platform as Platform>::Pages>::holding);
    wanted.map_or(0, |wanted| {
        layers.page_heap().release(layers.platform(), wanted, reason).bytes() as u64
    })
}
