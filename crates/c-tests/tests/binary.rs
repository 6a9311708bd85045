//! The library as a file: what it needs, what it exports, how its common paths were compiled.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use strata_c_tests::{Allocator, Linking, Program, shared_library};

/// The names that `docs/compatibility.md` documents: what stands in backticks in the first column of its tables,
/// but for the table of glibc's words.
fn documented() -> BTreeSet<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/compatibility.md");
    let text = std::fs::read_to_string(path).expect("the document is there");
    let first_columns = text.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
    let names = first_columns.map(|(name, _)| name);
    names.filter(|name| !name.contains([' ', '"'])).map(str::to_owned).collect()
}

/// What a tool of binutils says of the library.
fn said(tool: &str, arguments: &[&str]) -> String {
    let mut command = Command::new(tool);
    let output =
        command.args(arguments).arg(shared_library()).output().expect("binutils are there");
    assert!(output.status.success(), "{tool} fails");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn exactly_the_documented_names_are_exported() {
    let said = said("nm", &["-D", "--defined-only"]);
    let names = said.lines().filter_map(|line| line.split(' ').nth(2));
    let exported: BTreeSet<String> = names.map(str::to_owned).collect();
    let documented = documented();
    let hidden: Vec<_> = documented.difference(&exported).collect();
    let not_documented: Vec<_> = exported.difference(&documented).collect();
    assert!(hidden.is_empty() && not_documented.is_empty(), "{hidden:?}, {not_documented:?}");
}

/// A loader that is told to (`LD_DYNAMIC_WEAK`) takes another library's function instead of a weak one.
#[test]
fn no_name_is_weak() {
    let said = said("nm", &["-D", "--defined-only"]);
    let weak: Vec<&str> =
        said.lines().filter(|line| line.contains(" W ") || line.contains(" V ")).collect();
    assert!(weak.is_empty(), "{weak:?}");
}

#[test]
fn libc_is_all_that_it_needs() {
    let said = said("readelf", &["-dW"]);
    let needed: Vec<&str> = said.lines().filter(|line| line.contains("(NEEDED)")).collect();
    assert_eq!(needed.len(), 1, "{needed:?}");
    assert!(needed[0].contains("[libc.so.6]"), "{needed:?}");
}

#[test]
fn thread_local_storage_is_128_bytes_at_most() {
    let said = said("readelf", &["-lW"]);
    let line =
        said.lines().find(|line| line.trim_start().starts_with("TLS ")).expect("it has some");
    let bytes = line.split_whitespace().nth(5).expect("the size in memory is the sixth");
    let bytes = u32::from_str_radix(bytes.trim_start_matches("0x"), 16).expect("a number");
    assert!(bytes <= 128, "{bytes} bytes");
}

#[test]
fn it_stays_loaded_under_its_own_name() {
    let said = said("readelf", &["-dW"]);
    assert!(said.contains("Library soname: [libstrata.so]"));
    assert!(said.contains("NODELETE"));
}

#[test]
fn operators_throw_without_a_frame_of_their_own_and_common_paths_call_nothing() {
    let said = said("objdump", &["-d", "--no-show-raw-insn", "-M", "intel"]);
    let symbols = self::said("nm", &["-D", "--defined-only"]);
    for name in ["malloc", "free", "_Znwm", "_ZdlPv", "_ZdlPvm", "_ZnwmSt11align_val_t"] {
        let body = body_without_frame(&said, &symbols, name);
        assert!(
            body.iter().any(|instruction| instruction.starts_with("ret")),
            "{name} ends by itself"
        );
    }
    // What C++ derives from these asks the loader whose they are, and jumps there; C's sized frees share one function.
    for (name, longest) in [
        ("free_sized", 3),
        ("_Znam", 1),
        ("_ZdaPv", 1),
        ("_ZdlPvRKSt9nothrow_t", 1),
        ("_ZnwmRKSt9nothrow_t", 5),
        ("_ZdaPvm", 8),
    ] {
        let body = body_without_frame(&said, &symbols, name);
        assert!(body.len() <= longest, "{name}: {body:?}");
        assert!(body.last().is_some_and(|last| last.starts_with("jmp")), "{name} jumps");
    }
}

/// What begins within a line of the processor's cache may be read in one line more, by each call.
#[test]
fn what_most_calls_are_to_begins_with_a_line_of_the_cache() {
    let symbols = said("nm", &["-D"]);
    for name in ["malloc", "free", "_Znwm", "_ZdlPvm"] {
        let address = u64::from_str_radix(&address_of(&symbols, name), 16);
        assert_eq!(address.map(|address| address % 64), Ok(0), "{name}");
    }
}

/// What the kernel maps at once around a page of a file that is touched.
const PIECE: u64 = 64 << 10;

#[test]
fn what_each_program_runs_and_reads_stands_at_the_beginning_of_few_pieces() {
    let segments = said("readelf", &["-lW"]);
    let loaded = segments.lines().filter(|line| line.trim_start().starts_with("LOAD"));
    for line in loaded {
        assert!(line.trim_end().ends_with("0x10000"), "the loader puts it at a piece: {line}");
        // What is written is the program's own, page by page, wherever it begins: GNU ld has it begin where what is only
        // written by the loader ends with a piece.
        if !line.contains(" RW ") {
            let address = line.split_whitespace().nth(2).map(number_after_0x);
            assert_eq!(address.map(|address| address % PIECE), Some(0), "{line}");
        }
    }
    let constants = end_of_section(".rodata.often");
    assert!(constants <= PIECE, "beside the tables of symbols: {constants:#x}");
    // The kernel's signature in front of where sections go on, and behind it the code.
    let (begin, end) = bounds_of_section(".text.begin");
    assert!(begin % PIECE < 4096, "{begin:#x}");
    // Two pieces, and a little of a third for large blocks.
    assert!(end - begin <= 2 * PIECE + PIECE / 4, "{begin:#x} to {end:#x}");
    let symbols = said("nm", &["-C"]);
    let found: Vec<(u64, &str)> = symbols
        .lines()
        .filter_map(|line| Some((u64::from_str_radix(line.get(..16)?, 16).ok()?, line.get(19..)?)))
        .collect();
    for (name, module) in [
        ("malloc", ""),
        ("free", ""),
        ("realloc", ""),
        ("set_up_core", "strata_alloc::heap"),
        ("refill", "strata_cpu_cache"),
        ("overflow", "strata_cpu_cache"),
        ("grow", "CpuCache"),
        ("take_from_new_span", "strata_central"),
        ("give_to_central", "strata_central"),
        ("allocate", "HugePageAware"),
        ("allocate", "strata_temeraire::state"),
        ("figures", "published"),
    ] {
        let is_it = |symbol: &str| {
            symbol == name && module.is_empty()
                || !module.is_empty()
                    && symbol.contains(module)
                    && symbol.rsplit("::").find(|part| !is_hash(part)) == Some(name)
        };
        let places: Vec<u64> =
            found.iter().filter(|(_, symbol)| is_it(symbol)).map(|(place, _)| *place).collect();
        let stands = |place: &u64| (begin..begin + 2 * PIECE).contains(place);
        // One that the compiler put into its callers is where they are.
        assert!(places.iter().all(stands), "{module} {name}: {places:x?}");
    }
}

/// `cold.ld` names functions by the files that they are in: one that came to stand in another file is not found any
/// more, and stands somewhere behind. (One that is nowhere in the library was put into its callers.)
#[test]
fn functions_that_the_list_of_the_start_names_stand_there_wherever_their_files_are() {
    let list = include_str!("../../c/cold.ld");
    let (_, list) = list.split_once(".text.begin :").expect("the first list");
    let (list, _) = list.split_once("INSERT BEFORE").expect("its end");
    let (begin, end) = bounds_of_section(".text.begin");
    let symbols = said("nm", &[]);
    let found: Vec<(u64, &str)> = symbols
        .lines()
        .filter_map(|line| Some((u64::from_str_radix(line.get(..16)?, 16).ok()?, line.get(19..)?)))
        .collect();
    let names =
        list.lines().filter_map(|line| line.trim().strip_prefix("*(.text*")?.strip_suffix("17h*)"));
    let mut looked_at = 0;
    for name in names {
        let Some((krate, function)) = first_and_last_part(name) else { continue };
        let function = format!("{function}17h");
        let is_it = |symbol: &str| symbol.contains(krate) && symbol.contains(&function);
        let places: Vec<u64> =
            found.iter().filter(|(_, symbol)| is_it(symbol)).map(|(place, _)| *place).collect();
        let stands = |place: &u64| (begin..end).contains(place);
        assert!(places.is_empty() || places.iter().any(stands), "{name}: {places:x?}");
        looked_at += usize::from(!places.is_empty());
    }
    assert!(looked_at > 50, "{looked_at} names");
}

/// The crate and the function of a mangled name, each with its length in front; none if it does not begin with a crate,
/// or end with a function's whole name.
fn first_and_last_part(name: &str) -> Option<(&str, &str)> {
    let length = |part: &str| {
        let digits = part.find(|char: char| !char.is_ascii_digit())?;
        Some(digits + part[..digits].parse::<usize>().ok()?)
    };
    let first = name.get(..length(name)?)?;
    let is_last = |start: &usize| length(&name[*start..]) == Some(name.len() - start);
    let last = (first.len()..name.len()).find(is_last)?;
    Some((first, &name[last..]))
}

/// What `cold.ld` lists is only as good as the list: a function that comes to be called on the way to the first
/// blocks, and is not there, maps a piece for itself.
#[test]
fn a_small_program_with_threads_maps_two_pieces_of_the_code() {
    let program = Program::compile("code_in_memory.c", Linking::Preloaded);
    let run = || program.command(Allocator::Strata).output().expect("it can be started");
    // Once for the page cache: what is read from the disk may be mapped in longer pieces.
    run();
    let output = run();
    assert!(output.status.success(), "{output:?}");
    let pieces = String::from_utf8_lossy(&output.stdout);
    assert_eq!(pieces, "0\n1\n", "others have code that runs from the loading of the library on");
}

/// The end of a name as it is mangled.
fn is_hash(part: &str) -> bool {
    part.len() == 17 && part.starts_with('h')
}

fn number_after_0x(text: &str) -> u64 {
    u64::from_str_radix(text.trim_start_matches("0x"), 16).expect("a number")
}

fn end_of_section(name: &str) -> u64 {
    bounds_of_section(name).1
}

/// Where a section begins and ends in memory.
fn bounds_of_section(name: &str) -> (u64, u64) {
    let said = said("readelf", &["-SW"]);
    let line = said.lines().find(|line| line.split_whitespace().any(|word| word == name));
    let line = line.expect("it is there");
    let words: Vec<&str> = line.split_whitespace().skip_while(|word| *word != name).collect();
    let begin = number_after_0x(words[2]);
    (begin, begin + number_after_0x(words[4]))
}

/// The instructions of a function, which calls nothing and has no frame.
fn body_without_frame<'a>(disassembly: &'a str, symbols: &str, name: &str) -> Vec<&'a str> {
    let address = address_of(symbols, name);
    let body = body_at(disassembly, &address);
    assert!(!body.is_empty(), "{name} is at {address}");
    for instruction in &body {
        for forbidden in ["call", "push", "pop"] {
            assert!(!instruction.starts_with(forbidden), "{name}: {instruction}");
        }
    }
    body
}

/// The address of a symbol in the words of `nm`.
fn address_of(symbols: &str, name: &str) -> String {
    let line =
        symbols.lines().find(|line| line.split(' ').nth(2) == Some(name)).expect("it is exported");
    line.split(' ').next().expect("an address comes first").to_owned()
}

/// The instructions of the function that begins at `address`.
fn body_at<'a>(disassembly: &'a str, address: &str) -> Vec<&'a str> {
    let from = disassembly.lines().skip_while(|line| !line.starts_with(address)).skip(1);
    let instructions = from.take_while(|line| !line.is_empty());
    let mut body: Vec<&str> =
        instructions.filter_map(|line| line.split('\t').nth(1)).map(str::trim).collect();
    // What stands up to where the next function is aligned to: LLVM's linker fills with traps, GNU's with
    // instructions that do nothing.
    let is_filler = |instruction: &str| {
        ["int3", "nop", "cs nop", "data16", "xchg   ax,ax"]
            .iter()
            .any(|filler| instruction.starts_with(filler))
    };
    while body.last().is_some_and(|last| is_filler(last)) {
        body.pop();
    }
    body
}
