//! What the calls say and do while a tunnel is up, held by the script with stock OpenSSH.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::bed::{Bed, public_key, text};

pub(crate) async fn the_script_holds_the_tunnel_the_calls_steer_it(bed: &Bed) {
    let folder = tempfile::tempdir().unwrap();
    let id = bed.device(&[]).await;
    let script = bed
        .get("get_client_script", &[("client_id", &id)])
        .await
        .body;
    let path = folder.path().join("client.sh");
    std::fs::write(&path, script).unwrap();
    assert_eq!(run(&path, "createkeypair").await, 0);
    assert_eq!(run(&path, "start").await, 0);
    until(bed, &id, "tunnel_open", true).await;
    let item = item(bed, &id).await;
    assert_eq!(item["client_active"], true);
    assert_eq!(item["forwarding_server"], "127.0.0.1");
    let seen = text(&item, "last_ping_time");
    assert!(
        seen.len() == 20 && seen.ends_with('Z') && !seen.contains('.'),
        "{seen}"
    );
    let device = [("client_id", id.as_str())];
    let status = bed.get("client_status", &device).await.body;
    assert_eq!(
        status,
        r#"{"message":"online","error_code":0,"success":true}"#
    );
    assert_eq!(bed.code("connect", &device).await, 0);
    assert_eq!(bed.code("disconnect", &device).await, 0);
    assert_eq!(self::item(bed, &id).await["tunnel_open"], false);
    assert_eq!(run(&path, "stop").await, 0);
    let connecting = bed.code("connect", &device);
    let starting = run(&path, "start");
    let (connected, started) = tokio::join!(connecting, starting);
    assert_eq!((connected, started), (0, 0));
    let other = public_key();
    let rekeyed = [device[0], ("public_key", other.as_str())];
    assert_eq!(bed.code("upload_public_key", &rekeyed).await, 0);
    until(bed, &id, "tunnel_open", false).await;
    assert_eq!(run(&path, "stop").await, 0);
    assert_eq!(run(&path, "createkeypair").await, 0, "its own key again");
    assert_eq!(run(&path, "start").await, 0);
    until(bed, &id, "tunnel_open", true).await;
    assert_eq!(bed.code("delete_client", &device).await, 0);
    assert_eq!(run(&path, "stop").await, 0);
}

async fn item(bed: &Bed, id: &str) -> serde_json::Value {
    let list = bed.list(&bed.key).await;
    list.into_iter()
        .find(|item| item["client_id"] == id)
        .unwrap()
}

async fn until(bed: &Bed, id: &str, name: &str, value: bool) {
    for _ in 0..1200 {
        if item(bed, id).await[name] == value {
            return;
        }
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
    panic!("{name} did not become {value}");
}

async fn run(script: &Path, word: &str) -> i32 {
    let mut command = Command::new("dash");
    command
        .arg(script)
        .arg(word)
        .env("MOORLINE_STATE_DIR", script.with_file_name("state"))
        .stdin(Stdio::null());
    let status = tokio::task::spawn_blocking(move || command.status().unwrap())
        .await
        .unwrap();
    status.code().unwrap()
}
