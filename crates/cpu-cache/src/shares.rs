//! Limits that move from CPUs that need little to those that miss much.

use crate::{CpuCache, cpu_state::CpuState, following::FOLLOWS, stopped::Stopped};
use strata_size_classes::ObjectSource;
use strata_sync::atomic::Ordering;

/// CPUs that gain in one round: TCMalloc's.
const GAINERS: usize = 5;

/// A CPU that missed.
#[derive(Clone, Copy, Default)]
struct Candidate {
    id: u32,
    misses: u64,
}

impl CpuCache {
    /// Moves parts of the limits from CPUs that miss little to those that miss most; says how many bytes moved.
    ///
    /// Up to five CPUs that have used their limit up get a twentieth of the usual limit each, from CPUs that hold
    /// at least a fifth of it and missed less than 0.8 times as often since the last call: first what these were
    /// not granted or have no class for, then empty capacity of classes, then objects, which go back to `source`.
    /// What all CPUs that were ever used may hold together stays the same. (Rule and figures: TCMalloc's.) First
    /// CPUs that borrowed while the program had twice as much give back what they borrowed, and a usual limit that
    /// [grew with the program](Self::let_limit_follow_program) falls with it.
    ///
    /// For the background, each few seconds. Any thread may call it at any time. Costs a few loads for each CPU that was
    /// ever used, and where capacity is taken from classes what [`drain`](Self::drain) costs, once for each CPU that gains.
    pub fn shuffle<O: ObjectSource>(&self, source: &O) -> u64 {
        self.return_loans(source);
        self.lower_limit_with_program(source);
        let mut moved = 0;
        for gainer in self.most_missing().into_iter().filter(|gainer| gainer.misses > 0) {
            let Some(state) = self.state(gainer.id) else { continue };
            let wanted = i64::try_from(self.limit_bytes() / 20).unwrap_or(i64::MAX);
            if state.reserve_bytes.load(Ordering::Relaxed) < wanted {
                let got = self.collect_share(source, gainer, wanted);
                state.receive_share(got);
                moved += u64::try_from(got).unwrap_or(0);
            }
        }
        for id in 0..self.used_ids() {
            if let Some(state) = self.state(id) {
                state.seen.misses_at_shuffle.store(state.misses(), Ordering::Relaxed);
                // What was out at a miss when the limit was lowered may be back.
                state.pay_debt();
            }
        }
        moved
    }

    /// Sets the usual limit of a CPU's cache. CPUs that were used already may hold as much more or less than
    /// before; what one holds above that goes back to `source`, as far as it can be stopped and nobody is in the
    /// middle of a miss there. What is missing to a lower limit then is owed: nothing is granted before it is paid,
    /// so that limits add up however often they are set.
    ///
    /// Any thread may call it at any time, but two at once may leave a CPU with either's limit. Costs what
    /// [`drain`](Self::drain) costs for each CPU that has more than it may.
    pub fn set_limit<O: ObjectSource>(&self, source: &O, bytes: usize) {
        let bytes = bytes.min(Self::GREATEST_LIMIT_BYTES) as u64;
        // Without the mark of one that follows the program: from here on nobody moves it with that.
        let before = self.limit_word.swap(bytes, Ordering::Relaxed) & !FOLLOWS;
        let change =
            i64::try_from(bytes).unwrap_or(i64::MAX) - i64::try_from(before).unwrap_or(i64::MAX);
        self.change_limits(change);
        self.collect_debts(source);
    }

    /// Has each CPU that has more than it may pay what it owes, as far as it can be stopped and nobody is in the
    /// middle of a miss there.
    pub(crate) fn collect_debts<O: ObjectSource>(&self, source: &O) {
        for id in 0..self.used_ids() {
            let Some(state) = self.state(id).filter(|state| state.is_populated()) else { continue };
            if state.pay_debt() > 0 {
                self.collect_debt(source, id, state);
            }
        }
    }

    /// Has the classes of `id` give up capacity for what it owes, if it can be stopped.
    #[inline(never)]
    #[unsafe(link_section = ".text_rarely")]
    fn collect_debt<O: ObjectSource>(&self, source: &O, id: u32, state: &CpuState) {
        // Where it cannot be, the debt is found again later.
        let _ = self.with_stopped(id, |stopped| {
            // Half of each class's objects go at a time: after so many rounds no class has any.
            for _ in 0..u16::BITS {
                stopped.free_capacity(source, state.pay_debt());
                if state.pay_debt() == 0 {
                    break;
                }
            }
        });
    }

