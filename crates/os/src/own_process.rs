//! Parts of a test that need a process for themselves.

use std::{
    env, format, println,
    process::{Command, Output},
    string::String,
};

/// Says to the process which test it is there for, and which part of it.
const VARIABLE: &str = "STRATA_TEST_OF_ITS_OWN";

/// What stands before the line that a test expects, in what its process writes.
const BEGIN: &str = "expected: ";

/// Runs a part of the test `name` in a process of its own: this program again, where that test alone is run, and comes
/// here again. What the process left; none in it, where the part has been run and the test has no more to do.
///
/// `name` is the test's whole name, with its modules. A test has one such part; one that has several [names
/// them](in_own_process_for).
///
/// # Panics
///
/// Where this program cannot be run again.
pub fn in_own_process(name: &str, part: impl FnOnce()) -> Option<Output> {
    in_own_process_for(name, "", part)
}

/// The same for one of several parts of a test, each with a name and a process of its own: in the process of one, the
/// others are passed by.
///
/// # Panics
///
/// As [`in_own_process`].
pub fn in_own_process_for(name: &str, part_name: &str, part: impl FnOnce()) -> Option<Output> {
    let this = format!("{name} {part_name}");
    if let Ok(own) = env::var(VARIABLE) {
        if own == this {
            part();
        }
        return None;
    }
    let program = env::current_exe().expect("this program");
    let mut command = Command::new(program);
    command.args([name, "--exact", "--nocapture"]).env(VARIABLE, this);
    Some(command.output().expect("a process"))
}

/// Runs `misuse` in a process of its own, as [`in_own_process`] does, and compares the line with which it ends the
/// process: whole, but for `strata: ` in front. `misuse` tells by the function that it is given which line is to come,
/// and then does what it must not.
///
/// ```no_run
/// use strata_os::{crash, ends_with_its_line};
///
/// #[test]
/// fn a_block_freed_twice_is_named() {
///     ends_with_its_line("a_block_freed_twice_is_named", |expect| {
///         expect("block 7 freed twice".into());
///         crash!("block {} freed twice", 7);
///     });
/// }
/// ```
///
/// # Panics
///
/// Where the process ends otherwise than by `SIGABRT`, or leaves something else.
pub fn ends_with_its_line(name: &str, misuse: impl FnOnce(&dyn Fn(String))) {
    use std::os::unix::process::ExitStatusExt;
    let Some(output) = in_own_process(name, || misuse(&|line| println!("{BEGIN}{line}"))) else {
        return;
    };
    assert_eq!(output.status.signal(), Some(libc::SIGABRT), "{output:?}");
    let said = String::from_utf8_lossy(&output.stdout);
    let line = said.split_once(BEGIN).and_then(|(_, rest)| rest.lines().next());
    let expected = line.expect("the test says which line is to come");
    assert_eq!(String::from_utf8_lossy(&output.stderr), format!("strata: {expected}\n"));
}
