//! How a map comes to have a root, a window and leaves.

#[cfg(strata_loom)]
use super::modelled::{self, WIDEST_ADDRESS};
use super::{
    PageMap,
    leaf::{GRANULE_SHIFT, LEAF_SHIFT, Leaf},
    window::Window,
};
use crate::{MetadataArena, MetadataKind, PageCount, PageId, PublishOnce};
use strata_os::PageSource;
use strata_size_classes::PageSize;
use strata_sync::atomic::Ordering;

/// The widest address that the root is sized for. The kernel gives no more than 47 bits (48 on
/// aarch64) to those who do not ask for more by a hint, and page sources here do not.
#[cfg(not(strata_loom))]
pub(super) const WIDEST_ADDRESS: u32 = 48;

impl<P: PageSize> PageMap<P> {
    /// Makes the root, if it does not stand yet, and the window: after this, [`PageMapWords::copy_from`] and
    /// [`PageMapWindow::copy_from`] have something to copy. False when there is no memory for the root; where there
    /// is none for the window beside it, or the program would miss the address space, the map does without.
    ///
    /// To be called before other threads have the map: a window shows nothing of a page that was entered before it
    /// was open. A map whose first call is [`ensure`](Self::ensure) has none.
    ///
    /// [`PageMapWords::copy_from`]: crate::PageMapWords::copy_from
    /// [`PageMapWindow::copy_from`]: crate::PageMapWindow::copy_from
    #[must_use]
    pub fn prepare<M: PageSource>(&self, arena: &MetadataArena, source: &M) -> bool {
        let window = if source.is_confined() { 0 } else { Window::<P>::BYTES };
        self.root_length.load(Ordering::Acquire) != 0 || self.make_root(arena, source, window)
    }

    /// Makes sure that `pages` pages from `first` can be entered. False when there is no memory for
    /// it, or the pages lie outside of the address space. Any number of threads may call it at
    /// once.
    #[must_use]
    pub fn ensure<M: PageSource>(
        &self,
        arena: &MetadataArena,
        source: &M,
        first: PageId<P>,
        pages: PageCount<P>,
    ) -> bool {
        if self.root_length.load(Ordering::Acquire) == 0 && !self.make_root(arena, source, 0) {
            return false;
        }
        let Some(last) = first.number().checked_add(pages.get().saturating_sub(1)) else {
            return false;
        };
        if last >> LEAF_SHIFT >= self.root_length.load(Ordering::Acquire) {
            return false;
        }
        (first.number() >> LEAF_SHIFT..=last >> LEAF_SHIFT)
            .all(|index| self.ensure_leaf(arena, source, index))
    }

    /// Makes the root, with so many bytes for a window behind it: [`Window::BYTES`], or 0 for none.
    #[cold]
    fn make_root<M: PageSource>(&self, arena: &MetadataArena, source: &M, window: usize) -> bool {
        let bits = source.address_bits().min(WIDEST_ADDRESS);
        let length = 1usize << bits.saturating_sub(P::SHIFT + LEAF_SHIFT);
        let bytes = (length * size_of::<PublishOnce<Leaf>>()).next_multiple_of(1 << GRANULE_SHIFT);
        let allocate =
            |bytes| arena.allocate(source, bytes, align_of::<usize>(), MetadataKind::PageMap);
        // The window stands behind the root, so that both are one reservation.
        let (memory, window) = match allocate(bytes + window) {
            Some(memory) => (memory, window > 0),
            None => match allocate(bytes) {
                Some(memory) => (memory, false),
                None => return self.root_length.load(Ordering::Acquire) != 0,
            },
        };
        #[cfg(strata_loom)]
        // SAFETY: the piece was taken for a root of that length, and is ours until it is published.
        unsafe {
            modelled::start_root(memory.cast(), length);
        }
        // The first root stands. A second one, made at the same moment, stays unused in the arena.
        let first = self.root.compare_exchange(
            core::ptr::null_mut(),
            memory.cast().as_ptr(),
            Ordering::AcqRel,
            Ordering::Acquire,
        );
        if window && first.is_ok() {
            // SAFETY: the piece is that much longer than the root, zeroed, and stays.
            let classes = unsafe { memory.add(bytes) };
            // SAFETY: zeroed bytes that stay; the root that stands is the one in front of it, so this is done once;
            // and nobody else has the map yet (`prepare`), so that no page is entered.
            unsafe { self.window.open(classes) };
        }
        // Release pairs with the acquire in `leaf_at`.
        self.root_length.store(length, Ordering::Release);
        true
    }

    fn ensure_leaf<M: PageSource>(&self, arena: &MetadataArena, source: &M, index: usize) -> bool {
        if index >= self.root_length.load(Ordering::Acquire) {
            return false;
        }
        if self.leaf_at(index).is_some() {
            return true;
        }
        let Some(memory) =
            arena.allocate(source, Leaf::BYTES, 1 << GRANULE_SHIFT, MetadataKind::PageMap)
        else {
            return self.leaf_at(index).is_some();
        };
        #[cfg(strata_loom)]
        // SAFETY: the piece was taken for a leaf, and is ours until it is published.
        unsafe {
            modelled::start_leaf(memory.cast());
        }
        let root = self.root.load(Ordering::Relaxed);
        // SAFETY: `index` is below the root's length, checked above.
        let entry = unsafe { root.add(index) };
        let first_of_granule = self.is_first_of_granule(index);
        // SAFETY: zeroed or published entries are valid places, and shared only through atomics.
        let standing = unsafe { &*entry }.publish(memory.cast());
        // Of two leaves made at the same moment one stands; the other stays unused in the arena.
        if standing == memory.cast() {
            self.leaves.fetch_add(1, Ordering::Relaxed);
            if let Some(leaf) = self.leaf_at(index) {
                // Written before it is read, which would be a fault of its own.
                self.count_granule(leaf, Self::granule_of(leaf, &leaf.touched));
            }
            if first_of_granule {
                self.root_touched_bytes.fetch_add(1 << GRANULE_SHIFT, Ordering::Relaxed);
            }
        }
        true
    }

    /// Whether no leaf stands in the root's granule around `index` yet.
    fn is_first_of_granule(&self, index: usize) -> bool {
        let per_granule = (1 << GRANULE_SHIFT) / size_of::<usize>();
        let first = index & !(per_granule - 1);
        (first..first + per_granule).all(|index| self.leaf_at(index).is_none())
    }
}
