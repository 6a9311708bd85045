//! Address space that does not exist.

mod books;
mod figures;
mod segments;

use crate::{
    AddressRange, Advice, CallKind, MapError, PageSource, Release, Reservation, ReserveRequest,
    Residency, ThpMode,
};
use books::{Books, inner_hugepages};
pub use figures::{LoggedCall, SimulatedFigures};
use segments::{Backing, HugepageAdvice, PageState, Segments};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::vec::Vec;

/// What the model takes for a hugepage; and the least alignment of what it hands out.
const HUGEPAGE_BYTES: usize = 2 << 20;

/// A page source that keeps books on address space that does not exist: a heap of 1 TiB is a few
/// nodes of a tree. For tests and simulations; needs the feature `std`.
///
/// Nothing may be read or written at its addresses ([`touchable`](PageSource::touchable) is
/// false). Ranges are handed out upwards, aligned to 2 MiB at least, and one that was given back
/// comes again only when all others were used, so that mistakes show.
///
/// What was committed and not released counts as resident, since nobody can see it being touched;
/// of what was released, say [`touch`](Self::touch) when it is used again. A hugepage stands
/// where 2 MiB are resident, the mode and the advice are for it, and it was neither committed nor
/// released in parts since it was last committed or released whole, or collapsed.
///
/// With [`with_faults`](Self::with_faults) what is committed becomes resident when it is said to be touched, as
/// memory does: a hugepage at once where none of it was touched, and mode and advice are for one; else page by
/// page. Nothing becomes a hugepage later but by a collapse: there is no khugepaged.
///
/// # Panics
///
/// Where the caller breaks the contract: a range that is not made of whole pages, a call on what
/// is not reserved, a commit of what is committed and was not released by force (a real source
/// would call it zeroed), and a release, decommit, collapse or population of what is not committed.
///
/// Locks a mutex of std; any number of threads may call it.
///
/// ```
/// use strata_os::{PageSource, Purpose, Release, ReserveRequest, SimulatedPages};
/// let pages = SimulatedPages::new().with_limit(2 << 40);
/// let wish = ReserveRequest { bytes: 1 << 40, align: 1 << 30, purpose: Purpose::Heap };
/// let had = pages.reserve(wish)?;
/// assert!(pages.commit(had.range)?);
/// // SAFETY: nothing stands in simulated pages.
/// unsafe { pages.release(had.range, Release::Forced)? };
/// assert_eq!(pages.figures().released_bytes, 1 << 40);
/// assert_eq!(pages.residency(had.range)?.resident_bytes, 0);
/// # Ok::<(), strata_os::MapError>(())
/// ```
#[derive(Debug)]
pub struct SimulatedPages {
    page_bytes: usize,
    address_bits: u32,
    thp_mode: ThpMode,
    faults: bool,
    logs: bool,
    /// Guards the books; nothing else is locked while it is held.
    books: Mutex<Books>,
}

impl SimulatedPages {
    /// Address space of 47 bits without a limit, pages of 4 KiB, hugepages always.
    pub const fn new() -> Self {
        let books = Books {
            segments: Segments::new(),
            figures: SimulatedFigures::ZERO,
            limit_bytes: usize::MAX,
            reached: 0,
            log: Vec::new(),
        };
        Self {
            page_bytes: 4096,
            address_bits: 47,
            thp_mode: ThpMode::Always,
            faults: false,
            logs: false,
            books: Mutex::new(books),
        }
    }

    /// Refuses to have more than `bytes` reserved at a time.
    #[must_use]
    pub fn with_limit(self, bytes: usize) -> Self {
        self.set_limit(bytes);
        self
    }

    /// Has pages of `bytes` bytes, as kernels for other machines do.
    #[must_use]
    pub const fn with_page_bytes(mut self, bytes: usize) -> Self {
        assert!(bytes.is_power_of_two() && bytes <= HUGEPAGE_BYTES, "no page size");
        self.page_bytes = bytes;
        self
    }

    /// Has addresses of `bits` bits.
    #[must_use]
    pub const fn with_address_bits(mut self, bits: u32) -> Self {
        assert!(bits >= 32 && bits <= 57, "no address width");
        self.address_bits = bits;
        self
    }

    /// Makes hugepages when `mode` says.
    #[must_use]
    pub const fn with_thp_mode(mut self, mode: ThpMode) -> Self {
        self.thp_mode = mode;
        self
    }

    /// Takes nothing for resident that was not said to be [touched](Self::touch).
    #[must_use]
    pub const fn with_faults(mut self) -> Self {
        self.faults = true;
        self
    }

    /// Remembers every call that succeeds, for [`take_log`](Self::take_log).
    #[must_use]
    pub const fn with_log(mut self) -> Self {
        self.logs = true;
        self
    }

    /// From now on refuses to have more than `bytes` reserved; what is reserved stays.
    pub fn set_limit(&self, bytes: usize) {
        self.books().limit_bytes = bytes;
    }

    /// The books as they are now.
    pub fn figures(&self) -> SimulatedFigures {
        self.books().figures
    }

