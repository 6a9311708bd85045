//! The background's look at what is free.

use super::Located;
use super::record::{Record, State};
use crate::{Core, HeapConfig};
use strata_size_classes::PageSize;
use strata_span::{Address, Function, Offence};

/// So many slots of one shard are told of at a time, where the process goes on: the others are never used again either.
const MOST_TOLD: usize = 8;

impl<C: HeapConfig> Core<C> {
    /// Looks through every slot that waits in a hardened heap, and at the ends of the slots before and behind it: what
    /// somebody wrote into is told, and never used again. Says how many slots it looked at. Holds a shard's lock for as
    /// long as it looks through its slots: 48 KiB a class at most, but for classes of larger slots.
    ///
    /// What waits in a shard whose threads have all ended goes back to the middle tier after that.
    ///
    /// Does nothing in a heap that is not hardened.
    pub fn sweep(&self) -> u64 {
        (0..self.hardened.shards().len()).map(|number| self.sweep_shard(number)).sum()
    }

    /// The same for the slots of one shard.
    pub(crate) fn sweep_shard(&self, number: usize) -> u64 {
        let Some(shard) = self.hardened.shards().get(number) else { return 0 };
        let (mut slots, mut offences) = (0, 0);
        let mut told = [None; MOST_TOLD];
        shard.look_through(C::Pages::TABLE, |_, slot| {
            slots += 1;
            let found = self.offence_in(Address::of(slot));
            if found.is_some() {
                if let Some(place) = told.get_mut(offences) {
                    *place = found;
                }
                offences += 1;
            }
            found.is_none()
        });
        // With no lock held: a handler of the program's may allocate, and a line may wait for its reader.
        for (offence, located, record) in told.iter().flatten() {
            self.report_slot(*offence, Function::Sweep, located, *record);
            self.close_end(located);
        }
        if shard.users() == 0 {
            shard.empty(&self.source_of_objects(), C::Pages::TABLE);
        }
        slots
    }

    /// In what way a slot that waits is not as it was left.
    fn offence_in(&self, start: Address) -> Option<(Offence, Located<'_>, Record)> {
        let Ok(located) = self.locate_slot(start) else { return None };
        let record = Record::load(located.record);
        if record.state() != State::Freed {
            // It comes from the middle tier, and what it holds says nothing.
            return None;
        }
        let canary = self.hardened.canary(start);
        // SAFETY: the slot waits, so that its span is in use, and nobody but the shard has it.
        if !unsafe { canary.is_untouched_whole(start, located.bytes) } {
            return Some((Offence::WriteAfterFree, located, record));
        }
        if !self.is_neighbour_whole(&located) {
            return Some((Offence::Underflow, located, record));
        }
        None
    }
}
