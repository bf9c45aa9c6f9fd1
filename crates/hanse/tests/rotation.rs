//! The validator key is replaced, and the agent is killed in the midst of it: real processes, `kill -9`.

#![allow(clippy::unwrap_used, missing_docs)]

mod league;

use std::process::{Command, Stdio};
use std::time::Duration;

use league::{HANSE, League, wait};
use serde_json::Value;

/// The validator key of a member, as another one knows it.
fn key(league: &League, asked: usize, name: &str) -> Value {
    let page = league.get(asked, "/api/v1/consortium");
    let mut members = page["members"].as_array().unwrap().iter();
    members.find(|member| member["name"] == name).unwrap()["validatorKey"].clone()
}

fn rotate(league: &League, index: usize) -> Command {
    let mut command = Command::new("timeout");
    command
        .args(["90", HANSE, "consortium", "rotate-key", "-o", "json", "--api"])
        .arg(&league.agents[index].api)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// When the agent is killed.
#[derive(Debug, Clone, Copy)]
enum Moment {
    /// So long after the rotation was written down: before it is sent, or while it is decided.
    Written(Duration),
    /// When the others know the new key, and the node goes over to it.
    Decided,
}

#[test]
fn killed_at_any_moment_of_a_rotation_the_same_command_ends_it_and_the_domain_validates_with_the_new_key() {
    let mut league = League::start(4);
    let moments = [
        Moment::Written(Duration::ZERO),
        Moment::Written(Duration::from_millis(20)),
        Moment::Decided,
    ];
    for (index, moment) in moments.into_iter().enumerate() {
        let name = league.agents[index].name.clone();
        let old = key(&league, 3, &name);
        let written = league.agents[index].config.with_file_name("rotation.json");
        let mut asking = rotate(&league, index).spawn().unwrap();
        wait("the rotation to be written down", || written.exists().then_some(()));
        match moment {
            Moment::Written(ago) => std::thread::park_timeout(ago),
            Moment::Decided => wait("the rotation to be decided", || {
                (key(&league, 3, &name) != old).then_some(())
            }),
        }
        league.kill(index);
        assert!(
            !asking.wait().unwrap().success(),
            "{moment:?}: it was answered before the kill"
        );
        league.spawn(index);
        league.wait_ready(index);

        // Whatever came of it before the kill: repeated, the command succeeds and names the key that the ledger names.
        let output = rotate(&league, index).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{moment:?}: {text}");
        let done: Value = serde_json::from_slice(&output.stdout).unwrap();
        let done_in_words = done["done"].as_str().unwrap();
        assert!(
            done_in_words.contains("generation 1 of the validator key is in use"),
            "{moment:?}: {done}"
        );
        assert_eq!(done["validatorKey"], key(&league, 3, &name), "{moment:?}");
        assert_ne!(done["validatorKey"], old, "{moment:?}");
        assert!(!written.exists(), "{moment:?}: somebody was told");
        // After that it is another rotation, which is too early.
        let output = rotate(&league, index).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            !output.status.success() && text.contains("a short while ago"),
            "{moment:?}: {text}"
        );
        assert!(!written.exists(), "{moment:?}: what was refused is not under way");
    }
    // Three of four are needed: all that were killed validate with their new keys.
    league.kill(3);
    let height = |league: &League| league.try_get(0, "/api/v1/health")?["ledger_height"].as_u64();
    let before = height(&league).unwrap();
    wait("blocks that only the new keys can have decided", || {
        (height(&league)? > before + 1).then_some(())
    });
}
