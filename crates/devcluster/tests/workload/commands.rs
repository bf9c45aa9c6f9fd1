//! The commands of the real kubectl, on a development cluster, or with `KUBECONFIG` and `REQUIRE_CLUSTER=1` on a real one.

use std::time::Duration;

use regex::Regex;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::ChildStdout;

use crate::contract::{IMAGE, SERVER, environment};
use crate::kubectl::{DEADLINE, Kubectl, Printed};
use crate::local::Local;

/// kubectl in a namespace of its own.
pub struct Shell {
    kubectl: Kubectl,
    pub namespace: String,
    /// `None`: a real cluster.
    pub cluster: Option<Local>,
}

impl Shell {
    pub async fn start(name: &str) -> Self {
        let required = std::env::var("REQUIRE_CLUSTER").as_deref() == Ok("1");
        let (kubectl, cluster) = if required {
            let file = std::env::var_os("KUBECONFIG").expect("REQUIRE_CLUSTER=1 needs a KUBECONFIG");
            (Kubectl::with(file.as_ref()), None)
        } else {
            let cluster = Local::start().await;
            (Kubectl::with(&cluster.kubeconfig()), Some(cluster))
        };
        let namespace = format!("kubectl-{name}-{:x}", rand::random::<u32>());
        let shell = Self {
            kubectl,
            namespace,
            cluster,
        };
        shell.says(&["create", "namespace", &shell.namespace], "created").await;
        // Pods are refused before the namespace has its service account.
        shell
            .says(
                &["wait", "--for=create", "serviceaccount/default", "--timeout=60s"],
                "condition met",
            )
            .await;
        shell
    }

    pub async fn run_with(&self, arguments: &[&str], stdin: &str) -> Printed {
        let mut all = vec!["-n", self.namespace.as_str()];
        all.extend(arguments);
        self.kubectl.run(&all, stdin).await
    }

    async fn run(&self, arguments: &[&str]) -> Printed {
        self.run_with(arguments, "").await
    }

    /// Runs a command that succeeds; what it prints.
    pub async fn prints(&self, arguments: &[&str]) -> String {
        let printed = self.run(arguments).await;
        assert_eq!(
            printed.exit, 0,
            "kubectl {arguments:?}: {}{}",
            printed.stdout, printed.stderr
        );
        printed.stdout
    }

    /// Runs a command that succeeds and prints something that matches.
    pub async fn says(&self, arguments: &[&str], pattern: &str) -> String {
        let printed = self.prints(arguments).await;
        assert!(
            Regex::new(pattern).unwrap().is_match(&printed),
            "kubectl {arguments:?} says not {pattern}:\n{printed}"
        );
        printed
    }

    /// Runs a command that fails with words that match.
    async fn refuses(&self, arguments: &[&str], stdin: &str, pattern: &str) {
        let printed = self.run_with(arguments, stdin).await;
        assert_ne!(printed.exit, 0, "kubectl {arguments:?} succeeds: {}", printed.stdout);
        assert!(
            Regex::new(pattern).unwrap().is_match(&printed.stderr),
            "kubectl {arguments:?} says not {pattern}:\n{}",
            printed.stderr
        );
    }

    pub async fn apply(&self, manifest: &Value, pattern: &str) {
        let printed = self.run_with(&["apply", "-f", "-"], &manifest.to_string()).await;
        assert_eq!(printed.exit, 0, "{}", printed.stderr);
        assert!(
            Regex::new(pattern).unwrap().is_match(&printed.stdout),
            "{}",
            printed.stdout
        );
    }

    /// Ends with the namespace gone.
    pub async fn finish(self) {
        self.says(&["delete", "namespace", &self.namespace, "--timeout=100s"], "deleted")
            .await;
        if let Some(cluster) = self.cluster {
            cluster.stop().await;
        }
    }
}

