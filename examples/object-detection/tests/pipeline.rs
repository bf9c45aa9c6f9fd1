//! The three programs together: pictures arrive, show what moves, and can be looked at.
#![allow(clippy::unwrap_used)]

mod rig;

use object_detection::jpeg;
use rig::{Program, assert_graceful};
use serde_json::Value;

fn number(stats: &Value, name: &str) -> u64 {
    stats[name].as_u64().unwrap_or_else(|| panic!("{name} in {stats}"))
}

#[tokio::test]
async fn frames_flow_objects_are_found_and_nothing_is_lost() {
    let receiver = Program::receiver().await;
    let detector = Program::detector("lubeck", &receiver).await;
    let sender = Program::sender(&[&detector]).await;
    let judged = |stats: &Value| stats["detection"]["objects"].as_u64() > Some(120);
    let stats = receiver
        .stats_when("enough frames to judge the detector by", judged)
        .await;
    assert!(stats["detection"]["recall"].as_f64() >= Some(0.8), "{stats:#}");
    assert!(stats["detection"]["precision"].as_f64() >= Some(0.8), "{stats:#}");
    assert_eq!(
        number(&stats["detectors"]["lubeck"], "frames"),
        number(&stats, "frames_received")
    );
    assert!(stats["latency_ms"]["p50"].as_f64() <= stats["latency_ms"]["p99"].as_f64());
    for program in [&sender, &detector, &receiver] {
        assert!(program.is_ready().await);
        assert!(program.resident_kb() <= 15 * 1024, "{} kB", program.resident_kb());
        assert!(program.get("/metrics").await.text().await.unwrap().contains("# TYPE"));
    }
    let status = sender.json("/status").await;
    assert_eq!(
        (number(&status, "dropped"), number(&status, "refused")),
        (0, 0),
        "{status}"
    );

    assert_graceful(sender.stop().await);
    let stats = receiver.json("/stats").await;
    let stream = stats["streams"].as_object().unwrap().values().next().unwrap();
    assert_eq!(stream["ended"], true);
    assert_eq!(
        (number(&stats, "frames_lost"), number(&stats, "frames_pending")),
        (0, 0),
        "{stats:#}"
    );
    assert_eq!(number(stream, "received"), number(stream, "last_sequence") + 1);
    assert_graceful(detector.stop().await);
    assert_graceful(receiver.stop().await);
}

#[tokio::test]
async fn the_receiver_shows_the_picture() {
    let receiver = Program::receiver().await;
    assert_eq!(
        receiver.get("/snapshot.jpg").await.status(),
        503,
        "before the first picture"
    );
    let detector = Program::detector("lubeck", &receiver).await;
    let _sender = Program::sender(&[&detector]).await;
    receiver
        .stats_when("a picture", |stats| stats["frames_received"].as_u64() > Some(0))
        .await;

    let page = receiver.get("/").await;
    assert!(
        page.headers()["content-type"]
            .to_str()
            .unwrap()
            .starts_with("text/html")
    );
    let page = page.text().await.unwrap();
    assert!(page.contains("stream.mjpg"));
    assert!(
        !page.contains("http://") && !page.contains("https://"),
        "the page needs nothing from elsewhere"
    );

    let snapshot = receiver.get("/snapshot.jpg").await;
    assert_eq!(snapshot.headers()["content-type"], "image/jpeg");
    assert_eq!(
        jpeg::decode(&snapshot.bytes().await.unwrap()).unwrap().dimensions(),
        (320, 240)
    );

    // Three parts of the live picture, each a JPEG file of the announced length.
    let mut live = receiver.get("/stream.mjpg").await;
    let mut seen = Vec::new();
    for _ in 0..3 {
        let file = loop {
            if let Some(file) = take_part(&mut seen) {
                break file;
            }
            seen.extend_from_slice(&live.chunk().await.unwrap().expect("the live picture goes on"));
        };
        assert!(jpeg::decode(&file).is_ok());
    }

    // Viewers are bounded; who leaves makes room.
    let mut viewers = vec![live];
    while viewers.len() < 8 {
        viewers.push(receiver.get("/stream.mjpg").await);
        assert_eq!(viewers.last().unwrap().status(), 200);
    }
    assert_eq!(receiver.get("/stream.mjpg").await.status(), 503);
    viewers.clear();
    rig::eventually("room for a viewer", || async {
        let status = receiver.get("/stream.mjpg").await.status();
        if status.is_success() { Ok(()) } else { Err(status) }
    })
    .await;

    assert_eq!(receiver.post("/stats/reset").await.status(), 204);
    let stats = receiver.json("/stats").await;
    assert!(
        number(&stats, "since_reset_ms") < 5000 && number(&stats, "frames_received") < 100,
        "{stats}"
    );
    assert_graceful(receiver.stop().await);
}

/// Takes the first complete part out of a `multipart/x-mixed-replace` stream.
fn take_part(stream: &mut Vec<u8>) -> Option<Vec<u8>> {
    let head_end = stream.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let head = String::from_utf8(stream[..head_end].to_vec()).unwrap();
    assert!(head.starts_with("--hanse-picture\r\n"), "{head}");
    let length: usize = head
        .lines()
        .find_map(|line| line.strip_prefix("Content-Length: "))
        .unwrap()
        .parse()
        .unwrap();
    let end = head_end + length + 2;
    (stream.len() >= end).then(|| stream.drain(..end).collect::<Vec<_>>()[head_end..end - 2].to_vec())
}
