use super::Code;

const START: u64 = 0x1000;

/// Where the instructions of the path lie, from the entry on.
fn offsets(bytes: &[u8]) -> Vec<u64> {
    let path = Code::new(START, bytes.to_vec()).fast_path().expect("the code has a fast path");
    path.iter().map(|instruction| instruction.ip() - START).collect()
}

fn error(bytes: &[u8]) -> String {
    let path = Code::new(START, bytes.to_vec()).fast_path();
    path.expect_err("the code has no fast path").to_string()
}

#[test]
fn a_path_ends_at_the_first_return() {
    // mov rax, [rdi]; ret; nop
    assert_eq!(offsets(&[0x48, 0x8b, 0x07, 0xc3, 0x90]), [0, 3]);
}

#[test]
fn a_conditional_jump_to_a_block_that_leaves_is_not_taken() {
    // test rdi, rdi; je 9; mov rax, [rdi]; ret; 9: jmp out
    let code = [0x48, 0x85, 0xff, 0x74, 4, 0x48, 0x8b, 0x07, 0xc3, 0xe9, 0, 0x10, 0, 0];
    assert_eq!(offsets(&code), [0, 3, 5, 8]);
}

#[test]
fn a_conditional_jump_to_a_block_that_returns_is_not_taken() {
    // test rdi, rdi; je 8; mov rax, [rdi]; 8: ret
    assert_eq!(offsets(&[0x48, 0x85, 0xff, 0x74, 3, 0x48, 0x8b, 0x07, 0xc3]), [0, 3, 5, 8]);
}

#[test]
fn a_conditional_jump_over_a_block_that_leaves_is_taken() {
    // test rdi, rdi; jne 10; jmp out; 10: ret
    assert_eq!(offsets(&[0x48, 0x85, 0xff, 0x75, 5, 0xe9, 0, 0x10, 0, 0, 0xc3]), [0, 3, 10]);
    // jne 7; call out; 7: ret
    assert_eq!(offsets(&[0x75, 5, 0xe8, 0, 0x10, 0, 0, 0xc3]), [0, 7]);
    // jne 4; ud2; 4: ret
    assert_eq!(offsets(&[0x75, 2, 0x0f, 0x0b, 0xc3]), [0, 4]);
}

#[test]
fn a_conditional_jump_out_of_the_function_is_not_taken() {
    // jne out; call rax; ret: though the block behind it leaves
    assert_eq!(offsets(&[0x0f, 0x85, 0, 0x10, 0, 0, 0xff, 0xd0, 0xc3]), [0, 6, 8]);
}

#[test]
fn a_conditional_jump_between_blocks_that_both_leave_is_not_taken() {
    // jne 7; jmp out; 7: jmp rax
    let code = [0x75, 5, 0xe9, 0, 0x10, 0, 0, 0xff, 0xe0];
    assert_eq!(offsets(&code), [0, 2]);
}

#[test]
fn whether_a_block_leaves_is_looked_for_behind_its_jumps() {
    // jne 4; jmp 5; 4: ret; 5: jmp out
    assert_eq!(offsets(&[0x75, 2, 0xeb, 1, 0xc3, 0xe9, 0, 0x10, 0, 0]), [0, 4]);
    // jne 4; jmp 2, for ever; 4: ret: nothing leaves
    assert!(error(&[0x75, 2, 0xeb, 0xfe, 0xc3]).contains("comes back"));
}

#[test]
fn a_jump_within_the_function_is_followed() {
    // jmp 3; int3; 3: ret
    assert_eq!(offsets(&[0xeb, 1, 0xcc, 0xc3]), [0, 3]);
}

#[test]
fn a_jump_out_of_the_function_ends_the_path_and_is_a_call() {
    for code in [vec![0xe9, 0, 0x10, 0, 0, 0xc3], vec![0xff, 0xe0, 0xc3]] {
        let code = Code::new(START, code);
        let path = code.fast_path().expect("the code has a fast path");
        assert_eq!(path.len(), 1);
        assert!(path.iter().all(|instruction| code.is_call(instruction)));
    }
}

#[test]
fn a_path_goes_on_behind_a_call() {
    // call out; syscall; ret
    assert_eq!(offsets(&[0xe8, 0, 0x10, 0, 0, 0x0f, 0x05, 0xc3]), [0, 5, 7]);
}

#[test]
fn a_path_without_an_end_is_an_error() {
    assert!(error(&[0xeb, 0xfe]).contains("comes back to 0x1000"));
    assert!(error(&[0x90]).contains("0x1001 is not in the function"));
    assert!(error(&[0x0f, 0x0b]).contains("traps at 0x1000"));
    assert!(error(&[0x48, 0x8b]).contains("no instruction at 0x1000"));
}