fn deployment(replicas: i32) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "labels": {"app": "web"}},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {
                    "terminationGracePeriodSeconds": 3,
                    "containers": [{
                        "name": "main", "image": IMAGE, "command": ["python3", "-u", "-c", SERVER],
                        "env": environment("1"), "ports": [{"name": "http", "containerPort": 8080}],
                        "readinessProbe": {"httpGet": {"path": "/", "port": "http"}, "periodSeconds": 1},
                    }],
                },
            },
        },
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deployment_is_applied_looked_at_scaled_and_deleted() {
    let shell = Shell::start("deployment").await;
    shell.apply(&deployment(1), "deployment.apps/web created").await;
    shell.apply(&deployment(1), "deployment.apps/web unchanged").await;
    shell
        .says(
            &["rollout", "status", "deployment/web", "--timeout=100s"],
            "successfully rolled out",
        )
        .await;
    shell
        .says(
            &["get", "deployment", "web"],
            r"NAME +READY +UP-TO-DATE +AVAILABLE +AGE\nweb +1/1 +1 +1 +\d+[sm]",
        )
        .await;
    shell
        .says(
            &["get", "pods", "-o", "wide"],
            r"web-\S+ +1/1 +Running +0 +\S+ +\d+\.\d+\.\d+\.\d+ +\S+ +<none> +<none>",
        )
        .await;
    shell.says(&["get", "all", "-A"], "deployment.apps/web").await;
    shell
        .says(
            &["describe", "deployment", "web"],
            "(?s)Replicas:.*1 available.*ScalingReplicaSet",
        )
        .await;
    shell
        .says(
            &["describe", "pods", "-l", "app=web"],
            "(?s)Status: +Running.*Events:.*Started",
        )
        .await;
    shell.says(&["logs", "deployment/web"], "serving").await;

    shell.says(&["scale", "deployment/web", "--replicas=2"], "scaled").await;
    shell
        .says(
            &[
                "wait",
                "deployment/web",
                "--for=jsonpath={.status.readyReplicas}=2",
                "--timeout=100s",
            ],
            "condition met",
        )
        .await;
    shell
        .says(
            &[
                "wait",
                "pods",
                "-l",
                "app=web",
                "--for=condition=Ready",
                "--timeout=100s",
            ],
            "condition met",
        )
        .await;
    shell
        .says(&["set", "env", "deployment/web", "VERSION=2"], "env updated")
        .await;
    shell
        .says(
            &["rollout", "status", "deployment/web", "--timeout=100s"],
            "successfully rolled out",
        )
        .await;
    shell.says(&["rollout", "history", "deployment/web"], r"(?m)^2 ").await;

    // What another manager has set stays; what was applied and is no more goes.
    shell.says(&["label", "deployment/web", "other=x"], "labeled").await;
    let mut changed = deployment(2);
    changed["metadata"]["labels"] = json!({"tier": "front"});
    shell.apply(&changed, "deployment.apps/web configured").await;
    let labels = shell
        .prints(&["get", "deployment", "web", "-o", "jsonpath={.metadata.labels}"])
        .await;
    assert_eq!(
        serde_json::from_str::<Value>(&labels).unwrap(),
        json!({"other": "x", "tier": "front"})
    );

    shell
        .says(
            &["delete", "deployment", "web", "--cascade=foreground", "--timeout=100s"],
            "deleted",
        )
        .await;
    let gone = shell.run(&["get", "pods", "-l", "app=web"]).await;
    assert!(gone.stderr.contains("No resources found"), "{gone:?}");
    shell.finish().await;
}

