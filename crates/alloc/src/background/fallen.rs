//! What a heap without a thread gives back while its program frees most of what it had.
//!
//! Who frees everything and then waits calls no more, so that nothing could be given back when it is idle: the
//! frees themselves have to. They pay for it in proportion to what they free, and a program that takes as much
//! again is left alone for a while.

use super::{Background, Call, thread_pointer};
use crate::{Core, HeapConfig};
use strata_cpu_cache::CpuCache;
use strata_page_heap::{PageHeap, ReleaseReason};
use strata_span::PageCount;
use strata_sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// A heap has fallen when at most one part in so many of what it has behind it is in use. At two, programs whose
/// memory swings by half fault it in again; at four, one of which a quarter lives from phase to phase, with the rest in
/// caches and between survivors, gives back what its next phase takes.
const FALLEN_SHARE: u64 = 8;

/// Backed bytes below which a heap cannot fall: an eighth of it is what a CPU's cache may hold in any case.
const LEAST_BYTES: u64 = 2 << 20;

/// What one look gives back at least; more where more was freed since the last one. As a step of the background work.
const STEP_BYTES: u64 = 4 << 20;

/// What one look gives back at most, in multiples of what was freed, where that is more than an eighth of what is free:
/// so long may a single free take.
const MOST_TIMES_FREED: u64 = 8;

/// What one look gives back at most in any case: forks and figures wait for it, and the next look is an eighth away.
const LOOK_MOST_BYTES: u64 = 256 << 20;

/// Free bytes that stay: less is not worth the calls.
const KEPT_BYTES: u64 = 256 << 10;

/// What is in use when caches are not emptied any more: a CPU may hold as much in any case.
const EMPTIED_BYTES: u64 = 256 << 10;

/// The next look of a heap that falls, or has less than half of what it has behind it in use, comes when an eighth of
/// that is freed, but not below so many bytes. The calls of the one may be the last ones of the program, and it may have
/// 64 KiB left at the next look that misses ask for: a fall ends with a few objects, and those with as many looks.
const LOOK_SHARE: u64 = 8;
const LOOK_LEAST_BYTES: u64 = 64 << 10;

/// A heap that has more than twice the least that was in use, and besides a quarter of what it fell from, between
/// these bounds, is growing again. What CPUs' caches have counts, too.
const GROWN_SHARE: u64 = 4;
const GROWN_LEAST_BYTES: u64 = 1 << 20;
const GROWN_MOST_BYTES: u64 = 8 << 20;

/// A heap that grew again is left alone for as long as what it gave back should take at this pace, bytes a second (a
/// second at most), and for twice as long each time. So a program that comes and goes by a hundred MiB faults
/// them in once in a second, then in two, and in a minute at last; one that comes and goes by eight begins with a
/// quarter of a second, or with a whole one if what went came back as soon as that.
const PACE: u64 = 32 << 20;
const PACE_OF_WHAT_CAME_BACK: u64 = 4 << 20;
const SOON_NS: u64 = 1_000_000_000;
const LONGEST_FIRST_PAUSE_NS: u64 = 1_000_000_000;
const MOST_DOUBLINGS: u32 = 6;

/// A heap that had more than little in use for so long gives back all that is free when it falls, and one for a tenth of
/// that a tenth: what comes and goes all the while is about to come again, and costs a fault for each page. It had so
/// much since the last look that found little, so that a rest counts, too: it has no looks.
const LASTED_NS: u64 = 100_000_000;