    /// The calls since the log was last taken, oldest first; none without
    /// [`with_log`](Self::with_log).
    pub fn take_log(&self) -> Vec<LoggedCall> {
        core::mem::take(&mut self.books().log)
    }

    /// How many segments the books need: what an operation costs is logarithmic in it.
    pub fn segments(&self) -> usize {
        self.books().segments.len()
    }

    /// How many mappings a kernel would have for what is reserved, of which a process may have some ten thousand:
    /// where the advice about hugepages changes, one ends.
    pub fn mappings(&self) -> usize {
        self.books().segments.mappings()
    }

    /// Says that `range` is written to: what had been released there is resident again. Returns
    /// how many bytes had to be faulted in again.
    ///
    /// # Panics
    ///
    /// Where a part of it is not committed: a real program would have died.
    pub fn touch(&self, range: AddressRange) -> usize {
        self.check(range);
        let mut books = self.books();
        if books.segments.all(range, |state| state.backing.is_resident()) {
            return 0;
        }
        books.demand_committed(range, "touched");
        let refaulted =
            if self.faults { self.fault(&mut books, range) } else { books.make_resident(range) };
        books.figures.refaulted_bytes += refaulted as u64;
        refaulted
    }

    /// Makes what is touched resident, hugepage by hugepage. Returns how many bytes had been released.
    fn fault(&self, books: &mut Books, range: AddressRange) -> usize {
        let mut refaulted = 0;
        let mut start = range.start;
        while start < range.end() {
            let hugepage = AddressRange::new(start & !(HUGEPAGE_BYTES - 1), HUGEPAGE_BYTES);
            let part = AddressRange::new(start, range.end().min(hugepage.end()) - start);
            let whole = books.segments.all(hugepage, |state| {
                let is_fresh = state.backing.is_committed() && !state.backing.is_resident();
                is_fresh && !state.split && self.favours_hugepages(state.advice)
            });
            if whole {
                refaulted += books.make_resident(hugepage);
            } else if !books.segments.all(part, |state| state.backing.is_resident()) {
                refaulted += books.make_resident(part);
                books.change(hugepage, |_, state| PageState {
                    split: true,
                    collapsed: false,
                    ..state
                });
            }
            start = part.end();
        }
        refaulted
    }

    /// Lets the kernel have what was released lazily in `range`, as it does when memory is short.
    pub fn reclaim_lazy(&self, range: AddressRange) {
        self.check(range);
        self.books().change(range, |_, state| match state.backing {
            Backing::Lazy => PageState { backing: Backing::Released, ..state },
            Backing::Reserved | Backing::Untouched | Backing::Resident | Backing::Released => state,
        });
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        // A test that provoked a panic may look at the books afterwards.
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn check(&self, range: AddressRange) {
        let whole = (range.start | range.bytes) & (self.page_bytes - 1) == 0;
        assert!(whole, "{range:?} is not made of whole pages of {} bytes", self.page_bytes);
        assert!(range.start.checked_add(range.bytes).is_some(), "the range wraps around");
    }

    /// Where ranges may be: not low, so that small numbers are seen to be no addresses.
    const fn whole(&self) -> AddressRange {
        let start = 1 << (self.address_bits - 3);
        AddressRange::new(start, (1 << self.address_bits) - start)
    }

    fn finish(&self, mut books: MutexGuard<'_, Books>, kind: CallKind, range: AddressRange) {
        books.figures.count(kind);
        if self.logs {
            let figures = books.figures;
            books.log.push(LoggedCall { kind, range, figures });
        }
    }

    /// Whether hugepages stand where `advice` was given.
    const fn favours_hugepages(&self, advice: HugepageAdvice) -> bool {
        match (self.thp_mode, advice) {
            (ThpMode::Always, HugepageAdvice::None | HugepageAdvice::For)
            | (ThpMode::Madvise, HugepageAdvice::For) => true,
            (ThpMode::Always, HugepageAdvice::Against)
            | (ThpMode::Madvise, HugepageAdvice::None | HugepageAdvice::Against)
            | (ThpMode::Never | ThpMode::Unknown, _) => false,
        }
    }
}

impl Default for SimulatedPages {
    fn default() -> Self {
        Self::new()
    }
}

// SAFETY:
// 1. `Segments::insert` refuses what overlaps, and nothing else of the program has addresses of
//    this source, for it has none that may be used.
// 2. It is not touchable.
// 3. Nothing can be read; as the books have it, what is called zeroed was reserved or released by
//    force.
// 4. What returns an error has not changed the books, and what panics stops the test.
unsafe impl PageSource for SimulatedPages {
    fn reserve(&self, request: ReserveRequest) -> Result<Reservation, MapError> {
        let bytes = request.bytes;
        if bytes == 0 || !bytes.is_multiple_of(self.page_bytes) || !request.align.is_power_of_two()
        {
            return Err(MapError::new(bytes, libc::EINVAL));
        }
        let mut books = self.books();
        let fits = books.figures.reserved_bytes.checked_add(bytes);
        if fits.is_none_or(|sum| sum > books.limit_bytes) {
            return Err(MapError::new(bytes, libc::ENOMEM));
        }
        let align = request.align.max(HUGEPAGE_BYTES);
        let range = books.place(self.whole(), bytes, align);
        let range = range.ok_or(MapError::new(bytes, libc::ENOMEM))?;
        let state = PageState {
            purpose: request.purpose,
            backing: Backing::Reserved,
            advice: HugepageAdvice::None,
            split: false,
            collapsed: false,
        };
        books.segments.insert(range, state);
        books.reached = books.reached.max(range.end());
        books.figures.add(state, bytes);
        books.figures.note_peaks();
        self.finish(books, CallKind::Reserve, range);
        Ok(Reservation { range, zeroed: true, committed: false })
    }

