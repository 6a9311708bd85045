//! Address space, reserved in growing steps and taken in pieces.

use strata_os::{AddressRange, PageSource, Purpose, ReserveRequest};
use strata_span::{HUGEPAGE_BYTES, HugepageCount, Platform, RangeLog};

/// Address space that a page heap grows into: reserved ahead in steps that grow with use, committed
/// as it is taken.
///
/// A process that allocates little reserves little: the first step is [`Reserve::FIRST_STEP`], each
/// further one twice the last, up to [`Reserve::GREATEST_STEP`]. Where address space is short,
/// steps shrink down to what is needed now. All pieces are whole hugepages, aligned to hugepages.
///
/// The owner guards it, as `&mut` says. All zero bits are an empty one.
#[derive(Debug)]
pub struct Reserve {
    /// The newest reservation's rest first, then those of earlier reservations that were too short
    /// for a request.
    stocks: [Stock; Self::STOCKS],
    /// How often the step has doubled.
    doublings: u32,
    stats: ReserveStats,
    committed_bytes: u64,
    /// Whether the source had no more when it was last asked.
    short: bool,
    log: RangeLog,
}

/// What is left of a reservation.
#[derive(Clone, Copy, Debug)]
struct Stock {
    range: AddressRange,
    /// How much of it, from its start, is committed already.
    committed_bytes: usize,
    /// Whether some of that may read as something else than zero.
    dirty: bool,
}

impl Stock {
    const NONE: Self = Self { range: AddressRange::new(0, 0), committed_bytes: 0, dirty: false };
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
    /// Commitment goes ahead of use by at most this much, so that growth by single hugepages does
    /// not cost a system call each. At half as much the calls double; at twice, more stays charged
    /// where the kernel does not overcommit.
    const COMMIT_STEP: usize = 16 << 20;
    const STOCKS: usize = 9;
    /// Most bytes that are taken before an aligned piece. At half, programs with blocks of 64 MiB at multiples of these
    /// leave more of their reservations unused; at twice, a block has a page-map leaf more (32 768 pages).
    pub const MOST_PADDING: usize = 64 << 20;

    strata_sync::const_fn! {
        /// No address space yet.
        pub const fn new() -> Self {
            Self {
                stocks: [Stock::NONE; Self::STOCKS],
                doublings: 0,
                stats: ReserveStats {
                    reserved_bytes: 0,
                    taken_bytes: 0,
                    committed_ahead_bytes: 0,
                    reservations: 0,
                    refusals: 0,
                },
                committed_bytes: 0,
                short: false,
                log: RangeLog::new(),
            }
        }
    }

    /// Takes `count` hugepages in a row, readable and writable; none when the source has no more.
    /// The pages are entered in no map yet.
    pub fn take<E: Platform>(&mut self, platform: &E, count: HugepageCount) -> Option<TakenRange> {
        let bytes = count.get().checked_mul(HUGEPAGE_BYTES)?;
        if bytes == 0 {
            return None;
        }
        let index = match self.stock_of(bytes) {
            Some(index) => index,
            None => self.reserve_step(platform, bytes, HUGEPAGE_BYTES)?,
        };
        self.take_from(platform, index, bytes)
    }

    /// Takes a piece in which `count` hugepages begin at a multiple of `align` hugepages, a power of two. What lies before
    /// these in the piece is [`Self::MOST_PADDING`] at most: a greater alignment is asked of the source, so that neither
    /// page-map leaves nor anything else is spent on what lies before it.
    pub fn take_aligned<E: Platform>(
        &mut self,
        platform: &E,
        count: HugepageCount,
        align: usize,
    ) -> Option<TakenRange> {
        let align = align.checked_mul(HUGEPAGE_BYTES).filter(|_| align.is_power_of_two())?;
        let bytes = count.get().checked_mul(HUGEPAGE_BYTES).filter(|bytes| *bytes > 0)?;
        let padded = |stock: &Stock| {
            let start = stock.range.start.checked_next_multiple_of(align)?;
            let padding = start - stock.range.start;
            let fits = stock.range.bytes.checked_sub(padding).is_some_and(|rest| rest >= bytes);
            (fits && padding <= Self::MOST_PADDING).then_some(padding)
        };
        let found = self.stocks.iter().enumerate().find_map(|(i, stock)| Some((i, padded(stock)?)));
        let (index, padding) = match found {
            Some(found) => found,
            None if align > Self::MOST_PADDING => (self.reserve_step(platform, bytes, align)?, 0),
            None => {
                let padding = align - HUGEPAGE_BYTES;
                let room = bytes.checked_add(padding)?;
                let index = self.reserve_step(platform, room, HUGEPAGE_BYTES)?;
                (index, self.stocks.get(index).and_then(padded)?)
            }
        };
        self.take_from(platform, index, bytes + padding)
    }

