use super::*;

#[test]
fn a_record_keeps_size_and_thread() {
    for size in [0, 1, 100, strata_size_classes::MAX_SIZE] {
        let record = Record::live(size, u32::MAX);
        assert_eq!((record.state(), record.size(), record.thread()), (State::Live, size, u32::MAX));
    }
    assert_eq!(Record::freed(7).state(), State::Freed);
    assert_eq!(Record::freed(7).thread(), 7);
    assert_eq!(Record::load(&AtomicU64::new(0)).state(), State::New);
}
