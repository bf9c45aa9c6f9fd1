// What a user of web3.js 4 does: deploys, calls, sends, reads logs, subscribes, and is told why something fails.
// The account owns no coins; web3.js would offer a tip of 2.5 gwei, so the price is named.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { Web3 } from "web3";

const { HTTP_URL, WS_URL, SECRET, ARTIFACT, CONSORTIUM, CHAIN_ID, UNTIL } = process.env;
const { abi, bytecode } = JSON.parse(readFileSync(ARTIFACT));
const web3 = new Web3(HTTP_URL);
const account = web3.eth.accounts.wallet.add(SECRET)[0];
const from = account.address;
const free = { from, gasPrice: "0", type: 0 };

assert.equal(await web3.eth.getChainId(), BigInt(CHAIN_ID));
assert.match(await web3.eth.getNodeInfo(), /^hanse\/v/);
assert.equal(await web3.eth.isSyncing(), false);
assert.equal(await web3.eth.getGasPrice(), 0n);
const history = await web3.eth.getFeeHistory(4, "latest", [50]);
assert.ok(history.baseFeePerGas.every((fee) => fee === 0n));

const deployed = await new web3.eth.Contract(abi)
  .deploy({ data: bytecode, arguments: [CONSORTIUM] })
  .send(free);
const address = deployed.options.address;
assert.notEqual(await web3.eth.getCode(address), "0x");
assert.equal(await deployed.methods.agreementCount().call(), 0n);

const socket = new Web3(WS_URL);
const watched = new socket.eth.Contract(abi, address);
const heads = await socket.eth.subscribe("newBlockHeaders");
const head = new Promise((resolve) => heads.once("data", resolve));
const logs = await socket.eth.subscribe("logs", { address });
const log = new Promise((resolve) => logs.once("data", resolve));
const events = watched.events.Announced();
const event = new Promise((resolve) => events.once("data", resolve));
await new Promise((resolve) => events.once("connected", resolve));

const id = "0x" + "33".repeat(32);
const announcement = [
  id, "from web3.js", [9900, 50, 10, 100, 500, 256, 1], "0x" + "06".repeat(32),
  BigInt(UNTIL), BigInt(UNTIL) + 600n, 60,
];
const receipt = await deployed.methods.announce(announcement).send(free);
assert.equal(receipt.status, 1n);
assert.equal(receipt.events.Announced.returnValues.description, "from web3.js");
assert.equal(await deployed.methods.agreementCount().call(), 1n);
const past = await deployed.getPastEvents("Announced", { filter: { id }, fromBlock: 0, toBlock: "latest" });
assert.equal(past.length, 1);
assert.equal(past[0].transactionHash, receipt.transactionHash);
assert.ok((await head).number >= 1n);
assert.equal((await log).transactionHash, receipt.transactionHash);
assert.equal((await event).returnValues.id, id);
await heads.unsubscribe();
await logs.unsubscribe();
await events.unsubscribe();

const block = await web3.eth.getBlock(receipt.blockHash, true);
assert.equal(block.transactions[Number(receipt.transactionIndex)].hash, receipt.transactionHash);
const proof = await web3.eth.getProof(address, ["0x" + "00".repeat(32)], "latest");
assert.ok(proof.accountProof.length > 0);
const list = await web3.eth.createAccessList({ from, to: address, data: deployed.methods.agreementCount().encodeABI() });
assert.equal(list.accessList.length, 1);

// Reverts carry their data, decoded with the contract's errors.
const refusal = await deployed.methods.confirm("0x" + "00".repeat(32)).call({ from }).then(
  () => assert.fail("it reverts"),
  (error) => error,
);
assert.equal(refusal.cause?.errorName ?? refusal.innerError?.errorName, "UnknownAgreement");
const stranger = web3.eth.accounts.privateKeyToAccount("0x" + "77".repeat(32));
const signed = await stranger.signTransaction({
  to: from, gas: 21000, gasPrice: "0", nonce: 0, chainId: CHAIN_ID, type: 0,
});
const refused = await web3.eth.sendSignedTransaction(signed.rawTransaction).then(
  () => assert.fail("a stranger's transaction is refused"),
  (error) => error,
);
assert.match(`${refused.message} ${refused.innerError?.message} ${refused.cause?.message}`, /not a member of the consortium/);

socket.provider.disconnect();
console.log("ok");
