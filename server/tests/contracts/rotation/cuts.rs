//! Power cuts: a rotation that ends at any of its steps, and is ended later.

use std::fs;
use std::process::Stdio;
use std::time::{Duration, Instant};

use moorline_server::master_key::MasterKey;
use moorline_server::master_key::files::KeyFiles;
use moorline_server::registry::Registry;
use moorline_server::registry::rotation::{self, Rotation, RotationError};
use sea_orm::{ConnectionTrait as _, Database, TransactionTrait as _};

use crate::bench::Bench;
use crate::rotation::secrets::Secrets;
use crate::rotation::server::Server;
use crate::rotation::stories::{key, key_files, rotate};

/// Devices whose resealing takes long enough to be cut off in.
const DEVICES: usize = 2500;
/// Kills per round.
const KILLS: u32 = 24;
/// Most rounds per database; one is enough unless the machine changes its pace meanwhile.
const ROUNDS: u32 = 4;
/// Longest wait for something to happen.
const PATIENCE: Duration = Duration::from_secs(180);

/// The step of the database alone, as a rotation does it before it is cut off.
async fn reseal(bench: &Bench) {
    let files = KeyFiles::read(&key(bench)).unwrap();
    let end = Instant::now() + PATIENCE;
    loop {
        let done = rotation::rotate(&bench.url, files.candidates(), || files.prepare()).await;
        match done {
            Ok(done) => {
                assert!(matches!(done, Rotation::Done(_)));
                return;
            }
            // Connections of a registry that was dropped close by themselves.
            Err(RotationError::InUse) => assert!(Instant::now() < end),
            Err(error) => panic!("{error}"),
        }
    }
}

pub(crate) async fn a_rotation_that_changed_nothing_is_done_later(bench: Bench) {
    let secrets = Secrets::make(&bench).await;
    let before = fs::read(key(&bench)).unwrap();
    KeyFiles::read(&key(&bench)).unwrap().prepare().unwrap();
    secrets.check(&bench).await;
    drop(Server::start(&bench));
    assert_eq!(
        fs::read(key(&bench)).unwrap(),
        before,
        "the key of the database stays"
    );
    let pending = fs::read(bench.data().join("master.key.new")).unwrap();
    let answer = rotate(&bench);
    assert_eq!(answer["finished_earlier"], false);
    assert_eq!(fs::read(key(&bench)).unwrap(), pending);
    assert_eq!(key_files(&bench).len(), 2);
    secrets.check(&bench).await;
}

pub(crate) async fn a_rotation_before_its_key_took_the_place_is_ended_by_the_server(bench: Bench) {
    let secrets = Secrets::make(&bench).await;
    let before = fs::read(key(&bench)).unwrap();
    reseal(&bench).await;
    assert_eq!(fs::read(key(&bench)).unwrap(), before);
    let pending = fs::read(bench.data().join("master.key.new")).unwrap();
    // Other commands work in between, and leave the files to who holds the folder.
    secrets.check(&bench).await;
    bench.run(&["admin", "key", "list"]).ok();
    let snapshot = bench.backup(&[]);
    bench.restore(&snapshot);
    assert_eq!(key_files(&bench), ["master.key", "master.key.new"]);
    let server = Server::start(&bench);
    assert_eq!(server.with_api_key(&secrets.api_key), 200);
    drop(server);
    assert_eq!(fs::read(key(&bench)).unwrap(), pending);
    let files = key_files(&bench);
    assert_eq!(files.len(), 2, "{files:?}");
    assert_eq!(fs::read(bench.data().join(&files[1])).unwrap(), before);
    secrets.check(&bench).await;
}

