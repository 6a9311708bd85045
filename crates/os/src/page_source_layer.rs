//! Sources that stand before another one, and change some of its answers.

use crate::{
    AddressRange, Advice, KernelPages, MapError, PageScan, PageSource, Release, Reservation,
    ReserveRequest, Residency, ThpMode,
};

/// A source before another one: what it does not say itself goes to the one beneath, as it came. Whoever implements
/// this has a [`PageSource`]. Where both traits are imported, calls of such a source are ambiguous: who calls
/// imports the other one alone.
///
/// ```
/// use core::sync::atomic::{AtomicUsize, Ordering};
/// use strata_os::{
///     MapError, PageSource, PageSourceLayer, Purpose, Reservation, ReserveRequest, SimulatedPages,
/// };
///
/// /// Counts what is reserved.
/// struct Counted(SimulatedPages, AtomicUsize);
///
/// // SAFETY: all answers are those of the pages beneath.
/// unsafe impl PageSourceLayer for Counted {
///     type Beneath = SimulatedPages;
///
///     fn beneath(&self) -> &SimulatedPages {
///         &self.0
///     }
///
///     fn reserve(&self, request: ReserveRequest) -> Result<Reservation, MapError> {
///         self.1.fetch_add(request.bytes, Ordering::Relaxed);
///         self.0.reserve(request)
///     }
/// }
///
/// let counted = Counted(SimulatedPages::new(), AtomicUsize::new(0));
/// let request = ReserveRequest { bytes: 4096, align: 4096, purpose: Purpose::Heap };
/// let pages: &dyn PageSource = &counted;
/// pages.reserve(request).expect("address space");
/// assert_eq!((counted.1.into_inner(), counted.0.figures().reserved_bytes), (4096, 4096));
/// ```
///
/// # Safety
///
/// An implementation promises what one of [`PageSource`] does, where the source beneath keeps its own promises.
pub unsafe trait PageSourceLayer: Sync {
    /// The one beneath.
    type Beneath: PageSource + ?Sized;

    /// The one beneath, always the same.
    fn beneath(&self) -> &Self::Beneath;

    /// As [`PageSource::reserve`].
    fn reserve(&self, request: ReserveRequest) -> Result<Reservation, MapError> {
        self.beneath().reserve(request)
    }

    /// As [`PageSource::unreserve`].
    ///
    /// # Safety
    ///
    /// As there.
    unsafe fn unreserve(&self, range: AddressRange) -> Result<(), MapError> {
        // SAFETY: it is handed on as it came: what holds of it for us holds for the source beneath.
        unsafe { self.beneath().unreserve(range) }
    }

    /// As [`PageSource::commit`].
    fn commit(&self, range: AddressRange) -> Result<bool, MapError> {
        self.beneath().commit(range)
    }

    /// As [`PageSource::decommit`].
    ///
    /// # Safety
    ///
    /// As there.
    unsafe fn decommit(&self, range: AddressRange) -> Result<(), MapError> {
        // SAFETY: it is handed on as it came: what holds of it for us holds for the source beneath.
        unsafe { self.beneath().decommit(range) }
    }

    /// As [`PageSource::mark_guard`].
    ///
    /// # Safety
    ///
    /// As there.
    unsafe fn mark_guard(&self, range: AddressRange) -> Result<(), MapError> {
        // SAFETY: it is handed on as it came: what holds of it for us holds for the source beneath.
        unsafe { self.beneath().mark_guard(range) }
    }

    /// As [`PageSource::unmark_guard`].
    fn unmark_guard(&self, range: AddressRange) -> Result<(), MapError> {
        self.beneath().unmark_guard(range)
    }

    /// As [`PageSource::release`].
    ///
    /// # Safety
    ///
    /// As there.
    unsafe fn release(&self, range: AddressRange, how: Release) -> Result<(), MapError> {
        // SAFETY: it is handed on as it came: what holds of it for us holds for the source beneath.
        unsafe { self.beneath().release(range, how) }
    }

    /// As [`PageSource::advise`].
    fn advise(&self, range: AddressRange, advice: Advice) -> Result<(), MapError> {
        self.beneath().advise(range, advice)
    }

    /// As [`PageSource::residency`].
    fn residency(&self, range: AddressRange) -> Result<Residency, MapError> {
        self.beneath().residency(range)
    }

    /// As [`PageSource::residency_by`].
    fn residency_by(&self, scan: &PageScan, range: AddressRange) -> Result<Residency, MapError> {
        self.beneath().residency_by(scan, range)
    }

    /// As [`PageSource::kernel_pages`].
    fn kernel_pages(&self, scan: &PageScan, range: AddressRange) -> Result<KernelPages, MapError> {
        self.beneath().kernel_pages(scan, range)
    }

