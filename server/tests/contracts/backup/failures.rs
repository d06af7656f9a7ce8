//! How backups and restores end that something goes wrong with: nothing half done stays, nothing else is lost.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::unistd::Uid;
use sea_orm::{ConnectionTrait as _, Database, Statement, TransactionTrait as _};

use crate::bench::{Bench, done, names};

/// Longest wait for something to happen.
const PATIENCE: Duration = Duration::from_secs(180);
/// How often a signal is sent at the latest until one falls into a backup.
const TRIES: usize = 20;
/// An old snapshot, which only a backup that succeeds deletes.
const OLD: &str = "moorline_20200101_000000.db";
/// Gives the database some weight, in rows of 32 random digits.
const SQLITE_BALLAST: &str = "CREATE TABLE ballast (x TEXT); \
    WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 400000) \
    INSERT INTO ballast SELECT hex(randomblob(32)) FROM n";
const POSTGRES_BALLAST: &str = "CREATE TABLE ballast AS \
    SELECT md5(random()::text) AS x FROM generate_series(1, 100000)";

async fn load(bench: &Bench) {
    let ballast = match bench.is_sqlite() {
        true => SQLITE_BALLAST,
        false => POSTGRES_BALLAST,
    };
    bench.sql(ballast).await;
    fs::create_dir(bench.snapshots()).unwrap();
    fs::write(bench.snapshots().join(OLD), b"x").unwrap();
}

pub(crate) async fn a_full_disk_leaves_nothing_and_deletes_nothing(bench: Bench) {
    load(&bench).await;
    let mut limited = Command::new("sh");
    // Files may grow to 64 KiB (128 blocks), and writing beyond is an error as it is on a full disk.
    let script = "trap '' XFSZ; ulimit -f 128; exec \"$0\" \"$@\"";
    let backup = bench.command(&["backup"]);
    limited.args(["-c", script]).arg(backup.get_program());
    limited.args(backup.get_args());
    for (name, value) in backup.get_envs() {
        match value {
            Some(value) => limited.env(name, value),
            None => limited.env_remove(name),
        };
    }
    let said = done(&mut limited).refused();
    assert!(said.contains("moorline-server: "), "{said}");
    assert_eq!(bench.files(), [OLD]);
    bench.backup(&[]);
    assert_eq!(bench.files().len(), 1, "the old one is expired");
}

pub(crate) async fn a_folder_that_cannot_be_used_is_named(bench: Bench) {
    let file = bench.folder.path().join("file");
    fs::write(&file, b"x").unwrap();
    let below = file.join("snapshots");
    let below = below.to_str().unwrap();
    let said = bench.run(&["backup", "--dir", below]).refused();
    assert!(said.contains(&format!("make folder {below}: ")), "{said}");
    let said = bench.run(&["backup", "--dir", "/proc/moorline"]).refused();
    assert!(said.contains("make folder /proc/moorline: "), "{said}");
    // In a folder of the kernel nobody makes a file.
    let said = bench.run(&["backup", "--dir", "/proc"]).refused();
    assert!(said.contains("in /proc: "), "{said}");
    if !Uid::effective().is_root() {
        fs::create_dir(bench.snapshots()).unwrap();
        fs::set_permissions(bench.snapshots(), fs::Permissions::from_mode(0o500)).unwrap();
        let said = bench.run(&["backup"]).refused();
        assert!(said.contains("make a file in "), "{said}");
        fs::set_permissions(bench.snapshots(), fs::Permissions::from_mode(0o700)).unwrap();
    }
    let deep = bench.folder.path().join("a/b/c");
    bench.backup(&["--dir", deep.to_str().unwrap()]);
    assert_eq!(names(&deep).len(), 1, "missing folders are made");
}

pub(crate) async fn a_backup_that_is_terminated_leaves_nothing(bench: Bench) {
    load(&bench).await;
    let mut stopped = 0;
    for n in 0..TRIES {
        let name = format!("moorline{n}");
        let mut backup = begin(&bench, &name).await;
        terminate(&backup);
        let status = backup.wait().unwrap();
        let files = bench.files();
        if status.success() {
            // The signal came too late: then it is whole.
            assert_eq!(files.len(), 2, "{files:?}");
            fs::remove_file(bench.snapshots().join(&files[1])).unwrap();
            continue;
        }
        assert_eq!(files, [OLD], "{status}");
        stopped += 1;
        if stopped == 3 {
            break;
        }
    }
    assert!(stopped > 0, "no signal fell into a backup");
    bench.backup(&[]);
}

