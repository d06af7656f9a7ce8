//! What calls that are made often, or that list what grows, ask of the databases: nothing that reads a table to its
//! end. The databases tell it themselves, of the very statements that were run.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use harness::Postgres;
use sea_orm::{ConnectionTrait as _, Database, Statement};
use uuid::Uuid;

use super::model::{
    AccountId, ApiClientFilter, DeviceFilter, DeviceId, EventFilter, ForwardId, HostId,
    SessionFilter, Slice, Timestamp, UserId,
};
use super::store::Store;
use super::{HostsOf, Registry, creation};
use crate::master_key::MasterKey;

/// May be read whole: few rows however many devices there are. An index that holds open work alone is no more.
const SMALL: [&str; 4] = ["nodes", "accounts", "CONSTANT", "v"];
const OPEN_WORK: &str = "USING INDEX tasks_open";
const ACCOUNT: AccountId = AccountId(1);
const USER: UserId = UserId(Uuid::from_u128(1));
const HOST: HostId = HostId(Uuid::from_u128(2));
const DEVICE: DeviceId = DeviceId(Uuid::from_u128(3));
const THEN: Timestamp = Timestamp(1_700_000_000_000_000);

/// A registry that keeps the statements it ran.
struct Watched {
    registry: Registry,
    ran: Arc<Mutex<Vec<Statement>>>,
}

impl Watched {
    async fn open(url: &str) -> Self {
        let ran: Arc<Mutex<Vec<Statement>>> = Arc::default();
        let keys = MasterKey::random().unwrap();
        let mut store = Store::open(url, &keys.into()).await.unwrap();
        for connection in [&mut store.read, &mut store.write] {
            let ran = ran.clone();
            connection.set_metric_callback(move |info| {
                ran.lock().unwrap().push(info.statement.clone());
            });
        }
        let store = Arc::new(store);
        let (creations, writer) = creation::start(store.clone());
        let registry = Registry {
            store,
            creations,
            _writer: Arc::new(writer),
        };
        Self { registry, ran }
    }

    /// Asserts of every statement that was run since the last time that it reads no table to its end, and on SQLite,
    /// which chooses without knowing the rows, that it goes by `index` if one is named.
    async fn goes_by(&self, index: &str) {
        self.goes(index, &[]).await;
    }

    /// The same, but for the tables `whole`.
    async fn goes(&self, index: &str, whole: &[&str]) {
        let plans = self.plans().await;
        assert!(!plans.is_empty(), "nothing was run");
        let sqlite = self.registry.store.is_sqlite();
        for Plan { sql, steps } in plans {
            for step in &steps {
                let table = table_read_whole(step, sqlite);
                let fine = table.is_none_or(|name| SMALL.contains(&name) || whole.contains(&name));
                assert!(fine, "{step}: {sql}");
            }
            let named = steps.iter().any(|step| step.contains(index));
            assert!(!sqlite || named, "{index} is not in {steps:?}: {sql}");
        }
    }

    /// How the database does what was run since the last time, statement by statement.
    async fn plans(&self) -> Vec<Plan> {
        let ran = std::mem::take(&mut *self.ran.lock().unwrap());
        let (explain, column) = if self.registry.store.is_sqlite() {
            ("EXPLAIN QUERY PLAN", "detail")
        } else {
            ("EXPLAIN", "QUERY PLAN")
        };
        let mut plans = Vec::new();
        for statement in ran {
            let sql = statement.sql.clone();
            let asked = Statement {
                sql: format!("{explain} {sql}"),
                ..statement
            };
            let rows = self.registry.store.write.query_all_raw(asked).await;
            let steps = rows.unwrap();
            let steps = steps.iter().map(|row| row.try_get("", column).unwrap());
            plans.push(Plan {
                sql,
                steps: steps.collect(),
            });
        }
        self.ran.lock().unwrap().clear();
        plans
    }
}

struct Plan {
    sql: String,
    steps: Vec<String>,
}

