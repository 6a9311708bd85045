use std::vec::Vec;
use std::{env, println};

use crate::{DecodeError, Decoder, Encoder, Event};

/// xorshift64*, from `STRATA_SEED` or a fixed beginning; printed, so that a failure can be repeated.
struct Random(u64);

impl Random {
    fn from_environment() -> Self {
        let seed = env::var("STRATA_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(7);
        println!("STRATA_SEED={seed}");
        Self(seed | 1 << 63)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// Of every magnitude.
    fn number(&mut self, bits: u64) -> u64 {
        self.next() >> (64 - bits) >> (self.next() % bits)
    }

    fn address(&mut self) -> u64 {
        self.number(54) << 3
    }

    fn event(&mut self) -> Event {
        match self.next() % 6 {
            0 => Event::Time { microseconds: self.number(61) },
            1 => Event::Thread { number: self.number(32) },
            2 => Event::Allocate { address: self.address(), size: self.number(61), align: 1 },
            3 => {
                let align = 2 << (self.next() % 62);
                Event::Allocate { address: self.address(), size: self.number(61), align }
            }
            4 => Event::Deallocate { address: self.address() },
            _ => Event::Reallocate {
                old: self.address(),
                address: self.address(),
                size: self.number(61),
            },
        }
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
    let mut random = Random::from_environment();
    let events: Vec<Event> = (0..20_000).map(|_| random.event()).collect();
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
    let mut random = Random::from_environment();
    let events: Vec<Event> = (0..60).map(|_| random.event()).collect();
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
    let mut random = Random::from_environment();
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