    /// As [`PageSource::relocate`].
    ///
    /// # Safety
    ///
    /// As there.
    unsafe fn relocate(&self, from: AddressRange, to: usize) -> Result<usize, MapError> {
        // SAFETY: it is handed on as it came: what holds of it for us holds for the source beneath.
        unsafe { self.beneath().relocate(from, to) }
    }

    /// As [`PageSource::may_split`].
    fn may_split(&self, range: AddressRange, at: usize) -> bool {
        self.beneath().may_split(range, at)
    }

    /// As [`PageSource::may_merge`].
    fn may_merge(&self, low: AddressRange, high: AddressRange) -> bool {
        self.beneath().may_merge(low, high)
    }

    /// As [`PageSource::page_bytes`].
    fn page_bytes(&self) -> usize {
        self.beneath().page_bytes()
    }

    /// As [`PageSource::address_bits`].
    fn address_bits(&self) -> u32 {
        self.beneath().address_bits()
    }

    /// As [`PageSource::touchable`].
    fn touchable(&self) -> bool {
        self.beneath().touchable()
    }

    /// As [`PageSource::thp_mode`].
    fn thp_mode(&self) -> ThpMode {
        self.beneath().thp_mode()
    }

    /// As [`PageSource::is_confined`].
    fn is_confined(&self) -> bool {
        self.beneath().is_confined()
    }
}

// SAFETY: the layer promises 1. to 4.
unsafe impl<L: PageSourceLayer> PageSource for L {
    fn reserve(&self, request: ReserveRequest) -> Result<Reservation, MapError> {
        PageSourceLayer::reserve(self, request)
    }

    unsafe fn unreserve(&self, range: AddressRange) -> Result<(), MapError> {
        // SAFETY: the caller's promise is the same.
        unsafe { PageSourceLayer::unreserve(self, range) }
    }

    fn commit(&self, range: AddressRange) -> Result<bool, MapError> {
        PageSourceLayer::commit(self, range)
    }

    unsafe fn decommit(&self, range: AddressRange) -> Result<(), MapError> {
        // SAFETY: the caller's promise is the same.
        unsafe { PageSourceLayer::decommit(self, range) }
    }

    unsafe fn mark_guard(&self, range: AddressRange) -> Result<(), MapError> {
        // SAFETY: the caller's promise is the same.
        unsafe { PageSourceLayer::mark_guard(self, range) }
    }

    fn unmark_guard(&self, range: AddressRange) -> Result<(), MapError> {
        PageSourceLayer::unmark_guard(self, range)
    }

    unsafe fn release(&self, range: AddressRange, how: Release) -> Result<(), MapError> {
        // SAFETY: the caller's promise is the same.
        unsafe { PageSourceLayer::release(self, range, how) }
    }

    fn advise(&self, range: AddressRange, advice: Advice) -> Result<(), MapError> {
        PageSourceLayer::advise(self, range, advice)
    }

    fn residency(&self, range: AddressRange) -> Result<Residency, MapError> {
        PageSourceLayer::residency(self, range)
    }

    fn residency_by(&self, scan: &PageScan, range: AddressRange) -> Result<Residency, MapError> {
        PageSourceLayer::residency_by(self, scan, range)
    }

    fn kernel_pages(&self, scan: &PageScan, range: AddressRange) -> Result<KernelPages, MapError> {
        PageSourceLayer::kernel_pages(self, scan, range)
    }

    unsafe fn relocate(&self, from: AddressRange, to: usize) -> Result<usize, MapError> {
        // SAFETY: the caller's promise is the same.
        unsafe { PageSourceLayer::relocate(self, from, to) }
    }

    fn may_split(&self, range: AddressRange, at: usize) -> bool {
        PageSourceLayer::may_split(self, range, at)
    }

    fn may_merge(&self, low: AddressRange, high: AddressRange) -> bool {
        PageSourceLayer::may_merge(self, low, high)
    }

    fn page_bytes(&self) -> usize {
        PageSourceLayer::page_bytes(self)
    }

    fn address_bits(&self) -> u32 {
        PageSourceLayer::address_bits(self)
    }

    fn touchable(&self) -> bool {
        PageSourceLayer::touchable(self)
    }

    fn thp_mode(&self) -> ThpMode {
        PageSourceLayer::thp_mode(self)
    }

    fn is_confined(&self) -> bool {
        PageSourceLayer::is_confined(self)
    }
}

// SAFETY: every call goes to the source that is borrowed, which keeps 1. to 4. itself.
unsafe impl<S: PageSource + ?Sized> PageSourceLayer for &S {
    type Beneath = S;

    fn beneath(&self) -> &S {
        self
    }
}
