//! Freed large blocks of a hardened heap, which wait before their pages are used again, and how many have guards.

use strata_size_classes::PageSize;
use strata_span::SpanHandle;
use strata_sync::{
    Mutex,
    atomic::{AtomicU64, Ordering},
};

/// Blocks at the same time of which a guard takes mappings, because the kernel marks no pages: three each, and as
/// many again are left to the program. Beyond it, blocks have canaries alone.
const MOST_GUARDED: u64 = 8192;

/// Freed blocks that wait, and bytes of address space that they may keep, unless it is one block.
const MOST_WAITING: usize = 32;
const MOST_WAITING_BYTES: usize = 64 << 20;

/// So many blocks, or bytes of them, were freed after one that is had again with its guards. At half, an attacker
/// waits half as long for a stale pointer's block; at the whole budget a block that has waited so long has just
/// gone to the page heap.
const LEAST_BEHIND: usize = 24;
const LEAST_BYTES_BEHIND: usize = 48 << 20;

/// Freed large blocks that wait before their pages are used again. All zero bits are none.
#[derive(Debug)]
pub(crate) struct LargeQuarantine {
    /// The oldest first. Rank: with the shards; the page heap is entered after it was let go.
    waiting: Mutex<Waiting>,
    /// Blocks with guards that take mappings. Written by who makes and takes guards.
    guarded: AtomicU64,
    /// Freed blocks whose pages could not be made accessible again: they are lost.
    lost_bytes: AtomicU64,
}

#[derive(Debug)]
struct Waiting {
    spans: [Option<SpanHandle>; MOST_WAITING],
    first: usize,
    count: usize,
    bytes: usize,
}

impl LargeQuarantine {
    /// Bytes of spans that wait, and of those that were lost; none if a signal handler asks that interrupted who
    /// has the queue.
    pub(crate) fn held_bytes(&self) -> Option<u64> {
        let waiting = self.waiting.lock_for_figures()?.bytes as u64;
        Some(waiting + self.lost_bytes.load(Ordering::Relaxed))
    }

    /// Takes the lock, so that a fork finds the queue at rest.
    pub(crate) fn acquire(&self) {
        self.waiting.acquire();
    }

    /// Gives it back after the fork.
    ///
    /// # Safety
    ///
    /// This thread took it with [`Self::acquire`], or is the child of the thread that did.
    pub(crate) unsafe fn release(&self) {
        // SAFETY: `acquire` took the lock, in this thread or in the one that forked it, and no guard of it lives.
        unsafe { self.waiting.release() };
    }

    /// One more block whose guards take mappings; false if there are as many as may be.
    pub(super) fn count_mapped(&self) -> bool {
        let may_be = self.guarded.fetch_add(1, Ordering::Relaxed) < MOST_GUARDED;
        if !may_be {
            self.discount_mapped();
        }
        may_be
    }

    /// One block fewer.
    pub(super) fn discount_mapped(&self) {
        self.guarded.fetch_sub(1, Ordering::Relaxed);
    }

    /// So many bytes are lost.
    pub(super) fn note_lost(&self, bytes: u64) {
        self.lost_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Puts a span at the end; takes the oldest one out if there is no room.
    pub(super) fn put<P: PageSize>(&self, span: SpanHandle) -> Option<SpanHandle> {
        let mut waiting = self.waiting.lock();
        let oldest = if waiting.count == MOST_WAITING { waiting.pop::<P>() } else { None };
        let end = (waiting.first + waiting.count) % MOST_WAITING;
        if let Some(place) = waiting.spans.get_mut(end) {
            *place = Some(span);
            waiting.count += 1;
            waiting.bytes += span.range::<P>().bytes;
        }
        if let Some(oldest) = oldest {
            return Some(oldest);
        }
        if waiting.is_surplus() { waiting.pop::<P>() } else { None }
    }

    /// Takes the oldest span out if more wait than may.
    pub(super) fn take_surplus<P: PageSize>(&self) -> Option<SpanHandle> {
        let mut waiting = self.waiting.lock();
        if waiting.is_surplus() { waiting.pop::<P>() } else { None }
    }

    /// Takes the span out that waited longest of those that `fits`, if enough others wait behind it.
    pub(super) fn take_again<P: PageSize>(
        &self,
        fits: impl Fn(SpanHandle) -> bool,
    ) -> Option<SpanHandle> {
        self.waiting.lock().take_again::<P>(fits)
    }

    /// Takes the span out that waited longest.
    pub(super) fn take_oldest<P: PageSize>(&self) -> Option<SpanHandle> {
        self.waiting.lock().pop::<P>()
    }
}

impl Waiting {
    /// Whether more waits than may.
    fn is_surplus(&self) -> bool {
        self.count > 1 && self.bytes > MOST_WAITING_BYTES
    }

    /// Takes the oldest span out.
    fn pop<P: PageSize>(&mut self) -> Option<SpanHandle> {
        self.remove::<P>(0)
    }

    /// Takes the oldest span out that `fits`, as long as enough wait behind it.
    fn take_again<P: PageSize>(&mut self, fits: impl Fn(SpanHandle) -> bool) -> Option<SpanHandle> {
        let mut bytes_behind = self.bytes;
        for place in 0..self.count {
            let span = (*self.place(place)?)?;
            bytes_behind = bytes_behind.saturating_sub(span.bytes::<P>());
            let behind = self.count - 1 - place;
            if behind < LEAST_BEHIND && bytes_behind < LEAST_BYTES_BEHIND {
                return None;
            }
            if fits(span) {
                return self.remove::<P>(place);
            }
        }
        None
    }

    /// Takes the span out that waits behind `place` others; those move up.
    fn remove<P: PageSize>(&mut self, place: usize) -> Option<SpanHandle> {
        let span = self.place(place)?.take()?;
        for before in (0..place).rev() {
            *self.place(before + 1)? = self.place(before)?.take();
        }
        self.first = (self.first + 1) % MOST_WAITING;
        self.count -= 1;
        self.bytes -= span.bytes::<P>();
        Some(span)
    }

    /// Where the span stands that waits behind `place` others.
    fn place(&mut self, place: usize) -> Option<&mut Option<SpanHandle>> {
        self.spans.get_mut((self.first + place) % MOST_WAITING)
    }
}