/// How far a heap has fallen. All zero bits are one that has not.
///
/// Written under the schedule's lock, but for what says when to look and when little was in use last, which those write
/// who find that there is nothing to do; read before that by who looks whether the lock is to be taken.
#[derive(Debug, Default)]
pub(super) struct Fallen {
    /// The least that was in use since memory goes back, plus one; 0 while none does.
    least_bytes: AtomicU64,
    /// When little of what the heap has behind it was in use the last time; 0 before the first look.
    low_ns: AtomicU64,
    /// What the heap had behind it when it fell.
    fell_from_bytes: AtomicU64,
    /// What may go back while it falls, and what did.
    allowance_bytes: AtomicU64,
    given_bytes: AtomicU64,
    /// When memory went back last.
    given_ns: AtomicU64,
    /// A free that finds fewer bytes in use looks; 0 for none. Read by all that miss.
    pub(super) look_below_bytes: AtomicU64,
    /// What was in use when caches were emptied last.
    emptied_at_bytes: AtomicU64,
    /// When the heap may fall again.
    next_ns: AtomicU64,
    /// How often that was set.
    times: AtomicU32,
}

impl Fallen {
    /// Whether the heap may begin to fall; `is_low`: little of what it has behind it is in use.
    fn may_begin(&self, backed: u64, is_low: bool, now_ns: u64) -> bool {
        if backed < LEAST_BYTES || now_ns < self.next_ns.load(Ordering::Relaxed) {
            if is_low || backed < LEAST_BYTES {
                self.low_ns.store(now_ns, Ordering::Relaxed);
            }
            return false;
        }
        if self.low_ns.load(Ordering::Relaxed) == 0 {
            self.low_ns.store(now_ns, Ordering::Relaxed);
        }
        true
    }

    fn is_falling(&self) -> bool {
        self.least_bytes.load(Ordering::Relaxed) != 0
    }

    /// Has frees look again when so many bytes fewer are in use as are worth it.
    fn look_again(&self, in_use: u64) {
        let step = (in_use / LOOK_SHARE).max(LOOK_LEAST_BYTES);
        self.look_below_bytes.store(in_use.saturating_sub(step), Ordering::Relaxed);
    }

    /// Has frees look no more often than all misses do: there is nothing to give back for them.
    #[inline]
    pub(super) fn look_no_more(&self) {
        // Read by all that miss, so that the line is written only if that says something new.
        if self.look_below_bytes.load(Ordering::Relaxed) != 0 {
            self.look_below_bytes.store(0, Ordering::Relaxed);
        }
    }

    /// Little of `backed` bytes is in use: the heap falls, if much of it was for a while.
    fn begin(&self, backed: u64, now_ns: u64) -> bool {
        let lasted_ns = now_ns.saturating_sub(self.low_ns.swap(now_ns, Ordering::Relaxed));
        let thousandths = lasted_ns.min(LASTED_NS) / (LASTED_NS / 1000);
        let allowance = backed / 1000 * thousandths;
        if allowance < KEPT_BYTES {
            return false;
        }
        self.least_bytes.store(u64::MAX, Ordering::Relaxed);
        self.fell_from_bytes.store(backed, Ordering::Relaxed);
        self.allowance_bytes.store(allowance, Ordering::Relaxed);
        self.given_bytes.store(0, Ordering::Relaxed);
        self.emptied_at_bytes.store(u64::MAX, Ordering::Relaxed);
        true
    }

    /// What may go back still.
    fn left(&self) -> u64 {
        let given = self.given_bytes.load(Ordering::Relaxed);
        self.allowance_bytes.load(Ordering::Relaxed).saturating_sub(given)
    }

    /// Whether the heap goes on falling with `in_use` bytes in use: until it grows, or was low for a while after it gave
    /// back what it may.
    fn goes_on(&self, in_use: u64, now_ns: u64) -> bool {
        let least = self.least_bytes.load(Ordering::Relaxed);
        let fell_from = self.fell_from_bytes.load(Ordering::Relaxed);
        let grown = (fell_from / GROWN_SHARE).clamp(GROWN_LEAST_BYTES, GROWN_MOST_BYTES);
        let grows = in_use > least.saturating_mul(2).saturating_add(grown);
        let stays_low = self.left() == 0 && !self.is_soon(now_ns);
        if grows {
            self.leave_alone(now_ns);
        }
        if grows || stays_low {
            self.end(now_ns);
        }
        !grows && !stays_low
    }

