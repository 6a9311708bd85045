//! Pages, spans, the page map and the metadata arena.
//!
//! A *page* is the allocator's unit ([`PageSize`], 8 KiB by default), a *span* is a run of
//! pages that is handed out or free as one, the *page map* finds the span of an address
//! without a lock, and the *metadata arena* is where the allocator's own structures live.
//!
//! This crate must not know who uses spans: neither free lists of objects nor policies of
//! page heaps. It knows where things are, not what to do with them.
//!
//! ```
//! use strata_os::SystemPages;
//! use strata_size_classes::{PageSize, Pages8K, SizeClass};
//! use strata_span::{MetadataArena, PageCount, PageId, PageMap, SpanPool};
//!
//! let source = SystemPages::new();
//! let arena = MetadataArena::new();
//! let map = PageMap::<Pages8K>::new();
//! let spans = SpanPool::new();
//!
//! // Pages that we pretend to have: the map never touches what it maps.
//! let first = PageId::<Pages8K>::from_address(0x7f00_0000_0000);
//! let span = spans.allocate_span(&arena, &source).expect("memory for one span");
//! span.set_range(first, PageCount::<Pages8K>::new(3));
//!
//! assert!(map.ensure(&arena, &source, first, PageCount::new(3)));
//! map.set_range(span, SizeClass::NONE);
//! assert_eq!(map.span_at(0x7f00_0000_0000 + 2 * Pages8K::BYTES + 17), Some(span));
//! assert_eq!(map.span_at(0x7f00_0000_0000 + 3 * Pages8K::BYTES), None);
//! ```
#![no_std]

#[cfg(test)]
extern crate std;

mod address;
mod metadata_arena;
mod misuse;
mod page_map;
mod pages;
mod platform;
mod pool;
mod publish_once;
mod range_log;
mod span;
mod span_list;
mod span_tree;

pub use address::Address;
pub use metadata_arena::{ArenaStats, MetadataArena, MetadataKind};
pub use misuse::{Function, LastOperation, Misuse, Offence, report_not_in_use};
pub use page_map::{PageMap, PageMapStats, PageMapWindow, PageMapWords};
pub use pages::{HUGEPAGE_BYTES, HUGEPAGE_SHIFT, Hugepage, HugepageCount, PageCount, PageId};
pub use platform::{Ground, Platform};
pub use pool::{Pool, PoolItem, PoolStats};
pub use publish_once::PublishOnce;
pub use range_log::RangeLog;
pub use span::{Span, SpanHandle, SpanPlace, SpanPool};
pub use span_list::SpanList;
pub use span_tree::SpanTree;
pub use strata_size_classes::{PageSize, SizeClass};