    /// Gives each CPU `change` bytes of limit more, those that were never used, too. What these have lent and do
    /// not have any more comes off those that borrowed.
    #[unsafe(link_section = ".text_rarely")]
    pub(crate) fn change_limits(&self, change: i64) {
        let mut changed = 0;
        for state in self.populated() {
            state.receive_share(change);
            changed += 1;
        }
        // A CPU that comes at this moment and was passed by finds its part here.
        self.change_unused_limit(change * (i64::from(self.ids()) - changed));
    }

    /// Adds to what is left of the limits of CPUs that were never used. What that is below zero by comes off those that
    /// have more than the usual limit.
    pub(crate) fn change_unused_limit(&self, change: i64) {
        let mut owed = -(self.unused_limit.fetch_add(change, Ordering::Relaxed) + change);
        for state in self.populated() {
            let part = owed.min(state.limit_bytes() - self.usual_limit());
            if part > 0 {
                state.receive_share(-part);
                self.unused_limit.fetch_add(part, Ordering::Relaxed);
                owed -= part;
            }
        }
    }

    /// The states of the CPUs that were ever used.
    pub(crate) fn populated(&self) -> impl Iterator<Item = &CpuState> {
        let states = (0..self.used_ids()).filter_map(|id| self.state(id));
        states.filter(|state| state.is_populated())
    }

    /// The CPUs that missed most since the last shuffle.
    fn most_missing(&self) -> [Candidate; GAINERS] {
        let mut most = [Candidate::default(); GAINERS];
        for id in 0..self.used_ids() {
            let mut candidate = Candidate { id, misses: self.new_misses(id) };
            for place in &mut most {
                if candidate.misses > place.misses {
                    core::mem::swap(place, &mut candidate);
                }
            }
        }
        most
    }

    fn new_misses(&self, id: u32) -> u64 {
        self.state(id).map_or(0, |state| {
            let seen = state.seen.misses_at_shuffle.load(Ordering::Relaxed);
            state.misses().wrapping_sub(seen)
        })
    }

    /// Takes about `wanted` bytes off the limits of others than `gainer`; says how many.
    fn collect_share<O: ObjectSource>(&self, source: &O, gainer: Candidate, wanted: i64) -> i64 {
        let least = i64::try_from(self.limit_bytes() / 5).unwrap_or(i64::MAX);
        let spared = |id: u32, state: &CpuState| {
            id == gainer.id
                || !state.is_populated()
                || state.limit_bytes() < least
                || self.new_misses(id).saturating_mul(5) >= gainer.misses.saturating_mul(4)
        };
        let mut got = 0;
        for takes_capacity in [false, true] {
            for _ in 0..self.used_ids() {
                if got >= wanted {
                    return got;
                }
                let id = self.share_hand.fetch_add(1, Ordering::Relaxed) % self.used_ids().max(1);
                let Some(state) = self.state(id).filter(|state| !spared(id, state)) else {
                    continue;
                };
                if takes_capacity {
                    self.free_capacity_of(source, id, wanted - got);
                }
                got += state.give_up_share(wanted - got);
            }
        }
        got
    }
}

impl CpuCache {
    /// Has the classes of `id` give up about `bytes` bytes of capacity. Where it cannot be stopped, it keeps what it
    /// has. (A function of its own, as the other one here that stops a cache: callers have not its stack.)
    #[inline(never)]
    #[unsafe(link_section = ".text_rarely")]
    fn free_capacity_of<O: ObjectSource>(&self, source: &O, id: u32, bytes: i64) {
        let _ = self.with_stopped(id, |stopped| stopped.free_capacity(source, bytes));
    }
}

impl Stopped<'_> {
    /// Makes about `bytes` available that classes have capacity for: first what stands empty, then by giving objects to
    /// `source`, half of each class's.
    #[unsafe(link_section = ".text_rarely")]
    pub(crate) fn free_capacity<O: ObjectSource>(&mut self, source: &O, bytes: i64) {
        let mut missing = usize::try_from(bytes).unwrap_or(0);
        for gives_objects in [false, true] {
            for class in self.table.classes() {
                let size = self.table.size(class).max(1);
                if gives_objects && missing > 0 {
                    let held = self.header(class).objects(self.layout().begin(class));
                    let wanted = u16::try_from(missing.div_ceil(size)).unwrap_or(u16::MAX);
                    self.give_lowest(source, class, held.div_ceil(2).min(wanted));
                }
                let header = self.header(class);
                let wanted = u16::try_from(missing.div_ceil(size)).unwrap_or(u16::MAX);
                let taken = header.room().min(wanted);
                if taken > 0 {
                    self.set_header(class, header.with_end(header.end() - taken));
                    self.state.unclaim(taken, size);
                    self.state.resizes.fetch_add(1, Ordering::Relaxed);
                    missing = missing.saturating_sub(usize::from(taken) * size);
                }
            }
        }
    }
}
