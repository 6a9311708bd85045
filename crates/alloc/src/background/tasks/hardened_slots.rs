//! Free slots of a hardened heap are looked through.

use super::Next;
use crate::{Core, HeapConfig, background::INTERVAL_NS};

/// The shard whose turn is next.
#[derive(Debug)]
pub(in crate::background) struct Turn(usize);

impl<C: HeapConfig> Core<C> {
    /// One shard's slots: see [`Core::sweep`]. In a heap that is quiet all were looked through when the turn has come
    /// round.
    pub(super) fn sweep_in_turn(&self, now_ns: u64, is_quiet: bool, turn: &mut Turn) -> Next {
        let shards = self.hardened.shards().len();
        if shards == 0 {
            return Next::AtRest;
        }
        self.sweep_shard(turn.0 % shards);
        turn.0 = (turn.0 + 1) % shards;
        if is_quiet && turn.0 == 0 {
            return Next::AtRest;
        }
        Next::At(now_ns.saturating_add(INTERVAL_NS))
    }
}
