//! What is told of slots that are not as they should be.

use super::{
    Located,
    canary::last_word,
    record::{Record, State},
};
use crate::{Core, HeapConfig, observer::Said};
use strata_span::{Address, Function, LastOperation, Offence, Platform};

/// What somebody wrote where he must not, the slot that he left by it or wrote into, and what its record says.
#[derive(Clone, Copy)]
pub(super) struct Damage<'a> {
    pub(super) offence: Offence,
    pub(super) located: Located<'a>,
    pub(super) record: Record,
}

impl<C: HeapConfig> Core<C> {
    /// Tells of a slot that is no block, and was given back.
    #[cold]
    #[inline(never)]
    pub(super) fn report_no_longer_out(&self, located: &Located<'_>, old: Record, said: Said) {
        let offence = match old.state() {
            State::Freed => Offence::DoubleFree,
            State::New | State::Live => Offence::NeverHandedOut,
        };
        self.report_slot(offence, said.function(), located, old);
    }

    /// Tells in what way a block that is given back, or resized, is not as it was handed out.
    #[unsafe(link_section = ".text_rarely")]
    #[cold]
    #[inline(never)]
    pub(super) fn report_damaged(
        &self,
        pointer: *mut u8,
        record: Record,
        said: Said,
        function: Function,
    ) {
        let Ok(located) = self.locate_slot(Address::of(pointer)) else { return };
        let canary = self.hardened.canary(located.start);
        if said.said().is_some_and(|(said, _)| said != record.size()) {
            self.report_slot(Offence::WrongSize, function, &located, record);
        // SAFETY: the slot is a block's, and as long as its class says.
        } else if !unsafe { canary.is_whole(located.start, located.bytes, record.size()) } {
            self.report_slot(Offence::Overflow, function, &located, record);
        } else {
            self.report_damage(function, &self.damage_before(&located, record));
            self.mend_end_before(&located);
        }
        self.close_end(&located);
    }

    /// What is told where the last bytes of the slot before are not canary: that somebody wrote before the beginning of
    /// this one; or, if what lies right before it stands, beyond the end of the block there.
    pub(super) fn damage_before<'a>(&self, located: &Located<'a>, record: Record) -> Damage<'a> {
        if let Some(before) = located.before() {
            let (block, canary) = (Record::load(before.record), self.hardened.canary(before.start));
            // SAFETY: the slot before lies in a span that is in use for this one.
            let stands_last = unsafe { canary.is_last_byte_whole(before.start, before.bytes) };
            if block.state() == State::Live && stands_last {
                return Damage { offence: Offence::Overflow, located: before, record: block };
            }
        }
        Damage { offence: Offence::Underflow, located: *located, record }
    }

    /// Writes the end of the slot before anew, which was told of, so that the same is not told of the block there.
    pub(super) fn mend_end_before(&self, located: &Located<'_>) {
        let Some(before) = located.before() else { return };
        // SAFETY: the slot before lies in a span that is in use for this one.
        let found = unsafe { last_word(before.start, before.bytes) };
        let block = Record::load(before.record);
        let canary = self.hardened.canary(before.start);
        let size = if block.state() == State::Live { block.size() } else { 0 };
        // SAFETY: the slot before was handed out once, so that its last eight bytes are canary's since; its span is in
        // use.
        unsafe { canary.mend_end(before.start, before.bytes, size, found) };
    }

    #[cold]
    #[inline(never)]
    #[unsafe(link_section = ".text_rarely")]
    pub(super) fn report_damage(&self, function: Function, found: &Damage<'_>) {
        self.report_slot(found.offence, function, &found.located, found.record);
    }

    /// Tells of a slot that was to be handed out, and is a block, or was written to while it was none.
    #[unsafe(link_section = ".text_rarely")]
    #[cold]
    #[inline(never)]
    pub(super) fn report_taken(&self, start: Address, old: Record) {
        let offence = match old.state() {
            State::Live => Offence::DoubleFree,
            State::New | State::Freed => Offence::WriteAfterFree,
        };
        let span = self.map().span_at(start.value());
        self.report_misuse(offence, Function::Malloc, start, span, old.last_operation());
        if let Ok(located) = self.locate_slot(start) {
            self.close_end(&located);
        }
    }

    /// Writes the end of a slot anew that was told of, and waits nowhere: the block behind it, which nobody wrote to, is
    /// not told of for it, and is handed out again.
    pub(super) fn close_end(&self, located: &Located<'_>) {
        // Who was told of a block that `realloc` left alone has it still.
        if Record::load(located.record).is_freed() {
            // SAFETY: the slot was freed, and stands in no pool; its span stays in use for it.
            unsafe { self.hardened.canary(located.start).write_end(located.start, located.bytes) };
        }
    }

    #[unsafe(link_section = ".text_rarely")]
    #[cold]
    #[inline(never)]
    pub(super) fn report_slot(
        &self,
        offence: Offence,
        function: Function,
        located: &Located<'_>,
        record: Record,
    ) {
        let span = self.map().span_at(located.start.value());
        self.report_misuse(offence, function, located.start, span, record.last_operation());
    }
}

impl Record {
    fn last_operation(self) -> LastOperation {
        match self.state() {
            State::New => LastOperation::None,
            State::Live => LastOperation::Allocated { thread: self.thread(), bytes: self.size() },
            State::Freed => LastOperation::FreedBy { thread: self.thread() },
        }
    }
}
