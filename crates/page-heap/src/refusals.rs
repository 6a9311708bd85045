//! Calls that the kernel refuses, and how long it is left alone then.

use strata_os::Clock;
use strata_sync::{
    atomic::{AtomicU32, AtomicU64, Ordering},
    const_fn,
};

/// When to ask the kernel again for something that it refuses: one kind of advice, or to take memory back.
///
/// One refusal tells of a range (it is locked, or there are too many mappings); [`IN_A_ROW`](Self::IN_A_ROW) with
/// nothing taken between them tell of the call: a filter that does not let it through, a kernel that does not know
/// it. From then on it is made once in a while, after a pause that doubles from a millisecond to a second, until
/// the kernel does it again. So a program that is never heard pays a system call a second, and one that is heard
/// again waits for a second at most.
///
/// Any thread may use it at any time; of several at once each may ask. All zero bits are one that was never
/// refused. Costs a load where nothing was refused, and a look at the clock where much was.
///
/// ```
/// use strata_os::ManualClock;
/// use strata_page_heap::Refusals;
///
/// let (clock, refusals) = (ManualClock::new(0), Refusals::new());
/// for _ in 0..1_000 {
///     refusals.ask(&clock, || false);
/// }
/// assert_eq!(refusals.withheld(), 1_000 - u64::from(Refusals::IN_A_ROW));
///
/// clock.advance(1_000_000_000);
/// assert_eq!(refusals.ask(&clock, || true), Some(true));
/// assert_eq!(refusals.ask(&clock, || true), Some(true), "nothing is held back any more");
/// ```
#[derive(Debug)]
pub struct Refusals {
    /// Refusals since the kernel last did it. Written by whoever was answered; of two at once one may be lost.
    in_a_row: AtomicU32,
    /// When to ask again, if there were many. Written with it.
    again_ns: AtomicU64,
    /// Times that it was not asked.
    withheld: AtomicU64,
}

impl Refusals {
    /// Refusals in a row from which on it is asked now and then. At half, a few locked ranges hold back others; at
    /// twice, a heap of a confined process makes eight calls more, once.
    pub const IN_A_ROW: u32 = 8;
    /// The first pause, and the longest. At a tenth of the latter a confined program makes ten calls a second for
    /// nothing; at ten times as much, memory stays for ten seconds after the kernel takes it again.
    const FIRST_PAUSE_NS: u64 = 1_000_000;
    const LONGEST_PAUSE_NS: u64 = 1_000_000_000;

    const_fn! {
        /// Nothing was refused.
        pub const fn new() -> Self {
            Self {
                in_a_row: AtomicU32::new(0),
                again_ns: AtomicU64::new(0),
                withheld: AtomicU64::new(0),
            }
        }
    }

    /// Makes the call, which says whether the kernel did it, unless it is to be left alone: none then, which is counted.
    #[inline]
    pub fn ask(&self, clock: &impl Clock, call: impl FnOnce() -> bool) -> Option<bool> {
        if self.are_many() && self.holds_back(clock.now_ns()) {
            return None;
        }
        let done = call();
        self.note(clock, done);
        Some(done)
    }

    /// Whether the kernel refused so often that it is asked only now and then, and one call at a time.
    #[inline]
    pub fn are_many(&self) -> bool {
        self.in_a_row.load(Ordering::Relaxed) >= Self::IN_A_ROW
    }

    /// Whether it is to be left alone at the moment.
    #[inline]
    pub fn rest(&self, now_ns: u64) -> bool {
        self.are_many() && self.is_early(now_ns)
    }

    /// The same, where somebody would ask now: counts that nobody does.
    pub fn holds_back(&self, now_ns: u64) -> bool {
        let rests = self.rest(now_ns);
        if rests {
            self.withheld.fetch_add(1, Ordering::Relaxed);
        }
        rests
    }

    /// Notes the kernel's answer.
    #[inline]
    pub fn note(&self, clock: &impl Clock, done: bool) {
        if !done {
            self.note_refusal(clock.now_ns());
        } else if self.in_a_row.load(Ordering::Relaxed) != 0 {
            self.in_a_row.store(0, Ordering::Relaxed);
        }
    }

    /// Times that the kernel was not asked because it had refused before.
    pub fn withheld(&self) -> u64 {
        self.withheld.load(Ordering::Relaxed)
    }

    #[cold]
    fn note_refusal(&self, now_ns: u64) {
        let in_a_row = self.in_a_row.load(Ordering::Relaxed).saturating_add(1);
        let doublings = in_a_row.saturating_sub(Self::IN_A_ROW).min(u64::BITS / 2);
        let pause_ns = (Self::FIRST_PAUSE_NS << doublings).min(Self::LONGEST_PAUSE_NS);
        self.again_ns.store(now_ns.saturating_add(pause_ns), Ordering::Relaxed);
        self.in_a_row.store(in_a_row, Ordering::Relaxed);
    }

    /// A moment that lies further ahead than any pause was set before the clock jumped back.
    fn is_early(&self, now_ns: u64) -> bool {
        let again_ns = self.again_ns.load(Ordering::Relaxed);
        now_ns < again_ns && again_ns - now_ns <= Self::LONGEST_PAUSE_NS
    }
}

impl Default for Refusals {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(all(test, not(strata_loom)))]
mod tests;
