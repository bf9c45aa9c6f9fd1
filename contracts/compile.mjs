// Compiles src/*.sol and prints one JSON document: { "<Contract>": "<text of its artifact>" }.
// The only place that talks to solc; `cargo xtask contracts` runs it and writes or compares artifacts/.
import { readdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";

// Argument: folder that holds node_modules, so that the compiler may lie outside the tree.
const solc = createRequire(`${process.argv[2]}/`)("solc");
const here = new URL(".", import.meta.url);
const read = (path) => ({ content: readFileSync(new URL(path, here), "utf8") });
const folder = (path) =>
  readdirSync(new URL(path, here)).filter((name) => name.endsWith(".sol")).sort().map((name) => path + name);

const contracts = folder("src/");
const imported = [...folder("src/interfaces/"), ...folder("src/storage/")];
const input = {
  language: "Solidity",
  sources: Object.fromEntries([...contracts, ...imported].map((path) => [path, read(path)])),
  settings: {
    evmVersion: "cancun",
    optimizer: { enabled: true, runs: 200 },
    metadata: { bytecodeHash: "none" },
    outputSelection: { "*": { "*": ["abi", "evm.bytecode.object", "evm.deployedBytecode.object"] } },
  },
};
const output = JSON.parse(solc.compile(JSON.stringify(input)));
// Any warning fails, but for: `leave` becomes a keyword in a later language version; the pinned compiler takes it as a
// name, and renaming would change the selector and thus the ledger's interface.
const accepted = (message) => /^Warning: "leave" will be promoted/.test(message.formattedMessage);
const messages = (output.errors ?? []).filter((message) => !accepted(message));
for (const message of messages) console.error(message.formattedMessage);
if (messages.length > 0) process.exit(1);

const artifacts = {};
for (const path of contracts) {
  for (const [name, { abi, evm }] of Object.entries(output.contracts[path])) {
    const artifact = {
      abi,
      bytecode: `0x${evm.bytecode.object}`,
      deployedBytecode: `0x${evm.deployedBytecode.object}`,
    };
    artifacts[name] = `${JSON.stringify(artifact, null, 1)}\n`;
  }
}
console.log(JSON.stringify(artifacts));
