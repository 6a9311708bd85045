//! Where each kernel page of a hugepage is.

/// Most kernel pages that a hugepage has: those of 4 KiB.
const MOST: usize = 512;
const WORDS: usize = MOST / u64::BITS as usize;

/// Where each kernel page of a range of at most 512 is, as the kernel said when it was asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct KernelPages {
    present: [u64; WORDS],
    swapped: [u64; WORDS],
    count: usize,
    on_hugepage: usize,
}

impl KernelPages {
    /// `count` pages, at most 512, of which none is anywhere.
    pub fn new(count: usize) -> Self {
        Self { count: count.min(MOST), ..Self::default() }
    }

    /// Notes that the pages from `first` on, `count` of them, are in memory; `on_hugepage`: as parts of a hugepage.
    pub fn set_present(&mut self, first: usize, count: usize, on_hugepage: bool) {
        for page in first..first.saturating_add(count).min(self.count) {
            set(&mut self.present, page);
            self.on_hugepage += usize::from(on_hugepage);
        }
    }

    /// Notes that the pages from `first` on, `count` of them, are in swap.
    pub fn set_swapped(&mut self, first: usize, count: usize) {
        (first..first.saturating_add(count).min(self.count))
            .for_each(|page| set(&mut self.swapped, page));
    }

    /// How many there are.
    pub const fn count(&self) -> usize {
        self.count
    }

    /// Whether one is in memory.
    pub fn is_present(&self, page: usize) -> bool {
        has(&self.present, page)
    }

    /// Whether one is in swap.
    pub fn is_swapped(&self, page: usize) -> bool {
        has(&self.swapped, page)
    }

    /// Whether all of them are one hugepage.
    pub const fn is_hugepage(&self) -> bool {
        self.count > 0 && self.on_hugepage == self.count
    }
}

fn set(bits: &mut [u64; WORDS], page: usize) {
    if let Some(word) = bits.get_mut(page / u64::BITS as usize) {
        *word |= 1 << (page % u64::BITS as usize);
    }
}

fn has(bits: &[u64; WORDS], page: usize) -> bool {
    bits.get(page / u64::BITS as usize)
        .is_some_and(|word| word & 1 << (page % u64::BITS as usize) != 0)
}

#[cfg(test)]
mod tests;