pub(crate) async fn a_rotation_before_its_key_took_the_place_is_ended_by_the_next(bench: Bench) {
    let secrets = Secrets::make(&bench).await;
    let before = fs::read(key(&bench)).unwrap();
    reseal(&bench).await;
    // The former key has its new name too, but the rename is missing.
    let kept = bench.data().join("master.key.old-20261122_030405");
    fs::hard_link(key(&bench), &kept).unwrap();
    let pending = fs::read(bench.data().join("master.key.new")).unwrap();
    let answer = rotate(&bench);
    assert_eq!(answer["finished_earlier"], true);
    assert_eq!(answer["former_key"], kept.to_str().unwrap());
    assert!(answer["resealed"].is_null());
    assert_eq!(fs::read(key(&bench)).unwrap(), pending);
    assert_eq!(fs::read(&kept).unwrap(), before);
    assert_eq!(key_files(&bench).len(), 2);
    secrets.check(&bench).await;
    // That is over: the next is one of its own.
    assert_eq!(rotate(&bench)["finished_earlier"], false);
    secrets.check(&bench).await;
}

/// Kill -9 at moments spread over a whole rotation.
pub(crate) async fn kills_at_any_moment_lose_nothing(bench: Bench) {
    let secrets = Secrets::make(&bench).await;
    secrets.add_devices(&bench, DEVICES).await;
    rotate(&bench);
    let (mut nothing, mut undone, mut changed, mut done) = (0, 0, 0, 0);
    let mut whole = Duration::ZERO;
    for kill in 0..KILLS * ROUNDS {
        let n = kill % KILLS + 1;
        if n == 1 {
            if undone > 0 {
                break;
            }
            // What it takes here and now: the machine may do other things as well.
            let start = Instant::now();
            rotate(&bench);
            whole = start.elapsed();
        }
        let before = fs::read(key(&bench)).unwrap();
        let mut command = bench.command(&["admin", "master-key", "rotate"]);
        let mut rotation = command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // The last of them come too late.
        std::thread::sleep(whole * 5 * n / (KILLS * 4));
        rotation.kill().unwrap();
        rotation.wait().unwrap();
        let promoted = fs::read(key(&bench)).unwrap() != before;
        let pending = bench.data().join("master.key.new").exists();
        assert!(!(promoted && pending));
        secrets.check(&bench).await;
        let finished = rotate(&bench)["finished_earlier"] == true;
        match (promoted, pending, finished) {
            (true, _, _) => done += 1,
            (false, false, _) => nothing += 1,
            (false, true, false) => undone += 1,
            (false, true, true) => changed += 1,
        }
        secrets.check(&bench).await;
    }
    assert!(
        undone > 0,
        "no kill fell into the middle: before the next key was there {nothing}, before the database was under it \
         {undone}, before it took the place {changed}, too late {done}"
    );
    let distinct = |name: &String| name.ends_with(".new");
    assert!(!key_files(&bench).iter().any(distinct));
}

/// Killed while it waits in the middle of its transaction: what it wrote until then is gone.
pub(crate) async fn a_rotation_is_killed_in_its_transaction(bench: Bench) {
    let secrets = Secrets::make(&bench).await;
    let database = Database::connect(bench.url.as_str()).await.unwrap();
    let holder = database.begin().await.unwrap();
    let hold = "SELECT number FROM devices FOR UPDATE";
    holder.execute_unprepared(hold).await.unwrap();
    let end = Instant::now() + PATIENCE;
    let mut killed = 0;
    while killed < 3 {
        let mut command = bench.command(&["admin", "master-key", "rotate"]);
        let mut rotation = command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // It has sealed the keys anew, and waits for a device.
        let waits = "DO $$ BEGIN ASSERT EXISTS (SELECT 1 FROM pg_stat_activity \
            WHERE application_name = 'moorline-rotation' AND wait_event_type = 'Lock' \
            AND query LIKE 'UPDATE devices%'); END $$";
        loop {
            if database.execute_unprepared(waits).await.is_ok() {
                killed += 1;
                break;
            }
            // A registry that was just dropped is in its way.
            if rotation.try_wait().unwrap().is_some() {
                break;
            }
            assert!(Instant::now() < end);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        rotation.kill().unwrap();
        rotation.wait().unwrap();
    }
    holder.rollback().await.unwrap();
    database.close().await.unwrap();
    assert_eq!(key_files(&bench), ["master.key", "master.key.new"]);
    let former = MasterKey::read(&key(&bench)).unwrap();
    assert!(Registry::open(&bench.url, former).await.is_ok());
    secrets.check(&bench).await;
    rotate(&bench);
    secrets.check(&bench).await;
}
