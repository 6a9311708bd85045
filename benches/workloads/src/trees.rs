//! Trees of small nodes: built, walked, and freed.

use core::hint::black_box;

use crate::Scale;
use crate::figures::Session;
use crate::watch::Watch;

/// Levels of a tree: 8 MiB in nodes of 32 bytes, more than the second cache of a processor holds.
const LEVELS: u32 = 18;

/// How often a tree is walked while it stands.
const WALKS: usize = 3;

/// 24 bytes, as a node of a program in C has them.
struct Node {
    children: Option<[Box<Self>; 2]>,
    value: u64,
}

/// Builds a tree, walks it in the order in which it was built, and frees it, so often. A walk waits for memory
/// where nodes that were allocated one after another do not lie side by side.
pub(crate) fn trees<W: Watch>(session: &mut Session<W>, scale: Scale, trees: usize) {
    let trees = scale.of(trees);
    let nodes = (1 << LEVELS) - 1;
    session.measure("", trees * nodes, |watch| {
        for _ in 0..trees {
            let tree = build(watch, LEVELS);
            for _ in 0..WALKS {
                black_box(sum(black_box(&tree)));
            }
            free(watch, tree);
        }
    });
}

fn build<W: Watch>(watch: &mut W, levels: u32) -> Box<Node> {
    let mut node = watch.time(|| Box::new(Node { children: None, value: levels.into() }));
    if levels > 1 {
        node.children = Some([build(watch, levels - 1), build(watch, levels - 1)]);
    }
    node
}

fn sum(node: &Node) -> u64 {
    node.children.iter().flatten().fold(node.value, |all, child| all.wrapping_add(sum(child)))
}

fn free<W: Watch>(watch: &mut W, mut node: Box<Node>) {
    for child in node.children.take().into_iter().flatten() {
        free(watch, child);
    }
    watch.time(|| drop(node));
}
