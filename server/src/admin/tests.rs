//! The commands as they are typed, on a data folder that a server has open.

use clap::Parser;
use serde_json::Value;
use tempfile::TempDir;

use super::*;
use crate::registry::model::{Naming, NewDevice, Node, NodeStatus};

#[derive(Parser)]
struct Typed {
    #[command(flatten)]
    admin: AdminArgs,
}

struct Folder {
    folder: TempDir,
    place: DataPlace,
    registry: Registry,
}

impl Folder {
    async fn make() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("moorline.db");
        let place = DataPlace {
            database_url: Secret::new(format!("sqlite://{}?mode=rwc", database.display())),
            data_dir: folder.path().to_owned(),
            master_key: folder.path().join("master.key"),
        };
        let registry = open(&place).await.unwrap();
        Self {
            folder,
            place,
            registry,
        }
    }

    async fn try_run(&self, line: &str) -> Result<String, String> {
        let words = std::iter::once("admin").chain(line.split(' '));
        let typed = Typed::try_parse_from(words).map_err(|error| error.to_string())?;
        let done = run(typed.admin, &self.place).await;
        done.map_err(|error| error.to_string())
    }

    async fn run(&self, line: &str) -> String {
        self.try_run(line).await.unwrap()
    }

    async fn json(&self, line: &str) -> Value {
        serde_json::from_str(&self.run(line).await).unwrap()
    }
}

#[tokio::test]
async fn a_key_is_made_listed_and_revoked() {
    let folder = Folder::make().await;
    let line = "key create --name line3 --scope device:create,device:delete --prefix cam --region eu1 \
                --uses 5 --expires 30d --rate-limit -1 --json";
    let made = folder.json(line).await;
    assert_eq!(made["id"].as_str().unwrap().len(), 23);
    let secret = made["secret"].as_str().unwrap();
    let key = folder
        .registry
        .api_key_by_secret(secret)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(key.id, made["id"]);
    assert_eq!(key.scope, ["device:create", "device:delete"]);
    assert_eq!(
        (made["uses"].as_i64(), made["prefix"].as_str()),
        (Some(5), Some("cam"))
    );
    assert_eq!(
        (made["rate_limit"].as_i64(), made["region"].as_str()),
        (Some(-1), Some("eu1"))
    );
    assert_eq!(
        (&made["account"], &made["name"]),
        (&"main".into(), &"line3".into())
    );
    assert!(made["expires_at"].as_str().unwrap().ends_with('Z'));
    let plain = folder.run("key create --name plain").await;
    assert!(plain.starts_with("id      _key_"), "{plain}");
    let listed = folder.json("key list --json").await;
    assert_eq!(
        listed["api_keys"][1]["scope"],
        serde_json::json!(["device:create", "device:read"])
    );
    assert!(!listed.to_string().contains(secret));
    assert!(folder.run("key list").await.contains("line3"));
    assert_eq!(folder.run("key revoke line3").await, "");
    assert!(
        folder
            .registry
            .api_key_by_secret(secret)
            .await
            .unwrap()
            .is_none()
    );
    let again = folder.try_run("key revoke line3").await.unwrap_err();
    assert!(
        again.contains("revoke API key `line3`: ") && again.contains("\nhint: "),
        "{again}"
    );
    let taken = folder.try_run("key create --name PLAIN").await.unwrap_err();
    assert!(taken.contains("exists already"), "{taken}");
}

#[tokio::test]
async fn a_key_is_made_anew_also_while_locked() {
    use crate::registry::model::{ClientChange, Grant};
    let folder = Folder::make().await;
    let made = folder.json("key create --name root --json").await;
    let account = folder.registry.first_account().await.unwrap().id;
    let lock = ClientChange {
        locked: Some(true),
        ..ClientChange::default()
    };
    let locked = folder
        .registry
        .change_api_client(account, "root", lock, &Grant::Everything);
    locked.await.unwrap();
    let anew = folder.json("key regenerate ROOT --json").await;
    assert_ne!(
        (&anew["id"], &anew["secret"]),
        (&made["id"], &made["secret"])
    );
    assert_eq!(anew["scope"], made["scope"]);
    let found = async |made: &Value| {
        let secret = made["secret"].as_str().unwrap();
        folder.registry.api_key_by_secret(secret).await.unwrap()
    };
    assert!(found(&made).await.is_none());
    assert_eq!(found(&anew).await.unwrap().id, anew["id"]);
    let plain = folder.run("key regenerate root").await;
    assert!(plain.starts_with("id      _key_"), "{plain}");
    let unknown = folder.try_run("key regenerate nobody").await.unwrap_err();
    assert!(unknown.contains("\nhint: "), "{unknown}");
    folder.run("account create second").await;
    let foreign = "key regenerate root --account second";
    assert!(folder.try_run(foreign).await.is_err());
}

#[tokio::test]
async fn bad_arguments_of_a_key_are_refused() {
    let folder = Folder::make().await;
    let refused = [
        "key create",
        "key create --name 3x",
        "key create --name x --scope device:*",
        "key create --name x --uses 0",
        "key create --name x --uses -1",
        "key create --name x --prefix -x",
        "key create --name x --expires 2020-01-01T00:00:00Z",
        "key create --name x --expires soon",
        "key create --name x --rate-limit 0",
        "key create --name x --account nobody",
    ];
    for line in refused {
        assert!(folder.try_run(line).await.is_err(), "{line}");
    }
    let account = folder.registry.first_account().await.unwrap();
    assert!(
        folder
            .registry
            .api_keys(account.id)
            .await
            .unwrap()
            .is_empty()
    );
}

