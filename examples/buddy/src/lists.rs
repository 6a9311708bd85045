//! Records by what is free at them.

use crate::record::RecordHandle;

/// Blocks of up to 2^20 hugepages: 2 TiB.
pub(crate) const MOST_ORDER: u32 = 20;
const BLOCK_LISTS: u32 = MOST_ORDER + 1;
/// Hugepages that are used in part have up to 2^8 free pages in a block, at pages of 4 KiB.
const PART_LISTS: u32 = 10;
/// Each kind twice: with memory behind it, and without.
pub(crate) const LISTS: usize = 2 * (BLOCK_LISTS + PART_LISTS) as usize;

/// A list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum List {
    /// Free blocks of 2^order hugepages, by their first.
    Block { order: u32, backed: bool },
    /// Hugepages used in part whose longest free block has 2^order pages.
    Part { order: u32, backed: bool },
}

impl List {
    fn index(self) -> usize {
        let (number, backed) = match self {
            Self::Block { order, backed } => (order.min(MOST_ORDER), backed),
            Self::Part { order, backed } => (BLOCK_LISTS + order.min(PART_LISTS - 1), backed),
        };
        2 * number as usize + usize::from(backed)
    }

    /// The order of the free block that begins at a record, if one does.
    pub(crate) fn block_order(record: RecordHandle) -> Option<u32> {
        let number = u32::from(record.list.get().checked_sub(1)?) / 2;
        (number < BLOCK_LISTS).then_some(number)
    }
}

/// All lists. All zero bits are empty ones.
#[derive(Debug)]
pub(crate) struct Lists {
    heads: [Option<RecordHandle>; LISTS],
    lengths: [usize; LISTS],
}

impl Lists {
    pub(crate) const EMPTY: Self = Self { heads: [None; LISTS], lengths: [0; LISTS] };

    /// The first record of a list.
    pub(crate) fn first(&self, list: List) -> Option<RecordHandle> {
        self.heads.get(list.index()).copied().flatten()
    }

    /// How many records a list has.
    pub(crate) fn length(&self, list: List) -> usize {
        self.lengths.get(list.index()).copied().unwrap_or(0)
    }

    /// Puts a record that is on no list in front of one.
    pub(crate) fn insert(&mut self, record: RecordHandle, list: List) {
        let index = list.index();
        let Some(head) = self.heads.get_mut(index) else { return };
        record.list.set((index as u8).wrapping_add(1));
        record.previous.set(None);
        record.next.set(*head);
        if let Some(second) = *head {
            second.previous.set(Some(record));
        }
        *head = Some(record);
        if let Some(length) = self.lengths.get_mut(index) {
            *length += 1;
        }
    }

    /// Takes a record off its list, if it is on one.
    pub(crate) fn remove(&mut self, record: RecordHandle) {
        let Some(index) = record.list.replace(0).checked_sub(1).map(usize::from) else { return };
        let (previous, next) = (record.previous.take(), record.next.take());
        if let Some(next) = next {
            next.previous.set(previous);
        }
        match (previous, self.heads.get_mut(index)) {
            (Some(previous), _) => previous.next.set(next),
            (None, Some(head)) => *head = next,
            (None, None) => {}
        }
        if let Some(length) = self.lengths.get_mut(index) {
            *length -= 1;
        }
    }

    /// The block of the least length of at least 2^`order` hugepages, with memory behind it if there are both.
    pub(crate) fn best_block(&self, order: u32) -> Option<RecordHandle> {
        (order..=MOST_ORDER).find_map(|order| {
            let with = self.first(List::Block { order, backed: true });
            with.or_else(|| self.first(List::Block { order, backed: false }))
        })
    }

    /// The hugepage whose longest free block is the least of at least 2^`order` pages.
    pub(crate) fn best_part(&self, order: u32) -> Option<RecordHandle> {
        (order..PART_LISTS).find_map(|order| {
            let with = self.first(List::Part { order, backed: true });
            with.or_else(|| self.first(List::Part { order, backed: false }))
        })
    }

    /// The longest block with memory behind it.
    pub(crate) fn backed_block(&self) -> Option<RecordHandle> {
        (0..=MOST_ORDER).rev().find_map(|order| self.first(List::Block { order, backed: true }))
    }

    /// The hugepage with the longest free block among those with free pages that are backed.
    pub(crate) fn backed_part(&self) -> Option<RecordHandle> {
        (0..PART_LISTS).rev().find_map(|order| self.first(List::Part { order, backed: true }))
    }
}
