//! The table of a page size's classes, and the lookup from a size to its class.

use core::hint::cold_path;

use crate::generator;
use crate::size_class::CLASS_SLOTS;
use crate::validator;
use crate::{Bounds, ClassEntry, ClassInfo, Infeasible, SizeClass, SmallEntry, Violation};

/// The largest size that has a class, in bytes; what is larger is a span of its own.
///
/// 256 KiB for all page sizes, as TCMalloc has for its larger pages. At half, requests up
/// to there each take the page heap's lock; at twice, a cache of one batch holds a megabyte.
pub const MAX_SIZE: usize = 256 << 10;

/// Up to here the lookup has a slot for each 8 bytes, beyond it for each 128.
pub(crate) const FINE_MAX: usize = 1 << 10;

/// Slots of the lookup for sizes up to [`FINE_MAX`].
pub(crate) const FINE_SLOTS: usize = fine_slot_of(FINE_MAX) + 1;

/// Slots of the lookup for sizes beyond [`FINE_MAX`].
pub(crate) const COARSE_SLOTS: usize = coarse_slot_of(MAX_SIZE) + 1;

/// The size classes of one page size.
///
/// Immutable, so any number of threads may use it at once; no operation locks or allocates.
///
/// ```
/// use strata_size_classes::{PageSize, Pages8K, SizeClassTable};
///
/// let table: &SizeClassTable = Pages8K::TABLE;
/// let sizes: Vec<usize> = table.classes().map(|class| table.size(class)).collect();
/// assert_eq!(sizes[..10], [8, 16, 32, 48, 64, 80, 96, 112, 128, 144]);
/// assert!(sizes.contains(&4096) && sizes.is_sorted());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[repr(C, align(64))]
pub struct SizeClassTable {
    /// First, so that no class lies across two cache lines.
    pub(crate) classes: [ClassInfo; CLASS_SLOTS],
    /// What sizes up to 1 KiB find, by the byte: almost all requests end here, and class and size are one load.
    pub(crate) small: [SmallEntry; FINE_MAX + 1],
    /// The size of each class's objects, once more: four bytes apart, an address finds it without arithmetic. As long as a
    /// class's byte reaches, so that no index is out of range.
    pub(crate) sizes: [u32; 256],
    /// What larger sizes find: classes alone, 2 KiB of them, where entries would take 8 KiB of
    /// cache.
    pub(crate) coarse: [SizeClass; COARSE_SLOTS],
    /// What [`is_no_beginning`](Self::is_no_beginning) multiplies with, by class, and the size of the class's
    /// objects beside it: a free asks for both, and loads once.
    pub(crate) beginnings: [Beginning; 256],
    pub(crate) count: usize,
    pub(crate) page_shift: u32,
    /// Classes of this size and more are staggered.
    pub(crate) staggered_from: u32,
}

impl SizeClassTable {
    /// A table with no classes, whose every lookup yields `None`.
    pub const EMPTY: Self = Self {
        classes: [ClassInfo::NONE; CLASS_SLOTS],
        small: [SmallEntry::NONE; FINE_MAX + 1],
        sizes: [0; 256],
        coarse: [SizeClass::NONE; COARSE_SLOTS],
        beginnings: [Beginning::NONE; 256],
        count: 1,
        page_shift: 12,
        staggered_from: u32::MAX,
    };

    /// The table with the fewest classes that keeps to the bounds, for pages of `2^page_shift`
    /// bytes.
    ///
    /// Among tables with equally few classes it is the one that wastes least, counted over sizes
    /// that are equally likely on a logarithmic scale. Looks at about 500 sizes and at most 64
    /// before each: little enough for the compiler's limit on constants.
    ///
    /// # Errors
    ///
    /// [`Infeasible`] names the size or the bound that cannot be had.
    pub const fn generate(page_shift: u32, bounds: &Bounds) -> Result<Self, Infeasible> {
        generator::generate(page_shift, bounds)
    }

    /// The table with just these sizes, ascending; spans and batches follow from the bounds.
    ///
    /// For sizes that were measured rather than computed. [`validate`](Self::validate) tells what
    /// such a table lacks.
    ///
    /// # Errors
    ///
    /// [`Infeasible`] names the size that the lookup could not tell apart or that has no span.
    pub const fn from_sizes(
        page_shift: u32,
        bounds: &Bounds,
        sizes: &[u32],
    ) -> Result<Self, Infeasible> {
        generator::from_sizes(page_shift, bounds, sizes)
    }

    /// The generated table, validated: for a `static`, where what cannot be is a compile error.
    ///
    /// ```compile_fail
    /// use strata_size_classes::{Bounds, SizeClassTable};
    ///
    /// // The largest class does not fit a span of one page.
    /// static TABLE: SizeClassTable =
    ///     SizeClassTable::proven(13, &Bounds { max_span_pages: 1, ..Bounds::STANDARD });
    /// # let _ = &TABLE;
    /// ```
    ///
    /// # Panics
    ///
    /// If the bounds are infeasible or the table violates them.
    #[expect(clippy::panic, reason = "in a static it is how the compiler is told to stop")]
    pub const fn proven(page_shift: u32, bounds: &Bounds) -> Self {
        match Self::generate(page_shift, bounds) {
            Ok(table) => {
                assert!(table.validate(bounds).is_ok(), "the table violates its bounds");
                table
            }
            Err(_) => panic!("no table keeps to these bounds"),
        }
    }

