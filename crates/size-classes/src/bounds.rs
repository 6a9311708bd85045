//! What a table has to keep to, and why a table cannot.

use core::fmt;

/// The bounds that a table is generated for and proven against.
///
/// ```
/// use strata_size_classes::{Bounds, SizeClassTable};
///
/// let coarse = Bounds { object_waste_per_mille: 250, ..Bounds::STANDARD };
/// let table = SizeClassTable::generate(13, &coarse)?;
/// assert!(table.count() < 64);
/// assert_eq!(table.validate(&coarse), Ok(()));
/// # Ok::<(), strata_size_classes::Infeasible>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Sizes from here up to 1 KiB are multiples of this many bytes, smaller ones powers of two;
    /// itself a power of two from 8 to 128. (Above 1 KiB they are multiples of 128, which is what
    /// the lookup tells apart.)
    pub alignment: u32,
    /// Most of an object that a request may leave unused, in thousandths of the object, wherever
    /// two classes are further apart than the closest that classes may be: the alignment, and from
    /// 8 KiB a 64th of the power of two below.
    pub object_waste_per_mille: u32,
    /// Most of a span that lies behind its last object, in thousandths of the span.
    pub span_waste_per_mille: u32,
    /// Most pages in a span.
    pub max_span_pages: u16,
    /// Objects that a span should have, where [`cheap_span_bytes`](Self::cheap_span_bytes) allows.
    pub preferred_objects: u32,
    /// How long a span may get in order to have the preferred number of objects.
    pub cheap_span_bytes: u32,
    /// Bytes that move between two layers at a time, from which a class's batch follows.
    pub batch_bytes: u32,
    /// Fewest objects in a batch.
    pub min_batch: u16,
    /// Most objects in a batch.
    pub max_batch: u16,
    /// Objects of this size and more begin at a different offset in each span of their class, within the bytes that
    /// spans have behind their last object: see
    /// [`stagger_bytes`](crate::SizeClassTable::stagger_bytes).
    pub staggered_from: u32,
    /// Bytes that such a span should have behind its last object, where the other bounds allow.
    pub least_stagger_bytes: u32,
}

impl Bounds {
    /// The bounds of the four tables of this crate: 77 classes at each page size.
    ///
    /// - `alignment` 16: what C promises for `malloc` on 64-bit machines. At 8 there are 82
    ///   classes, and no object of the added ones may be handed to code that loads it with aligned
    ///   SSE moves.
    /// - `object_waste_per_mille` 125: TCMalloc's bound. At half, the 142 classes needed exceed the
    ///   127 that a table has room for; at twice, 41 classes do, and what requests waste on average
    ///   doubles.
    /// - `span_waste_per_mille` 125: likewise. At half there is no class between 1 and 2 KiB whose
    ///   spans are good enough; at twice there are as many classes, in spans a little shorter.
    /// - `max_span_pages` 80: 256 KiB and room to stagger it at the smallest page; at half the
    ///   largest class has no span. Twice changes no class.
    /// - `preferred_objects` 8 within `cheap_span_bytes` 32 KiB: a span costs a call of the page
    ///   heap under its lock, which 8 objects share. Half makes twice the calls for objects beyond
    ///   half a page; with twice, spans empty later and fewer pages go back.
    /// - batch of 2 to 32 objects, about 64 KiB: TCMalloc's rule. 32 pointers are four cache lines;
    ///   twice that doubles what a cache holds of a class it hardly uses, half doubles the refills.
    /// - staggered from 16 KiB by at least 1 KiB: large buffers are used from their beginnings, and if all begin on a
    ///   page, equal offsets of several fall into one set of the first-level cache (64 sets of 64 bytes, 12 ways here).
    ///   `cargo xtask bench --peers grow` shows it. From 8 KiB on, spans of a power of two would waste more than their
    ///   bound; from 32 KiB, 64 vectors of 16 KiB collide.
    pub const STANDARD: Self = Self {
        alignment: 16,
        object_waste_per_mille: 125,
        span_waste_per_mille: 125,
        max_span_pages: 80,
        preferred_objects: 8,
        cheap_span_bytes: 32 << 10,
        batch_bytes: 64 << 10,
        min_batch: 2,
        max_batch: 32,
        staggered_from: 16 << 10,
        least_stagger_bytes: 1 << 10,
    };

