//! What is told of slots that are not as they should be.

use super::{
    Located,
    record::{Record, State},
};
use crate::{Core, HeapConfig, observer::Said};
use strata_span::{Address, Function, LastOperation, Offence, Platform};

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

    /// Tells in what way a block that is given back is not as it was handed out.
    #[unsafe(link_section = ".text_rarely")]
    #[cold]
    #[inline(never)]
    pub(super) fn report_damaged(&self, pointer: *mut u8, record: Record, said: Said) {
        let Ok(located) = self.locate_slot(Address::of(pointer)) else { return };
        let canary = self.hardened.canary(located.start);
        let offence = if said.said().is_some_and(|(said, _)| said != record.size()) {
            Offence::WrongSize
        // SAFETY: the slot is a block's, and as long as its class says.
        } else if !unsafe { canary.is_whole(located.start, located.bytes, record.size()) } {
            Offence::Overflow
        } else {
            Offence::Underflow
        };
        self.report_slot(offence, said.function(), &located, record);
        self.close_end(&located);
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
