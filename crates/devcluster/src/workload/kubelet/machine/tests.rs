#![allow(clippy::unwrap_used)]
//! A pod's life, played without processes.
use super::*;
use crate::workload::kubelet::messages::Refusal;
use crate::workload::kubelet::status::{Addresses, phase, pod_status};
use serde_json::json;

struct Play {
    machine: Machine,
    now: Timestamp,
    log: Vec<String>,
}

impl Play {
    fn new(spec: serde_json::Value) -> Self {
        Self::with(json!({"metadata": {"name": "p", "namespace": "n", "uid": "u"}, "spec": spec}))
    }

    fn with(pod: serde_json::Value) -> Self {
        let pod: Arc<Pod> = Arc::new(serde_json::from_value(pod).unwrap());
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let machine = Machine::new(Arc::clone(&pod), Timing::KUBERNETES, now);
        let mut play = Self {
            machine,
            now,
            log: Vec::new(),
        };
        play.input(Input::Desired(pod));
        play
    }

    fn note(&mut self, effects: Vec<Effect>) {
        self.log.extend(effects.into_iter().filter_map(|effect| match effect {
            Effect::Start { container, attempt } => Some(format!("start {container} {attempt}")),
            Effect::Stop { container, grace } => Some(format!("stop {container} {}", grace.as_secs())),
            Effect::Remove => Some("remove".to_owned()),
            Effect::Event {
                reason: "Pulled" | "Created" | "Started",
                ..
            } => None,
            Effect::Event { reason, .. } => Some(reason.to_owned()),
            Effect::Probe { .. } => None,
        }));
    }

    fn input(&mut self, input: Input) {
        let effects = self.machine.apply(input, self.now);
        self.note(effects);
    }

    fn started(&mut self, container: usize, attempt: u32) {
        self.input(Input::Started { container, attempt });
    }

    fn exited(&mut self, container: usize, attempt: u32, code: i32) {
        self.input(Input::Exited {
            container,
            attempt,
            code,
            message: None,
        });
    }

    /// Lets time pass up to the next thing that is due; returns the seconds.
    fn wait(&mut self) -> u64 {
        let next = self.machine.next_wakeup().unwrap();
        let waited = Duration::try_from(next.duration_since(self.now)).unwrap();
        self.now = next;
        let effects = self.machine.advance(self.now);
        self.note(effects);
        waited.as_secs()
    }

    fn log(&mut self) -> Vec<String> {
        std::mem::take(&mut self.log)
    }

    fn phase(&self) -> &'static str {
        phase(&self.machine)
    }

    fn waiting(&self) -> String {
        let addresses = Addresses {
            pod: "127.0.0.2".into(),
            host: "127.0.0.1".into(),
        };
        let status = pod_status(&self.machine, &addresses, self.now);
        let waiting = status
            .container_statuses
            .unwrap()
            .swap_remove(0)
            .state
            .unwrap()
            .waiting
            .unwrap();
        format!("{}: {}", waiting.reason.unwrap(), waiting.message.unwrap_or_default())
    }

    fn condition(&self, type_: &str) -> String {
        let addresses = Addresses {
            pod: "127.0.0.2".into(),
            host: "127.0.0.1".into(),
        };
        let conditions = pod_status(&self.machine, &addresses, self.now).conditions.unwrap();
        conditions
            .into_iter()
            .find(|condition| condition.type_ == type_)
            .unwrap()
            .status
    }
}

fn one(policy: &str) -> serde_json::Value {
    json!({"restartPolicy": policy, "containers": [{"name": "main", "image": "x"}]})
}

#[test]
fn a_crash_loop_backs_off_as_a_kubelet_does() {
    let mut play = Play::new(one("Always"));
    assert_eq!(play.log(), ["start 0 1"]);
    play.started(0, 1);
    assert_eq!((play.phase(), play.condition("Ready")), ("Running", "True".into()));
    play.exited(0, 1, 3);
    assert_eq!(play.log(), ["start 0 2"], "the first restart is immediate");
    let mut waits = Vec::new();
    for attempt in 2..9 {
        play.started(0, attempt);
        play.exited(0, attempt, 3);
        assert_eq!(play.log(), ["BackOff"]);
        assert_eq!((play.phase(), play.condition("Ready")), ("Running", "False".into()));
        waits.push(play.wait());
        assert_eq!(play.log(), [format!("start 0 {}", attempt + 1)]);
    }
    assert_eq!(waits, [10, 20, 40, 80, 160, 300, 300]);
    play.started(0, 9);
    play.exited(0, 9, 3);
    assert_eq!(
        play.waiting(),
        "CrashLoopBackOff: back-off 5m0s restarting failed container=main pod=p_n(u)"
    );
    assert_eq!(play.machine.tracks[0].restarts, 8);
    // A container that ran for long starts anew.
    play.wait();
    play.started(0, 10);
    play.now += Duration::from_secs(700);
    play.log();
    play.exited(0, 10, 3);
    assert_eq!(play.log(), ["start 0 11"]);
}

