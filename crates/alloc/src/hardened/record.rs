//! What is known of a slot, in a word.

use strata_sync::atomic::{AtomicU64, Ordering, fence};

/// State, size and thread: 19 bits of size, 2 of state, and the thread's number above.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Record(u64);

/// Where a slot is in its life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum State {
    /// Never handed out since its span was cut.
    New,
    /// A block of the program's.
    Live,
    /// It was a block, and was given back.
    Freed,
}

const SIZE_BITS: u32 = 20;
const LIVE: u64 = 1 << SIZE_BITS;
const FREED: u64 = 2 << SIZE_BITS;
const STATES: u64 = 3 << SIZE_BITS;

static_assertions::const_assert!(strata_size_classes::MAX_SIZE < 1 << SIZE_BITS);

impl Record {
    /// A block of `size` bytes, handed out to `thread`.
    pub(super) fn live(size: usize, thread: u32) -> Self {
        Self(u64::from(thread) << 32 | LIVE | size as u64 & (LIVE - 1))
    }

    /// A slot that `thread` gave back.
    pub(super) fn freed(thread: u32) -> Self {
        Self(u64::from(thread) << 32 | FREED)
    }

    pub(super) fn state(self) -> State {
        match self.0 & STATES {
            0 => State::New,
            LIVE => State::Live,
            _ => State::Freed,
        }
    }

    /// How many bytes the block has.
    pub(super) fn size(self) -> usize {
        (self.0 & (LIVE - 1)) as usize
    }

    /// Who handed it out or gave it back.
    pub(super) fn thread(self) -> u32 {
        (self.0 >> 32) as u32
    }

    pub(super) fn load(word: &AtomicU64) -> Self {
        // Acquire pairs with the release in `store`: the canary of what is no longer new is seen.
        Self(word.load(Ordering::Acquire))
    }

    pub(super) fn store(self, word: &AtomicU64) {
        word.store(self.0, Ordering::Release);
    }

    /// Notes that `thread`, which no other one has the number of, gives the block back that it had handed out: says of how many bytes.
    /// None, and nothing is noted, if that is not what it is.
    ///
    /// Of two threads that give the same block back at the same moment one sees the other, unless one of them is this one, which does
    /// without a locked instruction and may come between. Then the slot waits in two places, and is found when it is to be
    /// handed out while its record says that it is out, as it must not be.
    #[inline(always)]
    pub(super) fn give_back_own(word: &AtomicU64, thread: u32) -> Option<usize> {
        let difference = Self::load(word).0 ^ Self::live(0, thread).0;
        if difference >= LIVE {
            return None;
        }
        Self::freed(thread).store(word);
        Some(difference as usize)
    }

    /// Notes that `thread` gives a block back that any thread may have handed out; says what stood there. What was no block stays as
    /// it was.
    pub(super) fn give_back(word: &AtomicU64, thread: u32) -> Self {
        let old = Self::load(word);
        if old.state() != State::Live {
            return old;
        }
        let old = Self(word.swap(Self::freed(thread).0, Ordering::AcqRel));
        if old.state() != State::Live {
            old.store(word);
        }
        old
    }

    /// Whether a look at the slot's memory finds what its state says. A look that does not is believed only if the record is the same
    /// after it: another thread may have freed the block meanwhile, and its page may have gone back.
    #[inline(always)]
    pub(super) fn is_borne_out(word: &AtomicU64, look: impl Fn(State) -> bool) -> bool {
        let mut found = Self::load(word);
        while !look(found.state()) {
            // What was looked at is older than this.
            fence(Ordering::Acquire);
            let now = Self::load(word);
            if now == found {
                return false;
            }
            found = now;
        }
        true
    }
}

#[cfg(test)]
mod tests;