    /// Whether memory went back a moment ago.
    fn is_soon(&self, now_ns: u64) -> bool {
        now_ns.saturating_sub(self.given_ns.load(Ordering::Relaxed)) < SOON_NS
    }

    /// Takes in that `given` more bytes went back.
    fn note_given(&self, given: u64, now_ns: u64) {
        self.given_bytes.fetch_add(given, Ordering::Relaxed);
        self.given_ns.store(now_ns, Ordering::Relaxed);
    }

    /// The heap grew again.
    fn leave_alone(&self, now_ns: u64) {
        let times = self.times.load(Ordering::Relaxed);
        let given = self.given_bytes.load(Ordering::Relaxed);
        let pace = if self.is_soon(now_ns) { PACE_OF_WHAT_CAME_BACK } else { PACE };
        let pause_ns = given.saturating_mul(1_000_000_000) / pace;
        let pause_ns = pause_ns.min(LONGEST_FIRST_PAUSE_NS) << times.min(MOST_DOUBLINGS);
        self.next_ns.store(now_ns.saturating_add(pause_ns), Ordering::Relaxed);
        self.times.store(times.saturating_add(1), Ordering::Relaxed);
    }

    fn end(&self, now_ns: u64) {
        self.least_bytes.store(0, Ordering::Relaxed);
        self.look_below_bytes.store(0, Ordering::Relaxed);
        self.low_ns.store(now_ns, Ordering::Relaxed);
    }

    /// Takes in what is in use now; says how much was freed since the last time.
    fn note(&self, in_use: u64) -> u64 {
        let least = self.least_bytes.load(Ordering::Relaxed);
        if in_use < least {
            self.least_bytes.store(in_use.saturating_add(1), Ordering::Relaxed);
        }
        if least == u64::MAX { 0 } else { least.saturating_sub(in_use.saturating_add(1)) }
    }

    /// Whether half of what was in use has gone since caches were emptied last.
    fn is_half(&self, in_use: u64) -> bool {
        let emptied_at = self.emptied_at_bytes.load(Ordering::Relaxed);
        let is_half = emptied_at > EMPTIED_BYTES && in_use <= emptied_at / 2;
        if is_half {
            self.emptied_at_bytes.store(in_use, Ordering::Relaxed);
        }
        is_half
    }
}

impl<C: HeapConfig> Core<C> {
    /// Whether a free is to look at once: the heap falls.
    #[inline]
    pub(super) fn is_low(&self) -> bool {
        let low = self.background.fallen.look_below_bytes.load(Ordering::Relaxed);
        low != 0 && self.bytes_above_spans() < low
    }

    /// Gives back a part of what is free, if the heap has fallen. In a heap that has no thread, with no lock held.
    ///
    /// A small heap knows here that it has not, and does not run the code of one that has.
    #[inline]
    pub(super) fn follow_fall(&self, now_ns: u64, call: Call) {
        let fallen = &self.background.fallen;
        if !fallen.is_falling() && self.backed_bytes() < LEAST_BYTES {
            fallen.look_no_more();
            return fallen.low_ns.store(now_ns, Ordering::Relaxed);
        }
        self.give_back_if_fallen(now_ns, call);
    }

    pub(super) fn backed_bytes(&self) -> u64 {
        self.page_heap().stats().backed_bytes()
    }