#[test]
fn the_restart_policy_decides_the_phase() {
    for (policy, code, log, phase) in [
        ("Never", 0, vec![], "Succeeded"),
        ("Never", 1, vec![], "Failed"),
        ("OnFailure", 0, vec![], "Succeeded"),
        ("OnFailure", 1, vec!["start 0 2"], "Running"),
        ("Always", 0, vec!["start 0 2"], "Running"),
    ] {
        let mut play = Play::new(one(policy));
        play.started(0, 1);
        play.log();
        play.exited(0, 1, code);
        assert_eq!(
            (play.log(), play.phase()),
            (log.into_iter().map(str::to_owned).collect(), phase),
            "{policy} {code}"
        );
    }
}

#[test]
fn an_unknown_image_is_an_error_then_a_back_off_then_tried_again() {
    let mut play = Play::new(one("Always"));
    play.log();
    play.input(Input::Refused {
        container: 0,
        attempt: 1,
        refusal: Refusal::Image("not found".into()),
    });
    assert_eq!(play.waiting(), "ErrImagePull: not found");
    assert_eq!(play.log(), ["Pulling", "Failed", "Failed"]);
    play.wait();
    assert_eq!(
        play.waiting(),
        "ImagePullBackOff: Back-off pulling image \"x\": ErrImagePull: not found"
    );
    assert_eq!(play.log(), ["BackOff", "Failed"]);
    assert_eq!(play.phase(), "Pending");
    assert_eq!(play.wait(), 10);
    assert_eq!(play.log(), ["start 0 2"]);
    play.started(0, 2);
    assert_eq!(play.machine.tracks[0].restarts, 0, "nothing had run before");
}

#[test]
fn what_is_missing_is_looked_for_again_less_and_less_often() {
    let mut play = Play::new(one("Always"));
    let mut waited = Duration::ZERO;
    for attempt in 1..=20 {
        let refusal = Refusal::Config("configmap \"c\" not found".into());
        play.input(Input::Refused {
            container: 0,
            attempt,
            refusal,
        });
        assert_eq!(play.waiting(), "CreateContainerConfigError: configmap \"c\" not found");
        let before = play.now;
        play.wait();
        waited = Duration::try_from(play.now.duration_since(before)).unwrap();
        assert_eq!(play.log.pop(), Some(format!("start 0 {}", attempt + 1)));
    }
    assert_eq!(waited, Duration::from_secs(5));
    play.started(0, 21);
    assert_eq!((play.phase(), play.machine.tracks[0].restarts), ("Running", 0));
}

#[test]
fn init_containers_run_one_after_the_other_and_first() {
    let spec = json!({"initContainers": [{"name": "a"}, {"name": "b"}], "containers": [{"name": "c"}, {"name": "d"}]});
    let mut play = Play::new(spec);
    assert_eq!(play.log(), ["start 0 1"]);
    play.started(0, 1);
    assert_eq!(
        (play.phase(), play.condition("Initialized")),
        ("Pending", "False".into())
    );
    play.exited(0, 1, 1);
    assert_eq!(play.log(), ["start 0 2"], "a failed init container is tried again");
    play.started(0, 2);
    play.exited(0, 2, 0);
    assert_eq!(play.log(), ["start 1 1"]);
    play.started(1, 1);
    play.exited(1, 1, 0);
    assert_eq!(play.log(), ["start 2 1", "start 3 1"]);
    assert_eq!(play.condition("Initialized"), "True");
    play.started(2, 1);
    assert_eq!(play.phase(), "Pending");
    play.started(3, 1);
    assert_eq!(play.phase(), "Running");
}

fn deleted(grace: i64) -> Input {
    Input::Desired(Arc::new(
        serde_json::from_value(json!({"metadata": {"name": "p", "namespace": "n", "uid": "u",
            "deletionTimestamp": "2026-01-01T00:00:00Z", "deletionGracePeriodSeconds": grace}, "spec": one("Always")}))
        .unwrap(),
    ))
}

