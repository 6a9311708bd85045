//! The background's look at what is free.

use super::record::{Record, State};
use crate::{Core, HeapConfig};
use strata_size_classes::PageSize;
use strata_span::{Address, Function, Offence};

impl<C: HeapConfig> Core<C> {
    /// Looks through every slot that waits in a hardened heap, and at the ends of the slots before and behind it: what
    /// somebody wrote into is told, and never used again. Says how many slots it looked at. Holds a shard's lock for as
    /// long as it looks through its slots: 48 KiB a class at most, but for classes of larger slots.
    ///
    /// Does nothing in a heap that is not hardened.
    pub fn sweep(&self) -> u64 {
        (0..self.hardened.shards().len()).map(|number| self.sweep_shard(number)).sum()
    }

    /// The same for the slots of one shard.
    pub(crate) fn sweep_shard(&self, number: usize) -> u64 {
        let Some(shard) = self.hardened.shards().get(number) else { return 0 };
        let mut slots = 0;
        shard.look_through(C::Pages::TABLE, |_, slot| {
            slots += 1;
            self.is_slot_untouched(Address::of(slot))
        });
        slots
    }

    /// Whether a slot that waits is as it was left.
    fn is_slot_untouched(&self, start: Address) -> bool {
        let Ok(located) = self.locate_slot(start) else { return true };
        let record = Record::load(located.record);
        if record.state() != State::Freed {
            // It comes from the middle tier, and what it holds says nothing.
            return true;
        }
        let canary = self.hardened.canary(start);
        // SAFETY: the slot waits, so that its span is in use, and nobody but the shard has it.
        if !unsafe { canary.is_untouched_whole(start, located.bytes) } {
            self.report_slot(Offence::WriteAfterFree, Function::Sweep, &located, record);
            return false;
        }
        if !self.is_neighbour_whole(&located) {
            self.report_slot(Offence::Underflow, Function::Sweep, &located, record);
            return false;
        }
        true
    }
}
