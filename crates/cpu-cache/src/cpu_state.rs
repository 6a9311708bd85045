//! What a CPU's cache remembers beside its slots.

use crate::{RegionSize, layout::CLASSES};
use strata_size_classes::SizeClass;
use strata_sync::atomic::{
    AtomicBool, AtomicI64, AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering,
};

/// The state of one CPU's cache; lies in its region behind the headers. All zero bits are a CPU that was
/// never used. Any thread may change it at any time: the slow paths run outside of sections.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct CpuState {
    /// Whether somebody has stopped the cache, and how long its region is: see [`RegionWord`]. Written by the one
    /// who stopped it; read by slow paths and by `rseq::exchange`, which finds it at the state's first bytes.
    region: AtomicU16,
    populated: AtomicBool,
    /// Bytes of the CPU's limit that were not granted yet: its limit is this and what was granted. Limits move
    /// between CPUs. Below zero where the limit fell below what was granted.
    pub(crate) reserve_bytes: AtomicI64,
    /// Bytes that the CPU was granted so far: what its classes' capacities may take up together.
    pub(crate) granted_bytes: AtomicI64,
    /// Of it, bytes that no class's capacity takes up.
    pub(crate) available_bytes: AtomicI64,
    /// What the CPU's capacities may take up however little of the program's memory is this CPU's part: see
    /// [`note_costly_turn`](Self::note_costly_turn). Written by slow paths, and when the cache is emptied.
    earned_bytes: AtomicI64,
    /// Turns that cost since there had been so many misses. Hints.
    costly_turns: AtomicU32,
    costly_since: AtomicU64,
    /// Counts misses for want of limit; whether some of the usual limit is missed. Hints.
    borrow_turn: AtomicU32,
    is_poor: AtomicBool,
    /// The class that gives capacity next. A hint, as the counts of misses behind it: see [`add_roughly`].
    pub(crate) hand: AtomicU32,
    pub(crate) underflows: AtomicU64,
    pub(crate) overflows: AtomicU64,
    /// Misses of classes that have all slots that the region has for them.
    pub(crate) slot_misses: AtomicU64,
    pub(crate) drains: AtomicU64,
    pub(crate) resizes: AtomicU64,
    /// Times that the region became longer or shorter.
    pub(crate) region_resizes: AtomicU64,
    /// Objects that came from the source and went back, those that never stood in a slot included.
    refilled_objects: AtomicU64,
    flushed_objects: AtomicU64,
    /// Bytes of the objects that the source handed out by way of this CPU, less those that it got back: as far as they have
    /// not been added to the sum over all CPUs yet.
    pending_out_bytes: AtomicI64,
    pub(crate) seen: Seen,
    /// What happened to each class last: see [`Memory`].
    memory: [AtomicU8; CLASSES],
    /// When each class last underflowed and overflowed: see [`Tick`].
    last_underflow: [AtomicU32; CLASSES],
    last_overflow: [AtomicU32; CLASSES],
    /// Of `slot_misses`, those of each class.
    slot_misses_of: [AtomicU32; CLASSES],
}

/// What those who look after all CPUs saw when they last looked. A look that meets another loses nothing but a hint.
#[derive(Debug)]
pub(crate) struct Seen {
    /// Misses, at the last shuffle.
    pub(crate) misses_at_shuffle: AtomicU64,
    /// Mark of all headers, at the last look for CPUs that stand still.
    pub(crate) use_mark: AtomicU64,
    /// Misses and slot misses, when the region's length was last thought about.
    pub(crate) misses_at_resize: AtomicU64,
    pub(crate) slot_misses_at_resize: AtomicU64,
    /// Looks in a row at which a shorter region would have done.
    pub(crate) roomy_looks: AtomicU8,
}

/// The first word of a CPU's state, as it was read at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct RegionWord(u16);

impl RegionWord {
    const STOPPED: u16 = 1;

    /// Whether the cache is stopped: no header may be changed but by the one who did it.
    pub(crate) fn is_stopped(self) -> bool {
        self.0 & Self::STOPPED != 0
    }

    pub(crate) fn size(self) -> RegionSize {
        RegionSize::from_number(self.0.to_le_bytes()[1])
    }

    pub(crate) const fn bits(self) -> u16 {
        self.0
    }

    const fn running(size: RegionSize) -> Self {
        Self((size.number() as u16) << 8)
    }
}

/// What a class's last miss was, and how many of the kind came in a row (at most 7).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Memory(u8);

