//! Nodes of address maps, promised before they are needed.

use crate::{
    handle::Handle,
    huge_address_map::{Node, NodeHandle},
};
use strata_span::{Platform, Pool};

/// Nodes for the address maps of one heap.
///
/// Memory comes back at the worst of times, and then there must be a node for it. So each range
/// that is outside of the maps holds a promise of a node; a range is not handed out unless its
/// promise can be made. All zero bits are a store without nodes.
#[derive(Debug)]
pub(crate) struct NodeStore {
    pool: Pool<Node>,
    /// Linked through their left children.
    free: Option<NodeHandle>,
    free_nodes: usize,
    promised: usize,
    created: usize,
}

impl NodeStore {
    strata_sync::const_fn! {
        /// No nodes.
        pub(crate) const fn new() -> Self {
            Self { pool: Pool::new(), free: None, free_nodes: 0, promised: 0, created: 0 }
        }
    }

    /// Promises one node more. False, and no promise, if there is no memory for it.
    #[must_use]
    pub(crate) fn promise<E: Platform>(&mut self, platform: &E) -> bool {
        if self.free_nodes <= self.promised {
            let Some(node) = self.pool.allocate(platform.arena(), platform.metadata()) else {
                return false;
            };
            self.created += 1;
            // SAFETY: the node came from the pool, which never takes it back; the owner of the
            // store holds the heap's lock.
            self.put_back(unsafe { Handle::new(node) });
        }
        self.promised += 1;
        true
    }

    /// Takes a promise back: its range became part of another.
    pub(crate) fn waive(&mut self) {
        debug_assert!(self.promised > 0, "a promise is given up once");
        self.promised = self.promised.saturating_sub(1);
    }

    /// Keeps a promise.
    pub(crate) fn redeem(&mut self) -> Option<NodeHandle> {
        debug_assert!(self.promised > 0, "a node is had for a promise");
        self.promised = self.promised.saturating_sub(1);
        let node = self.free?;
        self.free = node.left.get();
        self.free_nodes -= 1;
        Some(node)
    }

    /// Takes a node back that is in no map any more.
    pub(crate) fn put_back(&mut self, node: NodeHandle) {
        node.left.set(self.free);
        self.free = Some(node);
        self.free_nodes += 1;
    }

    /// Takes a node back, and promises it to the range that left the map with it.
    pub(crate) fn put_back_promised(&mut self, node: NodeHandle) {
        self.put_back(node);
        self.promised += 1;
    }

    /// Nodes in maps.
    pub(crate) const fn used(&self) -> usize {
        self.created - self.free_nodes
    }

    /// Nodes ever taken from the arena.
    pub(crate) const fn created(&self) -> usize {
        self.created
    }

    /// Ranges outside of the maps that hold a promise.
    #[cfg(test)]
    pub(crate) const fn promised(&self) -> usize {
        self.promised
    }
}
