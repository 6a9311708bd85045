use super::{LINE_BYTES, Line};
use core::fmt::Write;

#[test]
fn a_line_has_one_end() {
    let mut line = Line::new();
    write!(line, "pointer {:#x}\nclass {}", 0x1000, 7).expect("nothing fails");
    assert_eq!(line.ended(), b"pointer 0x1000 class 7\n");
}

#[test]
fn what_is_too_long_is_cut_off_and_still_ended() {
    let mut line = Line::new();
    for _ in 0..100 {
        line.write_str("0123456789").expect("nothing fails");
    }
    let ended = line.ended();
    assert_eq!(ended.len(), LINE_BYTES);
    assert!(ended.ends_with(b"0\n"));
}

#[test]
fn warning_keeps_errno() {
    crate::set_errno(9);
    crate::warn_line!("a test says {}", "hello");
    assert_eq!(crate::errno(), 9);
}