pub(crate) async fn what_a_killed_backup_left_is_removed_by_the_next(bench: Bench) {
    load(&bench).await;
    let mut left = Vec::new();
    for _ in 0..TRIES {
        let mut backup = begin(&bench, "moorline").await;
        backup.kill().unwrap();
        backup.wait().unwrap();
        left = bench.files();
        left.retain(|name| name.contains(".tmp"));
        if !left.is_empty() {
            break;
        }
        // It was faster.
        for name in bench.files().iter().filter(|name| *name != OLD) {
            fs::remove_file(bench.snapshots().join(name)).unwrap();
        }
    }
    assert_eq!(
        left.len(),
        1,
        "no kill fell into a backup: {:?}",
        bench.files()
    );
    assert!(bench.snapshots().join(OLD).exists());
    // Those of other names may be of a backup elsewhere.
    bench.backup(&["--name", "other"]);
    assert!(bench.snapshots().join(&left[0]).exists());
    let file = bench.backup(&[]);
    let mut files = bench.files();
    files.retain(|name| !name.starts_with("other_"));
    assert_eq!(files, [file.file_name().unwrap().to_str().unwrap()]);
    bench.restore(&file);
    assert!(bench.has_account("first").await);
}

/// Starts a backup, and waits until it writes. On PostgreSQL it stays there.
async fn begin(bench: &Bench, name: &str) -> Child {
    let held = match bench.is_sqlite() {
        true => None,
        false => Some(Held::table(bench).await),
    };
    let mut backup = bench
        .command(&["backup", "--name", name])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let end = Instant::now() + PATIENCE;
    let written = || {
        let files = names(&bench.snapshots());
        files
            .iter()
            .any(|file| file.starts_with(name) && file.contains(".tmp"))
    };
    while !written() && backup.try_wait().unwrap().is_none() {
        assert!(Instant::now() < end);
    }
    if let Some(held) = held {
        held.until_a_dump_waits(end).await;
    }
    backup
}

/// A table that dumps have to wait for. The lock goes with the connection, a moment after this.
struct Held {
    database: sea_orm::DatabaseConnection,
    _lock: sea_orm::DatabaseTransaction,
}

impl Held {
    async fn table(bench: &Bench) -> Self {
        let database = Database::connect(bench.url.as_str()).await.unwrap();
        let held = database.begin().await.unwrap();
        let lock = "LOCK TABLE ballast IN ACCESS EXCLUSIVE MODE";
        held.execute_unprepared(lock).await.unwrap();
        Self {
            database,
            _lock: held,
        }
    }

    async fn until_a_dump_waits(&self, end: Instant) {
        let waits = "DO $$ BEGIN ASSERT EXISTS (SELECT 1 FROM pg_locks AS l JOIN pg_class AS c ON c.oid = l.relation \
            WHERE NOT l.granted AND c.relname = 'ballast'); END $$";
        while self.database.execute_unprepared(waits).await.is_err() {
            assert!(Instant::now() < end, "no dump came to wait");
        }
    }
}

fn terminate(child: &Child) {
    let pid = child.id().to_string();
    let status = Command::new("kill").args(["-TERM", &pid]).status().unwrap();
    assert!(status.success());
}

/// A `pg_dump` that ends in the middle, with an error or by a signal.
pub(crate) async fn a_dump_that_fails_leaves_nothing(bench: Bench) {
    load(&bench).await;
    let half = "file=; while [ $# -gt 0 ]; do [ \"$1\" = --file ] && file=$2; shift; done; \
        printf PGDMP-half >\"$file\"";
    for (ending, said) in [
        (
            "echo 'pg_dump: error: out of luck' >&2; exit 1",
            "run pg_dump: pg_dump: error: out of luck",
        ),
        ("exit 3", "run pg_dump: exit status: 3"),
        ("kill -9 $$", "run pg_dump: signal: 9"),
    ] {
        let programs = program("pg_dump", &format!("{half}\n{ending}"));
        let failed = done(bench.command(&["backup"]).env("PATH", path(&programs))).refused();
        assert!(failed.contains(said), "{failed}");
        assert_eq!(bench.files(), [OLD]);
    }
}

