use iced_x86::{Decoder, DecoderOptions};

use super::Kinds;

fn kinds(bytes: &[u8]) -> Kinds {
    let instruction = Decoder::with_ip(64, bytes, 0x1000, DecoderOptions::NONE).decode();
    assert_eq!(instruction.len(), bytes.len(), "one instruction");
    Kinds::of(&instruction, false)
}

fn one() -> Kinds {
    Kinds { instructions: 1, ..Kinds::default() }
}

#[test]
fn what_touches_no_memory_is_an_instruction_and_nothing_else() {
    assert_eq!(kinds(&[0x48, 0x89, 0xf8]), one(), "mov rax, rdi");
    assert_eq!(kinds(&[0x48, 0x8d, 0x47, 0x08]), one(), "lea rax, [rdi + 8]");
    assert_eq!(kinds(&[0x0f, 0x1f, 0x00]), one(), "nop dword ptr [rax]");
    assert_eq!(kinds(&[0xc3]), one(), "ret");
    assert_eq!(kinds(&[0xeb, 0x00]), one(), "jmp");
}

#[test]
fn loads_and_stores_are_told_apart() {
    let load = Kinds { loads: 1, ..one() };
    let store = Kinds { stores: 1, ..one() };
    assert_eq!(kinds(&[0x48, 0x8b, 0x07]), load, "mov rax, [rdi]");
    assert_eq!(kinds(&[0x48, 0x03, 0x07]), load, "add rax, [rdi]");
    assert_eq!(kinds(&[0x64, 0x48, 0x8b, 0x01]), load, "mov rax, fs:[rcx]");
    assert_eq!(kinds(&[0x5b]), load, "pop rbx");
    assert_eq!(kinds(&[0x48, 0x89, 0x07]), store, "mov [rdi], rax");
    assert_eq!(kinds(&[0x53]), store, "push rbx");
}

#[test]
fn reading_and_writing_one_place_is_neither_a_load_nor_a_store() {
    let read_modify_write = Kinds { read_modify_writes: 1, ..one() };
    assert_eq!(kinds(&[0x48, 0x01, 0x07]), read_modify_write, "add [rdi], rax");
    assert_eq!(kinds(&[0xff, 0x07]), read_modify_write, "inc dword ptr [rdi]");
}

#[test]
fn comparing_with_memory_is_a_compare_and_a_load() {
    assert_eq!(kinds(&[0x48, 0x39, 0xf8]), Kinds { compares: 1, ..one() }, "cmp rax, rdi");
    assert_eq!(kinds(&[0x48, 0x85, 0xc0]), Kinds { compares: 1, ..one() }, "test rax, rax");
    assert_eq!(kinds(&[0x48, 0x3b, 0x07]), Kinds { compares: 1, loads: 1, ..one() });
}

#[test]
fn conditional_jumps_are_counted() {
    assert_eq!(kinds(&[0x74, 0x00]), Kinds { conditional_jumps: 1, ..one() }, "je");
}

#[test]
fn what_locks_is_found_with_and_without_its_prefix() {
    let locked = Kinds { read_modify_writes: 1, locked: 1, ..one() };
    assert_eq!(kinds(&[0xf0, 0x48, 0x0f, 0xb1, 0x0f]), locked, "lock cmpxchg [rdi], rcx");
    assert_eq!(kinds(&[0xf0, 0x48, 0x01, 0x07]), locked, "lock add [rdi], rax");
    assert_eq!(kinds(&[0x48, 0x87, 0x07]), locked, "xchg [rdi], rax");
    assert_eq!(kinds(&[0x0f, 0xae, 0xf0]), Kinds { locked: 1, ..one() }, "mfence");
    assert_eq!(kinds(&[0x48, 0x87, 0xf8]), one(), "xchg rax, rdi");
}

#[test]
fn divisions_of_every_sort_are_found() {
    let division = Kinds { divisions: 1, ..one() };
    assert_eq!(kinds(&[0x48, 0xf7, 0xf1]), division, "div rcx");
    assert_eq!(kinds(&[0xf7, 0xf9]), division, "idiv ecx");
    assert_eq!(kinds(&[0xf2, 0x0f, 0x5e, 0xc1]), division, "divsd xmm0, xmm1");
    assert_eq!(kinds(&[0x48, 0xf7, 0xe1]), one(), "mul rcx");
}

#[test]
fn calls_locks_and_divisions_are_forbidden() {
    assert!(Kinds { calls: 1, ..one() }.is_forbidden());
    assert!(Kinds { locked: 1, ..one() }.is_forbidden());
    assert!(Kinds { divisions: 1, ..one() }.is_forbidden());
    assert!(!Kinds { read_modify_writes: 1, loads: 9, ..one() }.is_forbidden());
}

#[test]
fn names_and_numbers_are_in_the_order_of_the_fields() {
    let fields = Kinds {
        instructions: 1,
        loads: 2,
        stores: 3,
        read_modify_writes: 4,
        compares: 5,
        conditional_jumps: 6,
        calls: 7,
        locked: 8,
        divisions: 9,
    };
    assert_eq!(fields.numbers(), [1, 2, 3, 4, 5, 6, 7, 8, 9]);
    let json = serde_json::to_string(&fields).expect("numbers are JSON");
    let pairs: Vec<String> = Kinds::NAMES
        .iter()
        .zip(fields.numbers())
        .map(|(name, number)| format!("\"{name}\":{number}"))
        .collect();
    assert_eq!(json, format!("{{{}}}", pairs.join(",")));

    let mut sum = fields;
    sum += fields;
    assert_eq!(sum.numbers(), [2, 4, 6, 8, 10, 12, 14, 16, 18]);
}