impl Memory {
    const UNDERFLOW: u8 = 0x80;
    const OVERFLOW: u8 = 0x40;
    const REPEATS: u8 = 7;

    /// Whether the last miss was an underflow.
    pub(crate) fn was_underflow(self) -> bool {
        self.0 & Self::UNDERFLOW != 0
    }

    /// How many misses of the same kind came in a row before this one.
    pub(crate) fn repeats(self) -> u32 {
        (self.0 & Self::REPEATS).into()
    }

    fn next(self, kind: u8) -> Self {
        if self.0 & kind != 0 {
            Self(kind | (self.0 & Self::REPEATS).saturating_add(1).min(Self::REPEATS))
        } else {
            Self(kind)
        }
    }
}

/// A moment of the monotonic clock, in steps of 2^24 ns (17 ms), modulo 2^32, and never 0.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Tick(u32);

impl Tick {
    const SHIFT: u32 = 24;

    pub(crate) fn of(now_ns: u64) -> Self {
        Self(((now_ns >> Self::SHIFT) & 0xffff_ffff) as u32).or_first()
    }

    fn or_first(self) -> Self {
        Self(self.0.max(1))
    }

    /// How long before `now` it was, in nanoseconds; 0 if the clock jumped back by a little. Right up to two years.
    pub(crate) fn age_ns(self, now: Self) -> u64 {
        let age = now.0.wrapping_sub(self.0);
        if age > u32::MAX - (1 << 16) { 0 } else { u64::from(age) << Self::SHIFT }
    }
}

