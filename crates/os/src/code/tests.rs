use super::replace_code;
use crate::{errno, set_errno};
use core::arch::naked_asm;
use core::hint::black_box;

/// 1, before it is changed.
#[unsafe(naked)]
extern "C" fn answer() -> i32 {
    naked_asm!("mov eax, 1", "ret")
}

#[test]
fn code_that_was_replaced_runs_and_is_not_writable_any_more() {
    let function: extern "C" fn() -> i32 = answer;
    assert_eq!(black_box(function)(), 1);
    set_errno(7);
    let place = function as *mut u8;
    // SAFETY: `mov eax, 2` is as long as the first instruction; only this test calls the function.
    assert!(unsafe { replace_code(place, &[0xb8, 2, 0, 0, 0]) });
    assert_eq!(errno(), 7);
    assert_eq!(black_box(function)(), 2);
    let maps = std::fs::read_to_string("/proc/self/maps").expect("/proc is there");
    let holds = |line: &&str| {
        let range = line.split(' ').next().unwrap_or_default().split_once('-');
        let ends = range.map(|(from, to)| [from, to].map(|end| usize::from_str_radix(end, 16)));
        matches!(ends, Some([Ok(from), Ok(to)]) if (from..to).contains(&place.addr()))
    };
    let line = maps.lines().find(holds).expect("the code is mapped");
    assert!(line.contains(" r-xp "), "{line}");
}