/// The table, or its other name, that a step reads to its end or sorts as a whole, if it does.
fn table_read_whole(step: &str, sqlite: bool) -> Option<&str> {
    if !sqlite {
        let (_, rest) = step.split_once("Seq Scan on ")?;
        return rest.split(' ').next();
    }
    if step == "USE TEMP B-TREE FOR ORDER BY" {
        return Some("sorted");
    }
    let rest = step.strip_prefix("SCAN ")?;
    let name = rest.split(' ').next();
    name.filter(|_| !rest.ends_with(OPEN_WORK))
}

fn events() -> EventFilter {
    EventFilter {
        account: Some(ACCOUNT),
        limit: 50,
        ..EventFilter::default()
    }
}

async fn events_are_listed_and_counted_by_index(watched: &Watched) {
    let user = Some(USER);
    let since = Some(THEN);
    let kind = || Some("auth.failed".to_owned());
    let cases = [
        ("events_account", events()),
        (
            "events_kind",
            EventFilter {
                kind: kind(),
                ..events()
            },
        ),
        ("events_user", EventFilter { user, ..events() }),
        (
            "events_host",
            EventFilter {
                host: Some(HOST),
                ..events()
            },
        ),
        (
            "events_device",
            EventFilter {
                device: Some(DEVICE),
                ..events()
            },
        ),
        (
            "events_account (account_id=? AND at>?",
            EventFilter { since, ..events() },
        ),
        (
            "AND at>? AND at<?)",
            EventFilter {
                since,
                until: Some(THEN),
                ..events()
            },
        ),
        (
            "events_kind (account_id=? AND kind=? AND at>?",
            EventFilter {
                kind: kind(),
                since,
                ..events()
            },
        ),
        (
            "AND at>?",
            EventFilter {
                user,
                kind: kind(),
                since,
                ..events()
            },
        ),
    ];
    for (index, filter) in cases {
        watched.registry.event_page(filter).await.unwrap();
        watched.goes_by(index).await;
    }
}

fn sessions() -> SessionFilter {
    SessionFilter {
        limit: 50,
        ..SessionFilter::default()
    }
}

async fn sessions_are_listed_and_counted_by_index(watched: &Watched) {
    let username = Some("udo".to_owned());
    let cases = [
        ("operator_sessions_account", sessions()),
        (
            "operator_sessions_user ",
            SessionFilter {
                user: Some(USER),
                ..sessions()
            },
        ),
        (
            "operator_sessions_username",
            SessionFilter {
                username,
                ..sessions()
            },
        ),
        (
            "operator_sessions_device",
            SessionFilter {
                device: Some(DEVICE),
                ..sessions()
            },
        ),
        (
            "operator_sessions_host",
            SessionFilter {
                host: Some(HOST),
                ..sessions()
            },
        ),
        (
            "operator_sessions_live",
            SessionFilter {
                open_only: true,
                ..sessions()
            },
        ),
        (
            "operator_sessions_account",
            SessionFilter {
                since: Some(THEN),
                ..sessions()
            },
        ),
    ];
    for (index, filter) in cases {
        watched
            .registry
            .sessions_of(ACCOUNT, &filter)
            .await
            .unwrap();
        watched.goes_by(index).await;
    }
}

