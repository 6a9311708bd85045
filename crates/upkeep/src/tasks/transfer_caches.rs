//! Transfer caches are kept in shape.

use super::{Next, later};
use crate::Layers;
use strata_size_classes::PageSize;
use strata_span::Platform;

/// Rounds between two moves of capacity between transfer caches, and between two that take what nobody wanted out of
/// them: TCMalloc's.
const RESIZE_ROUNDS: u64 = 2;
const PLUNDER_ROUNDS: u64 = 5;

/// Rounds done.
#[derive(Debug)]
pub(super) struct Rounds(u64);

impl Rounds {
    pub(super) const NONE: Self = Self(0);
}

/// One round: time that is bounded by the number of classes and by what transfer caches hold. In a heap that is quiet,
/// where nobody misses and so nobody wants anything of them, one class's cache is emptied.
#[inline(never)]
#[unsafe(link_section = ".text_rarely")]
pub(super) fn shape<L: Layers>(
    layers: &L,
    now_ns: u64,
    is_quiet: bool,
    rounds: &mut Rounds,
) -> Next {
    let middle = layers.middle().with(layers.platform(), layers.page_heap());
    if is_quiet {
        let table = <L::Platform as Platform>::Pages::TABLE;
        let filled = table.classes().find(|class| layers.middle().transfer(*class).used() > 0);
        let Some(class) = filled else { return Next::AtRest };
        let bytes = middle.drain_transfer(class) * table.size(class);
        layers.counters().count_drained(bytes as u64);
        return Next::At(now_ns);
    }
    rounds.0 += 1;
    if rounds.0.is_multiple_of(RESIZE_ROUNDS) {
        middle.resize_round();
    }
    if rounds.0.is_multiple_of(PLUNDER_ROUNDS) {
        middle.plunder();
    }
    later(now_ns)
}
