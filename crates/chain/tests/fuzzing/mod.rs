//! Decoders under changed messages: what real nodes write, kept in `tests/corpus/<target>`, is cut, stretched, spliced and
//! flipped, for a bounded time.
//!
//! This is mutation without coverage feedback, since the stable toolchain has none to offer that does not build all crates
//! once more. proptest draws the changes and shrinks what fails; the shrunk input is written into the corpus, where every
//! later run begins with it.
#![allow(dead_code, clippy::unwrap_used)]

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, RngAlgorithm, TestError, TestRng, TestRunner};

/// Inputs between two looks at the clock.
const BATCH: u32 = 200;

/// One change of a message.
#[derive(Debug, Clone)]
enum Edit {
    FlipBit(Index, u8),
    SetByte(Index, u8),
    /// A number that lengths and counters handle wrongly, little or big endian.
    SetNumber(Index, u64, usize, bool),
    Insert(Index, Vec<u8>),
    Remove(Index, usize),
    Repeat(Index, usize),
    Truncate(Index),
    /// From here on, the end of another message.
    Splice(Index, Index, Index),
}

fn edit() -> impl Strategy<Value = Edit> {
    let odd = prop::sample::select(vec![
        0,
        1,
        0x7f,
        0x80,
        0xff,
        0xffff,
        0x7fff_ffff,
        0xffff_ffff,
        0x1_0000_0000,
        i64::MAX as u64,
        u64::MAX,
    ]);
    prop_oneof![
        (any::<Index>(), 0u8..8).prop_map(|(at, bit)| Edit::FlipBit(at, bit)),
        (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Edit::SetByte(at, byte)),
        (
            any::<Index>(),
            odd,
            prop::sample::select(vec![1, 2, 4, 8]),
            any::<bool>()
        )
            .prop_map(|(at, number, width, big)| Edit::SetNumber(at, number, width, big)),
        (any::<Index>(), prop::collection::vec(any::<u8>(), 1..16)).prop_map(|(at, bytes)| Edit::Insert(at, bytes)),
        (any::<Index>(), 1usize..32).prop_map(|(at, length)| Edit::Remove(at, length)),
        (any::<Index>(), 1usize..64).prop_map(|(at, length)| Edit::Repeat(at, length)),
        any::<Index>().prop_map(Edit::Truncate),
        (any::<Index>(), any::<Index>(), any::<Index>()).prop_map(|(at, other, from)| Edit::Splice(at, other, from)),
    ]
}

fn apply(mut bytes: Vec<u8>, edit: &Edit, corpus: &[Vec<u8>]) -> Vec<u8> {
    // One more position than there are bytes: the end is one.
    let position = |index: &Index, bytes: &[u8]| index.index(bytes.len() + 1);
    match edit {
        Edit::FlipBit(at, bit) => {
            let at = position(at, &bytes);
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << bit;
            }
        }
        Edit::SetByte(at, value) => {
            let at = position(at, &bytes);
            if let Some(byte) = bytes.get_mut(at) {
                *byte = *value;
            }
        }
        Edit::SetNumber(at, number, width, big) => {
            let at = position(at, &bytes);
            let encoded = if *big {
                number.to_be_bytes()[8 - width..].to_vec()
            } else {
                number.to_le_bytes()[..*width].to_vec()
            };
            for (byte, new) in bytes.iter_mut().skip(at).zip(encoded) {
                *byte = new;
            }
        }
        Edit::Insert(at, new) => {
            let at = position(at, &bytes);
            bytes.splice(at..at, new.iter().copied());
        }
        Edit::Remove(at, length) => {
            let at = position(at, &bytes);
            let end = bytes.len().min(at + length);
            bytes.drain(at..end);
        }
        Edit::Repeat(at, length) => {
            let at = position(at, &bytes);
            let end = bytes.len().min(at + length);
            let again = bytes[at..end].to_vec();
            bytes.splice(at..at, again);
        }
        Edit::Truncate(at) => bytes.truncate(position(at, &bytes)),
        Edit::Splice(at, other, from) => {
            let other = &corpus[other.index(corpus.len())];
            bytes.truncate(position(at, &bytes));
            bytes.extend_from_slice(&other[position(from, other)..]);
        }
    }
    bytes
}

fn folder(target: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests", "corpus", target].iter().collect()
}

fn kept(target: &str) -> Vec<Vec<u8>> {
    let folder = folder(target);
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty(), "{} holds no message", folder.display());
    files.iter().map(|file| std::fs::read(file).unwrap()).collect()
}

/// Puts messages into the corpus of a target.
pub fn keep(target: &str, messages: &[(&str, Vec<u8>)]) {
    std::fs::create_dir_all(folder(target)).unwrap();
    for (name, message) in messages {
        std::fs::write(folder(target).join(name), message).unwrap();
    }
}

/// How long one target runs: `HANSE_FUZZ_MS`, or two seconds.
fn duration() -> Duration {
    let ms = std::env::var("HANSE_FUZZ_MS").ok().and_then(|ms| ms.parse().ok());
    Duration::from_millis(ms.unwrap_or(2_000))
}

/// Feeds `check` with the corpus of `target` and with changes of it. A panic of `check` is a finding.
pub fn fuzz(target: &str, check: impl Fn(&[u8])) {
    let corpus = kept(target);
    let seed: u64 = std::env::var("SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or_else(rand::random);
    println!("SEED={seed}");
    corpus.iter().for_each(|message| check(message));

    let strategy = (any::<Index>(), prop::collection::vec(edit(), 1..8)).prop_map(|(first, edits)| {
        edits
            .iter()
            .fold(corpus[first.index(corpus.len())].clone(), |m, e| apply(m, e, &corpus))
    });
    let config = Config {
        cases: BATCH,
        failure_persistence: None,
        ..Config::default()
    };
    let (started, mut batches) = (Instant::now(), 0u64);
    while started.elapsed() < duration() {
        // A runner is done when it has had its cases, so each batch has its own.
        let mut state = [0; 32];
        state[..8].copy_from_slice(&seed.to_le_bytes());
        state[8..16].copy_from_slice(&batches.to_le_bytes());
        let mut runner = TestRunner::new_with_rng(config.clone(), TestRng::from_seed(RngAlgorithm::ChaCha, &state));
        let outcome = runner.run(&strategy, |message| {
            check(&message);
            Ok(())
        });
        batches += 1;
        if let Err(TestError::Fail(reason, message)) = outcome {
            let mut hash = DefaultHasher::new();
            message.hash(&mut hash);
            let name = format!("found-{:016x}", hash.finish());
            let digits: String = message.iter().map(|byte| format!("{byte:02x}")).collect();
            keep(target, &[(&name, message)]);
            panic!("{target} fails on {digits} (now in tests/corpus/{target}): {reason}");
        }
    }
    println!("TALLY fuzz_inputs={}", batches * u64::from(BATCH));
}
