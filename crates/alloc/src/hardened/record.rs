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

/// A thread, as records name it: its number, where a record has that. Of a thread that is not known it is 0.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Holder(u64);

impl Holder {
    /// The thread with the kernel's number.
    pub(crate) const fn of_thread(number: u32) -> Self {
        Self((number as u64) << u32::BITS)
    }

    /// The number.
    pub(crate) const fn thread(self) -> u32 {
        (self.0 >> u32::BITS) as u32
    }

    /// What a word has, if a thread's number was stored there.
    pub(crate) fn load(word: &AtomicU64) -> Option<Self> {
        let holder = Self::of_word(word);
        (holder.0 != 0).then_some(holder)
    }

    /// The same of a word that has one.
    #[inline(always)]
    pub(crate) fn of_word(word: &AtomicU64) -> Self {
        Self(word.load(Ordering::Relaxed))
    }

    pub(crate) fn store(self, word: &AtomicU64) {
        word.store(self.0, Ordering::Relaxed);
    }
}

impl Record {
    /// A block of `size` bytes, of a class, handed out to `holder`.
    #[inline(always)]
    pub(super) fn live(size: usize, holder: Holder) -> Self {
        debug_assert!(size <= strata_size_classes::MAX_SIZE, "blocks of classes have records");
        Self((holder.0 | LIVE).wrapping_add(size as u64))
    }

    /// A slot that `holder` gave back.
    #[inline(always)]
    pub(super) fn freed(holder: Holder) -> Self {
        Self(holder.0 | FREED)
    }

    pub(super) fn state(self) -> State {
        match self.0 & STATES {
            0 => State::New,
            LIVE => State::Live,
            _ => State::Freed,
        }
    }

    /// Whether the state is [`State::Freed`].
    #[inline(always)]
    pub(super) fn is_freed(self) -> bool {
        self.0 & FREED != 0
    }

    /// How many bytes the block has.
    pub(super) fn size(self) -> usize {
        (self.0 & (LIVE - 1)) as usize
    }

    /// Who handed it out or gave it back.
    pub(super) fn thread(self) -> u32 {
        (self.0 >> 32) as u32
    }

    #[inline(always)]
    pub(super) fn load(word: &AtomicU64) -> Self {
        // Acquire pairs with the release in `store`: the canary of what is no longer new is seen.
        Self(word.load(Ordering::Acquire))
    }

    pub(super) fn store(self, word: &AtomicU64) {
        word.store(self.0, Ordering::Release);
    }

    /// Notes that `holder`, whose number no other thread has, gives the block back that it had handed out: says of
    /// how many bytes. None, and nothing is noted, if that is not what it is.
    ///
    /// Of two threads that give the same block back at the same moment one sees the other, unless one of them is
    /// this one, which does without a locked instruction and may come between. Then the slot waits in two places,
    /// and is found when it is to be handed out while its record says that it is out, as it must not be.
    #[inline(always)]
    pub(super) fn give_back_own(word: &AtomicU64, holder: Holder) -> Option<usize> {
        let difference = Self::load(word).0 ^ Self::live(0, holder).0;
        if difference >= LIVE {
            return None;
        }
        Self::freed(holder).store(word);
        Some(difference as usize)
    }

    /// Notes that `holder` gives a block back that any thread may have handed out; says what stood there. What was
    /// no block stays as it was.
    pub(super) fn give_back(word: &AtomicU64, holder: Holder) -> Self {
        let old = Self::load(word);
        if old.state() != State::Live {
            return old;
        }
        let old = Self(word.swap(Self::freed(holder).0, Ordering::AcqRel));
        if old.state() != State::Live {
            old.store(word);
        }
        old
    }

    /// Whether a look at the slot's memory finds what its state says. A look that does not is believed only if the
    /// record is the same after it: another thread may have freed the block meanwhile, and its page may have gone
    /// back.
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
