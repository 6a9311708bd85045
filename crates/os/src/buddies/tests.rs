use super::*;

const HUGEPAGE: usize = 2 << 20;

#[test]
fn free_blocks_of_a_zone_are_counted_by_their_length() {
    // The lines of a machine with 16 GiB.
    let line = b"Node 0, zone    DMA32      7     12     11      9     11      9      6      6      7      4    749 ";
    let zone = zone_of_line(line, 4096, HUGEPAGE).expect("it is one");
    let small = 7 + 12 * 2 + 11 * 4 + 9 * 8 + 11 * 16 + 9 * 32 + 6 * 64 + 6 * 128 + 7 * 256;
    let large = 4 * 512 + 749 * 1024;
    assert_eq!(
        zone,
        NodeMemory { node: 0, free_bytes: (small + large) * 4096, whole_bytes: large * 4096 }
    );
    let unusable = small as f64 / (small + large) as f64;
    assert!((zone.fragmentation() - unusable).abs() < 1e-12);
    // With pages of 64 KiB a hugepage is a block of 32.
    let zone = zone_of_line(b"Node 12, zone Normal 1 0 0 0 0 2 1", 65536, HUGEPAGE).expect("one");
    assert_eq!((zone.node, zone.free_bytes >> 16, zone.whole_bytes >> 16), (12, 129, 128));
}

#[test]
fn what_is_no_zone_is_passed_over_and_an_empty_one_is_not_fragmented() {
    for line in ["", "Node", "Node x, zone DMA 1", "Node 1, 1 2 3", "Node 1, zone DMA 1 x"] {
        assert_eq!(zone_of_line(line.as_bytes(), 4096, HUGEPAGE), None, "{line}");
    }
    let empty = zone_of_line(b"Node 3, zone DMA 0 0 0", 4096, HUGEPAGE).expect("it is one");
    assert_eq!((empty.node, empty.fragmentation()), (3, 0.0));
    let huge =
        zone_of_line(b"Node 0, zone DMA 18446744073709551615 18446744073709551615", 4096, 8192);
    assert_eq!(huge.map(|zone| zone.free_bytes), Some(u64::MAX));
}

#[test]
fn nodes_of_this_machine_have_a_part_of_its_memory_free() {
    let mut nodes = std::vec::Vec::new();
    for_each_node(HUGEPAGE, |node| nodes.push(node)).expect("the kernel tells");
    assert!(!nodes.is_empty());
    let numbers: std::vec::Vec<_> = nodes.iter().map(|node| node.node).collect();
    assert!(
        numbers.is_sorted() && numbers.windows(2).all(|pair| pair[0] != pair[1]),
        "{numbers:?}"
    );
    for node in nodes {
        assert!(node.whole_bytes <= node.free_bytes, "{node:?}");
        assert!((0.0..=1.0).contains(&node.fragmentation()), "{node:?}");
    }
}