/// The dump is whole, but the database refuses a part of it in the middle.
pub(crate) async fn a_restore_that_fails_in_the_middle_changes_nothing(bench: Bench) {
    let file = bench.backup(&[]);
    bench.add_account("later").await;
    bench
        .sql(
            "CREATE SCHEMA guard; \
             CREATE FUNCTION guard.refuse() RETURNS event_trigger LANGUAGE plpgsql \
             AS $$ BEGIN RAISE EXCEPTION 'no more indexes today'; END $$; \
             CREATE EVENT TRIGGER guard ON ddl_command_start WHEN TAG IN ('CREATE INDEX') \
             EXECUTE FUNCTION guard.refuse()",
        )
        .await;
    let said = refused_at_rest(&bench, &file);
    assert!(said.contains("run pg_restore: "), "{said}");
    assert!(said.contains("no more indexes today"), "{said}");
    bench.sql("DROP EVENT TRIGGER guard").await;
    let none_aside = "DO $$ BEGIN ASSERT NOT EXISTS (SELECT 1 FROM pg_namespace \
        WHERE nspname LIKE 'moorline_replaced%'); END $$";
    bench.sql(none_aside).await;
    assert!(bench.has_account("later").await && bench.has_account("first").await);
    // A program that is killed in it does no more.
    let real = real("pg_restore");
    let script = format!(
        "case \"$*\" in *--single-transaction*) kill -9 $$;; esac\nexec {} \"$@\"",
        real.display()
    );
    let programs = program("pg_restore", &script);
    let said = loop {
        let words = ["restore", file.to_str().unwrap()];
        let failed = done(bench.command(&words).env("PATH", path(&programs))).refused();
        if !failed.contains("is in use") {
            break failed;
        }
    };
    assert!(said.contains("run pg_restore: signal: 9"), "{said}");
    bench.sql(none_aside).await;
    assert!(bench.has_account("later").await);
    bench.restore(&file);
    assert!(bench.has_account("first").await && !bench.has_account("later").await);
}

/// Killed before the dump is put back and after it, between what is moved aside and the end.
pub(crate) async fn a_restore_that_is_killed_leaves_no_fresh_database(bench: Bench) {
    let file = bench.backup(&[]);
    bench.add_account("later").await;
    let real = real("pg_restore");
    let real = real.display();
    let cut_off = |before_killed: &str| {
        let kill = format!("{before_killed} kill -9 $PPID; exit 1");
        let script =
            format!("case \"$*\" in *--single-transaction*) {kill};; esac\nexec {real} \"$@\"");
        let said = restored_by(&bench, &file, &script);
        assert_eq!(said, "", "it was killed");
        is_refused(&bench)
    };
    cut_off("");
    // One that fails then brings back what was.
    let fails = format!("case \"$*\" in *--single-transaction*) exit 1;; esac\nexec {real} \"$@\"");
    let said = restored_by(&bench, &file, &fails);
    assert!(said.contains("run pg_restore: exit status: 1"), "{said}");
    assert!(bench.has_account("later").await && bench.has_account("first").await);
    let schema = cut_off("");
    let kept = bench.restore(&file).unwrap();
    assert!(kept.contains(&schema), "{kept}");
    assert!(bench.has_account("first").await && !bench.has_account("later").await);

    // What was put back whole is not taken either until the restore is over.
    bench.add_account("last").await;
    let schema = cut_off(&format!("{real} \"$@\";"));
    let said = restored_by(&bench, &file, &fails);
    assert!(said.contains("run pg_restore: exit status: 1"), "{said}");
    assert_eq!(is_refused(&bench), schema);
    let kept = bench.restore(&file).unwrap();
    assert!(kept.contains(&schema), "{kept}");
    let last = format!(
        "DO $$ BEGIN ASSERT EXISTS (SELECT 1 FROM {schema}.accounts WHERE name = 'last'); END $$"
    );
    bench.sql(&last).await;
    assert!(bench.has_account("first").await && !bench.has_account("last").await);
    bench.backup(&[]);
}

/// What restores that were killed had put back goes with the end of the next; what one that ended keeps stays.
pub(crate) async fn what_killed_restores_put_back_does_not_pile_up(bench: Bench) {
    let file = bench.backup(&[]);
    bench.add_account("later").await;
    let real = real("pg_restore");
    let real = real.display();
    let with = |action: &str| {
        let script =
            format!("case \"$*\" in *--single-transaction*) {action};; esac\nexec {real} \"$@\"");
        restored_by(&bench, &file, &script)
    };
    let (before, after) = (
        "kill -9 $PPID; exit 1",
        &format!("{real} \"$@\"; kill -9 $PPID; exit 1"),
    );
    // Two at most: what was there before, and what the last one that ended by itself or was killed moved aside.
    for (action, aside) in [(after, 1), (after, 2), (after, 2), (&before.to_owned(), 2)] {
        assert_eq!(with(action), "", "it was killed");
        is_refused(&bench);
        assert_eq!(aside_of(&bench).await.len(), aside, "{action}");
    }
    let kept = bench.restore(&file).unwrap();
    let [schema] = &aside_of(&bench).await[..] else {
        panic!("{:?}", aside_of(&bench).await);
    };
    assert!(kept.contains(schema), "{kept}");
    assert!(bench.has_account("first").await && !bench.has_account("later").await);

    // One that fails after them leaves nothing but what was there before, in its place.
    bench.add_account("last").await;
    for action in [after, &before.to_owned()] {
        assert_eq!(with(action), "", "it was killed");
    }
    let said = with("exit 1");
    assert!(said.contains("run pg_restore: exit status: 1"), "{said}");
    assert!(bench.has_account("last").await);
    assert_eq!(aside_of(&bench).await, std::slice::from_ref(schema));
    let kept = bench.restore(&file).unwrap();
    let aside = aside_of(&bench).await;
    assert!(aside.len() == 2 && aside.contains(schema), "{aside:?}");
    assert!(aside.iter().any(|schema| kept.contains(schema)), "{kept}");
}

