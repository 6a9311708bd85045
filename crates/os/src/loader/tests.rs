use super::*;

#[test]
fn a_function_of_the_c_library_is_found_wherever_it_is_looked_for() {
    let Some(loader) = Loader::find() else {
        return std::println!("left out: the program has no loader");
    };
    let found = loader.first(c"getpid");
    assert!(!found.is_null());
    assert_eq!(loader.next(c"getpid"), found, "this program has none of its own");
    let library = [c"libc.so.6", c"libc.so"].into_iter().find_map(|name| loader.loaded(name));
    let library = library.expect("every program that is loaded has it");
    assert_eq!(loader.in_library(library, c"getpid"), found);
}

#[test]
fn what_nobody_has_is_not_found() {
    let Some(loader) = Loader::find() else {
        return std::println!("left out: the program has no loader");
    };
    let name = c"strata_is_not_defined_anywhere";
    assert!(loader.first(name).is_null() && loader.next(name).is_null());
    assert_eq!(loader.loaded(c"libstrata_is_not_there.so"), None);
}
