use super::Arguments;
use clap::CommandFactory;

#[test]
fn the_arguments_are_declared_without_contradictions() {
    Arguments::command().debug_assert();
}
