//! Detectors and receivers stop, crash, freeze and move; frames are not lost and the picture does not stand still.
#![allow(clippy::unwrap_used)]

mod rig;

use rig::{Program, assert_graceful};
use rustix::process::Signal;
use serde_json::Value;

/// Acknowledgements may take for ever: what works with this works without anything being sent twice on suspicion.
const PATIENT: [&str; 2] = ["--ack-timeout-ms", "60000"];

/// A pipeline with two detectors in two domains, both of which deliver.
async fn two_domains() -> (Program, Program, Program, Program) {
    let receiver = Program::receiver().await;
    let lubeck = Program::detector("lubeck", &receiver).await;
    let hamburg = Program::detector("hamburg", &receiver).await;
    let sender = Program::sender(&[&lubeck, &hamburg]).await;
    receiver
        .stats_when("both domains deliver", |stats| {
            delivered(stats, "lubeck") > 5 && delivered(stats, "hamburg") > 5
        })
        .await;
    receiver.post("/stats/reset").await;
    (receiver, lubeck, hamburg, sender)
}

fn delivered(stats: &Value, domain: &str) -> u64 {
    stats["detectors"][domain]["frames"].as_u64().unwrap_or_default()
}

/// Stops the camera, so that the tail is known, and looks at the account: every frame of every stream arrived, and the
/// picture never stood still for a second.
async fn assert_nothing_lost_and_no_gap(receiver: &Program, sender: Program) -> Value {
    let before = receiver.json("/stats").await;
    assert_graceful(sender.stop().await);
    let stats = receiver
        .stats_when("no frame is pending", |stats| stats["frames_pending"] == 0)
        .await;
    assert_eq!(stats["frames_lost"], 0, "{stats:#}");
    assert!(before["longest_gap_ms"].as_u64() < Some(1000), "{before:#}");
    stats
}

#[tokio::test]
async fn a_detector_that_is_stopped_loses_nothing_and_repeats_nothing() {
    let receiver = Program::receiver().await;
    let patient_detector = [&["--frames-port", "0"], &PATIENT[..]].concat();
    let lubeck = Program::detector_with("lubeck", &receiver, &patient_detector).await;
    let hamburg = Program::detector_with("hamburg", &receiver, &patient_detector).await;
    let sender = Program::sender_with(&[&lubeck, &hamburg], &PATIENT).await;
    receiver
        .stats_when("both deliver", |stats| {
            delivered(stats, "lubeck") > 5 && delivered(stats, "hamburg") > 5
        })
        .await;
    receiver.post("/stats/reset").await;
    assert_graceful(lubeck.stop().await);
    let alone = delivered(&receiver.json("/stats").await, "hamburg") + 30;
    receiver
        .stats_when("the other goes on alone", |stats| delivered(stats, "hamburg") > alone)
        .await;
    let stats = assert_nothing_lost_and_no_gap(&receiver, sender).await;
    assert_eq!(stats["duplicates"], 0, "{stats:#}");
}

#[tokio::test]
async fn a_detector_that_is_killed_loses_nothing_that_can_be_sent_again() {
    let (receiver, lubeck, _hamburg, sender) = two_domains().await;
    lubeck.kill().await;
    let alone = delivered(&receiver.json("/stats").await, "hamburg") + 30;
    receiver
        .stats_when("the other goes on alone", |stats| delivered(stats, "hamburg") > alone)
        .await;
    assert_nothing_lost_and_no_gap(&receiver, sender).await;
}

#[tokio::test]
async fn a_detector_that_freezes_is_noticed_and_its_frames_are_sent_elsewhere() {
    let (receiver, lubeck, _hamburg, sender) = two_domains().await;
    lubeck.signal(Signal::STOP);
    rig::eventually("the camera sends again what the frozen detector has", || async {
        let status = sender.json("/status").await;
        if status["resent"].as_u64() > Some(0) {
            Ok(())
        } else {
            Err(status)
        }
    })
    .await;
    let alone = delivered(&receiver.json("/stats").await, "hamburg") + 30;
    receiver
        .stats_when("the other goes on alone", |stats| delivered(stats, "hamburg") > alone)
        .await;
    lubeck.signal(Signal::CONT);
    let again = delivered(&receiver.json("/stats").await, "lubeck") + 10;
    receiver
        .stats_when("the thawed one works again", |stats| delivered(stats, "lubeck") > again)
        .await;
    assert_nothing_lost_and_no_gap(&receiver, sender).await;
}

