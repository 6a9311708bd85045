//! What reading a class takes of a page map.

use super::{
    PageMap,
    leaf::{LEAF_SHIFT, Leaf, leaf_of},
};
use crate::PublishOnce;
use core::marker::PhantomData;
use strata_size_classes::{PageSize, SizeClass};
use strata_sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

/// The two words of a page map that reading a class needs, for those who keep a copy in reach.
///
/// All zero bits know no page.
#[repr(C)]
#[derive(Debug)]
pub struct PageMapWords<P: PageSize> {
    /// Written once, after the root was made; read by everyone.
    root: AtomicPtr<PublishOnce<Leaf>>,
    root_length: AtomicUsize,
    pages: PhantomData<P>,
}

impl<P: PageSize> PageMapWords<P> {
    strata_sync::const_fn! {
        /// Words that know no page.
        pub const fn new() -> Self {
            Self {
                root: AtomicPtr::new(core::ptr::null_mut()),
                root_length: AtomicUsize::new(0),
                pages: PhantomData,
            }
        }
    }

    /// Makes these the words of `map`, whose root stands.
    pub fn copy_from(&self, map: &PageMap<P>) {
        self.root.store(map.root.load(Ordering::Relaxed), Ordering::Relaxed);
        // Release pairs with the acquire in `leaf`.
        self.root_length.store(map.root_length.load(Ordering::Acquire), Ordering::Release);
    }

    /// The class of the page that holds `address`, as [`PageMap::class_at`] tells it.
    #[inline(always)]
    pub fn class_at(&self, address: usize) -> SizeClass {
        let page = address >> P::SHIFT;
        // Acquire pairs with the release in `copy_from`.
        let length = self.root_length.load(Ordering::Acquire);
        // SAFETY: the root, seen through its length, has that many entries and stays.
        match unsafe { leaf_of(self.root.load(Ordering::Relaxed), length, page >> LEAF_SHIFT) } {
            Some(leaf) => leaf.class(page),
            None => SizeClass::NONE,
        }
    }
}

impl<P: PageSize> Default for PageMapWords<P> {
    fn default() -> Self {
        Self::new()
    }
}
