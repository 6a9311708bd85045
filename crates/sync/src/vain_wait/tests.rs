//! Who waited in vain is known for a second, and nobody else is taken for it.

use super::{note_at, was_lately_at};
use crate::mutex::FIGURES_PATIENCE_NS;

#[test]
fn who_waited_in_vain_is_known_for_a_second() {
    let at_ns = 5;
    note_at(at_ns);
    assert!(was_lately_at(at_ns));
    assert!(was_lately_at(at_ns + FIGURES_PATIENCE_NS - 1));
    assert!(!was_lately_at(at_ns + FIGURES_PATIENCE_NS));
    let is_another = std::thread::spawn(move || was_lately_at(at_ns)).join();
    assert!(!is_another.expect("it only looks"));
}
