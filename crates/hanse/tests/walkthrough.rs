//! The walk-through of cluster-discovery's README as it is written there: two clusters, the real kubectl, the real jq, and the
//! manifests of `examples/discovery`.

#![allow(clippy::unwrap_used, missing_docs)]

mod league;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use league::{League, log};
use regex::Regex;
use serde_json::{Value, json};

/// The folder of the manifests.
const MANIFESTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/discovery");
const PRIVATE: &str = "private-network-peer-configuration";

/// A domain with a cluster of its own and no ties to others, and a terminal on that cluster.
struct Domain {
    league: League,
    home: tempfile::TempDir,
}

/// What a command line printed.
struct Printed {
    out: String,
    errors: String,
    succeeded: bool,
}

impl Domain {
    /// `change` has the last word on its configuration.
    fn start(change: impl FnOnce(&mut Value)) -> Self {
        let mut league = League::prepare(1);
        let path = league.agents[0].config.clone();
        let mut config: Value = serde_saphyr::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        // Nobody but the Identities of the walk-through speaks for the domain.
        config["swarm"]["identity"] = Value::Null;
        change(&mut config);
        // JSON is YAML.
        fs::write(&path, config.to_string()).unwrap();
        league.spawn(0);
        league.wait_ready(0);
        let domain = Self {
            league,
            home: tempfile::tempdir().unwrap(),
        };
        for plural in ["swarmpools", "identities", "peers"] {
            domain.until(
                &format!("kubectl get crd {plural}.peerdiscovery.irt-saintexupery.com -o json | jq -r '.status.conditions[] | select(.type==\"Established\") | .status'"),
                |printed| (printed.out == "True\n").then_some(()),
            );
        }
        domain
    }

    fn folder(&self) -> &Path {
        self.league.agents[0].config.parent().unwrap()
    }

    /// Runs a line as it is typed into a terminal, in the folder of the manifests; `$HOME` is a folder of the terminal's own.
    fn run(&self, line: &str) -> Printed {
        let path = std::env::var("PATH").unwrap();
        let output = Command::new("timeout")
            .args(["90", "sh", "-c", line])
            .current_dir(MANIFESTS)
            .env("PATH", format!("{}:{path}", tools().display()))
            .env("HOME", self.home.path())
            .env("KUBECONFIG", self.folder().join("kubeconfig"))
            .stdin(Stdio::null())
            .output()
            .unwrap();
        Printed {
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            errors: String::from_utf8_lossy(&output.stderr).into_owned(),
            succeeded: output.status.success(),
        }
    }

    /// Runs a line that succeeds.
    fn prints(&self, line: &str) -> String {
        let printed = self.run(line);
        assert!(printed.succeeded, "{line}: {}{}", printed.out, printed.errors);
        printed.out
    }

    /// Runs a line again and again ("after a while …").
    fn until<T>(&self, line: &str, found: impl Fn(&Printed) -> Option<T>) -> T {
        let last = std::cell::RefCell::new(String::new());
        let what = || {
            format!(
                "{line}\nit printed last: {}\n{}",
                last.borrow(),
                log(&self.league.agents[0].config)
            )
        };
        let look = || {
            let printed = self.run(line);
            let result = found(&printed);
            *last.borrow_mut() = format!("{}{}", printed.out, printed.errors);
            result
        };
        wait_saying(what, look)
    }

    /// Runs a line until the JSON that it prints is as wished.
    fn until_json(&self, line: &str, wished: impl Fn(&Value) -> bool) -> Value {
        self.until(line, |printed| {
            let value: Value = serde_json::from_str(&printed.out).ok()?;
            wished(&value).then_some(value)
        })
    }

    /// `.status` of a pool, as the README shows it, once it is as wished.
    fn pool(&self, name: &str, namespace: &str, wished: impl Fn(&Value) -> bool) -> Value {
        let line = format!(
            "kubectl get swarmpools.peerdiscovery.irt-saintexupery.com {name} -n {namespace} -o json | jq '.status'"
        );
        self.until_json(&line, |status| wished(&status["status"][name]))
    }

    /// The condition of an object.
    fn condition(&self, object: &str, namespace: &str, kind: &str, reason: &str) -> Value {
        let line = format!(
            "kubectl get {object} -n {namespace} -o json | jq '.status.conditions[] | select(.type==\"{kind}\")'"
        );
        self.until_json(&line, |condition| condition["reason"] == reason)
    }

