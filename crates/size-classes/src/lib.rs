//! Size classes: which block size serves a request, and how spans are cut into such blocks.
//!
//! A request of up to [`MAX_SIZE`] bytes is served by the smallest *size class* that holds it. This
//! crate has the tables for pages of 4, 8, 32 and 256 KiB ([`PageSize::TABLE`]), the lookup from a
//! size to its class (up to 1 KiB one comparison, one addition, one shift and one load), the
//! generator that makes a table from [`Bounds`], and the validator that proves it. The four tables
//! are generated and proven while this crate is compiled.
//!
//! It also has the seam at which caches of objects meet the one who makes objects,
//! [`ObjectSource`].
//!
//! It must not know where memory comes from, what a span is beyond a number of pages, or who caches
//! what: it is arithmetic on sizes, holds no state, takes no lock and uses no other
//! layer.
//!
//! ```
//! use strata_size_classes::{MAX_SIZE, PageSize, Pages8K};
//!
//! let table = Pages8K::TABLE;
//!
//! // The class of a request, and the size of the block that it gets.
//! let entry = table.entry(100).expect("small enough for a class");
//! assert_eq!(entry.size(), 112);
//!
//! // A block that starts on a multiple of 64.
//! let aligned = table.entry_aligned(100, 64).expect("not beyond a page");
//! assert_eq!(aligned.size(), 128);
//!
//! // How spans of that class are cut.
//! let info = table.info(entry.class());
//! assert_eq!(info.objects as usize, usize::from(info.pages) * Pages8K::BYTES / 112);
//! assert_eq!(info.object_index(3 * 112 + 5), 3);
//!
//! // Larger requests have no class: they are spans of their own.
//! assert!(table.entry(MAX_SIZE + 1).is_none());
//! ```
//!
//! A page size of one's own, with bounds of one's own:
//!
//! ```
//! use strata_size_classes::{Bounds, PageSize, SizeClassTable};
//!
//! #[derive(Clone, Copy, Debug)]
//! struct Pages16K;
//!
//! static TABLE: SizeClassTable =
//!     SizeClassTable::proven(14, &Bounds { object_waste_per_mille: 200, ..Bounds::STANDARD });
//!
//! impl PageSize for Pages16K {
//!     const SHIFT: u32 = 14;
//!     const NAME: &'static str = "16k";
//!     const TABLE: &'static SizeClassTable = &TABLE;
//! }
//!
//! assert!(Pages16K::TABLE.count() < strata_size_classes::Pages8K::TABLE.count());
//! ```
#![no_std]

#[cfg(test)]
extern crate std;

mod bounds;
mod class_info;
mod generator;
mod object_source;
mod page_size;
mod size_class;
mod table;
mod validator;

pub use bounds::{Bounds, Infeasible};
pub use class_info::{ClassInfo, DENSE_OBJECTS};
pub use object_source::ObjectSource;
pub use page_size::{PageSize, Pages4K, Pages8K, Pages32K, Pages256K};
pub use size_class::{CLASS_SLOTS, ClassEntry, SizeClass, SmallEntry};
pub use table::{MAX_SIZE, SizeClassTable};
pub use validator::Violation;
