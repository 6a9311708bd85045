//! Proves a table, independently of how it was made.

use core::fmt;

use crate::class_info::DENSE_OBJECTS;
use crate::size_class::CLASS_SLOTS;
use crate::table::{FINE_MAX, MAX_SIZE, largest_size_of, slot_of};
use crate::{Bounds, ClassInfo, SizeClass, SizeClassTable};

/// What is wrong with a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Violation {
    /// The page size is not from 4 KiB to 256 KiB.
    PageShift {
        /// Binary logarithm of the page size.
        shift: u32,
    },
    /// There are no classes, more than there is room for, or figures beyond the last one.
    Count {
        /// Classes, class 0 included.
        count: usize,
    },
    /// The size is not a multiple of what it has to be.
    Alignment {
        /// The class.
        class: SizeClass,
    },
    /// The size does not exceed that of the class before.
    Order {
        /// The class.
        class: SizeClass,
    },
    /// A power of two is between this class and the one before, and no class.
    PowerOfTwo {
        /// The class.
        class: SizeClass,
    },
    /// The largest class is not [`MAX_SIZE`].
    Last {
        /// The largest class.
        class: SizeClass,
    },
    /// The smallest request that the class serves leaves too much of an object unused.
    ObjectWaste {
        /// The class.
        class: SizeClass,
    },
    /// Its spans have no pages, too many, or several although they are dense.
    SpanPages {
        /// The class.
        class: SizeClass,
    },
    /// The number of objects is not what a span holds, none, or beyond 16 bits.
    SpanObjects {
        /// The class.
        class: SizeClass,
    },
    /// Too much lies behind the last object of a span.
    SpanWaste {
        /// The class.
        class: SizeClass,
    },
    /// The batch does not follow from the size.
    Batch {
        /// The class.
        class: SizeClass,
    },
    /// The reciprocal is not exact for each byte of a span.
    Reciprocal {
        /// The class.
        class: SizeClass,
    },
    /// The list of sizes has another size for it.
    ListedSize {
        /// The class.
        class: SizeClass,
    },
    /// The lookup of this size does not yield the smallest class that holds it.
    Lookup {
        /// The size in bytes.
        size: usize,
    },
}

impl fmt::Display for Violation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (class, what) = match self {
            Self::PageShift { shift } => return write!(out, "pages of 2^{shift} bytes"),
            Self::Count { count } => return write!(out, "{count} classes"),
            Self::Lookup { size } => return write!(out, "size {size} finds the wrong class"),
            Self::Alignment { class } => (class, "is not aligned"),
            Self::Order { class } => (class, "is not larger than the one before"),
            Self::PowerOfTwo { class } => (class, "skips a power of two"),
            Self::Last { class } => (class, "is the largest, but not the largest size"),
            Self::ObjectWaste { class } => (class, "wastes too much of an object"),
            Self::SpanPages { class } => (class, "has spans of too many pages or none"),
            Self::SpanObjects { class } => (class, "does not have the objects of its spans"),
            Self::SpanWaste { class } => (class, "wastes too much of a span"),
            Self::Batch { class } => (class, "has the wrong batch"),
            Self::Reciprocal { class } => (class, "has an inexact reciprocal"),
            Self::ListedSize { class } => (class, "is listed with another size"),
        };
        write!(out, "class {} {what}", class.raw())
    }
}

impl core::error::Error for Violation {}

/// Proves that the table keeps to the bounds and that each size finds its class.
pub(crate) const fn validate(table: &SizeClassTable, bounds: &Bounds) -> Result<(), Violation> {
    if bounds.check(table.page_shift).is_err() {
        return Err(Violation::PageShift { shift: table.page_shift });
    }
    if table.count < 2 || table.count > CLASS_SLOTS {
        return Err(Violation::Count { count: table.count });
    }
    let mut index = 0;
    while index < CLASS_SLOTS {
        if index == 0 || index >= table.count {
            if table.classes[index].size != 0 {
                return Err(Violation::Count { count: table.count });
            }
        } else {
            let below = table.classes[index - 1].size;
            let class = SizeClass::from_raw(index as u8);
            if let Err(violation) = validate_size(&table.classes[index], class, below, bounds) {
                return Err(violation);
            }
            if let Err(violation) = validate_span(table, class, bounds) {
                return Err(violation);
            }
        }
        index += 1;
    }
    let last = SizeClass::from_raw((table.count - 1) as u8);
    if table.info(last).size as usize != MAX_SIZE {
        return Err(Violation::Last { class: last });
    }
    if let Err(violation) = validate_sizes(table) {
        return Err(violation);
    }
    validate_lookup(table)
}

