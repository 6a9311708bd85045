//! What a heap ought to hold: every live block, where it is and what is in it.

use std::collections::BTreeMap;
use strata_alloc::{Heap, HeapConfig};
use strata_os::Seed;

/// Mostly small, sometimes around a class's or a page's edge, rarely several MiB.
pub(crate) fn random_size(random: &mut Seed) -> usize {
    match random.below(100) {
        0..70 => random.below(1025),
        70..88 => random.below(32 << 10),
        88..96 => random.below(300 << 10),
        96..99 => (1 << random.below(21)) + random.below(3) - 1,
        _ => random.below(5 << 20),
    }
}

/// Mostly what C asks for, sometimes up to 4 MiB.
pub(crate) fn random_align(random: &mut Seed) -> usize {
    match random.below(20) {
        0 => 1 << random.below(23),
        1..4 => 1 << random.below(13),
        _ => 1 << random.below(5),
    }
}

/// A live block.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Block {
    pub(crate) address: usize,
    pub(crate) size: usize,
    pub(crate) align: usize,
    /// What the block was filled with.
    pattern: u64,
}

impl Block {
    pub(crate) fn pointer(self) -> *mut u8 {
        core::ptr::with_exposed_provenance_mut(self.address)
    }

    /// The block with the same contents at another place.
    pub(crate) fn moved_to(self, pointer: *mut u8) -> Self {
        Self { address: pointer.expose_provenance(), ..self }
    }

    fn words(self) -> impl Iterator<Item = (usize, u8)> {
        // The first and last 64 bytes, and every 509th between.
        let size = self.size;
        let edges = (0..size.min(64)).chain(size.saturating_sub(64)..size);
        edges.chain((64..size).step_by(509)).map(move |index| (index, self.byte(index)))
    }

    fn byte(self, index: usize) -> u8 {
        (self.pattern.wrapping_mul(index as u64 | 1) >> 56) as u8
    }

    pub(crate) fn fill(self) {
        for (index, byte) in self.words() {
            // SAFETY: the index is within the block, which is ours.
            unsafe { self.pointer().wrapping_add(index).write(byte) };
        }
    }

    pub(crate) fn check(self) {
        self.check_up_to(self.size);
    }

    pub(crate) fn check_up_to(self, limit: usize) {
        for (index, byte) in self.words().filter(|(index, _)| *index < limit) {
            // SAFETY: the index is within the block, which is ours.
            let found = unsafe { self.pointer().wrapping_add(index).read() };
            assert_eq!(found, byte, "byte {index} of {self:?}");
        }
    }
}

/// All live blocks of a heap.
#[derive(Default)]
pub(crate) struct Shadow {
    blocks: BTreeMap<usize, Block>,
    rounded: u64,
}

impl Shadow {
    pub(crate) fn len(&self) -> usize {
        self.blocks.len()
    }

    /// Bytes that the heap counts as in use.
    pub(crate) fn in_use_bytes(&self) -> u64 {
        self.rounded
    }

    /// Notes and fills a block that the heap just handed out.
    pub(crate) fn insert<C: HeapConfig>(
        &mut self,
        heap: &Heap<C>,
        pointer: *mut u8,
        size: usize,
        align: usize,
        pattern: u64,
    ) {
        let address = pointer.expose_provenance();
        assert!(!pointer.is_null(), "{size} bytes at {align}");
        assert_eq!(address % align, 0, "{size} bytes at {address:#x} are aligned to {align}");
        // SAFETY: the block is live.
        let usable = unsafe { heap.usable_size(pointer) };
        assert!(usable >= size, "{usable} bytes for {size}");
        let end = address + usable;
        if let Some((_, below)) = self.blocks.range(..end).next_back() {
            // SAFETY: the block is live.
            let below_end = below.address + unsafe { heap.usable_size(below.pointer()) };
            assert!(below_end <= address, "{address:#x}+{usable} overlaps {below:?}");
        }
        let block = Block { address, size, align, pattern };
        block.fill();
        self.rounded += usable as u64;
        self.blocks.insert(address, block);
    }

    /// Takes a random block out, after checking what is in it.
    pub(crate) fn take<C: HeapConfig>(
        &mut self,
        heap: &Heap<C>,
        random: &mut Seed,
    ) -> Option<Block> {
        let address = {
            let (&low, _) = self.blocks.first_key_value()?;
            let (&high, _) = self.blocks.last_key_value()?;
            let somewhere = low + random.below(high - low + 1);
            *self.blocks.range(somewhere..).next()?.0
        };
        let block = self.blocks.remove(&address)?;
        block.check();
        // SAFETY: the block is live.
        self.rounded -= unsafe { heap.usable_size(block.pointer()) } as u64;
        Some(block)
    }
}