#[test]
fn deletion_stops_with_grace_can_be_hurried_and_removes_when_nothing_runs() {
    let mut play = Play::new(one("Always"));
    play.started(0, 1);
    play.log();
    play.input(deleted(30));
    assert_eq!(play.log(), ["Killing", "stop 0 30"]);
    play.input(deleted(30));
    assert_eq!(play.log(), [""; 0], "once");
    play.input(deleted(1));
    assert_eq!(play.log(), ["stop 0 1"]);
    assert!(!play.machine.is_over());
    play.exited(0, 1, 143);
    assert_eq!(play.log(), ["remove"]);
    assert!(play.machine.is_over());
}

#[test]
fn a_start_under_way_when_the_pod_is_deleted_is_stopped_when_it_succeeds() {
    let mut play = Play::new(one("Always"));
    play.log();
    play.input(deleted(30));
    assert_eq!(play.log(), [""; 0], "the process may exist: wait for the answer");
    play.started(0, 1);
    assert_eq!(play.log(), ["stop 0 30"]);
    play.exited(0, 1, 137);
    assert_eq!(play.log(), ["remove"]);
}

#[test]
fn a_failing_liveness_probe_restarts_the_container() {
    let probe = json!({"tcpSocket": {"port": 1}, "periodSeconds": 1, "failureThreshold": 2});
    let mut play = Play::new(json!({"terminationGracePeriodSeconds": 3,
        "containers": [{"name": "main", "livenessProbe": probe}]}));
    play.started(0, 1);
    play.log();
    for _ in 0..2 {
        play.wait();
        let result = Err("dial".to_owned());
        play.input(Input::Probed {
            container: 0,
            attempt: 1,
            kind: ProbeKind::Liveness,
            result,
        });
    }
    assert_eq!(play.log(), ["Unhealthy", "Unhealthy", "Killing", "stop 0 3"]);
    play.exited(0, 1, 143);
    assert_eq!(play.log(), ["start 0 2"]);
}

#[test]
fn readiness_follows_its_probe_and_late_answers_are_ignored() {
    let probe = json!({"tcpSocket": {"port": 1}, "periodSeconds": 1, "failureThreshold": 1});
    let mut play = Play::new(json!({"containers": [{"name": "main", "readinessProbe": probe}]}));
    play.started(0, 1);
    assert_eq!(play.condition("Ready"), "False");
    let answer = |play: &mut Play, attempt, result| {
        play.input(Input::Probed {
            container: 0,
            attempt,
            kind: ProbeKind::Readiness,
            result,
        });
    };
    answer(&mut play, 1, Ok(()));
    assert_eq!(play.condition("Ready"), "True");
    play.wait();
    answer(&mut play, 1, Err("no".to_owned()));
    assert_eq!(play.condition("Ready"), "False");
    play.exited(0, 1, 0);
    play.started(0, 2);
    answer(&mut play, 1, Ok(()));
    assert_eq!(play.condition("Ready"), "False", "an answer about the process before");
}

#[test]
fn after_a_restart_of_the_cluster_what_ran_is_started_again_and_what_ended_is_not() {
    let status = |state: serde_json::Value| {
        json!({"containerStatuses": [{"name": "main", "image": "x", "imageID": "x", "ready": true, "restartCount": 4,
            "containerID": "hanse://u/main/7", "state": state}]})
    };
    let pod = |policy: &str, state| json!({"metadata": {"name": "p", "namespace": "n", "uid": "u"}, "spec": one(policy), "status": status(state)});
    let running = json!({"running": {"startedAt": "2026-01-01T00:00:00Z"}});
    let mut play = Play::with(pod("Always", running.clone()));
    assert_eq!(play.condition("Ready"), "False");
    assert_eq!(
        play.log(),
        ["start 0 8"],
        "a new number: the old process may still hold its lock"
    );
    play.started(0, 8);
    assert_eq!(play.machine.tracks[0].restarts, 5);
    assert_eq!(play.machine.tracks[0].last.as_ref().unwrap().code, 255);
    let mut play = Play::with(pod("Never", running));
    assert_eq!((play.log(), play.phase()), (vec![], "Failed"));
    let ended = json!({"terminated": {"exitCode": 0, "reason": "Completed"}});
    let mut play = Play::with(pod("Never", ended));
    assert_eq!((play.log(), play.phase()), (vec![], "Succeeded"));
}
