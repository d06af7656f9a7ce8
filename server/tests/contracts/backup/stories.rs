//! What backup and restore promise, told once for both databases.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use nix::fcntl::{Flock, FlockArg};
use sea_orm::{ConnectionTrait as _, Database};

use crate::bench::{Bench, done, names};

pub(crate) async fn a_snapshot_brings_back_what_was(bench: Bench) {
    let answer = bench.run(&["backup"]);
    assert!(answer.success, "{}", answer.stderr);
    assert!(answer.stderr.contains("master key is not in it"));
    let files = bench.files();
    assert_eq!(files.len(), 1, "no other file stays: {files:?}");
    let file = bench.snapshots().join(&files[0]);
    let size = fs::metadata(&file).unwrap().len();
    assert_eq!(answer.stdout, format!("{} {size} bytes\n", file.display()));
    let (stamp, extension) = files[0]
        .strip_prefix("moorline_")
        .unwrap()
        .split_once('.')
        .unwrap();
    assert_eq!((stamp.len(), extension), (15, bench.extension()));
    let folder = fs::metadata(bench.snapshots()).unwrap().permissions();
    assert_eq!(folder.mode() & 0o777, 0o700);

    bench.add_account("later").await;
    let kept = bench.restore(&file).unwrap();
    assert!(bench.has_account("first").await);
    assert!(
        !bench.has_account("later").await,
        "it came after the snapshot"
    );
    if bench.is_sqlite() {
        for path in [Path::new(&kept), &bench.data().join("moorline.db")] {
            let mode = fs::metadata(path).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{}", path.display());
        }
        // What was replaced is a database that can be put back itself.
        await_another_second();
        bench.restore(Path::new(&kept)).unwrap();
        assert!(bench.has_account("later").await);
    } else {
        let schema = kept.split_whitespace().nth(1).unwrap();
        let database = Database::connect(bench.url.as_str()).await.unwrap();
        let later = format!("UPDATE {schema}.accounts SET name = name WHERE name = 'later'");
        let found = database.execute_unprepared(&later).await.unwrap();
        assert_eq!(found.rows_affected(), 1);
    }
    let leftover = |name: &String| name.ends_with(".tmp");
    assert!(!names(&bench.data()).iter().any(leftover));
}

pub(crate) async fn a_snapshot_is_taken_while_others_write(bench: Bench) {
    let database = Database::connect(bench.url.as_str()).await.unwrap();
    database
        .execute_unprepared("CREATE TABLE pairs (one INTEGER, two INTEGER)")
        .await
        .unwrap();
    let open = sea_orm::TransactionTrait::begin(&database).await.unwrap();
    open.execute_unprepared("INSERT INTO pairs VALUES (1, 1)")
        .await
        .unwrap();
    let file = bench.backup(&["--name", "busy"]);
    open.commit().await.unwrap();
    database.close().await.unwrap();
    bench.restore(&file);
    let database = Database::connect(bench.url.as_str()).await.unwrap();
    let found = database
        .execute_unprepared("UPDATE pairs SET one = 2")
        .await
        .unwrap();
    assert_eq!(found.rows_affected(), 0, "it was not committed");
}

pub(crate) async fn a_restored_database_is_backed_up_again(bench: Bench) {
    let first = bench.backup(&["--name", "one"]);
    bench.restore(&first);
    bench.add_account("second").await;
    let second = bench.backup(&["--name", "two"]);
    bench
        .sql("DELETE FROM accounts WHERE name = 'second'")
        .await;
    assert!(!bench.has_account("second").await);
    // The former database of the first restore is in the way of nothing.
    await_another_second();
    assert!(bench.restore(&second).is_some());
    assert!(bench.has_account("second").await && bench.has_account("first").await);
}

