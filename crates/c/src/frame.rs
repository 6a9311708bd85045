//! Lines of assembly that move the stack pointer, with what they tell unwinders and debuggers of it.

/// Puts a register on the stack.
macro_rules! push {
    ($register:literal) => {
        concat!("push ", $register, "\n.cfi_adjust_cfa_offset 8")
    };
}

/// The reverse.
macro_rules! pop {
    ($register:literal) => {
        concat!("pop ", $register, "\n.cfi_adjust_cfa_offset -8")
    };
}

/// Begins a function that only this library sees.
macro_rules! begin_function {
    ($name:literal) => {
        concat!(
            ".balign 16\n.globl ",
            $name,
            "\n.hidden ",
            $name,
            "\n.type ",
            $name,
            ", @function\n",
            $name,
            ":\n.cfi_startproc"
        )
    };
}

/// Ends it.
macro_rules! end_function {
    ($name:literal) => {
        concat!(".cfi_endproc\n.size ", $name, ", . - ", $name)
    };
}

/// Keeps the caller's rbx and rbp on the stack, which is aligned for a call then.
macro_rules! keep_two_registers {
    () => {
        concat!(
            crate::frame::push!("rbx"),
            "\n.cfi_offset rbx, -16\n",
            crate::frame::push!("rbp"),
            "\n.cfi_offset rbp, -24\n",
            "sub rsp, 8\n.cfi_adjust_cfa_offset 8"
        )
    };
}

/// Gives them back.
macro_rules! restore_two_registers {
    () => {
        concat!(
            "add rsp, 8\n.cfi_adjust_cfa_offset -8\n",
            crate::frame::pop!("rbp"),
            "\n",
            crate::frame::pop!("rbx")
        )
    };
}

pub(crate) use {
    begin_function, end_function, keep_two_registers, pop, push, restore_two_registers,
};