    /// The only Peer that `kubectl get peers -A` shows, once it does: name, and the rest of the line.
    fn peer(&self, namespace: &str, shows: &str) -> String {
        let line = Regex::new(&format!("^{namespace} +(\\S+) +{}$", shows.replace(' ', " +"))).unwrap();
        self.until("kubectl get peers -A", |printed| {
            let lines: Vec<&str> = printed.out.lines().collect();
            let [head, peer] = lines[..] else { return None };
            assert_eq!(
                head.split_whitespace().collect::<Vec<_>>(),
                ["NAMESPACE", "NAME", "PEERNAME", "STATUS", "IP", "DESCRIPTION"]
            );
            Some(line.captures(peer.trim_end())?[1].to_owned())
        })
    }

    /// Describes a Peer until the lines that are wished stand there in this order.
    fn describes(&self, peer: &str, wished: &[&str]) {
        self.until(&format!("kubectl describe peer {peer} -n {PRIVATE}"), |printed| {
            let clean = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
            let lines: Vec<String> = printed.out.lines().map(clean).collect();
            let mut rest = lines.iter();
            wished
                .iter()
                .all(|wished| rest.any(|line| line == wished))
                .then_some(())
        });
    }

    /// Makes a pod that runs, as a pod of the original's IPFS node does.
    fn run_pod(&self, name: &str, namespace: &str) {
        self.prints(&format!(
            "kubectl run {name} -n {namespace} --image=walkthrough/sleep:1 --command -- sleep 600"
        ));
        self.until(&format!("kubectl get pod {name} -n {namespace}"), |printed| {
            printed.out.contains("1/1     Running").then_some(())
        });
    }
}

/// Waits like [`league::wait`], with words that tell what was seen last.
fn wait_saying<T>(what: impl Fn() -> String, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = std::time::Instant::now() + league::PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(std::time::Instant::now() < deadline, "waited in vain for {}", what());
    }
}

/// Where `cargo xtask tools` put kubectl.
fn tools() -> PathBuf {
    let folder = std::env::var_os("HANSE_TEST_TOOLS").map_or_else(
        || Path::new(&std::env::var_os("HOME").unwrap()).join(".cache/hanse/tools"),
        PathBuf::from,
    );
    let bin = folder.join("bin");
    assert!(
        bin.join("kubectl").exists(),
        "there is no kubectl in {}: install the tools of the tests with `cargo xtask tools`",
        bin.display()
    );
    bin
}

/// Where others call, once the load balancer has an address: until then, only where the agent itself listens.
fn address(swarm: &Value) -> Option<&str> {
    let mut addresses = swarm["Addresses"].as_array()?.iter().filter_map(Value::as_str);
    addresses.find(|address| address.contains("/tcp/4001/"))
}

fn counts(swarm: &Value) -> (&Value, &Value) {
    (&swarm["Number of bootstraps"], &swarm["Number of connected peers"])
}

fn images(config: &mut Value) {
    config["cluster"]["development"]["images"]["walkthrough/sleep:1"] = "/bin/sleep".into();
}

#[test]
fn the_walk_through_of_the_readme() {
    let one = Domain::start(images);

    // To join the default swarm.
    let applied = one.prints("kubectl apply -f cluster1.yaml");
    assert_eq!(
        applied,
        "namespace/peer-configuration created\nswarmpool.peerdiscovery.irt-saintexupery.com/cluster1 created\n"
    );
    let public = one.pool("cluster1", "peer-configuration", |swarm| address(swarm).is_some());
    let public = address(&public["status"]["cluster1"]).unwrap().to_owned();

    // The other domain comes with the swarm's key and an address, as the original's Helm chart does.
    let key_file = {
        let config = fs::read_to_string(&one.league.agents[0].config).unwrap();
        let config: Value = serde_json::from_str(&config).unwrap();
        one.folder()
            .join(config["swarm"]["keyFile"].as_str().unwrap_or("swarm.key"))
    };
    let two = Domain::start(|config| {
        images(config);
        config["swarm"]["keyFile"] = json!(key_file);
        config["swarm"]["bootstrap"] = json!([public]);
    });

    private_network(&one, &two);
    default_swarm(&one, &two);
    credentials(&one, &two);
    traefik(&one);
}

