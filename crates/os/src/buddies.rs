//! How the machine's free memory is cut up.

use crate::kernel_file::{KernelFile, leading_number};
use crate::{KeepErrno, kernel_page_bytes};

/// Free memory of one NUMA node, all zones together, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct NodeMemory {
    /// The kernel's number of the node.
    pub node: u32,
    /// Free.
    pub free_bytes: u64,
    /// Of that, in free blocks as long as a hugepage, or longer.
    pub whole_bytes: u64,
}

impl NodeMemory {
    /// The part of the free memory that no hugepage can be made of as it lies, from 0 to 1: the kernel's *unusable
    /// free space index* for hugepages (`extfrag/unusable_index` of its debugfs). 0 if nothing is free.
    pub fn fragmentation(&self) -> f64 {
        if self.free_bytes == 0 {
            return 0.0;
        }
        self.free_bytes.saturating_sub(self.whole_bytes) as f64 / self.free_bytes as f64
    }
}

/// Calls `each` with every NUMA node of the machine, as /proc/buddyinfo has them, where a hugepage has
/// `hugepage_bytes` bytes.
///
/// The kernel counts each zone at a moment of its own. Allocates nothing; some system calls, and 3 KiB of stack.
///
/// # Errors
///
/// The system's number, where /proc is not to be had or hides the file (containers may).
///
/// ```
/// strata_os::for_each_node(2 << 20, |node| assert!(node.whole_bytes <= node.free_bytes))?;
/// # Ok::<(), i32>(())
/// ```
pub fn for_each_node(hugepage_bytes: usize, mut each: impl FnMut(NodeMemory)) -> Result<(), i32> {
    let _keep = KeepErrno::new();
    let file = KernelFile::open(c"/proc/buddyinfo")?;
    let mut before: Option<NodeMemory> = None;
    file.for_each_line(|line| {
        let Some(zone) = zone_of_line(line, kernel_page_bytes(), hugepage_bytes) else { return };
        match &mut before {
            Some(node) if node.node == zone.node => {
                node.free_bytes = node.free_bytes.saturating_add(zone.free_bytes);
                node.whole_bytes = node.whole_bytes.saturating_add(zone.whole_bytes);
            }
            other => other.replace(zone).into_iter().for_each(&mut each),
        }
    })?;
    before.into_iter().for_each(each);
    Ok(())
}

/// A line such as `Node 0, zone   Normal   2860   2174   4955`: after the names, how many free blocks there are of
/// one page, of two, of four, and so on.
fn zone_of_line(line: &[u8], page_bytes: usize, hugepage_bytes: usize) -> Option<NodeMemory> {
    let rest = line.strip_prefix(b"Node ")?;
    let node = u32::try_from(leading_number(rest)?).ok()?;
    let mut words = rest.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
    words.find(|word| *word == b"zone")?;
    words.next()?;
    let mut zone = NodeMemory { node, ..NodeMemory::default() };
    let mut block_bytes = page_bytes as u64;
    for word in words {
        let bytes = leading_number(word)?.saturating_mul(block_bytes);
        zone.free_bytes = zone.free_bytes.saturating_add(bytes);
        if block_bytes >= hugepage_bytes as u64 {
            zone.whole_bytes = zone.whole_bytes.saturating_add(bytes);
        }
        block_bytes = block_bytes.saturating_mul(2);
    }
    Some(zone)
}

#[cfg(test)]
mod tests;