    /// Takes `count` hugepages from the address `start` on, if a reservation goes on just there and has so many left;
    /// nothing is reserved for it.
    #[unsafe(link_section = ".text_rarely")]
    pub fn take_at<E: Platform>(
        &mut self,
        platform: &E,
        start: usize,
        count: HugepageCount,
    ) -> Option<TakenRange> {
        let bytes = count.get().checked_mul(HUGEPAGE_BYTES).filter(|bytes| *bytes > 0)?;
        let goes_on = |stock: &Stock| stock.range.start == start && stock.range.bytes >= bytes;
        let index = self.stocks.iter().position(goes_on)?;
        self.take_from(platform, index, bytes)
    }

    /// Takes back what the last [`take`](Self::take) or [`take_at`](Self::take_at) gave, as if it had not been called.
    ///
    /// Only the newest piece can be put back, and only before anything was written to it.
    #[unsafe(link_section = ".text_rarely")]
    pub fn put_back(&mut self, taken: TakenRange) {
        let range = taken.range;
        let joins = |stock: &&mut Stock| stock.range.start == range.end();
        let stock = self.stocks.iter_mut().find(joins);
        debug_assert!(stock.is_some(), "only the newest piece is put back");
        if let Some(stock) = stock {
            stock.range = AddressRange::new(range.start, range.bytes + stock.range.bytes);
            stock.committed_bytes += range.bytes;
            stock.dirty |= !taken.zeroed;
            self.stats.taken_bytes -= range.bytes as u64;
        }
    }

    /// Gives a half of the longest stretch that nobody has taken back to the source, or the last hugepage of it; says how
    /// many bytes. For when there is no address space, or no charge, for anything else: metadata above all.
    #[unsafe(link_section = ".text_rarely")]
    pub fn give_back_half<E: Platform>(&mut self, platform: &E) -> usize {
        let longest = self.stocks.iter_mut().max_by_key(|stock| stock.range.bytes);
        let Some(stock) = longest.filter(|stock| !stock.range.is_empty()) else { return 0 };
        let bytes = (stock.range.bytes / 2).next_multiple_of(HUGEPAGE_BYTES);
        let kept = stock.range.bytes - bytes;
        let tail = AddressRange::new(stock.range.start + kept, bytes);
        // SAFETY: nobody has taken any of it.
        if unsafe { platform.source().unreserve(tail) }.is_err() {
            return 0;
        }
        let noted = self.log.shorten(tail.end(), bytes);
        debug_assert!(noted, "a stock is the end of a reservation");
        stock.range.bytes = kept;
        self.committed_bytes -= stock.committed_bytes.saturating_sub(kept) as u64;
        stock.committed_bytes = stock.committed_bytes.min(kept);
        self.stats.reserved_bytes -= bytes as u64;
        self.doublings = 0;
        bytes
    }

    /// Gives all that nobody has taken back to the source; says how many bytes.
    pub fn give_back_ahead<E: Platform>(&mut self, platform: &E) -> usize {
        let mut bytes = 0;
        loop {
            match self.give_back_half(platform) {
                0 => return bytes,
                more => bytes += more,
            }
        }
    }