/// That the list of sizes says what the classes say, and 0 where there is none.
const fn validate_sizes(table: &SizeClassTable) -> Result<(), Violation> {
    let mut raw = 0;
    while raw < table.sizes.len() {
        let right = if raw < CLASS_SLOTS { table.classes[raw].size } else { 0 };
        if table.sizes[raw] != right {
            return Err(Violation::ListedSize { class: SizeClass::from_raw(raw as u8) });
        }
        raw += 1;
    }
    Ok(())
}

/// Order, alignment, powers of two, and waste per object.
const fn validate_size(
    info: &ClassInfo,
    class: SizeClass,
    below: u32,
    bounds: &Bounds,
) -> Result<(), Violation> {
    let size = info.size;
    if size <= below {
        return Err(Violation::Order { class });
    }
    let aligned = if size <= bounds.alignment {
        size >= 8 && size.is_power_of_two()
    } else {
        size.is_multiple_of(if size <= 1024 { bounds.alignment } else { 128 })
    };
    if !aligned {
        return Err(Violation::Alignment { class });
    }
    if below < 8 && size != 8 || below >= 8 && (below + 1).next_power_of_two() < size {
        return Err(Violation::PowerOfTwo { class });
    }
    if !bounds.allow_step(below, size) {
        return Err(Violation::ObjectWaste { class });
    }
    if info.batch != bounds.batch(size) {
        return Err(Violation::Batch { class });
    }
    Ok(())
}

/// Pages, objects, waste behind the last object, and the reciprocal.
const fn validate_span(
    table: &SizeClassTable,
    class: SizeClass,
    bounds: &Bounds,
) -> Result<(), Violation> {
    let info = table.info(class);
    let span_bytes = (info.pages as u64) << table.page_shift;
    if info.pages == 0
        || info.pages > bounds.max_span_pages
        || info.pages > 1 && info.objects > DENSE_OBJECTS
    {
        return Err(Violation::SpanPages { class });
    }
    if info.objects == 0
        || info.objects > u16::MAX as u32
        || info.objects as u64 != span_bytes / info.size as u64
    {
        return Err(Violation::SpanObjects { class });
    }
    let tail = span_bytes % info.size as u64;
    if !bounds.allow_tail(tail, span_bytes) {
        return Err(Violation::SpanWaste { class });
    }
    if !reciprocal_is_exact(info, span_bytes) {
        return Err(Violation::Reciprocal { class });
    }
    Ok(())
}

/// Whether `object_index` is exact for each byte of a span, by the condition stated there.
const fn reciprocal_is_exact(info: &ClassInfo, span_bytes: u64) -> bool {
    let product = info.reciprocal as u64 * info.size as u64;
    let Some(error) = product.checked_sub(info.reciprocal_scale()) else { return false };
    let Some(drift) = error.checked_mul(span_bytes - 1) else { return false };
    drift < info.reciprocal_scale()
}

/// That each size from 0 to the largest finds the smallest class that holds it.
///
/// All sizes of a slot find the same class, so it is enough that this class holds the slot's
/// largest size and that the class before does not hold its smallest.
const fn validate_lookup(table: &SizeClassTable) -> Result<(), Violation> {
    let mut smallest = 0;
    let mut slot = 0;
    while smallest <= MAX_SIZE {
        let largest = largest_size_of(slot);
        if slot_of(smallest) != slot || slot_of(largest) != slot {
            return Err(Violation::Lookup { size: smallest });
        }
        let Some(entry) = table.entry(largest) else {
            return Err(Violation::Lookup { size: largest });
        };
        let class = entry.class();
        if class.is_none()
            || entry.size() != table.size(class)
            || entry.size() < largest
            || class.index() > 1 && table.classes[class.index() - 1].size as usize >= smallest
        {
            return Err(Violation::Lookup { size: largest });
        }
        let mut size = smallest;
        while size <= largest && size <= FINE_MAX {
            let small = table.small[size];
            if small.class().raw() != class.raw() || small.size() != entry.size() {
                return Err(Violation::Lookup { size });
            }
            size += 1;
        }
        smallest = largest + 1;
        slot += 1;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
