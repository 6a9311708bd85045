use std::vec::Vec;

use strata_os::Seed;

use crate::{DecodeError, Decoder, Encoder, Event};

/// Of every magnitude.
fn random_number(random: &mut Seed, bits: u64) -> u64 {
    random.next() >> (64 - bits) >> (random.next() % bits)
}

fn random_address(random: &mut Seed) -> u64 {
    random_number(random, 54) << 3
}

fn random_event(random: &mut Seed) -> Event {
    match random.next() % 6 {
        0 => Event::Time { microseconds: random_number(random, 61) },
        1 => Event::Thread { number: random_number(random, 32) },
        2 => Event::Allocate {
            address: random_address(random),
            size: random_number(random, 61),
            align: 1,
        },
        3 => {
            let align = 2 << (random.next() % 62);
            Event::Allocate {
                address: random_address(random),
                size: random_number(random, 61),
                align,
            }
        }
        4 => Event::Deallocate { address: random_address(random) },
        _ => Event::Reallocate {
            old: random_address(random),
            address: random_address(random),
            size: random_number(random, 61),
        },
    }
}

fn written(events: &[Event]) -> Vec<u8> {
    let mut trace = Encoder::header(1).as_slice().to_vec();
    let mut encoder = Encoder::new();
    for &event in events {
        trace.extend_from_slice(encoder.encode(event).as_slice());
    }
    trace
}

#[test]
fn what_was_written_is_read_back() {
    let mut random = Seed::from_environment_or(7);
    let events: Vec<Event> = (0..20_000).map(|_| random_event(&mut random)).collect();
    let mut trace = written(&events);
    trace.push(0);
    let mut decoder = Decoder::new(&trace).expect("a header");
    assert_eq!(decoder.started_unix_microseconds(), 1);
    let read: Result<Vec<Event>, _> = decoder.by_ref().collect();
    assert!(read == Ok(events), "not what was written");
    assert!(decoder.is_complete());
    assert_eq!(decoder.position(), trace.len());
}

#[test]
fn a_trace_that_was_cut_anywhere_is_read_up_to_there() {
    let mut random = Seed::from_environment_or(7);
    let events: Vec<Event> = (0..60).map(|_| random_event(&mut random)).collect();
    let trace = written(&events);
    let header = written(&[]).len();
    let mut most = 0;
    for length in header..=trace.len() {
        let mut decoder = Decoder::new(&trace[..length]).expect("a header");
        let read: Vec<Event> = decoder.by_ref().map(|event| event.expect("no error")).collect();
        assert_eq!(read, events[..read.len()]);
        assert!(read.len() >= most && !decoder.is_complete());
        most = read.len();
    }
    assert_eq!(most, events.len());
}

#[test]
fn bytes_that_nobody_wrote_end_with_an_error_and_never_hang() {
    let mut random = Seed::from_environment_or(7);
    for _ in 0..2000 {
        let mut trace = written(&[]);
        trace.extend((0..64).map(|_| random.next() as u8));
        let length = trace.len();
        let told = Decoder::new(&trace).expect("a header").count();
        assert!(told <= length);
    }
}

#[test]
fn an_unknown_kind_and_a_number_without_end_are_told_with_their_place() {
    for wrong in [[7].as_slice(), [0x08].as_slice(), [0xff; 11].as_slice(), [4, 64, 0].as_slice()] {
        let mut trace = written(&[Event::Time { microseconds: 1 }]);
        let at = trace.len();
        trace.extend_from_slice(wrong);
        let mut decoder = Decoder::new(&trace).expect("a header");
        assert_eq!(decoder.next(), Some(Ok(Event::Time { microseconds: 1 })));
        assert_eq!(decoder.next(), Some(Err(DecodeError::Corrupt { at })));
        assert_eq!(decoder.next(), None);
    }
}

#[test]
fn other_files_are_refused() {
    assert_eq!(Decoder::new(b"").err(), Some(DecodeError::NoTrace));
    assert_eq!(Decoder::new(b"\x7fELF....").err(), Some(DecodeError::NoTrace));
    assert_eq!(Decoder::new(b"STRATRCE").err(), Some(DecodeError::NoTrace));
    let newer = Decoder::new(b"STRATRCE\x02\x00").err();
    assert_eq!(newer, Some(DecodeError::Version { found: 2 }));
}