    unsafe fn unreserve(&self, range: AddressRange) -> Result<(), MapError> {
        self.check(range);
        let mut books = self.books();
        books.demand_reserved(range, "unreserved");
        books.note_split(range);
        let Books { segments, figures, .. } = &mut *books;
        segments.parts(range).for_each(|(part, state)| figures.remove(state, part.bytes));
        segments.remove(range);
        self.finish(books, CallKind::Unreserve, range);
        Ok(())
    }

    fn commit(&self, range: AddressRange) -> Result<bool, MapError> {
        self.check(range);
        let mut books = self.books();
        books.demand_reserved(range, "committed");
        let zeroed = books.segments.all(range, |state| !state.backing.is_resident());
        assert!(zeroed, "{range:?} is committed, and a part of it has been and was not released");
        if self.faults {
            books.change(range, |_, state| PageState { backing: Backing::Untouched, ..state });
        } else {
            let refaulted = books.make_resident(range);
            books.figures.refaulted_bytes += refaulted as u64;
        }
        books.note_split(range);
        self.finish(books, CallKind::Commit, range);
        Ok(true)
    }

    unsafe fn decommit(&self, range: AddressRange) -> Result<(), MapError> {
        self.check(range);
        let mut books = self.books();
        books.demand_committed(range, "decommitted");
        books.change(range, |_, state| PageState { backing: Backing::Reserved, ..state });
        books.note_split(range);
        self.finish(books, CallKind::Decommit, range);
        Ok(())
    }

    unsafe fn release(&self, range: AddressRange, how: Release) -> Result<(), MapError> {
        self.check(range);
        let mut books = self.books();
        books.demand_committed(range, "released");
        books.change(range, |_, state| {
            let backing = match (how, state.backing) {
                (_, Backing::Untouched) => Backing::Untouched,
                (Release::Lazy, Backing::Resident | Backing::Lazy) => Backing::Lazy,
                (Release::Forced | Release::Lazy, _) => Backing::Released,
            };
            PageState { backing, ..state }
        });
        if how == Release::Forced {
            books.note_split(range);
        }
        self.finish(books, CallKind::Release, range);
        Ok(())
    }

    fn advise(&self, range: AddressRange, advice: Advice) -> Result<(), MapError> {
        self.check(range);
        let mut books = self.books();
        books.demand_reserved(range, "advised about");
        match advice {
            Advice::Hugepage => {
                books.change(range, |_, state| PageState { advice: HugepageAdvice::For, ..state })
            }
            Advice::NoHugepage => books
                .change(range, |_, state| PageState { advice: HugepageAdvice::Against, ..state }),
            Advice::Collapse => {
                books.demand_committed(range, "collapsed");
                if !books.segments.all(range, |state| state.advice != HugepageAdvice::Against) {
                    return Err(MapError::new(range.bytes, libc::EINVAL));
                }
                let inner = inner_hugepages(range);
                books.make_resident(inner);
                books.change(inner, |_, state| PageState {
                    split: false,
                    collapsed: true,
                    ..state
                });
            }
            Advice::Cold => {}
            Advice::PopulateWrite => {
                books.demand_committed(range, "populated");
                books.make_resident(range);
            }
        }
        self.finish(books, CallKind::Advise, range);
        Ok(())
    }

    fn residency(&self, range: AddressRange) -> Result<Residency, MapError> {
        self.check(range);
        let mut books = self.books();
        books.demand_reserved(range, "asked about");
        let mut sum = Residency::default();
        let mut run = AddressRange::default();
        for (part, state) in books.segments.parts(range) {
            let resident = state.backing.is_resident();
            sum.resident_bytes += if resident { part.bytes } else { 0 };
            let whole = state.collapsed || !state.split && self.favours_hugepages(state.advice);
            if !resident || !whole {
                continue;
            }
            if run.end() == part.start {
                run.bytes += part.bytes;
            } else {
                sum.hugepage_bytes += inner_hugepages(run).bytes;
                run = part;
            }
        }
        sum.hugepage_bytes += inner_hugepages(run).bytes;
        books.figures.count(CallKind::Residency);
        Ok(sum)
    }

    fn page_bytes(&self) -> usize {
        self.page_bytes
    }

    fn address_bits(&self) -> u32 {
        self.address_bits
    }

    fn touchable(&self) -> bool {
        false
    }

    fn thp_mode(&self) -> ThpMode {
        if self.faults { self.thp_mode } else { ThpMode::Unknown }
    }
}

#[cfg(test)]
mod tests;
