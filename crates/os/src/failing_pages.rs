//! A page source that fails when it is told to.

use crate::{
    AddressRange, Advice, CallKind, CallKinds, KernelPages, MapError, PageScan, PageSource,
    PageSourceLayer, Release, Reservation, ReserveRequest, Residency,
};
use core::sync::atomic::{AtomicI32, AtomicU32, AtomicU64, Ordering};

/// Which calls fail, and how.
///
/// ```
/// use strata_os::{CallKinds, Fault};
/// let third_commit = Fault::nth(3).of(CallKinds::COMMIT);
/// let no_more_memory = Fault::from_nth(100);
/// let locked = Fault::always().of(CallKinds::RELEASE).with_errno(22);
/// # let _ = (third_commit, no_more_memory, locked);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fault {
    kinds: CallKinds,
    first: u64,
    last: u64,
    errno: i32,
}

impl Fault {
    /// The `n`-th call alone, counted from 1 and from when the fault is armed.
    pub const fn nth(n: u64) -> Self {
        Self { kinds: CallKinds::all(), first: n, last: n, errno: libc::ENOMEM }
    }

    /// The `n`-th call and all after it.
    pub const fn from_nth(n: u64) -> Self {
        Self { kinds: CallKinds::all(), first: n, last: u64::MAX, errno: libc::ENOMEM }
    }

    /// Every call.
    pub const fn always() -> Self {
        Self::from_nth(1)
    }

    /// Counts and fails only calls of `kinds`.
    #[must_use]
    pub const fn of(self, kinds: CallKinds) -> Self {
        Self { kinds, ..self }
    }

    /// Fails with `errno`; otherwise it is `ENOMEM`.
    #[must_use]
    pub const fn with_errno(self, errno: i32) -> Self {
        Self { errno, ..self }
    }
}

/// A page source that hands all calls to another one, counts them, and fails those that it was
/// told to fail. A call that fails does not reach the other source.
///
/// Made of atomics alone, so it runs inside a program's allocator too. Calls may come from any
/// thread; arm it while none do, if it matters which call is the first.
///
/// ```
/// use strata_os::{CallKinds, FailingPages, Fault, PageSource, Purpose, ReserveRequest, SystemPages};
/// let pages = FailingPages::new(SystemPages::new());
/// pages.arm(Fault::nth(2).of(CallKinds::RESERVE));
/// let wish = ReserveRequest { bytes: 1 << 20, align: 1 << 20, purpose: Purpose::Heap };
/// assert!(pages.reserve(wish).is_ok());
/// assert!(pages.reserve(wish).is_err());
/// assert!(pages.reserve(wish).is_ok());
/// assert_eq!(pages.failures(), 1);
/// ```
#[derive(Debug)]
pub struct FailingPages<S> {
    source: S,
    // All below: written by `arm` and by each call, read by each call and by the test. They
    // publish nothing but themselves.
    kinds: AtomicU32,
    first: AtomicU64,
    last: AtomicU64,
    errno: AtomicI32,
    /// Calls of `kinds` since the fault was armed.
    matched: AtomicU64,
    failures: AtomicU64,
    calls: [AtomicU64; CallKind::COUNT],
}

impl<S> FailingPages<S> {
    /// A source that does what `source` does, until it is armed.
    pub const fn new(source: S) -> Self {
        Self {
            source,
            kinds: AtomicU32::new(0),
            first: AtomicU64::new(0),
            last: AtomicU64::new(0),
            errno: AtomicI32::new(0),
            matched: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            calls: [const { AtomicU64::new(0) }; CallKind::COUNT],
        }
    }

    /// From now on `fault` happens, and no other.
    pub fn arm(&self, fault: Fault) {
        self.disarm();
        self.first.store(fault.first, Ordering::Relaxed);
        self.last.store(fault.last, Ordering::Relaxed);
        self.errno.store(fault.errno, Ordering::Relaxed);
        self.matched.store(0, Ordering::Relaxed);
        self.kinds.store(fault.kinds.bits(), Ordering::Relaxed);
    }

    /// From now on nothing fails.
    pub fn disarm(&self) {
        self.kinds.store(0, Ordering::Relaxed);
    }

    /// How many calls of `kind` there were, failed ones included.
    pub fn calls(&self, kind: CallKind) -> u64 {
        self.calls.get(kind.index()).map_or(0, |calls| calls.load(Ordering::Relaxed))
    }