/// Lists that are given whole may be sorted; their rows are found by index.
async fn an_account_lists_what_is_its_own(watched: &Watched) {
    let registry = &watched.registry;
    let page = |prefix: Option<&str>| DeviceFilter {
        prefix: prefix.map(str::to_owned),
        limit: Some(1000),
        ..DeviceFilter::default()
    };
    let slice = || Slice {
        limit: 50,
        offset: 0,
    };
    registry.devices(ACCOUNT, page(None)).await.unwrap();
    watched.goes_by("devices_account").await;
    registry.devices(ACCOUNT, page(Some("cam"))).await.unwrap();
    watched.goes_by("devices_account").await;
    registry.count_devices(ACCOUNT, None).await.unwrap();
    watched.goes_by("COVERING INDEX").await;
    registry.tasks_of(ACCOUNT).await.unwrap();
    watched.goes_by("tasks_account").await;
    registry.link_clicks(ACCOUNT, None, slice()).await.unwrap();
    watched.goes_by("link_clicks_account").await;
    registry.count_active_users(ACCOUNT).await.unwrap();
    watched.goes_by("COVERING INDEX users_account").await;
    registry.count_running_hosts(ACCOUNT).await.unwrap();
    watched.goes_by("COVERING INDEX hosts_status").await;
    registry.count_available_egress_ips(ACCOUNT).await.unwrap();
    watched.goes_by("egress_ips").await;
    registry.users_of(ACCOUNT).await.unwrap();
    registry
        .host_views(HostsOf::Account(ACCOUNT))
        .await
        .unwrap();
    registry.host_views(HostsOf::User(USER)).await.unwrap();
    registry.egress_ips(ACCOUNT).await.unwrap();
    registry.api_keys(ACCOUNT).await.unwrap();
    let clients = ApiClientFilter::default();
    registry
        .api_clients(ACCOUNT, &clients, 0, 50)
        .await
        .unwrap();
    watched.goes("", &["sorted"]).await;
    let open = [ForwardId(1)];
    registry
        .open_sessions(ACCOUNT, &open, slice())
        .await
        .unwrap();
    watched.goes_by("PRIMARY KEY").await;
}

async fn what_looks_again_and_again_reads_what_it_needs(watched: &Watched) {
    let registry = &watched.registry;
    registry.claim_tasks("eu1", 64).await.unwrap();
    registry.release_tasks("eu1").await.unwrap();
    let stale = Duration::from_secs(600);
    registry.fail_stale_tasks(stale).await.unwrap();
    watched.goes_by("tasks_open").await;
    registry.device_hosts_to_check("eu1").await.unwrap();
    watched.goes("tasks_open", &["h", "hosts"]).await;
    registry.expire_users(THEN).await.unwrap();
    watched.goes_by("users_expiry").await;
    registry.forget_login_failures(THEN).await.unwrap();
    watched.goes_by("login_failures_full").await;
    registry.forget_events(THEN).await.unwrap();
    watched.goes_by("events_at").await;
    registry.close_sessions("eu1").await.unwrap();
    watched.goes_by("operator_sessions_open").await;
    registry.standings(&[DEVICE]).await.unwrap();
    registry.places_of(&[DEVICE]).await.unwrap();
    registry.recordings_demanded(&[DEVICE]).await.unwrap();
    registry.record_seen(vec![(DEVICE, THEN)]).await.unwrap();
    registry.ended_sessions(&[ForwardId(1)]).await.unwrap();
    registry
        .touch_sessions(&[ForwardId(1)], THEN)
        .await
        .unwrap();
    watched.goes_by("").await;
}

/// By a link anyone may ask.
async fn whoever_visits_costs_a_row(watched: &Watched) {
    let registry = &watched.registry;
    registry.sessions_on(10_000).await.unwrap();
    registry.device_by_redirect("token").await.unwrap();
    registry.forward_by_label("eu1", "label").await.unwrap();
    registry.host_by_short_id("abc123").await.unwrap();
    registry.login_budget_full_at("user", "udo").await.unwrap();
    watched.goes_by("").await;
}

async fn nothing_is_read_to_its_end(watched: &Watched) {
    events_are_listed_and_counted_by_index(watched).await;
    sessions_are_listed_and_counted_by_index(watched).await;
    an_account_lists_what_is_its_own(watched).await;
    what_looks_again_and_again_reads_what_it_needs(watched).await;
    whoever_visits_costs_a_row(watched).await;
}

#[tokio::test]
async fn sqlite_reads_nothing_to_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}/moorline.db?mode=rwc", folder.path().display());
    nothing_is_read_to_its_end(&Watched::open(&url).await).await;
}

/// PostgreSQL reads tables as small as these whole, unless it is told to do so only where there is no other way.
#[tokio::test]
async fn postgresql_reads_nothing_to_its_end() {
    let server = Postgres::start();
    let admin = Database::connect(server.url()).await.unwrap();
    let rule = "ALTER DATABASE postgres SET enable_seqscan = off";
    admin.execute_unprepared(rule).await.unwrap();
    admin.close().await.unwrap();
    nothing_is_read_to_its_end(&Watched::open(&server.url()).await).await;
}
