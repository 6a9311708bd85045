//! The words that a cache's operations read, and the operations on one object.

use crate::{
    CpuCache,
    rseq::{self, Slabs},
};
use strata_size_classes::SizeClass;

/// What became of an object that was given to a CPU.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pushed {
    /// The CPU has it.
    Done,
    /// There is no room.
    Full,
    /// It is the object that was given last: it was given twice.
    Again,
}

/// The word that stands for no object, for who looks at first words.
pub(crate) static NOTHING: u64 = 0;

/// The words that the operations read, and the operations on a cached class.
///
/// A cache has one; a heap keeps a copy beside what else its fast path reads. All zero bits are the words of
/// a cache that is not set up.
#[repr(transparent)]
#[derive(Debug)]
pub struct CpuWords(
    /// Written once, before the first operation; read by every operation.
    pub(crate) Slabs,
);

impl CpuWords {
    strata_sync::const_fn! {
        /// The words of a cache that is not set up.
        pub const fn new() -> Self {
            Self(Slabs::new())
        }
    }

    /// Makes these the words of `cache`.
    pub fn copy_from(&self, cache: &CpuCache) {
        self.0.copy_from(cache.slabs());
    }

    /// Takes a free object of `class`; null if this CPU has none.
    ///
    /// # Safety
    ///
    /// The cache whose words these are is set up, and this thread's rseq area is registered where `set_up` was
    /// told.
    #[inline(always)]
    pub unsafe fn pop(&self, class: SizeClass) -> *mut u8 {
        // SAFETY: the regions stand and this thread is registered, which is what `rseq::pop` asks for.
        unsafe { rseq::pop(&self.0, class.raw().into()) }
    }

    /// Takes a free object of `class`; the address of a word that is 0, and [is nothing](Self::is_nothing), if this
    /// CPU has none. For who is going to look at the object's first word: one comparison does for both.
    ///
    /// # Safety
    ///
    /// As for [`Self::pop`].
    #[inline(always)]
    pub unsafe fn pop_or_nothing(&self, class: SizeClass) -> *mut u8 {
        // SAFETY: the regions stand and this thread is registered, which is what `rseq::pop_or_nothing` asks for.
        unsafe { rseq::pop_or_nothing(&self.0, class.raw().into()) }
    }

    /// Whether [`pop_or_nothing`](Self::pop_or_nothing) found no object.
    #[inline(always)]
    pub fn is_nothing(object: *mut u8) -> bool {
        core::ptr::eq(object.cast(), &raw const NOTHING)
    }

    /// Gives a free object of `class` to this CPU; false if it has no room.
    ///
    /// # Safety
    ///
    /// As for [`Self::pop`]; and `object` is the caller's to give, an object of that class.
    #[inline(always)]
    pub unsafe fn push(&self, class: SizeClass, object: *mut u8) -> bool {
        // SAFETY: set up and registered, and the object is the caller's to give, which is what `rseq::push` asks for.
        unsafe { rseq::push(&self.0, class.raw().into(), object) }
    }

    /// The same, unless it is the object that was given last. Costs a load more, of a slot beside the one that is written.
    ///
    /// # Safety
    ///
    /// As for [`Self::push`]; only that `object` may be the one that was given last.
    #[inline(always)]
    pub unsafe fn push_unless_top(&self, class: SizeClass, object: *mut u8) -> Pushed {
        // SAFETY: set up and registered, and the object is the caller's to give, which is what `rseq::push_unless_top`
        // asks for.
        unsafe { rseq::push_unless_top(&self.0, class.raw().into(), object) }
    }
}

impl Default for CpuWords {
    fn default() -> Self {
        Self::new()
    }
}