/// The schemas that restores moved tables to.
async fn aside_of(bench: &Bench) -> Vec<String> {
    let database = Database::connect(bench.url.as_str()).await.unwrap();
    let list = "SELECT schema_name::text FROM information_schema.schemata \
        WHERE schema_name LIKE 'moorline\\_%' ORDER BY 1";
    let statement = Statement::from_string(database.get_database_backend(), list);
    let rows = database.query_all_raw(statement).await.unwrap();
    let names = rows.iter().map(|row| row.try_get_by_index(0).unwrap());
    let names = names.collect();
    database.close().await.unwrap();
    names
}

/// What a restore says that takes this for `pg_restore`, once others have let go of the database.
fn restored_by(bench: &Bench, file: &Path, script: &str) -> String {
    let programs = program("pg_restore", script);
    let words = ["restore", file.to_str().unwrap()];
    let end = Instant::now() + PATIENCE;
    loop {
        let said = done(bench.command(&words).env("PATH", path(&programs))).refused();
        // Two within a second have one name for what they keep.
        let again = said.contains("is in use") || said.contains("already exists");
        if !again || Instant::now() > end {
            return said;
        }
    }
}

/// Nothing works on the database now; gives the schema that is named.
fn is_refused(bench: &Bench) -> String {
    let mut schemas = [
        &["admin", "account", "list"][..],
        &["admin", "master-key", "rotate"][..],
        &["serve"][..],
        &["backup", "--name", "other"][..],
    ]
    .map(|words| {
        let said = bench.run(words).refused();
        assert!(said.contains("moorline-server restore"), "{said}");
        let (_, schema) = said.split_once("is in schema ").unwrap();
        schema.split_once(':').unwrap().0.to_owned()
    })
    .to_vec();
    schemas.dedup();
    assert_eq!(schemas.len(), 1, "{schemas:?}");
    schemas.remove(0)
}

/// One wrong byte anywhere in the compressed rows.
pub(crate) async fn a_damaged_dump_changes_nothing(bench: Bench) {
    bench.sql(POSTGRES_BALLAST).await;
    let file = bench.backup(&[]);
    bench.add_account("later").await;
    let good = fs::read(&file).unwrap();
    let bad = bench.folder.path().join("bad");
    for part in [3, 4, 5] {
        let mut bytes = good.clone();
        let at = bytes.len() / 7 * part;
        bytes[at..at + 64].fill(0xff);
        fs::write(&bad, &bytes).unwrap();
        let said = bench.refused(&bad);
        assert!(said.contains("no snapshot that can be put back"), "{said}");
    }
    assert!(bench.has_account("later").await);
}

/// A restore that was killed leaves a copy beside the database; the next one removes it.
pub(crate) async fn what_a_killed_restore_left_is_removed_by_the_next(bench: Bench) {
    load(&bench).await;
    let file = bench.backup(&[]);
    let copies = || {
        let mut files = names(&bench.data());
        files.retain(|name| name.contains(".tmp"));
        files
    };
    for _ in 0..TRIES {
        let mut restore = bench
            .command(&["restore", file.to_str().unwrap()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        while copies().is_empty() && restore.try_wait().unwrap().is_none() {}
        restore.kill().unwrap();
        restore.wait().unwrap();
        if !copies().is_empty() {
            break;
        }
    }
    assert_eq!(copies().len(), 1, "no kill fell into a restore");
    assert!(bench.has_account("first").await, "the database is there");
    bench.restore(&file);
    assert_eq!(copies(), Vec::<String>::new());
    assert!(bench.has_account("first").await);
}

/// Refused for another reason than a connection that is about to close.
fn refused_at_rest(bench: &Bench, file: &Path) -> String {
    let end = Instant::now() + PATIENCE;
    loop {
        let said = bench.refused(file);
        if !said.contains("is in use") || Instant::now() > end {
            return said;
        }
    }
}

/// A folder with a program of this name that does what `script` says.
fn program(name: &str, script: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(name);
    fs::write(&file, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    folder
}

fn path(first: &tempfile::TempDir) -> std::ffi::OsString {
    let rest = std::env::var_os("PATH").unwrap();
    let folders = std::iter::once(first.path().to_owned()).chain(std::env::split_paths(&rest));
    std::env::join_paths(folders).unwrap()
}

fn real(program: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap();
    let mut found = std::env::split_paths(&path).map(|folder| folder.join(program));
    let found = found.find(|file| file.exists());
    found.ok_or(io::ErrorKind::NotFound).unwrap()
}