    /// Gives a range back to the source that was taken, is whole hugepages, and is used for nothing more; says how many
    /// bytes from its start went. 0 where the source refuses or there is no memory for the books.
    #[unsafe(link_section = ".text_rarely")]
    pub fn give_back<E: Platform>(&mut self, platform: &E, range: AddressRange) -> usize {
        let mut gone = 0;
        // It may go over the ends of reservations.
        while gone < range.bytes {
            let rest = AddressRange::new(range.start + gone, range.bytes - gone);
            let give_back = |part: AddressRange| {
                // SAFETY: the caller uses nothing of the range any more.
                unsafe { platform.source().unreserve(part) }.is_ok()
            };
            let bytes = self.log.cut(platform.arena(), platform.metadata(), rest, give_back);
            if bytes == 0 {
                break;
            }
            gone += bytes;
        }
        self.stats.reserved_bytes -= gone as u64;
        self.stats.taken_bytes -= gone as u64;
        self.committed_bytes -= gone as u64;
        gone
    }

    /// Whether the source had no more address space, or no more memory, when it was last asked. Then what a heap has and
    /// does not need is wanted elsewhere in the process.
    pub const fn is_short(&self) -> bool {
        self.short
    }

    /// The figures.
    pub const fn stats(&self) -> ReserveStats {
        let mut stats = self.stats;
        stats.committed_ahead_bytes = self.committed_bytes - stats.taken_bytes;
        stats
    }

    /// Calls `visit` for each reservation.
    pub fn for_each_reservation(&self, visit: impl FnMut(AddressRange)) {
        self.log.for_each(visit);
    }

    /// What was reserved from `address` on, as [`PageHeap::next_reservation`](crate::PageHeap::next_reservation) tells it.
    pub fn next_from(&self, address: usize) -> Option<AddressRange> {
        next_from(address, |visit| self.for_each_reservation(visit))
    }

    /// Takes the first `bytes` of a stock, which has so many.
    fn take_from<E: Platform>(
        &mut self,
        platform: &E,
        index: usize,
        bytes: usize,
    ) -> Option<TakenRange> {
        self.commit_ahead(platform, index, bytes)?;
        let stock = self.stocks.get_mut(index)?;
        let range = AddressRange::new(stock.range.start, bytes);
        stock.range = AddressRange::new(range.end(), stock.range.bytes - bytes);
        stock.committed_bytes -= bytes;
        self.stats.taken_bytes += bytes as u64;
        Some(TakenRange { range, zeroed: !stock.dirty })
    }

    /// The stock that `bytes` are taken from: the newest, else the shortest that has so much.
    fn stock_of(&self, bytes: usize) -> Option<usize> {
        let (newest, spares) = self.stocks.split_first()?;
        if newest.range.bytes >= bytes {
            return Some(0);
        }
        let fitting = spares.iter().enumerate().filter(|(_, spare)| spare.range.bytes >= bytes);
        fitting.min_by_key(|(_, spare)| spare.range.bytes).map(|(index, _)| index + 1)
    }

    const fn next_step(&self) -> usize {
        Self::FIRST_STEP << self.doublings
    }

