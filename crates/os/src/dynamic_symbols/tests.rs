use super::*;
use crate::Loader;

/// The C library's, if it is the one that has tables of GNU's form.
fn of_c_library() -> Option<DynamicSymbols> {
    let found = DynamicSymbols::of(c"libc.so.6");
    if found.is_none() {
        std::println!("left out: the program has no libc.so.6");
    }
    found
}

#[test]
fn a_function_is_where_the_loader_says() {
    let (Some(symbols), Some(loader)) = (of_c_library(), Loader::find()) else { return };
    for name in [c"getpid", c"strdup", c"malloc", c"qsort"] {
        let library = loader.loaded(c"libc.so.6").expect("it was found by its name");
        let found = symbols.function(name).expect("the C library has it");
        assert_eq!(found, loader.in_library(library, name).cast_const(), "{name:?}");
    }
}

#[test]
fn what_is_no_function_of_the_object_is_not_there() {
    let Some(symbols) = of_c_library() else { return };
    for name in [c"strata_is_not_defined_anywhere", c"environ", c""] {
        assert_eq!(symbols.function(name), None, "{name:?}");
    }
    assert!(DynamicSymbols::of(c"libstrata_is_not_there.so").is_none());
}

#[test]
fn the_first_definition_is_the_one_that_calls_find() {
    if of_c_library().is_none() {
        return;
    }
    let found = DynamicSymbols::first_function(c"getsid").expect("the C library has it");
    assert_eq!(found, libc::getsid as *const c_void);
    assert_eq!(DynamicSymbols::first_function(c"strata_is_not_defined_anywhere"), None);
}

extern "C" fn always_seven() -> c_int {
    7
}

#[test]
fn the_loader_finds_what_a_name_was_led_to_and_the_table_is_not_writable_any_more() {
    let (Some(symbols), Some(loader)) = (of_c_library(), Loader::find()) else { return };
    let library = loader.loaded(c"libc.so.6").expect("it was found by its name");
    let before = symbols.function(c"getppid").expect("the C library has it");
    let lead = |function: *const ()| {
        // SAFETY: `getppid` and its stand-in take nothing and answer a number; no other test does this.
        unsafe { symbols.redirect(&[(c"getppid", function), (c"strata_is_not_there", function)]) }
    };
    assert!(lead(always_seven as *const ()));
    let found = loader.in_library(library, c"getppid");
    assert_eq!(found.cast_const(), always_seven as *const c_void);
    let others = symbols.function(c"getpid").expect("the C library has it");
    assert_eq!(others, loader.in_library(library, c"getpid").cast_const());
    assert!(lead(before.cast()));
    assert_eq!(loader.in_library(library, c"getppid").cast_const(), before);
    let maps = std::fs::read_to_string("/proc/self/maps").expect("/proc is there");
    let is_writable = |line: &str| {
        let range = line.split(' ').next().unwrap_or_default().split_once('-');
        let ends = range.map(|(from, to)| [from, to].map(|end| usize::from_str_radix(end, 16)));
        let holds = matches!(ends, Some([Ok(from), Ok(to)]) if (from..to).contains(&symbols.symbols.addr()));
        holds && line.contains(" rw")
    };
    assert!(!maps.lines().any(is_writable));
}
