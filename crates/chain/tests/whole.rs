//! What is stored is what was decided: verification finds whatever is not, and backups bring all of it back or nothing.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use alloy::primitives::keccak256;
use hanse_chain::application::{Application, Durability};
use hanse_chain::consensus::{Abstention, certify};
use hanse_chain::genesis::Genesis;
use hanse_chain::key::ValidatorKey;
use hanse_chain::ledger::{Ledger, RestoreError, VerifyError, restore, verify};
use hanse_chain::store::{FILE_NAME, OpenError};
use redb::{ReadableTable, TableDefinition};
use support::{announce, key, now_ms};

const MEMBERS: u8 = 4;
const BLOCKS: u64 = 6;

fn validator(n: u8) -> ValidatorKey {
    ValidatorKey::from_seed([n + 1; 32])
}

fn genesis() -> Genesis {
    let mut genesis = support::genesis(MEMBERS);
    for (n, member) in (0..).zip(&mut genesis.members) {
        member.validator_key = validator(n).public_key().into();
    }
    genesis
}

/// Each block has an announcement of every member; the last one a transaction that reverts, since its id is taken.
fn build(folder: &Path) -> Arc<Ledger> {
    let ledger = Ledger::open(folder, &genesis()).unwrap();
    let origin = ledger.head().snapshot().hash();
    let keys: Vec<ValidatorKey> = (0..MEMBERS).map(validator).collect();
    for height in 1..=BLOCKS {
        for member in 0..MEMBERS {
            let id = keccak256([member, height.min(BLOCKS - 1) as u8]);
            ledger.submit(&announce(member, height - 1, id)).unwrap();
        }
        let proposer = key((height % u64::from(MEMBERS)) as u8).address();
        let block = ledger.build(proposer, now_ms()).unwrap();
        let id = ledger.block_id(&block).unwrap();
        let certificate = certify(origin, height, id, &keys[..3]);
        ledger.commit(&block, &certificate, Durability::Immediate).unwrap();
    }
    ledger
}

fn verified(folder: &Path) -> Result<hanse_chain::ledger::Verified, VerifyError> {
    let scratch = tempfile::tempdir().unwrap();
    verify(&folder.join(FILE_NAME), &genesis(), scratch.path(), |_, _| {})
}

fn backup(ledger: &Ledger) -> Vec<u8> {
    let mut backup = Vec::new();
    ledger.back_up(&mut backup).unwrap();
    backup
}

/// Changes a table of the store behind its back.
fn change<K: redb::Key + 'static, V: redb::Value + 'static>(
    folder: &Path,
    table: TableDefinition<K, V>,
    change: impl FnOnce(&mut redb::Table<K, V>),
) {
    let database = redb::Database::open(folder.join(FILE_NAME)).unwrap();
    let transaction = database.begin_write().unwrap();
    change(&mut transaction.open_table(table).unwrap());
    transaction.commit().unwrap();
}

const RECEIPTS: TableDefinition<u64, &[u8]> = TableDefinition::new("receipts");
const BODIES: TableDefinition<u64, &[u8]> = TableDefinition::new("bodies");
const SENDERS: TableDefinition<u64, &[u8]> = TableDefinition::new("senders");
const CERTIFICATES: TableDefinition<u64, &[u8]> = TableDefinition::new("certificates");
const HEADERS: TableDefinition<u64, &[u8]> = TableDefinition::new("headers");
const STORAGE: TableDefinition<&[u8; 52], &[u8; 32]> = TableDefinition::new("storage");
const NODES: TableDefinition<&[u8], &[u8]> = TableDefinition::new("nodes");

/// Puts the entry of one height in the place of another's.
fn exchange(folder: &Path, table: TableDefinition<u64, &'static [u8]>, height: u64, by: u64) {
    change(folder, table, |table| {
        let other = table.get(by).unwrap().unwrap().value().to_vec();
        table.insert(height, other.as_slice()).unwrap();
    });
}

#[test]
fn a_good_ledger_is_found_good() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = build(folder.path());
    let head = ledger.head();
    let (hash, root) = (head.snapshot().hash(), head.snapshot().header().state_root);
    drop((head, ledger));
    let found = verified(folder.path()).unwrap();
    assert_eq!((found.height, found.hash, found.state_root), (BLOCKS, hash, root));
    assert_eq!(found.transactions, BLOCKS * u64::from(MEMBERS));
}