pub(crate) async fn old_snapshots_of_the_name_are_deleted(bench: Bench) {
    fs::create_dir(bench.snapshots()).unwrap();
    let expired = [
        "moorline_20200101_000000.db",
        "moorline_20200101_000000.dump",
    ];
    let others = [
        "moorline.db",
        "moorline_20200101_000000.db.gz",
        "moorline_20200199_000000.db",
        "moorline_20990101_000000.db",
        "moorline_eu_20200101_000000.db",
        "other_20200101_000000.db",
    ];
    for name in expired.iter().chain(&others) {
        fs::write(bench.snapshots().join(name), b"x").unwrap();
    }
    let folder = bench.snapshots().join("moorline_20200102_000000.db");
    fs::create_dir(&folder).unwrap();

    let of_others = bench.backup(&["--name", "moorline_eu2"]);
    let none = bench.backup(&["--name", "other", "--retention-days", "0"]);
    assert_eq!(bench.files().len(), 2 + expired.len() + others.len() + 1);
    let new = bench.backup(&[]);
    for path in [&of_others, &none, &new, &folder] {
        assert!(path.exists(), "{}", path.display());
    }
    for name in others {
        assert!(bench.snapshots().join(name).exists(), "{name}");
    }
    for name in expired {
        assert!(!bench.snapshots().join(name).exists(), "{name}");
    }
}

pub(crate) async fn a_backup_that_fails_deletes_nothing(bench: Bench) {
    fs::create_dir(bench.snapshots()).unwrap();
    let old = bench.snapshots().join("moorline_20200101_000000.db");
    fs::write(&old, b"x").unwrap();
    let only_old = ["moorline_20200101_000000.db"];
    for (key, value) in [("RETENTION_DAYS", "x"), ("DB_NAME", "../moorline")] {
        let refused = done(bench.command(&["backup"]).env(key, value));
        assert!(!refused.success, "{key}");
    }
    // It is no database of ours that is configured.
    bench.sql("DROP TABLE master_key_check").await;
    let said = bench.run(&["backup"]).refused();
    assert!(said.contains("holds no database of Moorline"), "{said}");
    assert_eq!(bench.files(), only_old);
    // There is none at all, and none is made.
    let missing = bench.folder.path().join("missing/moorline.db");
    bench.configure(&format!("sqlite://{}?mode=rwc", missing.display()));
    bench.run(&["backup"]).refused();
    assert!(!missing.exists());
    assert_eq!(bench.files(), only_old);
}

pub(crate) async fn what_is_in_use_is_not_replaced(bench: Bench) {
    let file = bench.backup(&[]);
    bench.add_account("later").await;
    // A server works on the data folder.
    let lock = fs::File::create(bench.data().join("server.lock")).unwrap();
    let held = Flock::lock(lock, FlockArg::LockExclusiveNonblock).unwrap();
    let said = bench.refused(&file);
    assert!(
        said.contains("is in use by another moorline-server"),
        "{said}"
    );
    drop(held);
    // Another process has the database open.
    let other = bench.registry().await;
    other.ping().await.unwrap();
    let said = bench.refused(&file);
    assert!(said.contains("is in use"), "{said}");
    assert!(other.account_by_name("later").await.unwrap().is_some());
}

pub(crate) async fn what_is_no_snapshot_changes_nothing(bench: Bench) {
    let file = bench.backup(&[]);
    let good = fs::read(&file).unwrap();
    bench.add_account("later").await;
    let bad = bench.folder.path().join("bad");
    let other: &[u8] = match bench.is_sqlite() {
        true => b"PGDMP\x01\x0e\x00",
        false => b"SQLite format 3\0",
    };
    let half = &good[..good.len() / 2];
    let mut refusals = 0;
    for bytes in [b"".as_slice(), b"rubbish", other, half, &good[..40]] {
        fs::write(&bad, bytes).unwrap();
        let said = bench.refused(&bad);
        assert!(said.contains("no snapshot that can be put back"), "{said}");
        refusals += 1;
    }
    assert_eq!(refusals, 5);
    let said = bench.refused(&bench.folder.path().join("nothing"));
    assert!(said.contains("nothing"), "{said}");
    assert!(bench.has_account("later").await);
    let leftover = |name: &String| name.contains(".tmp") || name.contains("replaced");
    assert!(!names(&bench.data()).iter().any(leftover));
}

