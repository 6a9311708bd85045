//! Transfer caches are kept in shape.

use super::Next;
use crate::{Core, HeapConfig, background::INTERVAL_NS};
use strata_size_classes::PageSize;
use strata_sync::atomic::Ordering;

/// Rounds between two moves of capacity between transfer caches, and between two that take what nobody wanted out of
/// them: TCMalloc's.
const RESIZE_ROUNDS: u64 = 2;
const PLUNDER_ROUNDS: u64 = 5;

/// Rounds done.
#[derive(Debug)]
pub(in crate::background) struct Rounds(u64);

impl<C: HeapConfig> Core<C> {
    /// One round: time that is bounded by the number of classes and by what transfer caches hold. In a heap that is quiet,
    /// where nobody misses and so nobody wants anything of them, one class's cache is emptied.
    pub(super) fn shape_transfer_caches(
        &self,
        now_ns: u64,
        is_quiet: bool,
        rounds: &mut Rounds,
    ) -> Next {
        let middle = self.source_of_objects();
        if is_quiet {
            let table = C::Pages::TABLE;
            let filled = table.classes().find(|class| self.middle().transfer(*class).used() > 0);
            let Some(class) = filled else { return Next::AtRest };
            let bytes = middle.drain_transfer(class) * table.size(class);
            self.background.counters.drained_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
            return Next::At(now_ns);
        }
        rounds.0 += 1;
        if rounds.0.is_multiple_of(RESIZE_ROUNDS) {
            middle.resize_round();
        }
        if rounds.0.is_multiple_of(PLUNDER_ROUNDS) {
            middle.plunder();
        }
        Next::At(now_ns.saturating_add(INTERVAL_NS))
    }
}