#[tokio::test]
async fn moving_the_detector_make_before_break_has_no_gap_and_no_loss() {
    let receiver = Program::receiver().await;
    let patient_detector = [&["--frames-port", "0"], &PATIENT[..]].concat();
    let old_detector = Program::detector_with("lubeck", &receiver, &patient_detector).await;
    let old_sender = Program::sender_with(&[&old_detector], &PATIENT).await;
    old_sender.wait_ready().await;
    receiver.post("/stats/reset").await;

    // As a rolling update of the camera with another destination_ip does it.
    let new_detector = Program::detector_with("hamburg", &receiver, &patient_detector).await;
    let new_sender = Program::sender_with(&[&new_detector], &PATIENT).await;
    new_sender.wait_ready().await;
    assert_graceful(old_sender.stop().await);
    assert_graceful(old_detector.stop().await);

    receiver
        .stats_when("the new domain delivers", |stats| delivered(stats, "hamburg") > 40)
        .await;
    let stats = assert_nothing_lost_and_no_gap(&receiver, new_sender).await;
    let streams: Vec<&Value> = stats["streams"].as_object().unwrap().values().collect();
    assert_eq!(streams.len(), 2);
    assert!(
        streams
            .iter()
            .all(|stream| stream["ended"] == true && stream["lost"] == 0),
        "{stats:#}"
    );
    assert_eq!(stats["duplicates"], 0, "{stats:#}");
}

#[tokio::test]
async fn a_detector_that_takes_the_address_of_another_gets_what_waited() {
    // As replicas behind one address do: between the two nobody is there, and the camera's queue bridges it.
    let receiver = Program::receiver().await;
    let first = Program::detector("lubeck", &receiver).await;
    let port = first.listening["frames"].port().to_string();
    let sender = Program::sender(&[&first]).await;
    sender.wait_ready().await;
    receiver.post("/stats/reset").await;
    assert_graceful(first.stop().await);
    let _second = Program::detector_with("hamburg", &receiver, &["--frames-port", &port]).await;
    receiver
        .stats_when("the second delivers", |stats| delivered(stats, "hamburg") > 40)
        .await;
    assert_graceful(sender.stop().await);
    let stats = receiver
        .stats_when("no frame is pending", |stats| stats["frames_pending"] == 0)
        .await;
    assert_eq!(stats["frames_lost"], 0, "{stats:#}");
}

#[tokio::test]
async fn readiness_tells_the_truth_and_a_receiver_that_comes_back_gets_the_rest() {
    let receiver = Program::receiver().await;
    let detector = Program::detector("lubeck", &receiver).await;
    let pictures = receiver.listening["pictures"];
    receiver.kill().await;
    let sender = Program::sender(&[&detector]).await;
    assert!(!sender.is_ready().await, "nothing is acknowledged");
    rig::eventually("the detector says that it has no receiver", || async {
        if detector.is_ready().await {
            Err("ready")
        } else {
            Ok(())
        }
    })
    .await;

    let receiver = Program::receiver_at(pictures).await;
    detector.wait_ready().await;
    sender.wait_ready().await;
    receiver.kill().await;
    rig::eventually("the camera says that nothing is acknowledged", || async {
        if sender.is_ready().await { Err("ready") } else { Ok(()) }
    })
    .await;

    let receiver = Program::receiver_at(pictures).await;
    sender.wait_ready().await;
    receiver
        .stats_when("frames arrive", |stats| stats["frames_received"].as_u64() > Some(20))
        .await;
    assert_graceful(sender.stop().await);
    assert_graceful(detector.stop().await);
    assert_graceful(receiver.stop().await);
}

#[tokio::test]
async fn a_camera_with_nobody_to_send_to_still_stops_in_time() {
    let sender = Program::start(
        "sampler-sender",
        1,
        &["--destination-ip", "127.0.0.1:1", "--http-port", "0"],
    )
    .await;
    assert!(!sender.is_ready().await);
    assert_eq!(sender.get("/healthz").await.status(), 200);
    assert_graceful(sender.stop().await);
}