#[tokio::test]
async fn users_get_passwords_that_never_stand_on_the_command_line() {
    let folder = Folder::make().await;
    let made = folder
        .run("user create --username alice --role admin")
        .await;
    let password = made
        .lines()
        .find_map(|line| line.strip_prefix("password  "))
        .unwrap();
    let check = async |password: &str| {
        let user = folder
            .registry
            .user_by_login("alice")
            .await
            .unwrap()
            .unwrap();
        let passwords = crate::passwords::Passwords::new().await.unwrap();
        let password = Secret::new(password.to_owned());
        passwords
            .verify(password, Some(user.password_hash))
            .await
            .unwrap()
    };
    assert!(check(password).await);
    let file = folder.folder.path().join("password");
    std::fs::write(&file, "correct horse\n").unwrap();
    let line = format!(
        "user set-password --username alice --password-file {}",
        file.display()
    );
    assert_eq!(folder.run(&line).await, "");
    assert!(check("correct horse").await && !check(password).await);
    std::fs::write(&file, "short").unwrap();
    assert!(
        folder
            .try_run(&line)
            .await
            .unwrap_err()
            .contains("8 to 128")
    );
    assert!(
        folder
            .try_run("user create --username alice")
            .await
            .is_err()
    );
    assert!(folder.try_run("user create --username al").await.is_err());
    assert!(
        folder
            .try_run("user create --username bob --password secret")
            .await
            .is_err()
    );
    assert!(
        folder
            .try_run("user set-password --username bob")
            .await
            .unwrap_err()
            .contains("hint: ")
    );
    assert_eq!(
        folder.json("user list --json").await["users"][0]["role"],
        "admin"
    );
    assert!(folder.run("user list").await.contains("alice"));
}

#[tokio::test]
async fn accounts_are_made_suspended_and_resumed() {
    let folder = Folder::make().await;
    folder.run("account create second").await;
    assert!(folder.try_run("account create SECOND").await.is_err());
    folder.run("account suspend second").await;
    assert!(folder.run("account list").await.contains("suspended"));
    folder.run("account resume Second").await;
    assert!(!folder.run("account list").await.contains("suspended"));
    assert!(
        folder
            .try_run("account suspend third")
            .await
            .unwrap_err()
            .contains("hint: ")
    );
    folder.run("key create --name x --account second").await;
    let of_first = folder.json("key list --json").await;
    assert_eq!(of_first["api_keys"].as_array().map(Vec::len), Some(0));
}

#[tokio::test]
async fn devices_are_blocked_unblocked_and_removed() {
    let folder = Folder::make().await;
    let node = Node {
        name: "eu1".into(),
        public_host: "localhost".into(),
        ssh_port: 2222,
        host_key: String::new(),
        status: NodeStatus::Active,
        ports: (10_000, 10_000),
        names_domain: None,
    };
    folder.registry.put_node(node).await.unwrap();
    let key = folder.json("key create --name x --json").await;
    let new = NewDevice {
        api_key_id: key["id"].as_str().unwrap().into(),
        account: folder.registry.first_account().await.unwrap().id,
        naming: Naming::Given("Gate".into()),
        region: None,
        device_port: 22,
        username: None,
        public_key: None,
        hostname: None,
        hardware: None,
    };
    let made = folder.registry.create_device(new.clone()).await.unwrap();
    folder.run("device block gate").await;
    let state =
        async |n: usize| folder.json("device list --json").await["devices"][n]["state"].clone();
    assert_eq!(state(0).await, "blocked");
    folder.run(&format!("device unblock {}", made.id)).await;
    assert_eq!(state(0).await, "active");
    assert!(
        folder
            .run("device list --prefix Ga")
            .await
            .contains("10000")
    );
    assert!(
        !folder
            .run("device list --prefix ga")
            .await
            .contains("10000")
    );
    folder.run("device rm GATE").await;
    let gone = folder.try_run("device rm gate").await.unwrap_err();
    assert!(
        gone.contains("find device `gate`: ") && gone.contains("hint: "),
        "{gone}"
    );
}

#[tokio::test]
async fn a_folder_that_is_not_there_is_said() {
    let place = DataPlace {
        database_url: Secret::new("sqlite:///nowhere/at/all/moorline.db?mode=rwc".into()),
        data_dir: "/nowhere/at/all".into(),
        master_key: "/nowhere/at/all/master.key".into(),
    };
    let error = open(&place).await.unwrap_err().to_string();
    assert!(
        error.contains("/nowhere/at/all/master.key") && error.contains("hint: "),
        "{error}"
    );
}

#[tokio::test]
async fn the_binding_token_of_an_account_is_shown_and_renewed() {
    let folder = Folder::make().await;
    folder.run("account create acme").await;
    let line = "account binding-token --account acme";
    let first = folder.run(line).await;
    assert_eq!(first.trim_end().len(), 32);
    assert_eq!(folder.run(line).await, first, "it stays");
    assert_ne!(
        folder.run("account binding-token").await,
        first,
        "main has its own"
    );
    let second = folder.run(&format!("{line} --renew")).await;
    assert_ne!(second, first);
    let owner = async |token: &str| {
        let found = folder
            .registry
            .account_by_binding_token(token.trim_end())
            .await;
        found.unwrap().map(|account| account.name)
    };
    assert_eq!(owner(&second).await.as_deref(), Some("acme"));
    assert_eq!(owner(&first).await, None);
    assert!(
        folder
            .try_run("account binding-token --account nobody")
            .await
            .is_err()
    );
}
