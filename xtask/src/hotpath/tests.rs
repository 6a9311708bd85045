use super::*;

/// mov rax, rdi; test rdi, rdi; je out; lock inc qword ptr [rdi]; ret
const LOCKING: [u8; 17] =
    [0x48, 0x89, 0xf8, 0x48, 0x85, 0xff, 0x0f, 0x84, 0, 1, 0, 0, 0xf0, 0x48, 0xff, 0x07, 0xc3];

fn found(bytes: &[u8]) -> Found {
    let function = Function { file: File::Library, name: "malloc", symbol: "malloc" };
    find(&function, &Code::new(0x1000, bytes.to_vec())).expect("the code has a fast path")
}

fn golden_of(kinds: Kinds) -> Golden {
    let path = vec![Entry { function: "malloc".to_owned(), kinds }];
    Golden { rustc: "rustc 1.95.0".to_owned(), path }
}

#[test]
fn a_path_is_the_sum_of_its_instructions() {
    let kinds = found(&LOCKING).entry.kinds;
    assert_eq!(kinds.numbers(), [5, 0, 0, 1, 1, 1, 0, 1, 0]);
}

#[test]
fn a_tail_call_is_a_call_of_the_path() {
    let kinds = found(&[0x48, 0x89, 0xf8, 0xe9, 0, 1, 0, 0]).entry.kinds;
    assert_eq!(kinds.numbers(), [2, 0, 0, 0, 0, 0, 1, 0, 0]);
}

#[test]
fn an_instruction_is_shown_as_the_sections_are_written() {
    let found = found(&LOCKING);
    let (instruction, kinds) = found.path[3];
    assert_eq!(text(&instruction), "100c  lock inc qword ptr [rdi]");
    assert!(kinds.is_forbidden());
}

#[test]
fn both_tables_are_shown_where_they_differ() {
    let found = [found(&LOCKING)];
    let same = table(&found, Some(&golden_of(found[0].entry.kinds))).to_string();
    assert!(!same.contains("in the table"), "{same}");
    let other = Kinds { instructions: 4, ..found[0].entry.kinds };
    let different = table(&found, Some(&golden_of(other))).to_string();
    assert!(different.contains("\n  in the table"), "{different}");
    let empty = Golden { rustc: String::new(), path: Vec::new() };
    let missing = table(&found, Some(&empty)).to_string();
    assert!(missing.contains("\n  not in the table\n"), "{missing}");
}

#[test]
fn the_table_of_the_repository_names_every_function_and_its_compiler() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("hotpath.toml");
    let golden = Golden::read(&file).expect("the table can be read");
    assert!(golden.rustc.starts_with("rustc "), "{}", golden.rustc);
    let names: Vec<&str> = golden.path.iter().map(|entry| entry.function.as_str()).collect();
    assert_eq!(names, FUNCTIONS.map(|function| function.name));
    assert!(golden.path.iter().all(|entry| !entry.kinds.is_forbidden()));
}