    /// Reserves a step that has room for `bytes` and is aligned to `align` bytes, and makes it the newest stock.
    fn reserve_step<E: Platform>(
        &mut self,
        platform: &E,
        bytes: usize,
        align: usize,
    ) -> Option<usize> {
        let wished = self.next_step();
        let mut step = wished.max(bytes.checked_next_multiple_of(HUGEPAGE_BYTES)?);
        let (reservation, committed_bytes, zeroed) = loop {
            let request = ReserveRequest { bytes: step, align, purpose: Purpose::Heap };
            match platform.source().reserve(request) {
                Ok(reservation) if reservation.committed => {
                    break (reservation, reservation.range.bytes, Some(reservation.zeroed));
                }
                Ok(reservation) => {
                    let needed = AddressRange::new(reservation.range.start, bytes);
                    let zeroed = platform.source().commit(needed).ok();
                    if zeroed.is_some() {
                        break (reservation, bytes, zeroed);
                    }
                    // What cannot be committed or noted is not kept: under a limit on memory each attempt would
                    // take address space.
                    self.stats.refusals += 1;
                    // SAFETY: the range was just reserved, and nobody knows it.
                    if unsafe { platform.source().unreserve(reservation.range) }.is_err() {
                        break (reservation, bytes, None);
                    }
                    if step == bytes {
                        self.short = true;
                        return None;
                    }
                    // A process that has as many mappings as it may have is refused what would cut one in two. What
                    // is accessible as a whole cuts none, and is of one mapping with its neighbour.
                    step = bytes;
                }
                Err(_) => {
                    self.stats.refusals += 1;
                    if step == bytes {
                        self.short = true;
                        return None;
                    }
                    step = (step / 2).next_multiple_of(HUGEPAGE_BYTES).max(bytes);
                }
            }
        };
        let range = reservation.range;
        self.short = zeroed.is_none();
        if !self.log.push(platform.arena(), platform.metadata(), range) {
            // SAFETY: the range was just reserved, and is not in the log: nobody knows it.
            let _ = unsafe { platform.source().unreserve(range) };
            return None;
        }
        self.stats.reserved_bytes += range.bytes as u64;
        self.stats.reservations += 1;
        // What was refused now is not asked for again next time.
        self.doublings = match (step.min(wished) / Self::FIRST_STEP).checked_ilog2() {
            Some(reached) => (reached + 1).min((Self::GREATEST_STEP / Self::FIRST_STEP).ilog2()),
            None => 0,
        };
        self.keep_newest();
        let committed_bytes = if zeroed.is_some() { committed_bytes } else { 0 };
        self.committed_bytes += committed_bytes as u64;
        let dirty = !(zeroed.unwrap_or(true) && reservation.zeroed);
        *self.stocks.first_mut()? = Stock { range, committed_bytes, dirty };
        // Without its memory the range waits for better times.
        zeroed.map(|_| 0)
    }

    /// Puts the newest stock among the spares, in place of the shortest.
    fn keep_newest(&mut self) {
        let Some((newest, spares)) = self.stocks.split_first_mut() else { return };
        let newest = core::mem::replace(newest, Stock::NONE);
        if let Some(shortest) = spares.iter_mut().min_by_key(|spare| spare.range.bytes)
            && shortest.range.bytes < newest.range.bytes
        {
            *shortest = newest;
        }
    }

    /// Commits at least the first `bytes` of a stock.
    fn commit_ahead<E: Platform>(
        &mut self,
        platform: &E,
        index: usize,
        bytes: usize,
    ) -> Option<()> {
        let stock = self.stocks.get_mut(index)?;
        if stock.committed_bytes >= bytes {
            return Some(());
        }
        // As much ahead as was taken so far, within the step: a small heap commits little.
        let ahead = usize::try_from(self.stats.taken_bytes).unwrap_or(Self::COMMIT_STEP);
        let ahead = ahead.min(Self::COMMIT_STEP) & !(HUGEPAGE_BYTES - 1);
        for wish in [bytes.saturating_add(ahead).min(stock.range.bytes), bytes] {
            let start = stock.range.start + stock.committed_bytes;
            let range = AddressRange::new(start, wish - stock.committed_bytes);
            if let Ok(zeroed) = platform.source().commit(range) {
                stock.dirty |= !zeroed;
                stock.committed_bytes = wish;
                self.committed_bytes += range.bytes as u64;
                return Some(());
            }
            self.stats.refusals += 1;
        }
        None
    }
}

/// Of the ranges that `for_each` visits, in whatever order: what there is from `address` on, up to the end of the
/// lowest range that ends behind it.
pub(crate) fn next_from(
    address: usize,
    for_each: impl FnOnce(&mut dyn FnMut(AddressRange)),
) -> Option<AddressRange> {
    let mut next: Option<AddressRange> = None;
    for_each(&mut |range| {
        let start = range.start.max(address);
        if start < range.end() && next.is_none_or(|first| start < first.start) {
            next = Some(AddressRange::new(start, range.end() - start));
        }
    });
    next
}

impl Default for Reserve {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests;
