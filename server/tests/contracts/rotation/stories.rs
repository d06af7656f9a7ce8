//! What a rotation promises, told once for both databases.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use moorline_server::master_key::MasterKey;
use moorline_server::registry::Registry;
use moorline_server::registry::error::RegistryError;
use sea_orm::{ConnectionTrait as _, Database, Statement};
use serde_json::Value;

use crate::bench::{Bench, names};
use crate::rotation::secrets::{Secrets, open};
use crate::rotation::server::Server;

/// How long connections of a registry that was dropped take to close.
const CLOSING: Duration = Duration::from_secs(120);

/// Rotates, and gives the answer.
pub(crate) fn rotate(bench: &Bench) -> Value {
    let words = ["admin", "master-key", "rotate", "--json"];
    let end = Instant::now() + CLOSING;
    let mut done = bench.run(&words);
    while done.stderr.contains("is in use") && Instant::now() < end {
        done = bench.run(&words);
    }
    serde_json::from_str(&done.ok()).unwrap()
}

/// Tries to, and gives what it says.
pub(crate) fn refused(bench: &Bench) -> String {
    let end = Instant::now() + CLOSING;
    loop {
        let said = bench.run(&["admin", "master-key", "rotate"]).refused();
        if !said.contains("database is in use") || Instant::now() > end {
            return said;
        }
    }
}

/// The files that hold keys, by name.
pub(crate) fn key_files(bench: &Bench) -> Vec<String> {
    let mut names = names(&bench.data());
    names.retain(|name| name.starts_with("master.key"));
    names
}

pub(crate) fn key(bench: &Bench) -> PathBuf {
    bench.data().join("master.key")
}

