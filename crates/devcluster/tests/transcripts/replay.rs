//! Sends the requests of a recording and compares the answers.

use std::time::{Duration, Instant};

use hanse_devcluster::DevCluster;
use serde_json::{Value, json};

use super::kubectl::Kubectl;
use super::{commands, normalise, served};

/// Headers of an answer that are compared.
const KEPT_HEADERS: [&str; 5] = ["content-type", "warning", "retry-after", "location", "allow"];
/// A machine under load may take this many times as long as the recorder did.
const PATIENCE: u64 = 3;
/// Controllers that have written nothing for this long have nothing to do.
const QUIET: Duration = Duration::from_millis(400);
/// Longest wait for anything that has no limit of its own.
const DEADLINE: Duration = Duration::from_secs(60);

/// Where a recording is replayed.
pub struct Replay<'a> {
    cluster: &'a DevCluster,
    client: reqwest::Client,
    token: String,
    volatile: Vec<String>,
    /// Answers so far: bodies, or lists of events.
    answers: Vec<Value>,
    /// Steps whose answers are not compared.
    apart: Vec<usize>,
    /// How many times as long as the recorder a step waits for what comes by and by.
    pub patience: u64,
    /// The step after which controllers start to act; from then on they are waited for.
    controllers: Option<usize>,
    /// Made for the first command.
    kubectl: Option<Kubectl>,
    folder: tempfile::TempDir,
    /// What was not equal.
    pub differences: Vec<String>,
}

struct Answer {
    status: u16,
    headers: Value,
    body: Value,
}