    /// Proves the table: order, alignment, powers of two, waste, spans, batches, reciprocals, and
    /// the lookup of each size from 0 to [`MAX_SIZE`].
    ///
    /// # Errors
    ///
    /// The first [`Violation`] found.
    pub const fn validate(&self, bounds: &Bounds) -> Result<(), Violation> {
        validator::validate(self, bounds)
    }

    /// The smallest class that holds `size` bytes, and its size; `None` above [`MAX_SIZE`].
    ///
    /// A size of 0 gets the smallest class. Objects of more than 8 bytes are aligned to the table's
    /// alignment (16), those of the 8-byte class to 8.
    ///
    /// Sizes up to 1 KiB take two loads behind one comparison, of the class and of its size; larger ones take a
    /// jump, another comparison, a subtraction and a shift before them. No bounds check is left in either.
    #[inline(always)]
    pub const fn entry(&self, size: usize) -> Option<ClassEntry> {
        if size <= FINE_MAX {
            self.entry_of(self.small[size].class())
        } else {
            cold_path();
            if size <= MAX_SIZE { self.coarse_entry(coarse_slot_of(size)) } else { None }
        }
    }

    /// The smallest class that holds `size` bytes, if that is at most 1 KiB: what [`entry`](Self::entry) finds, in
    /// one load. [`SmallEntry::NONE`] if the table has no class for it, which a proven one has.
    #[inline(always)]
    pub const fn small_entry(&self, size: usize) -> Option<SmallEntry> {
        if size <= FINE_MAX { Some(self.small[size]) } else { None }
    }

    /// The smallest class that holds `size` bytes, if that is more than 1 KiB and at most [`MAX_SIZE`]: what
    /// [`entry`](Self::entry) finds, by one comparison and two loads. [`SmallEntry::NONE`] if the table has no
    /// class for it, which a proven one has.
    #[inline(always)]
    pub const fn entry_above_1k(&self, size: usize) -> Option<SmallEntry> {
        let beyond = size.wrapping_sub(FINE_MAX + 1);
        if beyond < MAX_SIZE - FINE_MAX {
            let class = self.coarse[beyond >> 7];
            Some(SmallEntry::of(class, self.sizes[class.raw() as usize]))
        } else {
            None
        }
    }

    /// The smallest class that holds `size` bytes and whose objects all start on a multiple of
    /// `align`; `None` above [`MAX_SIZE`], for an alignment beyond the page, or one that is no
    /// power of two, and beyond 64 bytes for classes whose objects are staggered.
    ///
    /// Such are the classes whose size is a multiple of `align`: a span starts on a page, and its
    /// object `i` at `i` times the size. Costs a lookup and, as powers of two are classes, a look
    /// at no more classes than there are in one doubling; at none, where the first one found is a
    /// multiple.
    #[inline]
    pub const fn entry_aligned(&self, size: usize, align: usize) -> Option<ClassEntry> {
        if size > MAX_SIZE || !align.is_power_of_two() || align > 1 << self.page_shift {
            return None;
        }
        let within = align - 1;
        let least = if size == 0 { align } else { (size + within) & !within };
        let Some(mut entry) = self.entry(least) else { return None };
        while entry.size() & within != 0 {
            let Some(next) = SizeClass::from_index(entry.class().index() + 1) else { return None };
            let Some(larger) = self.entry_of(next) else { return None };
            entry = larger;
        }
        if align > Self::STAGGER_ALIGN && entry.size() >= self.staggered_from as usize {
            return None;
        }
        Some(entry)
    }

    /// What the table knows of a class; [`ClassInfo::NONE`] for one that it does not have.
    #[inline(always)]
    pub const fn info(&self, class: SizeClass) -> &ClassInfo {
        &self.classes[class.index()]
    }

    /// The size of a class's objects in bytes; 0 for a class that the table does not have.
    #[inline(always)]
    pub const fn size(&self, class: SizeClass) -> usize {
        self.sizes[class.raw() as usize] as usize
    }

    /// Whether no object of `class` begins at `address`, which lies in a span of the class, as far as the address's
    /// place in its page tells: exact for classes whose spans have one page; of others it is seen that an address
    /// is no multiple of the size's power of two, up to 64 where objects are staggered. Costs a load, a
    /// multiplication and a comparison.
    ///
    /// With `c = ⌈2³² / d⌉`, `n` is a multiple of `d` just if `n · c mod 2³² < c`, for `n` below `c`
    /// (D. Lemire, O. Kaser, N. Kurz, "Faster Remainder by Direct Computation", 2019, section 3.2).
    #[inline(always)]
    pub const fn is_no_beginning(&self, class: SizeClass, address: usize) -> bool {
        self.is_no_beginning_of(class, address).0
    }

