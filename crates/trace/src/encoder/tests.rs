use std::vec::Vec;

use crate::{Encoder, Event};

fn bytes(events: &[Event]) -> Vec<u8> {
    let mut encoder = Encoder::new();
    events.iter().flat_map(|&event| encoder.encode(event).as_slice().to_vec()).collect()
}

#[test]
fn events_are_written_as_the_crates_page_says() {
    let first = Event::Allocate { address: 8, size: 1, align: 1 };
    assert_eq!(bytes(&[first]), [1 << 3 | 3, 2]);
    assert_eq!(bytes(&[Event::Deallocate { address: 8 }]), [2 << 3 | 5]);
    assert_eq!(bytes(&[first, Event::Deallocate { address: 0 }]), [11, 2, 1 << 3 | 5]);
    assert_eq!(bytes(&[Event::Time { microseconds: 16 }]), [0x81, 0x01]);
    assert_eq!(bytes(&[Event::End]), [0]);
}

#[test]
fn an_alignment_is_its_logarithm() {
    let event = Event::Allocate { address: 0, size: 2, align: 1 << 30 };
    assert_eq!(bytes(&[event]), [2 << 3 | 4, 30, 0]);
}

#[test]
fn blocks_that_lie_side_by_side_take_two_or_three_bytes_each() {
    let blocks: Vec<Event> = (0..1000)
        .map(|n| Event::Allocate { address: 0x7f00_0000_0000 + 48 * n, size: 40, align: 1 })
        .collect();
    assert!(bytes(&blocks).len() <= 3 * 1000 + 8);
}

#[test]
fn the_header_tells_version_and_time() {
    assert_eq!(Encoder::header(200).as_slice(), *b"STRATRCE\x01\xc8\x01");
}
