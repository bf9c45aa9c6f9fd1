//! How much memory a trace would take, found out without making it.

use alloy::rpc::types::trace::geth::GethDefaultTracingOptions;
use revm::Inspector;
use revm::bytecode::opcode;
use revm::interpreter::interpreter::EthInterpreter;
use revm::interpreter::interpreter_types::{Jumps, MemoryTr};
use revm::interpreter::{CallInputs, CallOutcome, CreateInputs, CreateOutcome, Interpreter};

/// Bytes of a call frame beside its data.
const FRAME: usize = 1024;

/// Bytes of a step beside stack, memory and storage.
const STEP: usize = 512;

/// Bytes of a stack word: in the recording, and as text.
const WORD: usize = 64;

/// Bytes of a storage slot in a step's map.
const SLOT: usize = 96;

/// What a tracer keeps.
#[derive(Debug, Clone, Copy)]
pub enum Recorded {
    /// Calls with their data.
    Calls,
    /// Each step, with what the options ask for.
    Steps(GethDefaultTracingOptions),
}

/// Adds up what a tracer would keep.
#[derive(Debug)]
pub struct TraceWeight {
    recorded: Recorded,
    slots: usize,
    bytes: usize,
}

impl TraceWeight {
    /// Nothing yet.
    pub fn new(recorded: Recorded) -> Self {
        Self {
            recorded,
            slots: 0,
            bytes: 0,
        }
    }

    /// What the trace would take.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    fn add(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_add(bytes);
    }
}

impl<CTX> Inspector<CTX, EthInterpreter> for TraceWeight {
    fn step(&mut self, interpreter: &mut Interpreter, _: &mut CTX) {
        let Recorded::Steps(options) = self.recorded else {
            return;
        };
        self.add(STEP);
        if options.is_stack_enabled() {
            self.add(interpreter.stack.len() * WORD);
        }
        if options.is_memory_enabled() {
            // As bytes, and as text.
            self.add(interpreter.memory.size() * 3);
        }
        if options.is_storage_enabled() && matches!(interpreter.bytecode.opcode(), opcode::SLOAD | opcode::SSTORE) {
            // Each such step has a map of all slots so far.
            self.slots += 1;
            self.add(self.slots * SLOT);
        }
    }

    fn call(&mut self, _: &mut CTX, inputs: &mut CallInputs) -> Option<CallOutcome> {
        self.add(FRAME + inputs.input.len());
        None
    }

    fn call_end(&mut self, _: &mut CTX, _: &CallInputs, outcome: &mut CallOutcome) {
        self.add(outcome.result.output.len());
    }

    fn create(&mut self, _: &mut CTX, inputs: &mut CreateInputs) -> Option<CreateOutcome> {
        self.add(FRAME + inputs.init_code().len());
        None
    }

    fn create_end(&mut self, _: &mut CTX, _: &CreateInputs, outcome: &mut CreateOutcome) {
        self.add(outcome.result.output.len());
    }
}
