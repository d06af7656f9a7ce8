//! The commands that set up a new installation, in their order, by ids only (section 17), with real curl.

use std::process::{Command, Stdio};

use crate::world::{PASSWORD, World, address, unique};

/// What lies between `before` and the next quote, as a text tool cuts it out of compact JSON.
fn cut<'a>(answer: &'a str, before: &str) -> &'a str {
    let (_, rest) = answer
        .split_once(before)
        .unwrap_or_else(|| panic!("{before} in {answer}"));
    rest.split('"').next().unwrap()
}

/// Status and body of what curl was told to fetch.
async fn curl(world: &World<'_>, token: &str, arguments: &[&str], path: &str) -> (u16, String) {
    let mut command = Command::new("curl");
    command
        .args([
            "-q",
            "-sS",
            "--noproxy",
            "*",
            "--max-time",
            "120",
            "-w",
            "%{http_code}",
        ])
        .args(["--interface", &world.bed.from.to_string()])
        .args(["-H", &format!("Authorization: Bearer {token}")])
        .args(["-H", "Content-Type: application/json"])
        .args(arguments)
        .arg(format!("http://{}{path}", world.bed.http))
        .stderr(Stdio::inherit());
    let output = tokio::task::spawn_blocking(move || command.output());
    let output = output.await.unwrap().unwrap();
    assert!(output.status.success(), "{path}: {output:?}");
    let answer = String::from_utf8(output.stdout).unwrap();
    let (body, status) = answer.split_at(answer.len() - 3);
    (status.parse().unwrap(), body.to_owned())
}

pub(crate) async fn the_commands_of_a_new_installation_work_in_their_order(world: &World<'_>) {
    let admin = &world.admin.user.username;
    let credentials = format!("{{\"username\":\"{admin}\",\"password\":\"{PASSWORD}\"}}");
    let (status, answer) = curl(world, "", &["-d", &credentials], "/v1/auth/login").await;
    assert_eq!(status, 200, "{answer}");
    let token = cut(&answer, "\"token\":\"");
    let post = async |path: &str, body: &str| curl(world, token, &["-d", body], path).await;

    let name = unique("flow");
    let body = format!("{{\"username\":\"{name}\",\"expires_at\":null}}");
    let (status, answer) = post("/v1/admin/users", &body).await;
    assert_eq!(status, 201, "{answer}");
    let user = cut(&answer, "\"id\":\"").to_owned();
    let password = cut(&answer, "\"password\":\"").to_owned();

    let body = format!("{{\"label\":\"exit\",\"ip_address\":\"{}\"}}", address());
    let (status, answer) = post("/v1/admin/egress-ips", &body).await;
    assert_eq!(status, 201, "{answer}");
    let ip = cut(&answer, "\"id\":\"").to_owned();

    let owner = world.bed.registry.user(crate::world::user_id(&user)).await;
    let host = world.container(&owner.unwrap().unwrap()).await.id;
    let body = format!("{{\"host_id\":\"{host}\",\"egress_ip_id\":\"{ip}\"}}");
    let (status, answer) = post("/v1/admin/bindings", &body).await;
    assert_eq!(status, 201, "{answer}");
    assert_eq!(cut(&answer, "\"host_id\":\""), host.to_string());

    let keys = format!("/v1/admin/users/{user}/ssh-keys/generate");
    let (status, answer) = curl(world, token, &["-X", "POST"], &keys).await;
    assert_eq!(status, 200, "{answer}");
    assert!(cut(&answer, "\"private_key\":\"").starts_with("-----BEGIN OPENSSH PRIVATE KEY-----"));

    let (status, answer) = curl(world, token, &[], &format!("/v1/admin/users/{user}")).await;
    assert_eq!(status, 200);
    assert_eq!(cut(&answer, "\"hosts\":[{\"id\":\""), host.to_string());
    let (status, answer) = curl(
        world,
        token,
        &[],
        "/v1/admin/events?type=admin.binding.created",
    )
    .await;
    assert_eq!(
        (status, cut(&answer, "\"host_id\":\"")),
        (200, host.to_string().as_str())
    );
    let (status, answer) = curl(world, token, &[], "/v1/admin/dashboard/stats").await;
    assert_eq!(status, 200);
    assert!(
        answer.starts_with("{\"active_users\":3,\"running_hosts\":0,\"available_ips\":1}"),
        "{answer}"
    );

    let credentials = serde_json::json!({"username": name, "password": password}).to_string();
    let (status, answer) = curl(world, "", &["-d", &credentials], "/v1/auth/login").await;
    assert_eq!(status, 200, "{answer}");
    let own = cut(&answer, "\"token\":\"");
    let change = serde_json::json!({"old_password": password, "new_password": "my own choice"});
    let arguments = ["-d", &change.to_string()];
    let (status, answer) = curl(world, own, &arguments, "/v1/user/change-password").await;
    assert_eq!((status, answer.as_str()), (200, "{\"status\":\"ok\"}\n"));

    let path = format!("/v1/admin/users/{user}");
    let disable = ["-X", "PATCH", "-d", "{\"status\":\"disabled\"}"];
    let (status, answer) = curl(world, token, &disable, &path).await;
    assert_eq!((status, cut(&answer, "\"status\":\"")), (200, "disabled"));
    let (status, answer) = curl(world, token, &["-X", "DELETE"], &path).await;
    assert_eq!((status, answer.as_str()), (204, ""));
}