#[test]
fn whatever_is_changed_is_found_at_the_first_height_that_has_it() {
    type Change = fn(&Path);
    let changes: [(&str, u64, Change); 5] = [
        ("receipt", 3, |folder| exchange(folder, RECEIPTS, 3, 2)),
        ("transaction", 4, |folder| exchange(folder, BODIES, 4, 5)),
        ("sender", 2, |folder| {
            change(folder, SENDERS, |table| {
                table.insert(2, [7; 20 * MEMBERS as usize].as_slice()).unwrap();
            });
        }),
        ("certificate", 5, |folder| exchange(folder, CERTIFICATES, 5, 4)),
        ("header", 3, |folder| {
            change(folder, HEADERS, |table| {
                let mut header = table.get(3).unwrap().unwrap().value().to_vec();
                // Within the state root, which follows parent hash, ommers hash and beneficiary.
                header[100] ^= 1;
                table.insert(3, header.as_slice()).unwrap();
            });
        }),
    ];
    for (what, height, change) in changes {
        let folder = tempfile::tempdir().unwrap();
        drop(build(folder.path()));
        change(folder.path());
        match verified(folder.path()).unwrap_err() {
            VerifyError::Block { height: found, reason } => assert_eq!(found, height, "{what}: {reason}"),
            other => panic!("{what}: {other}"),
        }
    }
}

/// A ledger whose transactions below this height were forgotten.
fn pruned(folder: &Path, floor: u64) {
    let ledger = build(folder);
    while ledger.prune(floor).unwrap() < floor {}
}

#[test]
fn a_pruned_ledger_is_verified_without_executing_and_can_be_restored() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (folder.path().join("old"), folder.path().join("new"));
    pruned(&old, 4);
    let found = verified(&old).unwrap();
    assert_eq!((found.height, found.floor), (BLOCKS, 4));
    assert_eq!(
        found.transactions,
        (BLOCKS - 3) * u64::from(MEMBERS),
        "those that are kept"
    );

    let backup = backup(&Ledger::open(&old, &genesis()).unwrap());
    restore(&*backup, &new, &genesis()).unwrap();
    assert_eq!(verified(&new).unwrap(), found);
}

#[test]
fn whatever_is_changed_in_a_pruned_ledger_is_found_too() {
    type Change = fn(&Path);
    let changes: [(&str, u64, Change); 5] = [
        ("header below the floor", 2, |folder| exchange(folder, HEADERS, 2, 1)),
        ("certificate below the floor", 3, |folder| {
            exchange(folder, CERTIFICATES, 3, 2)
        }),
        ("receipt", 4, |folder| exchange(folder, RECEIPTS, 4, 5)),
        ("body", 5, |folder| exchange(folder, BODIES, 5, 4)),
        ("sender", 4, |folder| {
            change(folder, SENDERS, |table| {
                table.insert(4, [7; 20 * MEMBERS as usize].as_slice()).unwrap();
            });
        }),
    ];
    for (what, height, change) in changes {
        let folder = tempfile::tempdir().unwrap();
        pruned(folder.path(), 4);
        change(folder.path());
        match verified(folder.path()).unwrap_err() {
            VerifyError::Block { height: found, reason } => assert_eq!(found, height, "{what}: {reason}"),
            other => panic!("{what}: {other}"),
        }
    }
    let folder = tempfile::tempdir().unwrap();
    pruned(folder.path(), 4);
    self::change(folder.path(), STORAGE, |table| {
        let key = *table.last().unwrap().unwrap().0.value();
        table.insert(&key, &[9; 32]).unwrap();
    });
    let error = verified(folder.path()).unwrap_err();
    assert!(matches!(error, VerifyError::State { height: BLOCKS, .. }), "{error}");
}

#[test]
fn too_few_signatures_and_those_of_others_are_no_certificate() {
    let origin = genesis().hash().unwrap();
    let keys: Vec<ValidatorKey> = (0..MEMBERS).map(validator).collect();
    let strangers = [validator(0), validator(1), validator(77)];
    for (signers, word) in [(&keys[..2], "not valid"), (&strangers[..], "not valid")] {
        let folder = tempfile::tempdir().unwrap();
        let ledger = build(folder.path());
        let (_, hash) = ledger.head().snapshot().header_at(4).unwrap().unwrap();
        drop(ledger);
        let weak = certify(origin, 4, hash, signers);
        change(folder.path(), CERTIFICATES, |table| {
            table.insert(4, weak.as_ref()).unwrap();
        });
        match verified(folder.path()).unwrap_err() {
            VerifyError::Block { height: 4, reason } => assert!(reason.contains(word), "{reason}"),
            other => panic!("{other}"),
        }
    }
}

