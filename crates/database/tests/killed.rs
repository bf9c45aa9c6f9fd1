//! Whoever makes a file may be killed at any moment.
#![allow(clippy::unwrap_used, missing_docs)]

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use hanse_database::open_or_make;
use rand::{Rng, SeedableRng};
use redb::{Database, DatabaseError, ReadableDatabase, TableDefinition};

const FILE: &str = "HANSE_DATABASE_TEST_FILE";
const ROUNDS: usize = 60;
const TABLE: TableDefinition<u64, u64> = TableDefinition::new("table");

fn open(path: &Path) -> Result<Database, DatabaseError> {
    open_or_make(&Database::builder(), path)
}

/// Not a test of its own: what is killed.
#[test]
fn child_makes_files_until_it_is_killed() {
    let Some(path) = std::env::var_os(FILE) else { return };
    println!("begins");
    for number in 0.. {
        drop(open(&Path::new(&path).join(number.to_string())).unwrap());
    }
}

#[test]
fn a_file_whose_maker_was_killed_opens() {
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut random = rand::rngs::StdRng::seed_from_u64(seed);
    let mut unfinished = 0;
    for _ in 0..ROUNDS {
        let folder = tempfile::tempdir().unwrap();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child_makes_files_until_it_is_killed", "--nocapture"])
            .env(FILE, folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let deadline = Instant::now() + Duration::from_secs(60);
        while folder.path().read_dir().unwrap().next().is_none() {
            assert!(Instant::now() < deadline, "nothing was made");
            std::thread::yield_now();
        }
        let kill_at = Instant::now() + Duration::from_micros(random.random_range(0..20_000));
        while Instant::now() < kill_at {
            std::thread::yield_now();
        }
        child.kill().unwrap();
        child.wait().unwrap();

        let names: Vec<_> = folder
            .path()
            .read_dir()
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        for name in names {
            let name = name.strip_suffix(".new").inspect(|_| unfinished += 1).unwrap_or(&name);
            let database = open(&folder.path().join(name)).unwrap();
            let transaction = database.begin_write().unwrap();
            transaction.open_table(TABLE).unwrap().insert(1, 2).unwrap();
            transaction.commit().unwrap();
            drop(database);
            let database = open(&folder.path().join(name)).unwrap();
            let table = database.begin_read().unwrap().open_table(TABLE).unwrap();
            assert_eq!(redb::ReadableTable::get(&table, 1).unwrap().unwrap().value(), 2);
        }
    }
    println!("{unfinished} of {ROUNDS} were killed while they made a file");
    assert!(unfinished > 0, "nobody was killed in between");
}

#[test]
fn one_process_at_a_time_has_the_file_and_makes_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let made = open(&path).unwrap();
    assert!(matches!(open(&path), Err(DatabaseError::DatabaseAlreadyOpen)));
    drop(made);
    drop(open(&path).unwrap());

    // Somebody is making it.
    let path = folder.path().join("other");
    let maker = Database::builder().create(folder.path().join("other.new")).unwrap();
    assert!(matches!(open(&path), Err(DatabaseError::DatabaseAlreadyOpen)));
    drop(maker);
    drop(open(&path).unwrap());
    assert!(!folder.path().join("other.new").exists());
}

#[test]
fn what_is_no_database_is_refused_and_stays() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    std::fs::write(&path, [0; 8192]).unwrap();
    assert!(open(&path).is_err());
    assert_eq!(std::fs::read(&path).unwrap(), [0; 8192]);
}