/// Reads lines until one matches.
async fn line(lines: &mut tokio::io::Lines<BufReader<ChildStdout>>, pattern: &str) {
    let pattern = Regex::new(pattern).unwrap();
    let mut seen = Vec::new();
    let reading = async {
        while let Some(line) = lines.next_line().await.unwrap() {
            if pattern.is_match(&line) {
                return true;
            }
            seen.push(line);
        }
        false
    };
    let found = tokio::time::timeout(DEADLINE, reading).await.unwrap_or(false);
    assert!(found, "no line {pattern}; there were {seen:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_happens_is_shown_while_it_happens() {
    let shell = Shell::start("watch").await;
    let mut watching = shell
        .kubectl
        .command(&["-n", &shell.namespace, "get", "pods", "-w"])
        .spawn()
        .unwrap();
    let mut rows = BufReader::new(watching.stdout.take().unwrap()).lines();
    let script = "for n in 1 2 3; do echo line $n; sleep 0.2; done; while [ ! -e /tmp/never ]; do sleep 0.1; done";
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "talk"}, "spec": {
        "terminationGracePeriodSeconds": 1,
        "containers": [{"name": "main", "image": IMAGE, "command": ["sh", "-c", script]}]}});
    shell.apply(&pod, "pod/talk created").await;
    line(&mut rows, "NAME +READY +STATUS +RESTARTS +AGE").await;
    line(&mut rows, r"talk +0/1 +(Pending|ContainerCreating)").await;
    line(&mut rows, r"talk +1/1 +Running").await;

    let mut following = shell
        .kubectl
        .command(&["-n", &shell.namespace, "logs", "-f", "talk"])
        .spawn()
        .unwrap();
    let mut output = BufReader::new(following.stdout.take().unwrap()).lines();
    for n in 1..=3 {
        line(&mut output, &format!("^line {n}$")).await;
    }
    shell.says(&["logs", "talk", "--tail=1"], "^line 3\n$").await;
    shell.says(&["delete", "pod", "talk", "--timeout=60s"], "deleted").await;
    line(&mut rows, r"talk +\S+ +Terminating").await;
    // Following ends with the container.
    let ended = tokio::time::timeout(Duration::from_secs(60), following.wait()).await;
    assert!(ended.is_ok(), "kubectl logs -f goes on after the pod has gone");
    watching.kill().await.unwrap();
    shell.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn server_side_apply_tells_of_conflicts() {
    let shell = Shell::start("apply").await;
    let map = |value: &str| {
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"}, "data": {"k": value}}).to_string()
    };
    let apply = |manager: &'static str| ["apply", "--server-side", "-f", "-", "--field-manager", manager];
    let first = shell.run_with(&apply("one"), &map("1")).await;
    assert!(first.stdout.contains("configmap/m serverside-applied"), "{first:?}");
    shell
        .refuses(&apply("two"), &map("2"), r#"conflict with "one": .data.k"#)
        .await;
    let mut forced = apply("two").to_vec();
    forced.push("--force-conflicts");
    let forced = shell.run_with(&forced, &map("2")).await;
    assert_eq!(forced.exit, 0, "{}", forced.stderr);
    shell
        .says(
            &["get", "cm", "m", "-o", "yaml", "--show-managed-fields"],
            "manager: two",
        )
        .await;
    shell.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_gives_the_rights_of_its_account_and_no_more() {
    let shell = Shell::start("token").await;
    shell.says(&["create", "serviceaccount", "reader"], "created").await;
    shell
        .says(
            &["create", "role", "pods", "--verb=get,list", "--resource=pods"],
            "created",
        )
        .await;
    let account = format!("--serviceaccount={}:reader", shell.namespace);
    shell
        .says(&["create", "rolebinding", "pods", "--role=pods", &account], "created")
        .await;
    let token = shell.prints(&["create", "token", "reader", "--duration=10m"]).await;
    // A kubeconfig with a user has both; the one on the command line is who asks.
    let config = shell.prints(&["config", "view", "--raw", "-o", "json"]).await;
    let mut config: Value = serde_json::from_str(&config).unwrap();
    config["users"][0]["user"] = json!({"token": token.trim()});
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("reader.json");
    std::fs::write(&file, config.to_string()).unwrap();
    let file = file.to_str().unwrap();
    let user = format!("system:serviceaccount:{}:reader", shell.namespace);
    shell.says(&["--kubeconfig", file, "auth", "whoami"], &user).await;
    shell
        .says(&["--kubeconfig", file, "auth", "can-i", "list", "pods"], "yes")
        .await;
    let pods = shell.run(&["--kubeconfig", file, "get", "pods"]).await;
    assert!(pods.stderr.starts_with("No resources found"), "{pods:?}");
    let refusal = format!(
        "^Error from server \\(Forbidden\\): secrets is forbidden: User \"{user}\" cannot list resource \"secrets\" in API group \"\" in the namespace \"{}\"\n$",
        shell.namespace
    );
    shell
        .refuses(&["--kubeconfig", file, "get", "secrets"], "", &refusal)
        .await;
    shell.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn custom_resources_are_shown_explained_and_checked() {
    let shell = Shell::start("custom").await;
    let group = format!("{}.example.com", shell.namespace);
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("gadgets.{group}")},
        "spec": {"group": group, "scope": "Namespaced",
            "names": {"plural": "gadgets", "singular": "gadget", "kind": "Gadget", "shortNames": ["gd"]},
            "versions": [{"name": "v1", "served": true, "storage": true,
                "additionalPrinterColumns": [{"name": "COLOUR", "type": "string", "jsonPath": ".spec.colour"}],
                "schema": {"openAPIV3Schema": {"type": "object", "description": "A gadget of the test.", "properties": {"spec": {
                    "type": "object", "required": ["colour"],
                    "properties": {"colour": {"type": "string", "description": "What it looks like.", "enum": ["red", "blue"]},
                        "low": {"type": "integer"}, "high": {"type": "integer"}},
                    "x-kubernetes-validations": [{"rule": "!has(self.low) || self.low <= self.high", "message": "low must not be above high"}],
                }}}}}]},
    });
    shell.apply(&definition, "created").await;
    let name = format!("crd/gadgets.{group}");
    shell
        .says(
            &["wait", "--for=condition=Established", &name, "--timeout=60s"],
            "condition met",
        )
        .await;
    let gadget = |spec: Value| json!({"apiVersion": format!("{group}/v1"), "kind": "Gadget", "metadata": {"name": "g"}, "spec": spec});
    let wrong = gadget(json!({"colour": "red", "low": 2, "high": 1})).to_string();
    shell
        .refuses(
            &["apply", "-f", "-"],
            &wrong,
            "spec: Invalid value: .*low must not be above high",
        )
        .await;
    let typo = gadget(json!({"colour": "red", "hihg": 1})).to_string();
    shell
        .refuses(&["apply", "-f", "-"], &typo, r#"unknown field "spec.hihg""#)
        .await;
    shell.apply(&gadget(json!({"colour": "red"})), "created").await;
    shell.says(&["get", "gd"], r"^NAME +COLOUR\ng +red\n$").await;
    shell
        .says(&["get", "gd", "-A"], r"^NAMESPACE +NAME +COLOUR\n\S+ +g +red\n$")
        .await;
    shell
        .says(&["describe", "gadget", "g"], "(?s)Kind: +Gadget.*Colour: +red")
        .await;
    shell.says(&["explain", "gadget"], "A gadget of the test.").await;
    shell
        .says(
            &["explain", "gadget.spec.colour"],
            "(?s)FIELD: colour <string>.*red.*blue.*What it looks like.",
        )
        .await;
    shell
        .says(&["explain", "gadget", "--recursive"], "low\t<integer>")
        .await;
    shell
        .says(
            &[
                "patch",
                "gadget",
                "g",
                "--type=merge",
                "-p",
                r#"{"spec":{"colour":"blue"}}"#,
            ],
            "patched",
        )
        .await;
    shell
        .apply(&gadget(json!({"colour": "blue", "high": 3})), "configured")
        .await;
    shell.says(&["delete", &name, "--timeout=60s"], "deleted").await;
    shell
        .refuses(
            &["get", "gadgets"],
            "",
            "the server doesn't have a resource type|could not find the requested resource",
        )
        .await;
    shell.finish().await;
}
