//! Kernel pages inside of spans go back to the kernel, when nobody wanted their objects for a while.

use super::{Next, demand::Seen};
use crate::{INTERVAL_NS, Layers, ReleasePolicy, peaks::Peaks};
use strata_central::{Allowances, MiddleTier};
use strata_page_heap::{PageHeap, Refusals};
use strata_size_classes::{CLASS_SLOTS, PageSize, SizeClass};
use strata_span::{Hugepage, Platform};

/// Time between two steps of a walk. A step gives some hundred pages back at most, in some 200 µs.
const PAUSE_NS: u64 = 1_000_000;

/// Free bytes of objects that stay whatever is idle: a walk for less is not worth it.
const KEPT_BYTES: u64 = 1 << 20;

/// Hugepages without spans that one step passes over.
const MOST_PASSED: usize = 512;

/// Longest time between two walks that found nothing: each one after such waits twice as long.
const LONGEST_WAIT_NS: u64 = 60 * INTERVAL_NS;

/// The walk that is underway, and what was in use of each class.
#[derive(Debug)]
pub(super) struct Sweep {
    objects: [Peaks; CLASS_SLOTS],
    allowances: Allowances,
    /// The number of the hugepage that is looked at next; 0 between two walks.
    next_hugepage: usize,
    /// What this walk gave so far, and when it may begin; how long the next one waits if it gives nothing.
    given_bytes: u64,
    /// What was idle when it began, and what of it the last walk left.
    idle_bytes: u64,
    left_bytes: u64,
    begins_ns: u64,
    wait_ns: u64,
    /// Hugepages in a row of which the kernel did not take all that it was to take.
    refusals: u32,
}

impl Sweep {
    pub(super) const NONE: Self = Self {
        objects: [<Peaks>::NONE; CLASS_SLOTS],
        allowances: Allowances::NONE,
        next_hugepage: 0,
        given_bytes: 0,
        idle_bytes: 0,
        left_bytes: 0,
        begins_ns: 0,
        wait_ns: 0,
        refusals: 0,
    };

    pub(super) fn end_epoch<P: PageSize>(&mut self, middle: &MiddleTier<P>) {
        for class in P::TABLE.classes() {
            // A class's index is below the array's length, by a mask.
            self.objects[class.index()].end_epoch(middle.central(class).take_peak_out());
        }
    }

    fn peaks(&self, class: SizeClass) -> &Peaks {
        &self.objects[class.index()]
    }
}

/// One step of a walk over the hugepages in use; or, between two, a look at whether one is worth it.
#[inline(never)]
#[unsafe(link_section = ".text_rarely")]
pub(super) fn sweep<L: Layers>(
    layers: &L,
    now_ns: u64,
    policy: ReleasePolicy,
    seen: &Seen,
    sweep: &mut Sweep,
) -> Next {
    if !policy.inside_spans || !policy.releases_idle() {
        return Next::AtRest;
    }
    if sweep.next_hugepage == 0 {
        let (idle, waiting) = allow(layers, sweep);
        // What the last walk left is still there; more than that is worth another one at once.
        let is_known = idle <= sweep.left_bytes.saturating_add(KEPT_BYTES);
        let is_early = now_ns < sweep.begins_ns && sweep.begins_ns - now_ns <= LONGEST_WAIT_NS;
        if idle <= KEPT_BYTES || is_known && is_early {
            let rests = waiting <= KEPT_BYTES && seen.is_quiet(now_ns, policy.delay_ns());
            return if rests { Next::AtRest } else { soon(now_ns) };
        }
        layers.counters().count_sweep();
        sweep.given_bytes = 0;
        sweep.idle_bytes = idle;
    }
    // Where the kernel refuses always, it is not asked about each hugepage.
    let next = if sweep.refusals >= Refusals::IN_A_ROW {
        None
    } else {
        next_hugepage_in_use(layers, sweep.next_hugepage)
    };
    match next {
        Some((number, is_in_use)) => {
            sweep.next_hugepage = number + 1;
            if is_in_use && sweep_one(layers, Hugepage::new(number), sweep) {
                sweep.next_hugepage = number;
            }
            Next::At(now_ns.saturating_add(PAUSE_NS))
        }
        None => {
            sweep.next_hugepage = 0;
            sweep.refusals = 0;
            let gave = sweep.given_bytes > 0;
            sweep.left_bytes = sweep.idle_bytes.saturating_sub(sweep.given_bytes);
            let waited_ns = if gave { 0 } else { sweep.wait_ns };
            sweep.wait_ns = (waited_ns * 2).clamp(INTERVAL_NS, LONGEST_WAIT_NS);
            sweep.begins_ns = now_ns.saturating_add(sweep.wait_ns);
            soon(now_ns)
        }
    }
}

const fn soon(now_ns: u64) -> Next {
    Next::At(now_ns.saturating_add(INTERVAL_NS / 2))
}

/// Sweeps one hugepage; says whether it has more.
fn sweep_one<L: Layers>(layers: &L, hugepage: Hugepage, sweep: &mut Sweep) -> bool {
    let middle = layers.middle().with(layers.platform(), layers.page_heap());
    let swept = middle.sweep_hugepage(hugepage, &mut sweep.allowances);
    layers.counters().count_swept(swept.bytes, swept.refused);
    if swept.refused {
        sweep.refusals += 1;
    } else if swept.bytes > 0 {
        sweep.refusals = 0;
    }
    sweep.given_bytes += swept.bytes;
    swept.more
}

/// Allows of each class what nobody wanted; says how many bytes that are, and how many only a peak of the last moments
/// keeps.
fn allow<L: Layers>(layers: &L, sweep: &mut Sweep) -> (u64, u64) {
    let (mut idle_bytes, mut waiting_bytes) = (0, 0);
    let table = <L::Platform as Platform>::Pages::TABLE;
    for class in table.classes() {
        let central = layers.middle().central(class).stats(class);
        let size = table.size(class) as u64;
        let idle = sweep.peaks(class).idle(central.free_objects, central.objects_out);
        let bytes = (idle * size + central.tail_bytes).saturating_sub(central.released_bytes);
        let bytes = if idle == 0 { 0 } else { bytes };
        sweep.allowances.set(class, bytes);
        idle_bytes += bytes;
        waiting_bytes += (central.free_objects - idle) * size;
    }
    (idle_bytes, waiting_bytes)
}

/// The number of the first hugepage from `number` on that the page heap may have spans on, and whether it has; none
/// if there is no more. Passes over so many that have none, and then says where it stopped.
pub(super) fn next_hugepage_in_use<L: Layers>(layers: &L, number: usize) -> Option<(usize, bool)> {
    let mut number = number;
    for _ in 0..MOST_PASSED {
        let next = layers.page_heap().next_reservation(Hugepage::new(number).address().value())?;
        let found = Hugepage::from_address(next.start).number();
        if layers.platform().map().tracker(Hugepage::new(found)).is_some() {
            return Some((found, true));
        }
        number = found + 1;
    }
    // Hugepages without spans up to here: the caller goes on behind the last one.
    Some((number - 1, false))
}