pub(crate) async fn everything_goes_on_under_the_new_key(bench: Bench) {
    let secrets = Secrets::make(&bench).await;
    secrets.add_devices(&bench, 1200).await;
    let before = fs::read(key(&bench)).unwrap();
    let answer = rotate(&bench);
    assert_eq!(answer["finished_earlier"], false);
    assert_eq!(answer["master_key"], key(&bench).to_str().unwrap());
    let resealed = serde_json::json!({
        "api_keys": 1, "binding_tokens": 1, "user_private_keys": 1, "egress_secrets": 3,
        "devices": 1201, "dropped_one_time_passwords": 1,
    });
    assert_eq!(answer["resealed"], resealed);
    let after = fs::read(key(&bench)).unwrap();
    assert!(after.len() == 32 && after != before);
    let former = PathBuf::from(answer["former_key"].as_str().unwrap());
    assert_eq!(fs::read(&former).unwrap(), before);
    for file in [&former, &key(&bench)] {
        let mode = fs::metadata(file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{}", file.display());
    }
    let name = former.file_name().unwrap().to_str().unwrap().to_owned();
    assert_eq!(name.len(), "master.key.old-YYYYmmdd_HHMMSS".len());
    assert_eq!(key_files(&bench), ["master.key".to_owned(), name]);
    secrets.check(&bench).await;
    secrets.assert_dropped(&bench).await;
    // All of them open, not only the one that was looked at.
    let registry = open(&bench).await.unwrap();
    let account = registry.first_account().await.unwrap().id;
    assert_eq!(registry.count_devices(account, None).await.unwrap(), 1201);
    let filter = moorline_server::registry::model::DeviceFilter::default();
    let listed = registry.devices(account, filter).await.unwrap();
    assert!(listed.iter().all(|device| device.dbid.expose().len() == 20));
    assert_eq!(listed.len(), 1201);
    let said = bench.run(&["admin", "key", "list"]).ok();
    assert!(said.contains("everything"), "{said}");
}

pub(crate) async fn the_former_key_opens_nothing(bench: Bench) {
    let secrets = Secrets::make(&bench).await;
    let before = sealed(&bench).await;
    let former = MasterKey::read(&key(&bench)).unwrap();
    let opens = |key: &MasterKey, values: &[(String, Vec<u8>)]| {
        let open = |(place, value): &&(String, Vec<u8>)| key.open(place, value).is_ok();
        values.iter().filter(open).count()
    };
    assert_eq!((before.len(), opens(&former, &before)), (7, 7));
    rotate(&bench);
    let after = sealed(&bench).await;
    let present = MasterKey::read(&key(&bench)).unwrap();
    assert_eq!(opens(&former, &after), 0);
    assert_eq!(opens(&present, &after), 7);
    let opened = Registry::open(&bench.url, former).await;
    assert!(matches!(opened, Err(RegistryError::OtherMasterKey)));
    if bench.is_sqlite() {
        // Nor is it found in what the database let go of.
        let file = fs::read(bench.data().join("moorline.db")).unwrap();
        let holds = |(_, value): &(String, Vec<u8>)| {
            file.windows(value.len())
                .any(|part| part == value.as_slice())
        };
        assert!(after.iter().all(holds));
        assert!(!before.iter().any(holds));
    }
    secrets.check(&bench).await;
}

/// Every sealed value with the place it is sealed into.
async fn sealed(bench: &Bench) -> Vec<(String, Vec<u8>)> {
    let database = Database::connect(bench.url.as_str()).await.unwrap();
    let mut values = Vec::new();
    for (place, table, column) in [
        ("api_keys.secret", "api_keys", "secret_sealed"),
        ("user_keys.private_key", "user_keys", "private_key_sealed"),
        (
            "egress_ips.wg_private_key",
            "egress_ips",
            "wg_private_key_sealed",
        ),
        (
            "egress_ips.wg_preshared_key",
            "egress_ips",
            "wg_preshared_key_sealed",
        ),
        (
            "egress_ips.proxy_config",
            "egress_ips",
            "proxy_config_sealed",
        ),
        ("devices.dbid", "devices", "dbid"),
        ("accounts.binding_token", "accounts", "binding_token_sealed"),
    ] {
        let sql = format!("SELECT id, {column} FROM {table} WHERE {column} IS NOT NULL");
        let statement = Statement::from_string(database.get_database_backend(), sql);
        for row in database.query_all_raw(statement).await.unwrap() {
            let id = match table {
                "api_keys" => row.try_get_by_index::<String>(0).unwrap(),
                "accounts" => row.try_get_by_index::<i64>(0).unwrap().to_string(),
                _ => row.try_get_by_index::<uuid::Uuid>(0).unwrap().to_string(),
            };
            values.push((format!("{place} {id}"), row.try_get_by_index(1).unwrap()));
        }
    }
    database.close().await.unwrap();
    values
}

pub(crate) async fn a_key_is_rotated_again_and_again(bench: Bench) {
    let secrets = Secrets::make(&bench).await;
    let mut keys = vec![fs::read(key(&bench)).unwrap()];
    for _ in 0..3 {
        rotate(&bench);
        keys.push(fs::read(key(&bench)).unwrap());
        secrets.check(&bench).await;
    }
    let mut kept: Vec<Vec<u8>> = key_files(&bench)
        .iter()
        .map(|name| fs::read(bench.data().join(name)).unwrap())
        .collect();
    for found in [&mut keys, &mut kept] {
        found.sort();
        found.dedup();
    }
    assert_eq!((kept.len(), kept), (4, keys), "every key is kept once");
}

pub(crate) async fn logins_and_api_keys_outlive_a_rotation(bench: Bench) {
    let secrets = Secrets::make(&bench).await;
    let server = Server::start(&bench);
    let token = server.log_in();
    assert_eq!(server.with_api_key(&secrets.api_key), 200);
    drop(server);
    let text = bench.run(&["admin", "master-key", "rotate"]).ok();
    assert!(text.contains("sealed anew are"), "{text}");
    assert!(text.contains("Other machines of this database need the new key"));
    let server = Server::start(&bench);
    assert_eq!(server.with_api_key(&secrets.api_key), 200);
    assert_eq!(server.with_api_key("00000000000000000000000000000000"), 401);
    assert_eq!(server.with_token(&token).0, 200);
    // A new secret of tokens does end them.
    drop(server);
    let secret = "[auth]\njwt_secret = \"0123456789abcdef0123456789abcdef\"\n";
    let file = bench.folder.path().join("server.toml");
    let config = fs::read_to_string(&file).unwrap();
    fs::write(&file, format!("{secret}{config}")).unwrap();
    let server = Server::start(&bench);
    let refused = (401, "{\"error\":\"invalid token\"}\n".to_owned());
    assert_eq!(server.with_token(&token), refused);
    assert_eq!(server.with_token(&server.log_in()).0, 200);
    drop(server);
    secrets.check(&bench).await;
}

pub(crate) async fn it_is_refused_while_somebody_works_on_the_database(bench: Bench) {
    let secrets = Secrets::make(&bench).await;
    let before = fs::read(key(&bench)).unwrap();
    let server = Server::start(&bench);
    let said = bench.run(&["admin", "master-key", "rotate"]).refused();
    assert!(
        said.contains("is in use by another moorline-server"),
        "{said}"
    );
    assert!(said.contains("hint: stop the server"), "{said}");
    assert_eq!(server.with_api_key(&secrets.api_key), 200);
    drop(server);
    // One with another data folder, as on another machine.
    let other = open(&bench).await.unwrap();
    other.ping().await.unwrap();
    let said = bench.run(&["admin", "master-key", "rotate"]).refused();
    assert!(said.contains("database is in use"), "{said}");
    assert!(
        other
            .api_key_by_secret(&secrets.api_key)
            .await
            .unwrap()
            .is_some()
    );
    drop(other);
    assert_eq!(key_files(&bench), ["master.key"]);
    assert_eq!(fs::read(key(&bench)).unwrap(), before);
    rotate(&bench);
    secrets.check(&bench).await;
}

pub(crate) async fn another_key_changes_nothing(bench: Bench) {
    let secrets = Secrets::make(&bench).await;
    let right = fs::read(key(&bench)).unwrap();
    fs::write(key(&bench), [7; 32]).unwrap();
    let said = refused(&bench);
    assert!(
        said.contains("this is not the key of the database"),
        "{said}"
    );
    assert!(said.contains("master.key.old-"), "{said}");
    assert_eq!(
        key_files(&bench),
        ["master.key"],
        "no key is made for nothing"
    );
    fs::write(key(&bench), [7; 31]).unwrap();
    let said = refused(&bench);
    assert!(said.contains("31 bytes, expected 32"), "{said}");
    fs::remove_file(key(&bench)).unwrap();
    let said = refused(&bench);
    assert!(said.contains("read master key"), "{said}");
    assert_eq!(key_files(&bench), Vec::<String>::new());
    // A link would leave the former key where it leads to.
    let elsewhere = bench.folder.path().join("elsewhere");
    fs::write(&elsewhere, &right).unwrap();
    std::os::unix::fs::symlink(&elsewhere, key(&bench)).unwrap();
    let said = refused(&bench);
    assert!(said.contains("it is no plain file"), "{said}");
    fs::remove_file(key(&bench)).unwrap();
    fs::write(key(&bench), right).unwrap();
    secrets.check(&bench).await;
    // There is no database.
    if bench.is_sqlite() {
        let missing = bench.folder.path().join("missing.db");
        bench.configure(&format!("sqlite://{}?mode=rwc", missing.display()));
        let said = refused(&bench);
        assert!(said.contains("there is no database of Moorline"), "{said}");
        assert!(!missing.exists() && key_files(&bench) == ["master.key"]);
    }
}

pub(crate) async fn what_does_not_open_is_named_and_changes_nothing(bench: Bench) {
    let secrets = Secrets::make(&bench).await;
    secrets.add_devices(&bench, 1).await;
    let values = sealed(&bench).await;
    let damage = match bench.is_sqlite() {
        true => "x'00'",
        false => "'\\x00'",
    };
    bench
        .sql(&format!(
            "UPDATE devices SET dbid = {damage} WHERE name = 'further-0'"
        ))
        .await;
    let said = refused(&bench);
    assert!(said.contains("open devices.dbid "), "{said}");
    assert!(said.contains("it is damaged"), "{said}");
    bench
        .sql("DELETE FROM devices WHERE name = 'further-0'")
        .await;
    secrets.check(&bench).await;
    let unchanged = sealed(&bench).await;
    assert_eq!(unchanged.len() + 1, values.len());
    assert!(unchanged.iter().all(|value| values.contains(value)));
    // The key that was made for it serves the next.
    let pending = fs::read(bench.data().join("master.key.new")).unwrap();
    rotate(&bench);
    assert_eq!(fs::read(key(&bench)).unwrap(), pending);
    secrets.check(&bench).await;
}

pub(crate) async fn snapshots_want_the_key_of_their_time(bench: Bench) {
    let secrets = Secrets::make(&bench).await;
    let old = bench.backup(&["--name", "old"]);
    let answer = rotate(&bench);
    let former = PathBuf::from(answer["former_key"].as_str().unwrap());
    let new = bench.backup(&["--name", "new"]);
    bench.restore(&new);
    secrets.check(&bench).await;
    let said = bench.refused(&old);
    assert!(said.contains("master.key.old-"), "{said}");
    secrets.check(&bench).await;
    let present = fs::read(key(&bench)).unwrap();
    fs::copy(&former, key(&bench)).unwrap();
    await_another_second();
    bench.restore(&old);
    secrets.check(&bench).await;
    fs::write(key(&bench), present).unwrap();
    assert!(open(&bench).await.is_err());
}

/// PostgreSQL alone: on SQLite nobody is cut off from the file.
pub(crate) async fn a_server_that_was_cut_off_writes_nothing_under_the_former_key(bench: Bench) {
    let secrets = Secrets::make(&bench).await;
    let other = open(&bench).await.unwrap();
    let account = other.first_account().await.unwrap().id;
    let cut_off = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
        WHERE application_name = 'moorline-server' AND datname = current_database()";
    let end = Instant::now() + CLOSING;
    // It comes back by itself, as a server does, so it takes a moment without it.
    let rotated = loop {
        bench.sql(cut_off).await;
        let done = bench.run(&["admin", "master-key", "rotate"]);
        if done.success || Instant::now() > end {
            break done;
        }
        assert!(done.stderr.contains("is in use"), "{}", done.stderr);
    };
    rotated.ok();
    // Connections that it made meanwhile waited for the end of the rotation.
    bench.sql(cut_off).await;
    other.renew_binding_token(account).await.unwrap_err();
    secrets.check(&bench).await;
}

/// What is kept by a restore is named by the second.
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