    #[cold]
    #[inline(never)]
    #[unsafe(link_section = ".text_rarely")]
    fn give_back_if_fallen(&self, now_ns: u64, call: Call) {
        let Background { fallen, schedule, watchers, stepping, .. } = &self.background;
        if !self.gives_back_by_itself() {
            return fallen.look_no_more();
        }
        let Some(_schedule) = schedule.try_lock() else { return };
        // Acquire: pairs with the release of who watched last.
        if watchers.load(Ordering::Acquire) != 0 || !self.falls(now_ns, call) {
            return;
        }
        if fallen.left() == 0 {
            return fallen.look_no_more();
        }
        stepping.store(thread_pointer(), Ordering::Relaxed);
        if fallen.is_half(self.bytes_above_spans()) {
            self.empty_shared_caches();
        }
        let in_use = self.bytes_above_spans();
        let freed = fallen.note(in_use);
        let free = self.page_heap().stats().free_bytes;
        let wanted = wanted_bytes(free, freed, in_use).min(fallen.left());
        if let Some(pages) = usize::try_from(wanted).ok().and_then(PageCount::<C::Pages>::holding)
            && pages > PageCount::ZERO
        {
            let given = self.page_heap().release(self, pages, ReleaseReason::Fallen);
            fallen.note_given(given.bytes() as u64, now_ns);
        }
        fallen.look_again(in_use);
        stepping.store(0, Ordering::Relaxed);
    }

    /// Whether the heap goes on falling, or begins to, which it does in a free.
    #[unsafe(link_section = ".text_rarely")]
    fn falls(&self, now_ns: u64, call: Call) -> bool {
        let fallen = &self.background.fallen;
        let mut in_use = self.bytes_above_spans();
        if fallen.is_falling() {
            return fallen.goes_on(in_use, now_ns) && call == Call::Deallocation;
        }
        let backed = self.backed_bytes();
        let low = backed / FALLEN_SHARE;
        if !fallen.may_begin(backed, in_use <= low, now_ns) {
            return false;
        }
        let half = backed / 2;
        if in_use > half {
            fallen.look_below_bytes.store(half, Ordering::Relaxed);
            return false;
        }
        fallen.look_again(in_use);
        if in_use > low {
            // CPUs' caches may have a quarter, and of a small heap more.
            in_use = in_use.saturating_sub(self.bytes_in_cpu_caches());
        }
        call == Call::Deallocation && in_use <= low && fallen.begin(backed, now_ns)
    }

    /// What the program and CPUs' caches have together: without what lies in transfer caches and keeps its spans,
    /// which may be all of a heap of 50 MiB. Where caches run per thread, what is in spans.
    pub(super) fn bytes_above_spans(&self) -> u64 {
        match self.per_cpu() {
            Some(cpu) => cpu.out_bytes().saturating_add(self.large.bytes()),
            None => self.page_heap().in_use_bytes(),
        }
    }

    pub(super) fn bytes_in_cpu_caches(&self) -> u64 {
        let held_bytes =
            |cpu: &CpuCache| (0..cpu.used_ids()).map(|id| cpu.cpu_stats(id).held_bytes).sum();
        self.per_cpu().map_or(0, held_bytes)
    }

    /// Gives what CPUs' caches and transfer caches hold back to the spans, unless another thread stops CPUs' caches.
    #[unsafe(link_section = ".text_rarely")]
    fn empty_shared_caches(&self) {
        let middle = self.source_of_objects();
        let _ = self.with_cpu_cache_stops(|cpu| {
            (0..cpu.used_ids()).filter_map(|id| cpu.drain(&middle, id).ok()).sum::<u64>()
        });
        middle.drain_all_transfers();
    }
}

/// What a look gives back of `free` bytes when `freed` of those that were in use have gone and `in_use` are left: as large
/// a part, so that with the last nothing stays, but no more than a few times what was freed.
fn wanted_bytes(free: u64, freed: u64, in_use: u64) -> u64 {
    let parts = freed.saturating_mul(1024) / freed.saturating_add(in_use).max(1);
    let part = (free / 1024 * parts).min(freed.saturating_mul(MOST_TIMES_FREED));
    let step = freed.saturating_mul(2).max(free / LOOK_SHARE).max(STEP_BYTES);
    part.max(step).min(free.saturating_sub(KEPT_BYTES)).min(LOOK_MOST_BYTES)
}

#[cfg(test)]
mod tests;
