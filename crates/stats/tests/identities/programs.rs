//! Random programs: blocks of all sizes that come and go.

use crate::cells::Cell;
use strata_alloc::{Heap, HeapConfig};
use strata_os::Seed;
use strata_page_heap::{PageHeap, ReleaseReason};
use strata_span::PageCount;

/// A program with the blocks that it holds.
pub(crate) struct Program<'a, C: HeapConfig> {
    heap: &'a Heap<C>,
    blocks: Vec<Block>,
    random: Seed,
}

struct Block {
    pointer: *mut u8,
    size: usize,
    align: usize,
}

// SAFETY: a block is used by the program that holds it alone, in whichever thread that runs.
unsafe impl Send for Block {}

impl<'a, C: HeapConfig> Program<'a, C> {
    pub(crate) fn new(cell: &Cell, heap: &'a Heap<C>) -> Self {
        Self { heap, blocks: Vec::new(), random: cell.seed }
    }

    /// Goes `steps` steps on.
    pub(crate) fn run(&mut self, steps: usize) {
        // The program grows in some phases and shrinks in others.
        let growth = self.below(100);
        for _ in 0..steps {
            match self.below(200) {
                0 => self.release(),
                choice if choice < 40 + growth || self.blocks.is_empty() => self.allocate(),
                _ => self.deallocate(),
            }
        }
    }

    /// Gives all blocks back.
    pub(crate) fn end(mut self) {
        while !self.blocks.is_empty() {
            self.deallocate();
        }
    }

    fn allocate(&mut self) {
        let size = match self.below(100) {
            0 => self.below(6 << 20),
            1..5 => self.below(1 << 20),
            5..25 => self.below(64 << 10),
            small => self.below(16 << (small % 8)),
        } as usize;
        let align = if self.below(16) == 0 { 1 << self.below(14) } else { 1 };
        let pointer = self.heap.allocate_aligned(size, align);
        assert!(!pointer.is_null(), "{size} bytes, aligned to {align}");
        if size > 0 {
            // SAFETY: the block is ours and has at least a byte.
            unsafe { pointer.write(size as u8) };
        }
        self.blocks.push(Block { pointer, size, align });
    }

    fn deallocate(&mut self) {
        if self.blocks.is_empty() {
            return;
        }
        let index = self.below(self.blocks.len() as u64) as usize;
        let Block { pointer, size, align } = self.blocks.swap_remove(index);
        if self.below(2) == 0 {
            // SAFETY: the block is ours, and this is what it was asked for with.
            unsafe { self.heap.deallocate_sized(pointer, size, align) };
        } else {
            // SAFETY: the block is ours.
            unsafe { self.heap.deallocate(pointer) };
        }
    }

    /// Gives free pages back to the kernel.
    fn release(&mut self) {
        let pages = PageCount::new(1 + self.below(300) as usize);
        if let Some(core) = self.heap.core() {
            core.page_heap().release(core, pages, ReleaseReason::Call);
        }
    }

    /// A number below `limit`.
    fn below(&mut self, limit: u64) -> u64 {
        self.random.next() % limit
    }
}