/// "With loadbalancer", up to "No resources found".
fn private_network(one: &Domain, two: &Domain) {
    one.prints("kubectl apply -f cluster1_private_network.yaml");
    let status = one.pool("cluster1-private", PRIVATE, |swarm| address(swarm).is_some());
    assert_eq!(STANDARD.decode(status["hash"].as_str().unwrap()).unwrap().len(), 16);
    let second = Regex::new(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$").unwrap();
    assert!(second.is_match(status["lastUpdate"].as_str().unwrap()), "{status}");
    let swarm = &status["status"]["cluster1-private"];
    assert_eq!(counts(swarm), (&json!(0), &json!(0)));
    assert_eq!(swarm["Name"], "cluster1-private");
    let peer_id = swarm["Peer Id"].as_str().unwrap();
    let bootstrap = address(swarm).unwrap();
    let form = Regex::new(&format!(r"^/ip4/127\.\d+\.\d+\.\d+/tcp/4001/p2p/{peer_id}$")).unwrap();
    assert!(form.is_match(bootstrap), "{bootstrap}");

    let extracted = one.prints(&format!(
        "kubectl get secrets -n {PRIVATE} private-swarm -o json | jq '.data[\"swarm-key\"]'"
    ));
    let key = extracted.trim().trim_matches('"');
    let text = String::from_utf8(STANDARD.decode(key).unwrap()).unwrap();
    let form = Regex::new(r"^/key/swarm/psk/1\.0\.0/\n/base16/\n[0-9a-f]{64}$").unwrap();
    assert!(form.is_match(&text), "{text:?}");

    // Every manifest is accepted unchanged; the key and the address in this one are those of a swarm of long ago.
    two.prints(&format!("kubectl create namespace {PRIVATE}"));
    two.prints("kubectl apply --dry-run=server -f cluster2_private_network.yaml");
    let manifest = fs::read_to_string(Path::new(MANIFESTS).join("cluster2_private_network.yaml")).unwrap();
    let quoted = Regex::new(r#"\["/ip4/[^"]+"\]"#).unwrap();
    let manifest = quoted.replace(&manifest, format!("[\"{bootstrap}\"]"));
    let written = Regex::new("swarm-key: .*").unwrap();
    let manifest = written.replace(&manifest, format!("swarm-key: {key}"));
    fs::write(two.home.path().join("cluster2_private_network.yaml"), &*manifest).unwrap();
    two.prints("kubectl apply -f $HOME/cluster2_private_network.yaml");
    two.pool("cluster2-private", PRIVATE, |swarm| {
        counts(swarm) == (&json!(1), &json!(1))
    });
    let status = one.pool("cluster1-private", PRIVATE, |swarm| {
        counts(swarm) == (&json!(0), &json!(1))
    });
    assert_eq!(
        status["status"]["cluster1-private"]["Peer Id"], peer_id,
        "it has another name now"
    );

    one.prints("kubectl apply -f cluster1_private_network_identity.yaml");
    // An Identity that names a pool of the other cluster is told so, and what there is.
    two.prints("kubectl apply -f cluster2_private_network_identity_of_no_pool.yaml");
    let told = two.condition("identity cluster2-identity", PRIVATE, "Published", "PoolNotFound");
    assert_eq!(told["status"], "False");
    assert_eq!(told["observedGeneration"], 1);
    assert!(told["message"].as_str().unwrap().contains("cluster2-private"), "{told}");
    two.until(
        &format!("kubectl describe identity cluster2-identity -n {PRIVATE}"),
        |printed| {
            let event = Regex::new("Warning +PoolNotFound .*cluster2-private").unwrap();
            event.is_match(&printed.out).then_some(())
        },
    );
    let changed = two.prints("kubectl apply -f cluster2_private_network_identity.yaml");
    assert_eq!(
        changed,
        "identity.peerdiscovery.irt-saintexupery.com/cluster2-identity configured\n"
    );

    let seen_by_one = one.peer(PRIVATE, "Cluster 2 Online https://35.187.98.45 I'm cluster 2");
    let seen_by_two = two.peer(PRIVATE, "Cluster 1 Online https://35.240.24.118 I'm cluster 1");
    assert_eq!(seen_by_two, peer_id.to_lowercase());
    let status = ["Status:", "Missing Counter: 0", "Status: Online"];
    let described = |name: &str, description: &str, url: &str, categories: &[&str]| -> Vec<String> {
        let words = |text: &str| text.to_owned();
        // kubectl sorts the fields, capitals first; the README has the URL last.
        let mut lines = vec![format!("Namespace: {PRIVATE}"), words("Spec:"), format!("URL: {url}")];
        lines.push(words("Categories:"));
        lines.extend(categories.iter().map(|category| format!("Name: {category}")));
        lines.push(format!("Description: {description}"));
        lines.push(format!("Name: {name}"));
        lines.extend(status.map(words));
        lines
    };
    let check = |domain: &Domain, peer: &str, lines: Vec<String>| {
        domain.describes(peer, &lines.iter().map(String::as_str).collect::<Vec<_>>());
    };
    let categories = ["computing", "sentinel S3A", "weather forecast"];
    check(
        one,
        &seen_by_one,
        described("Cluster 2", "I'm cluster 2", "https://35.187.98.45", &categories),
    );
    let categories = ["computing", "EO data", "IOT data", "new category"];
    let url = "https://35.240.24.118";
    check(
        two,
        &seen_by_two,
        described("Cluster 1", "I'm cluster 1", url, &categories[..3]),
    );
    metrics(one);

    one.prints("kubectl apply -f cluster1_private_network_identity_updated.yaml");
    check(
        two,
        &seen_by_two,
        described("Cluster 1", "I'm cluster 1, but updated", url, &categories),
    );

    let deleted = two.prints("kubectl delete -f cluster2_private_network_identity.yaml");
    let first = deleted.lines().next().unwrap();
    assert!(
        first.starts_with("identity.peerdiscovery.irt-saintexupery.com \"cluster2-identity\" deleted"),
        "{deleted}"
    );
    one.until("kubectl get peers -A", |printed| {
        (printed.out.is_empty() && printed.errors == "No resources found\n").then_some(())
    });
}

/// "The cluster-discovery controller publishes metrics": both gauges agree, which in the README's sample they don't.
fn metrics(one: &Domain) {
    one.prints("kubectl apply -f metrics_reader.yaml");
    let labels = [
        "identity_name=\"cluster1-identity\"",
        &format!("identity_namespace=\"{PRIVATE}\""),
        "status=\"Synchronized\"",
        "swarm_name=\"cluster1-private\"",
        "swarmpool_name=\"cluster1-private\"",
        &format!("swarmpool_namespace=\"{PRIVATE}\""),
    ];
    let api = &one.league.agents[0].api;
    for gauge in ["peers_number", "sync_peers_number"] {
        let line = format!("curl -s {api}/metrics | grep cluster_discovery_controller_identity_controller_{gauge}{{");
        one.until(&line, |printed| {
            let is_it = |line: &str| labels.iter().all(|label| line.contains(label)) && line.ends_with(" 1.0");
            printed.out.lines().any(is_it).then_some(())
        });
    }
}

/// The same in the swarm of the agents' configuration.
fn default_swarm(one: &Domain, two: &Domain) {
    one.prints("kubectl apply -f cluster1_identity.yaml");
    two.prints("kubectl apply -f cluster2.yaml -f cluster2_identity.yaml");
    one.peer(
        "peer-configuration",
        "Cluster 2 Online https://35.187.98.45 I'm cluster 2",
    );
    two.peer("public-network", "Cluster 1 Online https://35.240.24.118 I'm cluster 1");
}

/// What each domain may do in the other's cluster.
fn credentials(one: &Domain, two: &Domain) {
    one.run_pod("cluster1-cluster1-ss-0", "peer-configuration");
    two.run_pod("public-c2-sp-public-c2-s-ss-0", "public-network");
    for (domain, namespace, file, pod) in [
        (
            one,
            "peer-configuration",
            "peerconfig.yaml",
            "public-c2-sp-public-c2-s-ss-0",
        ),
        (two, "public-network", "c1config.yaml", "cluster1-cluster1-ss-0"),
    ] {
        domain.until(
            &format!(
                r#"PEER=$(kubectl get peers -n {namespace} -o json | jq -r '.items[0].metadata.name')
kubectl get secret $(kubectl get peer ${{PEER}} -n {namespace} -o json | jq -r '.metadata.annotations["clusterdiscovery/kubeconfig-secret"]') -n {namespace} -o json | jq -r '.data["config"]' | base64 -d > $HOME/{file}
kubectl --kubeconfig $HOME/{file} get pods"#
            ),
            |printed| {
                let lines: Vec<Vec<&str>> = printed.out.lines().map(|line| line.split_whitespace().collect()).collect();
                let [head, line] = &lines[..] else { return None };
                assert_eq!(head[..], ["NAME", "READY", "STATUS", "RESTARTS", "AGE"]);
                assert_eq!(line[..4], [pod, "1/1", "Running", "0"]);
                Some(())
            },
        );
    }
    let refused = two.run("kubectl --kubeconfig $HOME/c1config.yaml get secrets");
    assert!(!refused.succeeded);
    assert_eq!(
        refused.errors,
        "Error from server (Forbidden): secrets is forbidden: User \"system:serviceaccount:peer-configuration:cluster1-identity\" cannot list resource \"secrets\" in API group \"\" in the namespace \"peer-configuration\"\n"
    );
    let may = two.run("kubectl --kubeconfig $HOME/c1config.yaml auth can-i delete pods");
    assert_eq!((may.out.as_str(), may.succeeded), ("no\n", false));
}

/// "With traefik", on a cluster that has none.
fn traefik(one: &Domain) {
    let changed = one.prints("kubectl apply -f cluster1_private_network_traefik.yaml");
    assert!(
        changed.contains("swarmpool.peerdiscovery.irt-saintexupery.com/cluster1-private configured"),
        "{changed}"
    );
    let told = one.condition("swarmpool cluster1-private", PRIVATE, "Exposed", "TraefikNotInstalled");
    assert_eq!(told["status"], "False");
}