impl<'a> Replay<'a> {
    /// Prepares a replay.
    pub fn new(cluster: &'a DevCluster, apart: Vec<usize>, controllers: Option<usize>) -> Self {
        let kubeconfig = serde_json::to_value(cluster.kubeconfig()).unwrap();
        let token = kubeconfig["users"][0]["user"]["token"].as_str().unwrap().to_string();
        // Built with the whole workspace, the client has TLS but no provider of its cryptography.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        Self {
            cluster,
            client,
            token,
            volatile: Vec::new(),
            answers: Vec::new(),
            apart,
            patience: PATIENCE,
            controllers,
            kubectl: None,
            folder: tempfile::tempdir().unwrap(),
            differences: Vec::new(),
        }
    }

    /// Replays a whole recording.
    pub async fn run(&mut self, recording: &Value) {
        self.volatile = strings(&recording["volatile"]);
        for (index, step) in recording["steps"].as_array().unwrap().iter().enumerate() {
            let before = self.differences.len();
            self.step(index, step).await;
            if self.apart.contains(&index) {
                self.differences.truncate(before);
            }
            if index == 0 {
                self.wait_for_namespace(step["request"]["body"]["metadata"]["name"].as_str().unwrap_or_default())
                    .await;
            }
            if self.controllers == Some(index) {
                self.cluster.run_controllers_without_node();
            }
            if self.controllers.is_some_and(|first| index >= first) {
                self.settle().await;
            }
        }
    }

    async fn step(&mut self, index: usize, step: &Value) {
        if step["control"] == "compact" {
            self.cluster.compact();
            self.answers.push(Value::Null);
        } else if step["command"].is_array() {
            let cluster = self.cluster;
            let kubectl = self.kubectl.get_or_insert_with(|| {
                let file = self.folder.path().join("kubeconfig");
                cluster.write_kubeconfig(&file).unwrap();
                Kubectl::with(&file)
            });
            let found = commands::step(kubectl, step).await;
            let words: Vec<&str> = step["command"]
                .as_array()
                .unwrap()
                .iter()
                .filter_map(Value::as_str)
                .collect();
            self.differences.extend(
                found
                    .into_iter()
                    .map(|line| format!("step {index} ({}): {line}", words.join(" "))),
            );
            self.answers.push(Value::Null);
        } else if step["watch"].is_object() {
            self.watch(index, step).await;
        } else {
            let answer = self.ask(step).await;
            self.compare(&format!("step {index}"), step, &answer);
            self.answers.push(answer.body);
        }
    }

    fn fill(&self, text: &str) -> String {
        let mut out = String::new();
        let mut rest = text;
        while let Some((before, tail)) = rest.split_once("${") {
            let (reference, after) = tail.split_once('}').unwrap();
            let (step, pointer) = reference.split_once('#').unwrap();
            let answer = &self.answers[step.parse::<usize>().unwrap()];
            let value = answer.pointer(pointer).cloned().unwrap_or_default();
            out.push_str(before);
            out.push_str(&value.as_str().map_or_else(|| value.to_string(), str::to_string));
            rest = after;
        }
        out + rest
    }

    fn fill_value(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => self.fill(text).into(),
            Value::Array(items) => items.iter().map(|item| self.fill_value(item)).collect(),
            Value::Object(map) => map
                .iter()
                .map(|(key, item)| (key.clone(), self.fill_value(item)))
                .collect(),
            other => other.clone(),
        }
    }

    async fn send(&self, request: &Value) -> reqwest::Response {
        let path = self.fill(request["path"].as_str().unwrap());
        let method = request["method"].as_str().unwrap().parse().unwrap();
        let mut builder = self
            .client
            .request(method, format!("http://{}{path}", self.cluster.addr()));
        let mut authorization = Some(format!("Bearer {}", self.token));
        for (name, value) in request["headers"].as_object().into_iter().flatten() {
            let value = self.fill(value.as_str().unwrap());
            if name == "authorization" {
                authorization = (!value.starts_with('(')).then_some(value);
            } else {
                builder = builder.header(name, value);
            }
        }
        if let Some(value) = authorization {
            builder = builder.header("authorization", value);
        }
        match &request["body"] {
            Value::Null => {}
            Value::String(text) => builder = builder.body(self.fill(text)),
            body => builder = builder.body(self.fill_value(body).to_string()),
        }
        tokio::time::timeout(DEADLINE, builder.send())
            .await
            .expect("the server answers in time")
            .unwrap()
    }

    async fn ask_once(&self, request: &Value) -> Answer {
        let response = self.send(request).await;
        let status = response.status().as_u16();
        let headers = kept(response.headers());
        let text = response.text().await.unwrap();
        let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
        Answer { status, headers, body }
    }

    async fn ask(&self, step: &Value) -> Answer {
        let poll = &step["poll"];
        let limit = Duration::from_secs(poll["seconds"].as_u64().unwrap_or(0) * self.patience);
        let start = Instant::now();
        loop {
            let answer = self.ask_once(&step["request"]).await;
            if poll.is_null() || self.holds(poll, &answer) || start.elapsed() > limit {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn holds(&self, poll: &Value, answer: &Answer) -> bool {
        if let Some(condition) = poll["until_condition"].as_object() {
            let conditions = answer.body["status"]["conditions"].as_array().into_iter().flatten();
            return conditions
                .into_iter()
                .any(|c| condition.iter().all(|(key, value)| c[key] == *value));
        }
        poll["until"].as_object().into_iter().flatten().all(|(pointer, value)| {
            if pointer == "status" {
                return answer.status == value.as_u64().unwrap_or(0) as u16;
            }
            let found = answer.body.pointer(pointer).cloned().unwrap_or_default();
            found == self.fill_value(value)
        })
    }

    fn compare(&mut self, place: &str, step: &Value, answer: &Answer) {
        let mut volatile = self.volatile.clone();
        volatile.extend(strings(&step["volatile"]));
        let expected = &step["response"];
        let mut found = Vec::new();
        if expected["status"] != answer.status {
            found.push(format!(
                "status: expected {}, found {}",
                expected["status"], answer.status
            ));
        }
        let headers = normalise::body(&expected["headers"], &[]);
        if expected["item"].is_null() {
            normalise::differences("headers", &headers, &normalise::body(&answer.headers, &[]), &mut found);
        }
        let mut recorded = expected["body"].clone();
        served::keep(&mut recorded);
        let recorded = normalise::body(&recorded, &volatile);
        if let Some(item) = expected["item"].as_object() {
            // The recording kept one group of a long list.
            let items = answer.body["items"].as_array().into_iter().flatten();
            let one = items
                .into_iter()
                .find(|i| i["metadata"] == item["metadata"])
                .cloned()
                .unwrap_or_default();
            normalise::differences("item", &expected["item"], &one, &mut found);
        } else {
            normalise::differences("", &recorded, &normalise::body(&answer.body, &volatile), &mut found);
        }
        self.report(place, step, found);
    }

    fn report(&mut self, place: &str, step: &Value, found: Vec<String>) {
        let request = &step["request"];
        let what = format!(
            "{} {}",
            request["method"].as_str().unwrap_or_default(),
            request["path"].as_str().unwrap_or_default()
        );
        self.differences
            .extend(found.into_iter().map(|line| format!("{place} ({what}): {line}")));
    }

    async fn watch(&mut self, index: usize, step: &Value) {
        let place = format!("step {index}");
        let mut response = self.send(&step["request"]).await;
        let status = response.status().as_u16();
        let headers = kept(response.headers());
        if step["response"]["events"].is_null() || status >= 400 {
            let text = response.text().await.unwrap();
            let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
            let answer = Answer { status, headers, body };
            self.compare(&place, step, &answer);
            self.answers.push(answer.body);
            return;
        }
        for (number, during) in step["watch"]["during"].as_array().into_iter().flatten().enumerate() {
            let answer = self.ask(during).await;
            self.compare(&format!("{place} during {number}"), during, &answer);
        }
        let mut events: Vec<Value> = Vec::new();
        let mut text = String::new();
        let stop = &step["watch"]["stop"];
        let reading = async {
            while !stopped(stop, &events) {
                let Some(chunk) = response.chunk().await.unwrap() else {
                    break;
                };
                text.push_str(&String::from_utf8_lossy(&chunk));
                while let Some((line, rest)) = text.split_once('\n') {
                    if !stopped(stop, &events) {
                        let event = serde_json::from_str(line);
                        events.push(event.unwrap_or_else(|_| json!({ "type": "not JSON", "object": line })));
                    }
                    text = rest.to_string();
                }
            }
        };
        let in_time = tokio::time::timeout(DEADLINE, reading).await.is_ok();
        let mut found = Vec::new();
        if !in_time {
            found.push(format!("the watch did not end; events so far: {}", events.len()));
        }
        if step["response"]["status"] != status {
            found.push(format!(
                "status: expected {}, found {status}",
                step["response"]["status"]
            ));
        }
        let mut volatile = self.volatile.clone();
        volatile.extend(strings(&step["volatile"]));
        let clean = |events: &[Value]| -> Value {
            let one = |event: &Value| json!({ "type": event["type"], "object": normalise::body(&event["object"], &volatile) });
            events.iter().map(one).collect()
        };
        let expected = clean(step["response"]["events"].as_array().unwrap());
        normalise::differences("events", &expected, &clean(&events), &mut found);
        self.report(&place, step, found);
        self.answers.push(Value::Array(events));
    }

    /// Waits until nothing has been written for a while: the controllers have done what there was to do.
    async fn settle(&self) {
        let request = json!({ "method": "GET", "path": "/api/v1/nodes" });
        let start = Instant::now();
        let mut last = Value::Null;
        let mut since = Instant::now();
        while since.elapsed() < QUIET && start.elapsed() < DEADLINE {
            let version = self.ask_once(&request).await.body["metadata"]["resourceVersion"].clone();
            if version != last {
                (last, since) = (version, Instant::now());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The recorder waited for what every namespace gets.
    async fn wait_for_namespace(&self, namespace: &str) {
        let start = Instant::now();
        for path in ["serviceaccounts/default", "configmaps/kube-root-ca.crt"] {
            let request = json!({ "method": "GET", "path": format!("/api/v1/namespaces/{namespace}/{path}") });
            while self.ask_once(&request).await.status != 200 && start.elapsed() < DEADLINE {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }
}

fn kept(headers: &reqwest::header::HeaderMap) -> Value {
    let mut out = serde_json::Map::new();
    for name in KEPT_HEADERS {
        let values: Vec<&str> = headers
            .get_all(name)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .collect();
        match values.as_slice() {
            [] => {}
            [one] => drop(out.insert(name.into(), (*one).into())),
            several => drop(out.insert(name.into(), several.into())),
        }
    }
    Value::Object(out)
}

fn stopped(stop: &Value, events: &[Value]) -> bool {
    if let Some(count) = stop["events"].as_u64() {
        return events.len() as u64 >= count;
    }
    let Some(wanted) = stop["event"].as_object() else {
        return false;
    };
    events.last().is_some_and(|event| {
        wanted
            .iter()
            .all(|(pointer, value)| event.pointer(pointer) == Some(value))
    })
}

fn strings(value: &Value) -> Vec<String> {
    value
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|v| v.as_str().map(str::to_string))
        .collect()
}
