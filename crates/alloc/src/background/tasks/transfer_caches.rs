//! Transfer caches are kept in shape.

use crate::{Core, HeapConfig, background::INTERVAL_NS};

/// Rounds between two moves of capacity between transfer caches, and between two that take what nobody wanted out of
/// them: TCMalloc's.
const RESIZE_ROUNDS: u64 = 2;
const PLUNDER_ROUNDS: u64 = 5;

/// Rounds done.
#[derive(Debug)]
pub(super) struct Rounds(u64);

impl<C: HeapConfig> Core<C> {
    /// One round: time that is bounded by the number of classes and by what transfer caches hold.
    pub(super) fn shape_transfer_caches(&self, now_ns: u64, rounds: &mut Rounds) -> u64 {
        rounds.0 += 1;
        let middle = self.source_of_objects();
        if rounds.0.is_multiple_of(RESIZE_ROUNDS) {
            middle.resize_round();
        }
        if rounds.0.is_multiple_of(PLUNDER_ROUNDS) {
            middle.plunder();
        }
        now_ns.saturating_add(INTERVAL_NS)
    }
}
