//! What kinds of instructions a path consists of.

use core::ops::AddAssign;

use iced_x86::{FlowControl, Instruction, InstructionInfoFactory, Mnemonic, OpAccess};
use serde::{Deserialize, Serialize};

/// How many instructions of each kind there are. One instruction may be of several kinds, as a
/// comparison with memory is, or of none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Kinds {
    /// All of them.
    pub(crate) instructions: u32,
    /// Those that read memory and do not write the same place. A return is none of them.
    pub(crate) loads: u32,
    /// Those that write memory without reading it.
    pub(crate) stores: u32,
    /// Those that read and write the same place.
    pub(crate) read_modify_writes: u32,
    /// `cmp`, `test`, `bt`.
    pub(crate) compares: u32,
    /// Conditional jumps, taken or not.
    pub(crate) conditional_jumps: u32,
    /// Calls, system calls, and jumps out of the function.
    pub(crate) calls: u32,
    /// Those that make every other CPU wait: a `lock` prefix, `xchg` with memory, `mfence`.
    pub(crate) locked: u32,
    /// Divisions, of integers or others.
    pub(crate) divisions: u32,
}

impl Kinds {
    /// The names, as in the table's file; the last three are forbidden.
    pub(crate) const NAMES: [&str; 9] = [
        "instructions",
        "loads",
        "stores",
        "read_modify_writes",
        "compares",
        "conditional_jumps",
        "calls",
        "locked",
        "divisions",
    ];

    /// The numbers, in the order of the names.
    pub(crate) fn numbers(&self) -> [u32; 9] {
        [
            self.instructions,
            self.loads,
            self.stores,
            self.read_modify_writes,
            self.compares,
            self.conditional_jumps,
            self.calls,
            self.locked,
            self.divisions,
        ]
    }

    /// What `instruction` is; `is_call` is known by who knows where the function ends.
    pub(crate) fn of(instruction: &Instruction, is_call: bool) -> Self {
        let mut kinds = Self { instructions: 1, calls: u32::from(is_call), ..Self::default() };
        if instruction.flow_control() != FlowControl::Return {
            kinds.count_accesses(instruction);
        }
        kinds.compares = u32::from(is_compare(instruction.mnemonic()));
        kinds.conditional_jumps =
            u32::from(instruction.flow_control() == FlowControl::ConditionalBranch);
        kinds.divisions = u32::from(is_division(instruction.mnemonic()));
        kinds.locked = u32::from(
            instruction.has_lock_prefix()
                || instruction.mnemonic() == Mnemonic::Mfence
                || instruction.mnemonic() == Mnemonic::Xchg && kinds.read_modify_writes > 0,
        );
        kinds
    }

    fn count_accesses(&mut self, instruction: &Instruction) {
        let mut factory = InstructionInfoFactory::new();
        for memory in factory.info(instruction).used_memory() {
            let number = match memory.access() {
                OpAccess::Read | OpAccess::CondRead => &mut self.loads,
                OpAccess::Write | OpAccess::CondWrite => &mut self.stores,
                OpAccess::ReadWrite | OpAccess::ReadCondWrite => &mut self.read_modify_writes,
                _ => continue,
            };
            *number = 1;
        }
    }

    /// Whether there is anything that a fast path must not have.
    pub(crate) fn is_forbidden(&self) -> bool {
        self.calls > 0 || self.locked > 0 || self.divisions > 0
    }
}

impl AddAssign for Kinds {
    fn add_assign(&mut self, other: Self) {
        self.instructions += other.instructions;
        self.loads += other.loads;
        self.stores += other.stores;
        self.read_modify_writes += other.read_modify_writes;
        self.compares += other.compares;
        self.conditional_jumps += other.conditional_jumps;
        self.calls += other.calls;
        self.locked += other.locked;
        self.divisions += other.divisions;
    }
}

fn is_compare(mnemonic: Mnemonic) -> bool {
    matches!(mnemonic, Mnemonic::Cmp | Mnemonic::Test | Mnemonic::Bt)
}

fn is_division(mnemonic: Mnemonic) -> bool {
    let name = format!("{mnemonic:?}").to_lowercase();
    ["div", "idiv", "fdiv", "fidiv", "vdiv"].iter().any(|division| name.starts_with(division))
}

#[cfg(test)]
mod tests;
