//! Address space, reserved in growing steps and taken in pieces.

use strata_os::{AddressRange, PageSource, Purpose, ReserveRequest};
use strata_span::{HUGEPAGE_BYTES, HugepageCount, Platform, RangeLog};

/// Address space that a page heap grows into: reserved ahead in steps that grow with use, committed as it
/// is taken.
///
/// A process that allocates little reserves little: the first step is [`Reserve::FIRST_STEP`], each
/// further one twice the last, up to [`Reserve::GREATEST_STEP`]. Where address space is short, steps
/// shrink down to what is needed now. All pieces are whole hugepages, aligned to hugepages.
///
/// The owner guards it, as `&mut` says.
#[derive(Debug)]
pub struct Reserve {
    /// The rest of the newest reservation.
    rest: AddressRange,
    /// How much of `rest`, from its start, is committed already.
    committed_bytes: usize,
    /// Whether the newest reservation reads as zero.
    rest_zeroed: bool,
    /// Rests of earlier reservations that were too short for a request.
    spare: [AddressRange; Self::SPARES],
    next_step: usize,
    stats: ReserveStats,
    log: RangeLog,
}

/// How much a [`Reserve`] has, in bytes unless named otherwise.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ReserveStats {
    /// Reserved from the source.
    pub reserved_bytes: u64,
    /// Of it, taken.
    pub taken_bytes: u64,
    /// Of it, committed but not taken.
    pub committed_ahead_bytes: u64,
    /// Number of reservations.
    pub reservations: u64,
    /// How often the source refused.
    pub refusals: u64,
}

/// A piece that was taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TakenRange {
    /// Where: whole hugepages.
    pub range: AddressRange,
    /// Whether it reads as zero.
    pub zeroed: bool,
}

impl Reserve {
    /// The first step, in bytes.
    pub const FIRST_STEP: usize = 32 << 20;
    /// The greatest step, in bytes.
    pub const GREATEST_STEP: usize = 1 << 30;
    /// Commitment goes ahead of use by at most this much, so that growth by single hugepages does not cost a
    /// system call each. At half as much the calls double; at twice, more stays charged where the kernel
    /// does not overcommit.
    const COMMIT_STEP: usize = 16 << 20;
    const SPARES: usize = 8;

    /// No address space yet.
    pub const fn new() -> Self {
        Self {
            rest: AddressRange::new(0, 0),
            committed_bytes: 0,
            rest_zeroed: false,
            spare: [AddressRange::new(0, 0); Self::SPARES],
            next_step: Self::FIRST_STEP,
            stats: ReserveStats {
                reserved_bytes: 0,
                taken_bytes: 0,
                committed_ahead_bytes: 0,
                reservations: 0,
                refusals: 0,
            },
            log: RangeLog::new(),
        }
    }

    /// Takes `count` hugepages in a row, readable and writable; none when the source has no more. The pages
    /// are entered in no map yet.
    pub fn take<E: Platform>(&mut self, platform: &E, count: HugepageCount) -> Option<TakenRange> {
        let bytes = count.get().checked_mul(HUGEPAGE_BYTES)?;
        if bytes == 0 {
            return None;
        }
        if self.rest.bytes < bytes
            && let Some(spare) = self.take_spare(platform, bytes)
        {
            return Some(spare);
        }
        if self.rest.bytes < bytes {
            self.reserve_step(platform, bytes)?;
        }
        self.commit_ahead(platform, bytes)?;
        let range = AddressRange::new(self.rest.start, bytes);
        self.rest = AddressRange::new(range.end(), self.rest.bytes - bytes);
        self.committed_bytes -= bytes;
        self.stats.taken_bytes += bytes as u64;
        Some(TakenRange { range, zeroed: self.rest_zeroed })
    }

    /// Takes back what the last [`take`](Self::take) gave, as if it had not been called.
    ///
    /// Only the newest piece can be put back, and only before anything was written to it.
    pub fn put_back(&mut self, taken: TakenRange) {
        let TakenRange { range, .. } = taken;
        let rests = core::iter::once(&mut self.rest).chain(&mut self.spare);
        for (index, rest) in rests.enumerate() {
            if rest.start == range.end() {
                *rest = AddressRange::new(range.start, range.bytes + rest.bytes);
                if index == 0 {
                    self.committed_bytes += range.bytes;
                }
                self.stats.taken_bytes -= range.bytes as u64;
                return;
            }
        }
        debug_assert!(false, "only the newest piece is put back");
    }