#[test]
fn a_state_that_no_header_proves_is_found_although_every_block_is_good() {
    let changes: [fn(&Path); 4] = [
        |folder| {
            change(folder, STORAGE, |table| {
                let key = *table.last().unwrap().unwrap().0.value();
                table.insert(&key, &[9; 32]).unwrap();
            });
        },
        |folder| {
            change(folder, STORAGE, |table| {
                let key = *table.last().unwrap().unwrap().0.value();
                table.remove(&key).unwrap();
            });
        },
        |folder| {
            change(folder, NODES, |table| {
                let (key, mut node) = {
                    let (key, node) = table.last().unwrap().unwrap();
                    (key.value().to_vec(), node.value().to_vec())
                };
                *node.last_mut().unwrap() ^= 1;
                table.insert(key.as_slice(), node.as_slice()).unwrap();
            });
        },
        |folder| {
            change(folder, NODES, |table| {
                table.insert([0xff; 40].as_slice(), [0x80].as_slice()).unwrap();
            });
        },
    ];
    for change in changes {
        let folder = tempfile::tempdir().unwrap();
        drop(build(folder.path()));
        change(folder.path());
        let error = verified(folder.path()).unwrap_err();
        assert!(matches!(error, VerifyError::State { height: BLOCKS, .. }), "{error}");
    }
}

#[test]
fn a_foreign_store_is_not_verified() {
    let folder = tempfile::tempdir().unwrap();
    drop(support::open(folder.path(), 1));
    let error = verified(folder.path()).unwrap_err();
    assert!(matches!(error, VerifyError::Open(OpenError::Foreign { .. })), "{error}");
}

#[test]
fn a_restored_ledger_is_the_same_and_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = build(&folder.path().join("old"));
    let backup = backup(&ledger);
    let new = folder.path().join("new");
    let head = restore(&*backup, &new, &genesis()).unwrap();
    assert_eq!((head.height, head.hash), (BLOCKS, ledger.head().snapshot().hash()));
    assert!(Abstention::is_marked(&new), "what its validator signed is not known");
    verified(&new).unwrap();
    let restored = Ledger::open(&new, &genesis()).unwrap();
    assert_eq!(restored.head().rules(), ledger.head().rules());
    for height in 1..=BLOCKS {
        assert_eq!(restored.decided(height).unwrap(), ledger.decided(height).unwrap());
    }
    let (built, again) = (
        ledger.build(key(0).address(), now_ms()).unwrap(),
        restored.build(key(0).address(), now_ms()).unwrap(),
    );
    restored.validate(key(0).address(), &built, now_ms()).unwrap();
    ledger.validate(key(0).address(), &again, now_ms()).unwrap();
}

/// Nothing of a failed attempt is left that a node would start with.
fn nothing_restored(folder: &Path) {
    let left: Vec<PathBuf> = std::fs::read_dir(folder)
        .map(|entries| entries.map(|entry| entry.unwrap().path()).collect())
        .unwrap_or_default();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_backup_that_was_changed_or_cut_short_restores_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let backup = backup(&build(&folder.path().join("old")));
    let new = folder.path().join("new");
    for part in 0..40 {
        let at = backup.len() * part / 40;
        let mut changed = backup.clone();
        changed[at] ^= 0x10;
        restore(&*changed, &new, &genesis()).expect_err(&format!("byte {at} was changed"));
        nothing_restored(&new);
        restore(&backup[..at], &new, &genesis()).expect_err(&format!("only {at} bytes"));
        nothing_restored(&new);
    }
    let longer = [&*backup, b"more"].concat();
    restore(&*longer, &new, &genesis()).unwrap_err();
    nothing_restored(&new);
    restore(&*backup, &new, &genesis()).unwrap();
}

#[test]
fn a_whole_backup_of_a_bad_store_or_of_another_ledger_restores_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (folder.path().join("old"), folder.path().join("new"));
    let good = backup(&build(&old));
    let error = restore(&*good, &new, &support::genesis(2)).unwrap_err();
    assert!(
        matches!(error, RestoreError::Open(OpenError::Foreign { .. })),
        "{error}"
    );
    nothing_restored(&new);

    change(&old, STORAGE, |table| {
        let key = *table.last().unwrap().unwrap().0.value();
        table.insert(&key, &[9; 32]).unwrap();
    });
    let bad = backup(&Ledger::open(&old, &genesis()).unwrap());
    let error = restore(&*bad, &new, &genesis()).unwrap_err();
    assert!(matches!(error, RestoreError::Content(_)), "{error}");
    nothing_restored(&new);
}

#[test]
fn a_certificate_that_proves_nothing_restores_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (folder.path().join("old"), folder.path().join("new"));
    drop(build(&old));
    exchange(&old, CERTIFICATES, BLOCKS, BLOCKS - 1);
    let bad = backup(&Ledger::open(&old, &genesis()).unwrap());
    let error = restore(&*bad, &new, &genesis()).unwrap_err();
    assert!(error.to_string().contains("certificate"), "{error}");
    nothing_restored(&new);
}

#[test]
fn nothing_is_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = build(folder.path());
    let backup = backup(&ledger);
    let error = restore(&*backup, folder.path(), &genesis()).unwrap_err();
    assert!(matches!(error, RestoreError::Occupied(_)), "{error}");
}
