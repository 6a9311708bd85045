use super::Gathered;
use std::vec::Vec;

#[test]
fn what_is_pushed_arrives_whole_and_in_pieces_of_the_buffer() {
    let mut written = Vec::new();
    let mut pieces = Vec::new();
    let mut gathered = Gathered::<8>::new();
    for text in ["", "ab", "cdefgh", "ijklmnopqrstuvwx", "yz"] {
        let taken = gathered.push(text, |piece| {
            pieces.push(piece.len());
            written.extend_from_slice(piece);
            true
        });
        assert_eq!(taken, Ok(()));
    }
    assert_eq!(pieces, [8, 8, 8]);
    assert!(gathered.flush(|piece| {
        written.extend_from_slice(piece);
        true
    }));
    assert_eq!(written, b"abcdefghijklmnopqrstuvwxyz");
    assert!(gathered.flush(|_| false), "nothing is left that a sink could refuse");
}

#[test]
fn after_a_failure_nothing_is_written_any_more() {
    let mut calls = 0;
    let mut gathered = Gathered::<4>::new();
    let mut refuse = |_: &[u8]| {
        calls += 1;
        false
    };
    assert!(gathered.push("abcd", &mut refuse).is_err());
    assert!(gathered.push("efgh", &mut refuse).is_err());
    assert!(!gathered.flush(&mut refuse));
    assert_eq!(calls, 1);
}
