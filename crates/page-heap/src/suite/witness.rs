//! A page source that sees what a page heap does to pages.

use super::range_set::RangeSet;
use strata_os::{
    AddressRange, MapError, PageSource, PageSourceLayer, Release, Reservation, ReserveRequest,
};
use strata_sync::{Mutex, MutexGuard};

/// Hands all calls on, and keeps books on what is committed, written to and in use.
#[derive(Debug)]
pub(super) struct Witness<S> {
    source: S,
    /// Run whenever memory is given back, before it is: what other threads could do at that moment.
    during_release: Mutex<Option<fn()>>,
    /// Guards the books; nothing is locked under it, and heaps hold their own locks around it.
    books: Mutex<Books>,
}

#[derive(Debug, Default)]
struct Books {
    committed: RangeSet,
    written: RangeSet,
    in_use: RangeSet,
}

impl<S> Witness<S> {
    pub(super) fn new(source: S) -> Self {
        Self { source, during_release: Mutex::new(None), books: Mutex::new(Books::default()) }
    }

    pub(super) fn source(&self) -> &S {
        &self.source
    }

    /// Notes that a span was handed out and is written to all over.
    pub(super) fn note_handed_out(&self, range: AddressRange, zeroed: bool) {
        let mut books = self.books();
        assert!(!books.in_use.overlaps(range), "{range:?} was handed out twice");
        assert!(books.committed.covers(range), "{range:?} was handed out and is not committed");
        assert!(
            !zeroed || !books.written.overlaps(range),
            "{range:?} is called zeroed and was written to"
        );
        books.in_use.insert(range);
        books.written.insert(range);
    }

    /// From now on runs `program` whenever memory is given back.
    pub(super) fn run_during_release(&self, program: fn()) {
        *self.during_release.lock() = Some(program);
    }

    /// Notes that a span is about to be given back.
    pub(super) fn note_given_back(&self, range: AddressRange) {
        self.books().in_use.remove(range);
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock()
    }

    fn demand_unused(&self, range: AddressRange, what: &str) {
        assert!(
            !self.books().in_use.overlaps(range),
            "{range:?} is {what}, and a part of it is in use"
        );
    }
}

// SAFETY: all answers are the source's, which promises the same.
unsafe impl<S: PageSource> PageSourceLayer for Witness<S> {
    type Beneath = S;

    fn beneath(&self) -> &S {
        &self.source
    }

    fn reserve(&self, request: ReserveRequest) -> Result<Reservation, MapError> {
        let reservation = self.source.reserve(request)?;
        if reservation.committed {
            self.books().committed.insert(reservation.range);
        }
        Ok(reservation)
    }

    unsafe fn unreserve(&self, range: AddressRange) -> Result<(), MapError> {
        self.demand_unused(range, "unreserved");
        // SAFETY: the range is handed on as it came: what holds of it for us holds for the source beneath.
        unsafe { self.source.unreserve(range) }?;
        let mut books = self.books();
        books.committed.remove(range);
        books.written.remove(range);
        Ok(())
    }

    fn commit(&self, range: AddressRange) -> Result<bool, MapError> {
        let zeroed = self.source.commit(range)?;
        self.books().committed.insert(range);
        Ok(zeroed)
    }

    unsafe fn decommit(&self, range: AddressRange) -> Result<(), MapError> {
        self.demand_unused(range, "decommitted");
        // SAFETY: the range is handed on as it came: what holds of it for us holds for the source beneath.
        unsafe { self.source.decommit(range) }?;
        let mut books = self.books();
        books.committed.remove(range);
        books.written.remove(range);
        Ok(())
    }

    unsafe fn release(&self, range: AddressRange, how: Release) -> Result<(), MapError> {
        // The lock is left before the program runs, which may give memory back itself.
        let program = *self.during_release.lock();
        if let Some(program) = program {
            program();
        }
        self.demand_unused(range, "released");
        // SAFETY: the range is handed on as it came: what holds of it for us holds for the source beneath.
        unsafe { self.source.release(range, how) }?;
        if how == Release::Forced {
            self.books().written.remove(range);
        }
        Ok(())
    }

    unsafe fn relocate(&self, from: AddressRange, _: usize) -> Result<usize, MapError> {
        // The books know of nothing that moves.
        Err(MapError::unsupported(from.bytes))
    }
}