    /// The same, and the size of the class's objects in bytes, which takes no load more. Of [`SizeClass::NONE`],
    /// and of classes that the table does not have, nothing begins anywhere.
    #[inline(always)]
    pub const fn is_no_beginning_of(&self, class: SizeClass, address: usize) -> (bool, usize) {
        let Beginning(word) = self.beginnings[class.raw() as usize];
        let factor = (word & 0xffff_ffff) as u32;
        let within = (address & ((1 << self.page_shift) - 1)) as u32;
        (within.wrapping_mul(factor) >= factor, (word >> 32) as usize)
    }

    /// The factor of a class: that of its size, or of the power of two in it.
    pub(crate) const fn beginning(&self, info: &ClassInfo) -> Beginning {
        Beginning((info.size as u64) << 32 | self.beginning_factor(info) as u64)
    }

    const fn beginning_factor(&self, info: &ClassInfo) -> u32 {
        let page = 1_u64 << self.page_shift;
        let factor = (1_u64 << 32).div_ceil(info.size as u64);
        if info.pages == 1 && info.size < self.staggered_from && page <= factor {
            return factor as u32;
        }
        let power = (info.size & info.size.wrapping_neg()) as u64;
        let staggered = info.size >= self.staggered_from;
        let most = if staggered { Self::STAGGER_ALIGN as u64 } else { page };
        (1_u64 << 32).div_ceil(if power < most { power } else { most }) as u32
    }

    /// Objects that are staggered are aligned to this many bytes, a line of the cache.
    pub const STAGGER_ALIGN: usize = 64;

    /// How far into its span, in bytes, the first object of a span of `class` may begin: a multiple of 64 below 4 KiB;
    /// 0 for classes that are not staggered.
    ///
    /// An owner of spans who gives each span of a class another offset spreads the beginnings of large objects over
    /// the sets of the processor's first-level cache, where those of objects that all begin on pages collide.
    /// (jemalloc calls it `cache_oblivious`, and spends a page a block on it; here it uses what spans have behind
    /// their last object.)
    #[inline]
    pub const fn stagger_bytes(&self, class: SizeClass) -> usize {
        let info = self.info(class);
        if info.size == 0 || info.size < self.staggered_from {
            return 0;
        }
        let span_bytes = (info.pages as usize) << self.page_shift;
        let tail = span_bytes - info.objects as usize * info.size as usize;
        let most = 4096 - Self::STAGGER_ALIGN;
        (if tail < most { tail } else { most }) & !(Self::STAGGER_ALIGN - 1)
    }

    /// The classes from the smallest to the largest, without [`SizeClass::NONE`].
    pub fn classes(&self) -> impl DoubleEndedIterator<Item = SizeClass> + Clone + use<> {
        (1..self.count).filter_map(SizeClass::from_index)
    }

    /// How many classes there are, [`SizeClass::NONE`] included: one more than the largest index.
    #[inline(always)]
    pub const fn count(&self) -> usize {
        self.count
    }

    /// Binary logarithm of the page size in bytes.
    #[inline(always)]
    pub const fn page_shift(&self) -> u32 {
        self.page_shift
    }

    #[inline(always)]
    const fn coarse_entry(&self, slot: usize) -> Option<ClassEntry> {
        if slot < COARSE_SLOTS { self.entry_of(self.coarse[slot]) } else { None }
    }

    /// The entry of a class; `None` for one that the table does not have.
    #[inline(always)]
    pub(crate) const fn entry_of(&self, class: SizeClass) -> Option<ClassEntry> {
        ClassEntry::of(class, self.sizes[class.raw() as usize])
    }
}

/// The factor of a class in the lower half, the size of its objects in the upper.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Beginning(u64);

impl Beginning {
    const NONE: Self = Self(0);
}

/// The slot of a size up to [`FINE_MAX`].
#[inline(always)]
const fn fine_slot_of(size: usize) -> usize {
    (size + 7) >> 3
}

/// The slot of a size above [`FINE_MAX`] and up to [`MAX_SIZE`].
#[inline(always)]
const fn coarse_slot_of(size: usize) -> usize {
    (size - FINE_MAX - 1) >> 7
}

/// The slot of a size, with the coarse slots numbered after the fine ones; rises with the size.
pub(crate) const fn slot_of(size: usize) -> usize {
    if size <= FINE_MAX { fine_slot_of(size) } else { FINE_SLOTS + coarse_slot_of(size) }
}

/// The largest size that has this slot.
pub(crate) const fn largest_size_of(slot: usize) -> usize {
    if slot < FINE_SLOTS { slot << 3 } else { FINE_MAX + ((slot - FINE_SLOTS + 1) << 7) }
}

#[cfg(test)]
mod tests;