impl CpuState {
    /// Where the region's word lies in it.
    #[cfg_attr(
        any(strata_loom, strata_no_rseq, not(target_arch = "x86_64")),
        expect(dead_code, reason = "the sections alone look there")
    )]
    pub(crate) const REGION_OFFSET: usize = core::mem::offset_of!(Self, region);

    strata_sync::const_fn! {
        /// The state of a CPU that was never used.
        #[cfg(any(test, strata_loom))]
        pub(crate) const fn new() -> Self {
            Self {
                region: AtomicU16::new(0),
                populated: AtomicBool::new(false),
                reserve_bytes: AtomicI64::new(0),
                granted_bytes: AtomicI64::new(0),
                available_bytes: AtomicI64::new(0),
                earned_bytes: AtomicI64::new(0),
                costly_turns: AtomicU32::new(0),
                costly_since: AtomicU64::new(0),
                borrow_turn: AtomicU32::new(0),
                is_poor: AtomicBool::new(false),
                hand: AtomicU32::new(0),
                underflows: AtomicU64::new(0),
                overflows: AtomicU64::new(0),
                slot_misses: AtomicU64::new(0),
                drains: AtomicU64::new(0),
                resizes: AtomicU64::new(0),
                region_resizes: AtomicU64::new(0),
                refilled_objects: AtomicU64::new(0),
                flushed_objects: AtomicU64::new(0),
                pending_out_bytes: AtomicI64::new(0),
                seen: Seen {
                    misses_at_shuffle: AtomicU64::new(0),
                    use_mark: AtomicU64::new(0),
                    misses_at_resize: AtomicU64::new(0),
                    slot_misses_at_resize: AtomicU64::new(0),
                    roomy_looks: AtomicU8::new(0),
                },
                memory: strata_sync::const_array![AtomicU8::new(0); CLASSES],
                last_underflow: strata_sync::const_array![AtomicU32::new(0); CLASSES],
                last_overflow: strata_sync::const_array![AtomicU32::new(0); CLASSES],
                slot_misses_of: strata_sync::const_array![AtomicU32::new(0); CLASSES],
            }
        }
    }

    /// Whether the cache is stopped, and how long its region is.
    pub(crate) fn region(&self) -> RegionWord {
        // Acquire pairs with the release in `start`: the layout of that length is prepared.
        RegionWord(self.region.load(Ordering::Acquire))
    }

    /// Stops the cache: no slow path changes a header from now on, but for those that a fence has yet to end. Says how long
    /// the region is; none if somebody else has stopped it.
    pub(crate) fn stop(&self) -> Option<RegionSize> {
        let running = RegionWord::running(self.region().size());
        let stopped = running.bits() | RegionWord::STOPPED;
        // Acquire pairs with the release in `start`: the last stop is over.
        let won = self.region.compare_exchange(
            running.bits(),
            stopped,
            Ordering::Acquire,
            Ordering::Relaxed,
        );
        won.ok().map(|_| running.size())
    }

    /// Lets the cache go on, with a region of this length. Only who stopped it may.
    pub(crate) fn start(&self, size: RegionSize) {
        // Release: what was read from and written to slots and headers comes before what slow paths do.
        self.region.store(RegionWord::running(size).bits(), Ordering::Release);
    }

    /// Counts that the region becomes longer or shorter. Only who stopped the cache may, and before it puts headers back.
    pub(crate) fn note_resize(&self) {
        // Release: the headers of the layout before are taken away.
        self.region_resizes.fetch_add(1, Ordering::Release);
    }

    /// Whether the CPU was ever used.
    pub(crate) fn is_populated(&self) -> bool {
        self.populated.load(Ordering::Relaxed)
    }

    /// Marks the CPU as used, with this limit; false if it was already.
    pub(crate) fn populate(&self, limit_bytes: i64) -> bool {
        let first = !self.is_populated() && !self.populated.swap(true, Ordering::Relaxed);
        if first {
            self.reserve_bytes.fetch_add(limit_bytes, Ordering::Relaxed);
        }
        first
    }

    /// What the CPU may hold at most: what was granted, and what may be.
    pub(crate) fn limit_bytes(&self) -> i64 {
        let granted = self.granted_bytes.load(Ordering::Relaxed);
        granted.saturating_add(self.reserve_bytes.load(Ordering::Relaxed))
    }

    /// Misses of both kinds so far.
    pub(crate) fn misses(&self) -> u64 {
        let underflows = self.underflows.load(Ordering::Relaxed);
        underflows.wrapping_add(self.overflows.load(Ordering::Relaxed))
    }

    /// Remembers an underflow of `class`; says what was before.
    pub(crate) fn note_underflow(&self, class: SizeClass) -> Memory {
        add_roughly(&self.underflows, 1);
        note_now(&self.last_underflow, class);
        self.note(class, Memory::UNDERFLOW)
    }

    /// Remembers an overflow of `class`; says what was before.
    pub(crate) fn note_overflow(&self, class: SizeClass) -> Memory {
        add_roughly(&self.overflows, 1);
        note_now(&self.last_overflow, class);
        self.note(class, Memory::OVERFLOW)
    }

    /// Remembers that `class` missed with all the slots that the region has for it.
    pub(crate) fn note_slot_miss(&self, class: SizeClass) {
        add_roughly(&self.slot_misses, 1);
        let of_class = &self.slot_misses_of[class.index()];
        of_class.store(of_class.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
    }

    /// How often `class` missed with all the slots that the region had for it, modulo 2^32.
    pub(crate) fn slot_misses_of(&self, class: SizeClass) -> u32 {
        self.slot_misses_of[class.index()].load(Ordering::Relaxed)
    }

    /// When `class` last underflowed, and when it last overflowed; none if it never did.
    pub(crate) fn last_misses(&self, class: SizeClass) -> [Option<Tick>; 2] {
        [&self.last_underflow, &self.last_overflow].map(|ticks| {
            let tick = ticks[class.index()].load(Ordering::Relaxed);
            (tick != 0).then_some(Tick(tick))
        })
    }

    /// A race between two threads loses one of two misses: the memory is a hint.
    fn note(&self, class: SizeClass, kind: u8) -> Memory {
        let entry = &self.memory[class.index()];
        let before = Memory(entry.load(Ordering::Relaxed));
        entry.store(before.next(kind).0, Ordering::Relaxed);
        before
    }

    /// Objects that came from the source.
    pub(crate) fn refilled_objects(&self) -> u64 {
        self.refilled_objects.load(Ordering::Relaxed)
    }

    /// Objects that went back to the source.
    pub(crate) fn flushed_objects(&self) -> u64 {
        self.flushed_objects.load(Ordering::Relaxed)
    }

    pub(crate) fn note_refilled(&self, objects: usize) {
        self.refilled_objects.fetch_add(objects as u64, Ordering::Relaxed);
    }

    pub(crate) fn note_flushed(&self, objects: usize) {
        self.flushed_objects.fetch_add(objects as u64, Ordering::Relaxed);
    }

    /// Counts bytes that the source handed out, or got back as a negative number. Once they are as many as 32 KiB
    /// answers with all that were counted since: they are to be added to the sum over all CPUs, which so is written
    /// at few misses and less than that off for each CPU. At an eighth, CPUs that pass 64 objects of 64 bytes to
    /// each other write it at each miss.
    pub(crate) fn count_out(&self, bytes: i64) -> i64 {
        const KEPT_APART: u64 = 32 << 10;
        let pending =
            self.pending_out_bytes.fetch_add(bytes, Ordering::Relaxed).wrapping_add(bytes);
        if pending.unsigned_abs() < KEPT_APART {
            return 0;
        }
        self.pending_out_bytes.swap(0, Ordering::Relaxed)
    }

    /// Grants about `wanted` bytes more of the reserve, in steps of 64 KiB, as long as what is granted stays within
    /// `allowance`. False if the reserve was too small for that.
    pub(crate) fn grant(&self, wanted: usize, allowance: i64) -> bool {
        const STEP: i64 = 64 << 10;
        let wanted = i64::try_from(wanted).unwrap_or(i64::MAX);
        let granted = self.granted_bytes.load(Ordering::Relaxed);
        let most = allowance.saturating_sub(granted);
        self.grant_all(wanted.max(STEP).min(most)) >= wanted.min(most)
    }

    /// Grants up to `bytes` of the reserve, whatever the CPU is allowed; says how many.
    pub(crate) fn grant_all(&self, bytes: i64) -> i64 {
        let added = take_up_to(&self.reserve_bytes, bytes);
        if added > 0 {
            self.granted_bytes.fetch_add(added, Ordering::Relaxed);
            self.available_bytes.fetch_add(added, Ordering::Relaxed);
        }
        added
    }

    /// Counts a miss for want of limit. True for one in 32: to look whether others have some to spare costs a look
    /// at each of them.
    pub(crate) fn comes_to_borrow(&self) -> bool {
        const PERIOD: u32 = 32;
        let turn = self.borrow_turn.load(Ordering::Relaxed).wrapping_add(1);
        self.borrow_turn.store(turn, Ordering::Relaxed);
        turn.is_multiple_of(PERIOD)
    }

    /// Whether the CPU misses a part of the usual limit.
    pub(crate) fn is_poor(&self) -> bool {
        self.is_poor.load(Ordering::Relaxed)
    }

    pub(crate) fn set_poor(&self, is_poor: bool) {
        self.is_poor.store(is_poor, Ordering::Relaxed);
    }

    /// Takes up to `wanted` bytes off the CPU's limit that were not granted, and leaves it a limit of `kept`; says
    /// how many.
    pub(crate) fn lend(&self, wanted: i64, kept: i64) -> i64 {
        take_up_to(&self.reserve_bytes, wanted.min(self.limit_bytes().saturating_sub(kept)))
    }

    /// What the CPU has earned: see [`note_costly_turn`](Self::note_costly_turn).
    pub(crate) fn earned_bytes(&self) -> i64 {
        self.earned_bytes.load(Ordering::Relaxed)
    }

    /// Notes a turn that cost: a class has just overflowed, missed objects before that, and found no capacity to
    /// keep what came back. With 256 of them among 8192 misses the CPU earns twice the `allowance` that it has now.
    ///
    /// What only comes from here, or only goes back here, earns nothing. With an eighth as many, a program earns
    /// what it needs for a moment; with eight times as many, one that passes 1.5 MiB in 26 classes to and fro takes
    /// a third more of the processor's time for its first 600 000 blocks (`hand-over-1-1-mixed` of the benchmarks).
    /// Misses stand for time: replays have no clock here.
    pub(crate) fn note_costly_turn(&self, allowance: i64) {
        const TURNS: u32 = 256;
        const AMONG: u64 = 8192;
        let misses = self.misses();
        if misses.wrapping_sub(self.costly_since.load(Ordering::Relaxed)) > AMONG {
            self.costly_since.store(misses, Ordering::Relaxed);
            self.costly_turns.store(0, Ordering::Relaxed);
        }
        let turns = self.costly_turns.load(Ordering::Relaxed).wrapping_add(1);
        if turns < TURNS {
            self.costly_turns.store(turns, Ordering::Relaxed);
        } else {
            self.costly_since.store(misses, Ordering::Relaxed);
            self.costly_turns.store(0, Ordering::Relaxed);
            self.earned_bytes.store(allowance.saturating_mul(2), Ordering::Relaxed);
        }
    }

    /// Takes back what was earned, and then what was granted and no capacity takes up. For who emptied the cache. A
    /// CPU that earned nothing keeps its grants: it needed them before.
    pub(crate) fn revoke_earned(&self) {
        if self.earned_bytes.swap(0, Ordering::Relaxed) == 0 {
            return;
        }
        let available = take_up_to(&self.available_bytes, i64::MAX);
        self.granted_bytes.fetch_sub(available, Ordering::Relaxed);
        self.reserve_bytes.fetch_add(available, Ordering::Relaxed);
    }

    /// Takes up to `wanted` bytes off the CPU's limit that no capacity takes up: first what was not granted, then what is
    /// available. Says how many.
    pub(crate) fn give_up_share(&self, wanted: i64) -> i64 {
        let reserved = take_up_to(&self.reserve_bytes, wanted);
        let available = take_up_to(&self.available_bytes, wanted - reserved);
        self.granted_bytes.fetch_sub(available, Ordering::Relaxed);
        reserved + available
    }

    /// Adds to the CPU's limit what another gave up, or what the usual limit grew by; a negative number lowers it.
    /// If more is granted than the limit then, the reserve is below zero, and nothing is granted until [that is
    /// paid](Self::pay_debt).
    pub(crate) fn receive_share(&self, bytes: i64) {
        self.reserve_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Pays what the reserve is below zero by out of what is granted and no capacity takes up. Says how much of it
    /// capacities still have; a CPU that gave its limit to others may owe more, which only a higher limit pays.
    pub(crate) fn pay_debt(&self) -> i64 {
        let debt = self.reserve_bytes.load(Ordering::Relaxed).min(0).saturating_neg();
        let paid = take_up_to(&self.available_bytes, debt);
        self.reserve_bytes.fetch_add(paid, Ordering::Relaxed);
        let granted = self.granted_bytes.fetch_sub(paid, Ordering::Relaxed) - paid;
        (debt - paid).min(granted).max(0)
    }

    /// Takes up to `wanted` objects of `size` bytes out of the available bytes; says how many objects it got.
    pub(crate) fn claim(&self, wanted: u16, size: usize) -> u16 {
        let mut available = self.available_bytes.load(Ordering::Relaxed);
        loop {
            let fits = usize::try_from(available).unwrap_or(0) / size.max(1);
            let got = wanted.min(u16::try_from(fits).unwrap_or(u16::MAX));
            if got == 0 {
                return 0;
            }
            let rest = available - signed(got, size);
            match self.available_bytes.compare_exchange_weak(
                available,
                rest,
                Ordering::Relaxed,
                Ordering::Relaxed,
            ) {
                Ok(_) => return got,
                Err(now) => available = now,
            }
        }
    }

    /// Gives the bytes of `objects` objects of `size` bytes back to what is available.
    pub(crate) fn unclaim(&self, objects: u16, size: usize) {
        if objects > 0 {
            self.available_bytes.fetch_add(signed(objects, size), Ordering::Relaxed);
        }
    }

    /// Adds what classes gave up to what is available, and counts who gave.
    pub(crate) fn unclaim_stolen(&self, bytes: usize, victims: u64) {
        if victims > 0 {
            let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
            self.available_bytes.fetch_add(bytes, Ordering::Relaxed);
            add_roughly(&self.resizes, victims);
        }
    }
}

/// Adds to a counter on which nothing rests. Of two threads that do so on one CPU at the same moment, by which the
/// first was interrupted, one may go uncounted; a locked instruction would wait for all stores of the program
/// before it.
///
/// A model takes one, so that it does not explore what the counter may show.
pub(crate) fn add_roughly(counter: &AtomicU64, amount: u64) {
    if cfg!(strata_loom) {
        counter.fetch_add(amount, Ordering::Relaxed);
    } else {
        counter.store(counter.load(Ordering::Relaxed).wrapping_add(amount), Ordering::Relaxed);
    }
}

fn note_now(last: &[AtomicU32; CLASSES], class: SizeClass) {
    let now = Tick::of(strata_os::coarse_now_ns());
    last[class.index()].store(now.0, Ordering::Relaxed);
}

/// Takes up to `wanted` bytes out of a counter, which never falls below zero by that; says how many.
fn take_up_to(counter: &AtomicI64, wanted: i64) -> i64 {
    let mut found = counter.load(Ordering::Relaxed);
    loop {
        let taken = wanted.min(found);
        if taken <= 0 {
            return 0;
        }
        match counter.compare_exchange_weak(
            found,
            found - taken,
            Ordering::Relaxed,
            Ordering::Relaxed,
        ) {
            Ok(_) => return taken,
            Err(now) => found = now,
        }
    }
}

/// Capacity in bytes: at most 65 535 × 256 KiB, which fits.
fn signed(objects: u16, size: usize) -> i64 {
    i64::from(objects) * i64::try_from(size).unwrap_or(0)
}

#[cfg(test)]
mod tests;
