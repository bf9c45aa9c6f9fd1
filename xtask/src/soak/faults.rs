//! The faults and the tests that cause them. `docs/faults.md` says what each promises.

/// A fault.
pub struct Fault {
    /// What it is called in the tally.
    pub name: &'static str,
    /// Arguments of `cargo test` that name the test program.
    pub target: &'static [&'static str],
    /// The beginning of the tests' names.
    pub filter: &'static str,
    /// Its rounds for each hundred rounds of `kill -9`.
    per_cent: u64,
}

impl Fault {
    /// How many rounds of it go with so many of `kill -9`.
    pub fn rounds(&self, kills: u64) -> u64 {
        (kills * self.per_cent / 100).max(1)
    }
}

const NODES: &[&str] = &["--test", "ledger_faults"];

const fn fault(name: &'static str, filter: &'static str, per_cent: u64) -> Fault {
    Fault {
        name,
        target: NODES,
        filter,
        per_cent,
    }
}

const fn other(name: &'static str, target: &'static [&'static str], filter: &'static str) -> Fault {
    Fault {
        name,
        target,
        filter,
        per_cent: 0,
    }
}

/// All of them.
pub const FAULTS: &[Fault] = &[
    fault("kill -9 of any node", "kills::nodes_killed", 100),
    fault("kill -9 of all nodes", "kills::all_nodes", 10),
    fault("no quorum", "kills::half_of", 0),
    fault("store lost", "kills::a_node_whose_store", 3),
    fault("partition 2-2", "network::halves", 5),
    fault("partition 3-1", "network::three", 10),
    fault("late, lost, repeated packets", "network::late", 20),
    fault("clock a minute ahead", "clock::a_validator_a_minute_ahead", 20),
    fault("clock a minute behind", "clock::a_validator_a_minute_behind", 20),
    fault("torn commit", "torn::a_commit", 500),
    fault("damaged store", "torn::a_damaged_store", 500),
    fault("torn consensus log", "torn::a_torn_log", 15),
    fault("full disk", "disk::", 2),
    fault("consortium of 1, 2, 3", "small::", 0),
    fault("signs two things", "byzantine::a_validator", 0),
    fault("wrong state root", "byzantine::blocks", 0),
    other("consensus with faulty ledgers", &["--test", "consensus_faults"], ""),
    other("hostile blocks", &["--test", "hostile"], ""),
    other("kill -9 of a lone ledger", &["--test", "crash"], ""),
    other("hostile JSON-RPC", &["--test", "rpc_hostile"], ""),
    other("fuzz: codecs", &["--lib"], "consensus::fuzz_tests"),
    other("fuzz: what swarm members send", &["--lib"], "fuzzing_tests::"),
    other("fuzz: blocks, transactions, RPC, port", &["--test", "fuzz"], ""),
];