    /// Whether the bounds make sense for this page size.
    pub(crate) const fn check(&self, page_shift: u32) -> Result<(), Infeasible> {
        if page_shift < 12 || page_shift > 18 {
            return Err(Infeasible::PageShift { shift: page_shift });
        }
        if !self.alignment.is_power_of_two() || self.alignment < 8 || self.alignment > 128 {
            return Err(Infeasible::Alignment { bytes: self.alignment });
        }
        if self.min_batch == 0 || self.min_batch > self.max_batch {
            return Err(Infeasible::Batch { min: self.min_batch, max: self.max_batch });
        }
        Ok(())
    }

    /// The least distance between a class of this size and the one before it.
    pub(crate) const fn spacing(&self, size: u32) -> u32 {
        if size <= 8 {
            8
        } else if size <= self.alignment {
            1 << (size - 1).ilog2()
        } else if size <= 1024 {
            self.alignment
        } else {
            let sixty_fourth = 1 << ((size - 1).ilog2() - 6);
            if sixty_fourth > 128 { sixty_fourth } else { 128 }
        }
    }

    /// Whether a class of `size` bytes may follow one of `below` bytes: if the smallest request
    /// that it serves leaves too much of it unused, only where no class may be between them.
    pub(crate) const fn allow_step(&self, below: u32, size: u32) -> bool {
        let unused = (size - below - 1) as u64;
        unused * 1000 <= self.object_waste_per_mille as u64 * size as u64
            || size - below <= self.spacing(size)
    }

    /// Whether so many bytes behind the last object of a span are few enough.
    pub(crate) const fn allow_tail(&self, tail_bytes: u64, span_bytes: u64) -> bool {
        tail_bytes * 1000 <= self.span_waste_per_mille as u64 * span_bytes
    }

    /// How many objects of this size move at a time.
    pub(crate) const fn batch(&self, size: u32) -> u16 {
        let fitting = self.batch_bytes / size;
        if fitting <= self.min_batch as u32 {
            self.min_batch
        } else if fitting >= self.max_batch as u32 {
            self.max_batch
        } else {
            fitting as u16
        }
    }
}

impl Default for Bounds {
    fn default() -> Self {
        Self::STANDARD
    }
}

/// Why no table can be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Infeasible {
    /// The page size is not from 4 KiB to 256 KiB.
    PageShift {
        /// Binary logarithm of the page size asked for.
        shift: u32,
    },
    /// The alignment is not a power of two from 8 to 128.
    Alignment {
        /// The alignment asked for.
        bytes: u32,
    },
    /// The batch bounds are zero or crossed.
    Batch {
        /// Fewest objects asked for.
        min: u16,
        /// Most objects asked for.
        max: u16,
    },
    /// The bounds leave no class of this size, which every table must have.
    NoClass {
        /// The size in bytes.
        size: u32,
    },
    /// No span of the pages allowed holds objects of this size within the waste allowed.
    NoSpan {
        /// The size in bytes.
        size: u32,
    },
    /// The bounds need more classes than a table has room for.
    TooManyClasses {
        /// Classes needed, class 0 included.
        count: usize,
    },
    /// Of the sizes given, this one is not an ascending multiple of the lookup's granularity.
    Size {
        /// The size in bytes.
        size: u32,
    },
}

impl fmt::Display for Infeasible {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PageShift { shift } => write!(out, "no tables for pages of 2^{shift} bytes"),
            Self::Alignment { bytes } => write!(out, "no classes with an alignment of {bytes}"),
            Self::Batch { min, max } => write!(out, "no batch has from {min} to {max} objects"),
            Self::NoClass { size } => write!(out, "the bounds leave no class of {size} bytes"),
            Self::NoSpan { size } => write!(out, "no span holds objects of {size} bytes"),
            Self::TooManyClasses { count } => write!(out, "{count} classes are too many"),
            Self::Size { size } => write!(out, "{size} bytes cannot be a class here"),
        }
    }
}

impl core::error::Error for Infeasible {}