    /// How many calls there were in all.
    pub fn total_calls(&self) -> u64 {
        self.calls.iter().map(|calls| calls.load(Ordering::Relaxed)).sum()
    }

    /// How many calls were failed.
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// The source behind it.
    pub const fn source(&self) -> &S {
        &self.source
    }

    /// Counts a call, and fails it if it was told to.
    fn admit(&self, kind: CallKind, bytes: usize) -> Result<(), MapError> {
        if let Some(calls) = self.calls.get(kind.index()) {
            calls.fetch_add(1, Ordering::Relaxed);
        }
        let kinds = CallKinds::from_bits_truncate(self.kinds.load(Ordering::Relaxed));
        if !kinds.contains(kind.only()) {
            return Ok(());
        }
        let number = self.matched.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        let first = self.first.load(Ordering::Relaxed);
        let last = self.last.load(Ordering::Relaxed);
        if number < first || number > last {
            return Ok(());
        }
        self.failures.fetch_add(1, Ordering::Relaxed);
        Err(MapError::new(bytes, self.errno.load(Ordering::Relaxed)))
    }
}

// SAFETY:
// 1., 2., 3. What is handed out is the source's, which promises the same.
// 4. A call that is failed here changes nothing but counts; others fail as the source's do.
unsafe impl<S: PageSource> PageSourceLayer for FailingPages<S> {
    type Beneath = S;

    fn beneath(&self) -> &S {
        &self.source
    }

    fn reserve(&self, request: ReserveRequest) -> Result<Reservation, MapError> {
        self.admit(CallKind::Reserve, request.bytes)?;
        self.source.reserve(request)
    }

    unsafe fn unreserve(&self, range: AddressRange) -> Result<(), MapError> {
        self.admit(CallKind::Unreserve, range.bytes)?;
        // SAFETY: the range is handed on as it came: what holds of it for us holds for the source beneath.
        unsafe { self.source.unreserve(range) }
    }

    fn commit(&self, range: AddressRange) -> Result<bool, MapError> {
        self.admit(CallKind::Commit, range.bytes)?;
        self.source.commit(range)
    }

    unsafe fn decommit(&self, range: AddressRange) -> Result<(), MapError> {
        self.admit(CallKind::Decommit, range.bytes)?;
        // SAFETY: the range is handed on as it came: what holds of it for us holds for the source beneath.
        unsafe { self.source.decommit(range) }
    }

    unsafe fn mark_guard(&self, range: AddressRange) -> Result<(), MapError> {
        self.admit(CallKind::Decommit, range.bytes)?;
        // SAFETY: the range is handed on as it came: what holds of it for us holds for the source beneath.
        unsafe { self.source.mark_guard(range) }
    }

    fn unmark_guard(&self, range: AddressRange) -> Result<(), MapError> {
        self.admit(CallKind::Commit, range.bytes)?;
        self.source.unmark_guard(range)
    }

    unsafe fn release(&self, range: AddressRange, how: Release) -> Result<(), MapError> {
        self.admit(CallKind::Release, range.bytes)?;
        // SAFETY: the range is handed on as it came: what holds of it for us holds for the source beneath.
        unsafe { self.source.release(range, how) }
    }

    fn advise(&self, range: AddressRange, advice: Advice) -> Result<(), MapError> {
        self.admit(CallKind::Advise, range.bytes)?;
        self.source.advise(range, advice)
    }

    fn residency(&self, range: AddressRange) -> Result<Residency, MapError> {
        self.admit(CallKind::Residency, range.bytes)?;
        self.source.residency(range)
    }

    fn residency_by(&self, scan: &PageScan, range: AddressRange) -> Result<Residency, MapError> {
        self.admit(CallKind::Residency, range.bytes)?;
        self.source.residency_by(scan, range)
    }

    fn kernel_pages(&self, scan: &PageScan, range: AddressRange) -> Result<KernelPages, MapError> {
        self.admit(CallKind::Residency, range.bytes)?;
        self.source.kernel_pages(scan, range)
    }

    unsafe fn relocate(&self, from: AddressRange, to: usize) -> Result<usize, MapError> {
        self.admit(CallKind::Relocate, from.bytes)?;
        // SAFETY: the range is handed on as it came: what holds of it for us holds for the source beneath.
        unsafe { self.source.relocate(from, to) }
    }
}

#[cfg(test)]
mod tests;
