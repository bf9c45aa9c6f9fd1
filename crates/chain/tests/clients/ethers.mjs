// What a user of ethers 6 does: deploys, calls, sends, reads logs, subscribes, and is told why something fails.
// The account owns no coins, as on a ledger whose gas is free.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { ContractFactory, JsonRpcProvider, Wallet, WebSocketProvider, isCallException, isError } from "ethers";

const { HTTP_URL, WS_URL, SECRET, ARTIFACT, CONSORTIUM, CHAIN_ID, UNTIL } = process.env;
const { abi, bytecode } = JSON.parse(readFileSync(ARTIFACT));
// ethers reuses answers for 250 ms, in which a transaction is sent and final here: the next would get the same nonce.
const provider = new JsonRpcProvider(HTTP_URL, undefined, { cacheTimeout: -1 });
const wallet = new Wallet(SECRET, provider);

assert.equal((await provider.getNetwork()).chainId, BigInt(CHAIN_ID));
assert.equal(await provider.getBalance(wallet.address), 0n);
const fees = await provider.getFeeData();
assert.equal(fees.gasPrice, 0n);

const federation = await new ContractFactory(abi, bytecode, wallet).deploy(CONSORTIUM);
await federation.waitForDeployment();
const address = await federation.getAddress();
assert.notEqual(await provider.getCode(address), "0x");
assert.equal(await federation.agreementCount(), 0n);
assert.equal((await federation.consortium()).toLowerCase(), CONSORTIUM.toLowerCase());

const socket = new WebSocketProvider(WS_URL);
const [heads, pushed, polled] = [deferred(), deferred(), deferred()];
await socket.once("block", heads.resolve);
await socket.once({ address, topics: [federation.interface.getEvent("Announced").topicHash] }, pushed.resolve);
await federation.once("Announced", (id) => polled.resolve(id));
await socket.getBlockNumber();

const id = "0x" + "e6".repeat(32);
const announcement = {
  id,
  description: "from ethers",
  requirements: [9900, 50, 10, 100, 500, 256, 1],
  manifestHash: "0x" + "06".repeat(32),
  bidDeadline: BigInt(UNTIL),
  deployDeadline: BigInt(UNTIL) + 600n,
  confirmWindow: 60,
};
const sent = await federation.announce(announcement);
const receipt = await sent.wait();
assert.equal(receipt.status, 1);
assert.equal(await federation.agreementCount(), 1n);
const found = await federation.queryFilter(federation.filters.Announced(id), 0);
assert.equal(found.length, 1);
assert.equal(found[0].transactionHash, receipt.hash);
assert.equal(found[0].args.description, "from ethers");
assert.ok((await heads.promise) >= 1);
assert.equal((await pushed.promise).transactionHash, receipt.hash);
assert.equal(await polled.promise, id);
assert.deepEqual((await provider.getBlock(receipt.blockHash)).transactions.includes(receipt.hash), true);
assert.equal((await provider.getBlock("finalized")).number, await provider.getBlockNumber());

// Reverts carry their data, decoded with the contract's errors.
const refusal = await federation.confirm.staticCall("0x" + "00".repeat(32)).then(
  () => assert.fail("it reverts"),
  (error) => error,
);
assert.ok(isCallException(refusal));
assert.equal(refusal.revert.name, "UnknownAgreement");
const stranger = new Wallet("0x" + "77".repeat(32), provider);
const refused = await stranger.sendTransaction({ to: wallet.address, gasLimit: 21000 }).catch((error) => error);
assert.match(refused.error?.message ?? refused.message, /not a member of the consortium/);
assert.ok(!isError(refused, "INSUFFICIENT_FUNDS"));

await federation.removeAllListeners();
await socket.destroy();
provider.destroy();
console.log("ok");

function deferred() {
  let resolve;
  const promise = new Promise((done) => (resolve = done));
  return { promise, resolve };
}