pub(crate) async fn a_snapshot_of_a_newer_version_changes_nothing(bench: Bench) {
    bench
        .sql("INSERT INTO schema_migrations (number, name, applied_at) VALUES (9999, 'later', 0)")
        .await;
    let file = bench.backup(&["--name", "newer"]);
    bench
        .sql("DELETE FROM schema_migrations WHERE number = 9999")
        .await;
    let said = bench.refused(&file);
    assert!(said.contains("written by a newer version"), "{said}");
    bench
        .sql("UPDATE schema_migrations SET name = 'else' WHERE number = 1")
        .await;
    let file = bench.backup(&["--name", "foreign"]);
    let said = bench.refused(&file);
    assert!(said.contains("it is no database of Moorline"), "{said}");
}

pub(crate) async fn a_snapshot_wants_its_master_key(bench: Bench) {
    let file = bench.backup(&[]);
    let key = bench.data().join("master.key");
    let saved = fs::read(&key).unwrap();
    assert!(
        !fs::read(&file)
            .unwrap()
            .windows(saved.len())
            .any(|part| part == saved)
    );
    fs::remove_file(&key).unwrap();
    let said = bench.refused(&file);
    assert!(said.contains("read master key"), "{said}");
    assert!(!key.exists(), "none is made");
    fs::write(&key, [7; 32]).unwrap();
    let said = bench.refused(&file);
    assert!(said.contains("check master key"), "{said}");
    fs::write(&key, saved).unwrap();
    bench.restore(&file);
    assert!(bench.has_account("first").await);
}

pub(crate) async fn a_damaged_database_is_replaced(bench: Bench) {
    let file = bench.backup(&[]);
    let database = bench.data().join("moorline.db");
    fs::write(&database, b"this was a database").unwrap();
    let kept = bench.restore(&file).unwrap();
    assert_eq!(fs::read(kept).unwrap(), b"this was a database");
    assert!(bench.has_account("first").await);
}

/// The database asks for a password that only the address holds.
pub(crate) async fn the_password_is_not_asked_for(bench: Bench, cluster: &Path) {
    bench
        .sql("ALTER ROLE moorline PASSWORD 'it''s 100% /@secret'")
        .await;
    let rules = cluster.join("data/pg_hba.conf");
    fs::write(
        rules,
        "local password all scram-sha-256\nlocal all all trust\n",
    )
    .unwrap();
    bench.sql("SELECT pg_reload_conf()").await;
    let with = |password: &str| {
        bench
            .url
            .replace("moorline@", &format!("moorline:{password}@"))
    };
    bench.configure(&with("wrong"));
    let said = loop {
        // The rules are read a moment after the database was told to.
        let tried = bench.run(&["backup", "--name", "early"]);
        match tried.success {
            true => fs::remove_dir_all(bench.snapshots()).unwrap(),
            false => break tried.stderr,
        }
    };
    assert!(!said.contains("wrong"), "{said}");
    bench.configure(&with("it%27s%20100%25%20%2F%40secret"));
    let file = bench.backup(&[]);
    bench.restore(&file);
}

pub(crate) fn missing_programs_are_named(bench: Bench) {
    let file = bench.backup(&[]);
    let file = file.to_str().unwrap();
    let empty = tempfile::tempdir().unwrap();
    for (words, program) in [
        (["backup", "--name", "again"].as_slice(), "pg_dump"),
        (&["restore", file], "pg_restore"),
    ] {
        let said = done(bench.command(words).env("PATH", empty.path())).refused();
        let expected = format!("run {program}: there is no such program in PATH");
        assert!(said.contains(&expected), "{said}");
    }
    assert_eq!(bench.files().len(), 1);
}

/// What is kept is named by the second.
fn await_another_second() {
    let second = || {
        let since = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
        since.as_secs()
    };
    let start = second();
    while second() == start {
        std::thread::yield_now();
    }
}
