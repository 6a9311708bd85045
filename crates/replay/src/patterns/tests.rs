use strata_trace::{Decoder, Event};

use super::PATTERNS;

#[test]
fn every_pattern_is_a_whole_trace_and_the_same_each_time() {
    for pattern in PATTERNS {
        let trace = pattern.trace();
        assert_eq!(trace, pattern.trace(), "{}", pattern.name);
        let mut decoder = Decoder::new(&trace).expect(pattern.name);
        let events = decoder.by_ref().inspect(|event| assert!(event.is_ok())).count();
        assert!(decoder.is_complete(), "{}", pattern.name);
        assert!((2_000..100_000).contains(&events), "{}: {events} events", pattern.name);
    }
}

#[test]
fn patterns_free_only_what_they_have() {
    for pattern in PATTERNS {
        let mut live = std::collections::HashSet::new();
        let trace = pattern.trace();
        for event in Decoder::new(&trace).expect(pattern.name) {
            match event.expect("a whole trace") {
                Event::Allocate { address, .. } => assert!(live.insert(address)),
                Event::Deallocate { address } => assert!(live.remove(&address), "{}", pattern.name),
                Event::Reallocate { old, address, .. } => {
                    assert!(live.remove(&old), "{}", pattern.name);
                    assert!(live.insert(address));
                }
                Event::End | Event::Time { .. } | Event::Thread { .. } => {}
            }
        }
    }
}