    /// The figures.
    pub const fn stats(&self) -> ReserveStats {
        let mut stats = self.stats;
        stats.committed_ahead_bytes = self.committed_bytes as u64;
        stats
    }

    /// Calls `visit` for each reservation.
    pub fn for_each_reservation(&self, visit: impl FnMut(AddressRange)) {
        self.log.for_each(visit);
    }

    /// Reserves a step that has room for `bytes`, and makes it the one to take from.
    fn reserve_step<E: Platform>(&mut self, platform: &E, bytes: usize) -> Option<()> {
        let mut step = self.next_step.max(bytes.checked_next_multiple_of(HUGEPAGE_BYTES)?);
        let reservation = loop {
            let request =
                ReserveRequest { bytes: step, align: HUGEPAGE_BYTES, purpose: Purpose::Heap };
            match platform.source().reserve(request) {
                Ok(reservation) => break reservation,
                Err(_) => {
                    self.stats.refusals += 1;
                    if step == bytes {
                        return None;
                    }
                    step = (step / 2).next_multiple_of(HUGEPAGE_BYTES).max(bytes);
                }
            }
        };
        if !self.log.push(platform.arena(), platform.metadata(), reservation.range) {
            // SAFETY: the range was just reserved, and nobody knows it.
            let _ = unsafe { platform.source().unreserve(reservation.range) };
            return None;
        }
        self.stats.reserved_bytes += reservation.range.bytes as u64;
        self.stats.reservations += 1;
        self.next_step = (self.next_step * 2).min(Self::GREATEST_STEP);
        self.keep_rest();
        self.rest = reservation.range;
        self.rest_zeroed = reservation.zeroed;
        self.committed_bytes = if reservation.committed { reservation.range.bytes } else { 0 };
        Some(())
    }

    /// Puts the rest of the last reservation among the spares, in place of the shortest.
    fn keep_rest(&mut self) {
        let rest = core::mem::take(&mut self.rest);
        if let Some(shortest) = self.spare.iter_mut().min_by_key(|range| range.bytes)
            && shortest.bytes < rest.bytes
        {
            *shortest = rest;
        }
        self.committed_bytes = 0;
    }

    /// Takes `bytes` from a spare. Its pages may have been committed before and never used: committing
    /// twice does no harm.
    fn take_spare<E: Platform>(&mut self, platform: &E, bytes: usize) -> Option<TakenRange> {
        let spare =
            self.spare.iter_mut().filter(|range| range.bytes >= bytes).min_by_key(|r| r.bytes)?;
        let range = AddressRange::new(spare.start, bytes);
        let zeroed = platform.source().commit(range).ok()?;
        *spare = AddressRange::new(range.end(), spare.bytes - bytes);
        self.stats.taken_bytes += bytes as u64;
        Some(TakenRange { range, zeroed })
    }

    /// Commits at least the first `bytes` of the rest.
    fn commit_ahead<E: Platform>(&mut self, platform: &E, bytes: usize) -> Option<()> {
        if self.committed_bytes >= bytes {
            return Some(());
        }
        // As much ahead as was taken so far, within the step: a small heap commits little.
        let ahead = usize::try_from(self.stats.taken_bytes).unwrap_or(Self::COMMIT_STEP);
        let ahead = ahead.min(Self::COMMIT_STEP) & !(HUGEPAGE_BYTES - 1);
        for wish in [bytes.saturating_add(ahead).min(self.rest.bytes), bytes] {
            let start = self.rest.start + self.committed_bytes;
            let range = AddressRange::new(start, wish - self.committed_bytes);
            if let Ok(zeroed) = platform.source().commit(range) {
                self.rest_zeroed &= zeroed;
                self.committed_bytes = wish;
                return Some(());
            }
            self.stats.refusals += 1;
        }
        None
    }
}

impl Default for Reserve {
    fn default() -> Self {
        Self::new()
    }
}
