//! The background's look at what is free.

use super::{
    Located,
    record::{Record, State},
    reports::Damage,
};
use crate::{Core, HeapConfig};
use strata_os::goes_on_after_misuse;
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
            let Ok(located) = self.locate_slot(Address::of(slot)) else { return true };
            let found = self.damage_in(&located);
            if let Some(damage) = &found {
                if goes_on_after_misuse() {
                    self.mend(&located, damage);
                }
                if let Some(place) = told.get_mut(offences) {
                    *place = found;
                }
                offences += 1;
            }
            found.is_none()
        });
        // With no lock held: a handler of the program's may allocate, and a line may wait for its reader.
        for damage in told.iter().flatten() {
            self.report_damage(Function::Sweep, damage);
        }
        if shard.users() == 0 {
            shard.empty(&self.source_of_objects(), C::Pages::TABLE);
        }
        slots
    }

    /// In what way a slot that waits is not as it was left.
    fn damage_in<'a>(&self, located: &Located<'a>) -> Option<Damage<'a>> {
        let record = Record::load(located.record);
        if record.state() != State::Freed {
            // It comes from the middle tier, and what it holds says nothing.
            return None;
        }
        let canary = self.hardened.canary(located.start);
        // SAFETY: the slot waits, so that its span is in use, and nobody but the shard has it.
        if !unsafe { canary.is_untouched_whole(located.start, located.bytes) } {
            return Some(Damage { offence: Offence::WriteAfterFree, located: *located, record });
        }
        let is_neighbour_whole = self.is_neighbour_whole(located);
        (!is_neighbour_whole).then(|| self.damage_before(located, record))
    }

    /// Writes anew what was found at a slot that is never used again, told of or not: the slots beside it are looked at
    /// as well, and blocks there may be freed.
    fn mend(&self, located: &Located<'_>, found: &Damage<'_>) {
        match found.offence {
            Offence::WriteAfterFree => self.close_end(located),
            _ => self.mend_end_before(located),
        }
    }
}
