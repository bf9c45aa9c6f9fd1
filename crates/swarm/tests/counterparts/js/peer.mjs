// A stock js-libp2p node in a swarm, driven by lines of JSON.
//
// The first line of the input says what to be, the next ones what to do; for each there is a line of output, {"ok": …} or
// {"error": …}. The process goes with its input.

import { readFile } from 'node:fs/promises'
import { createInterface } from 'node:readline'
import { noise } from '@chainsafe/libp2p-noise'
import { yamux } from '@chainsafe/libp2p-yamux'
import { circuitRelayServer, circuitRelayTransport } from '@libp2p/circuit-relay-v2'
import { generateKeyPairFromSeed } from '@libp2p/crypto/keys'
import { identify } from '@libp2p/identify'
import { kadDHT, passthroughMapper } from '@libp2p/kad-dht'
import { mdns } from '@libp2p/mdns'
import { peerIdFromString } from '@libp2p/peer-id'
import { ping } from '@libp2p/ping'
import { preSharedKey } from '@libp2p/pnet'
import { tcp } from '@libp2p/tcp'
import { multiaddr } from '@multiformats/multiaddr'
import { fixedSize } from 'ipfs-unixfs-importer/chunker'
import { importBytes } from 'ipfs-unixfs-importer'
import { createIPNSRecord, marshalIPNSRecord, multihashToIPNSRoutingKey, unmarshalIPNSRecord } from 'ipns'
import { ipnsSelector } from 'ipns/selector'
import { ipnsValidator } from 'ipns/validator'
import { createLibp2p } from 'libp2p'
import { CID } from 'multiformats/cid'

const WITHIN_MS = 15_000

const hex = bytes => Buffer.from(bytes).toString('hex')
const bytes = text => Uint8Array.from(Buffer.from(text, 'hex'))
const routingKey = name => multihashToIPNSRoutingKey(peerIdFromString(name).toMultihash())

const within = () => ({ signal: AbortSignal.timeout(WITHIN_MS) })

let node, privateKey

async function start (wanted) {
  privateKey = await generateKeyPairFromSeed('Ed25519', bytes(wanted.secret))
  node = await createLibp2p({
    privateKey,
    addresses: { listen: [wanted.listen] },
    transports: [tcp(), circuitRelayTransport()],
    connectionEncrypters: [noise()],
    streamMuxers: [yamux()],
    ...(wanted.swarm_key == null ? {} : { connectionProtector: preSharedKey({ psk: Buffer.from(wanted.swarm_key) }) }),
    peerDiscovery: wanted.mdns ? [mdns()] : [],
    services: {
      ...(wanted.relay ? { relay: circuitRelayServer() } : {}),
      identify: identify(),
      ping: ping(),
      dht: kadDHT({
        protocol: '/ipfs/lan/kad/1.0.0',
        clientMode: false,
        peerInfoMapper: passthroughMapper,
        validators: { ipns: ipnsValidator },
        selectors: { ipns: ipnsSelector }
      })
    }
  })
  return {
    peer: node.peerId.toString(),
    addresses: node.getMultiaddrs().map(address => address.decapsulate('/p2p').toString())
  }
}

const commands = {
  async dial ({ address }) {
    await node.dial(multiaddr(address), within())
  },

  connected: () => node.getPeers().map(String),

  // A record of this node's own name, with both signatures or with that of version 2 alone.
  async sign ({ value, sequence, lifetime_ms: lifetime, v1 }) {
    return hex(marshalIPNSRecord(await createIPNSRecord(privateKey, value, sequence, lifetime, { v1Compatible: v1 })))
  },

  // Gives any bytes as the record of any name to those who are to hold it, and says who took it and who did not.
  async give ({ name, record }) {
    const answers = { took: [], refused: [] }
    for await (const event of node.services.dht.put(routingKey(name), bytes(record), within())) {
      if (event.name === 'PEER_RESPONSE' && event.messageName === 'PUT_VALUE') answers.took.push(event.from.toString())
      if (event.name === 'QUERY_ERROR') answers.refused.push(event.from.toString())
    }
    return answers
  },

  async get ({ name }) {
    let found = null
    for await (const event of node.services.dht.get(routingKey(name), within())) {
      if (event.name === 'VALUE') found = event.value
    }
    if (found == null) return null
    await ipnsValidator(routingKey(name), found)
    const { value, sequence, signatureV1 } = unmarshalIPNSRecord(found)
    return { record: hex(found), value, sequence: Number(sequence), v1: signatureV1 != null }
  },

  // IPIP-0499, profile unixfs-v1-2025.
  async cid ({ file }) {
    const blocks = new Map()
    const blockstore = { put: async (cid, block) => { blocks.set(cid.toString(), block); return cid }, get: async cid => blocks.get(cid.toString()) }
    const profile = { cidVersion: 1, rawLeaves: true, chunker: fixedSize({ chunkSize: 1 << 20 }) }
    return (await importBytes(await readFile(file), blockstore, profile)).cid.toString()
  },

  async providers ({ cid }) {
    const found = new Set()
    for await (const event of node.services.dht.findProviders(CID.parse(cid), within())) {
      if (event.name === 'PROVIDER') event.providers.forEach(provider => found.add(provider.id.toString()))
    }
    return [...found]
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  let message
  try {
    const command = JSON.parse(line)
    message = { ok: (node == null ? await start(command) : await commands[command.do](command)) ?? null }
  } catch (error) {
    message = { error: `${error}` }
  }
  console.log(JSON.stringify(message))
}
process.exit(0)
