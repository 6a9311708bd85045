//! Free slots of a hardened heap are looked through.

use super::{Next, later};
use crate::Layers;

/// The shard whose turn is next.
#[derive(Debug)]
pub(super) struct Turn(usize);

impl Turn {
    pub(super) const FIRST: Self = Self(0);
}

/// One shard's slots. In a heap that is quiet all were looked through when the turn has come round.
#[inline(never)]
#[unsafe(link_section = ".text_rarely")]
pub(super) fn sweep<L: Layers>(layers: &L, now_ns: u64, is_quiet: bool, turn: &mut Turn) -> Next {
    let shards = layers.shards();
    if shards == 0 {
        return Next::AtRest;
    }
    layers.sweep_shard(turn.0 % shards);
    turn.0 = (turn.0 + 1) % shards;
    if is_quiet && turn.0 == 0 {
        return Next::AtRest;
    }
    later(now_ns)
}
