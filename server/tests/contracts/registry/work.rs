//! Work on hosts: who takes which task when, passwords for one login, and new ports for a device.

use std::time::Duration;

use moorline_protocol::Secret;
use moorline_server::registry::Registry;
use moorline_server::registry::error::ForwardError;
use moorline_server::registry::model::{
    Host, HostOrder, HostStatus, HostWanted, NewUser, OperatorSession, Role, SessionEnd,
    SessionFilter, Task, TaskEnd, TaskKind, TaskStatus, Timestamp, User,
};
use uuid::Uuid;

use crate::registry::bed::{Bed, new_host};

async fn user(bed: &Bed, name: &str) -> User {
    let new = NewUser {
        account: bed.account,
        username: name.into(),
        role: Role::User,
        password_hash: Secret::new("$argon2id$".into()),
        expires_at: None,
        short_id: None,
    };
    bed.registry.create_user(new).await.unwrap()
}

async fn host(bed: &Bed, user: &User) -> (Host, Task) {
    let device = bed.made(bed.new_device()).await;
    let order = HostOrder {
        new: new_host(bed.account, user.id, device.id),
        egress_ip: None,
        requested_by: "admin".into(),
    };
    bed.registry.order_host(order).await.unwrap()
}

async fn queue(bed: &Bed, host: &Host, kind: TaskKind) -> Task {
    let queued = bed.registry.queue_task(host.id, kind, "admin".into()).await;
    queued.unwrap()
}

async fn claim(registry: &Registry, node: &str) -> Vec<i64> {
    let claimed = registry.claim_tasks(node, 10).await.unwrap();
    claimed.into_iter().map(|task| task.number).collect()
}

pub(crate) async fn tasks_of_a_host_are_taken_one_by_one(bed: Bed) {
    let user = user(&bed, "udo").await;
    let (first, create) = host(&bed, &user).await;
    let (second, other) = host(&bed, &user).await;
    let start = queue(&bed, &first, TaskKind::StartHost).await;
    let stop = queue(&bed, &first, TaskKind::StopHost).await;
    assert_eq!(claim(&bed.registry, "elsewhere").await, [0_i64; 0]);
    // Two who ask at once share what there is, and of each host the oldest only.
    let (one, two) = tokio::join!(claim(&bed.registry, "eu1"), claim(&bed.registry, "eu1"));
    let mut taken = [one, two].concat();
    taken.sort_unstable();
    assert_eq!(taken, [create.number, other.number]);
    assert_eq!(
        claim(&bed.registry, "eu1").await,
        [0_i64; 0],
        "the first still runs"
    );
    let done = TaskEnd::Done(HostStatus::Stopped);
    assert!(bed.registry.end_task(&create, done.clone()).await.unwrap());
    assert!(!bed.registry.end_task(&create, done).await.unwrap(), "once");
    let now = bed.registry.host(first.id).await.unwrap().unwrap();
    assert_eq!(
        (now.status, now.wanted),
        (HostStatus::Stopped, HostWanted::Stopped)
    );
    assert_eq!(claim(&bed.registry, "eu1").await, [start.number]);
    let failed = TaskEnd::Failed {
        code: "ssh_not_ready",
        message: "x".repeat(5000),
    };
    assert!(bed.registry.end_task(&start, failed).await.unwrap());
    let now = bed.registry.host(first.id).await.unwrap().unwrap();
    assert_eq!(now.status, HostStatus::Failed);
    let task = bed.registry.task(start.id).await.unwrap().unwrap();
    assert_eq!(task.status, TaskStatus::Failed);
    assert_eq!(
        (task.error_code.as_str(), task.error_message.len()),
        ("ssh_not_ready", 1000)
    );
    assert_eq!(claim(&bed.registry, "eu1").await, [stop.number]);
    // The node goes down and comes back: it takes up what it had, in its old place.
    let again = queue(&bed, &first, TaskKind::StartHost).await;
    assert_eq!(bed.registry.release_tasks("elsewhere").await.unwrap(), 0);
    assert_eq!(bed.registry.release_tasks("eu1").await.unwrap(), 2);
    assert_eq!(
        claim(&bed.registry, "eu1").await,
        [other.number, stop.number]
    );
    // A device that is deleted takes its host along; what waits for it is canceled.
    let device = first.device.unwrap();
    assert!(
        bed.registry
            .delete_device(bed.account, device)
            .await
            .unwrap()
    );
    assert_eq!(claim(&bed.registry, "eu1").await, [0_i64; 0]);
    let gone = bed.registry.task(again.id).await.unwrap().unwrap();
    assert_eq!((gone.status, gone.host), (TaskStatus::Canceled, None));
    assert!(bed.registry.host(second.id).await.unwrap().is_some());
}

pub(crate) async fn tasks_that_nobody_touches_fail(bed: Bed) {
    let user = user(&bed, "udo").await;
    let (host, create) = host(&bed, &user).await;
    let fresh = Duration::from_secs(600);
    assert!(
        bed.registry
            .fail_stale_tasks(fresh)
            .await
            .unwrap()
            .is_empty()
    );
    bed.sql("UPDATE tasks SET updated_at = updated_at - 700000000")
        .await;
    let stale = bed.registry.fail_stale_tasks(fresh).await.unwrap();
    assert_eq!(stale.len(), 1);
    assert_eq!(stale[0].status, TaskStatus::Pending, "as it was");
    let task = bed.registry.task(create.id).await.unwrap().unwrap();
    assert_eq!(task.status, TaskStatus::Failed);
    assert_eq!(task.error_code, "stale_timeout");
    assert_eq!(task.error_message, "task exceeded stale threshold");
    let now = bed.registry.host(host.id).await.unwrap().unwrap();
    assert_eq!(now.status, HostStatus::Failed);
    // What waits behind others is touched by their ends.
    let start = queue(&bed, &host, TaskKind::StartHost).await;
    let stop = queue(&bed, &host, TaskKind::StopHost).await;
    bed.sql("UPDATE tasks SET updated_at = updated_at - 700000000")
        .await;
    assert_eq!(claim(&bed.registry, "eu1").await, [start.number]);
    let none = bed.registry.fail_stale_tasks(fresh).await.unwrap();
    assert!(none.is_empty(), "{none:?}");
    let done = TaskEnd::Done(HostStatus::Running);
    assert!(bed.registry.end_task(&start, done).await.unwrap());
    let none = bed.registry.fail_stale_tasks(fresh).await.unwrap();
    assert!(none.is_empty(), "{none:?}");
    bed.sql("UPDATE tasks SET updated_at = updated_at - 700000000")
        .await;
    let stale = bed.registry.fail_stale_tasks(fresh).await.unwrap();
    let stale: Vec<i64> = stale.into_iter().map(|task| task.number).collect();
    assert_eq!(stale, [stop.number]);
}

pub(crate) async fn a_one_time_password_opens_once_and_for_its_host(bed: Bed) {
    let user = user(&bed, "udo").await;
    let (mine, _) = host(&bed, &user).await;
    let (other, _) = host(&bed, &user).await;
    let registry = &bed.registry;
    let secret = |text: &str| Secret::new(text.to_owned());
    let later = Timestamp::now().after(Duration::from_secs(120));
    let past = Timestamp(Timestamp::now().0 - 1);
    registry
        .add_one_time_password(mine.id, &user, &secret("one"), later)
        .await
        .unwrap();
    registry
        .add_one_time_password(mine.id, &user, &secret("over"), past)
        .await
        .unwrap();
    let take = async |host: &Host, text: &str| {
        let taken = registry
            .take_one_time_password(host.id, &secret(text))
            .await;
        taken.unwrap()
    };
    assert!(!take(&other, "one").await, "another host");
    assert!(!take(&mine, "over").await, "its time is over");
    assert!(!take(&mine, "two").await);
    let tries = futures::future::join_all((0..8).map(|_| take(&mine, "one"))).await;
    assert_eq!(tries.iter().filter(|taken| **taken).count(), 1);
    // Many unused ones: the oldest die.
    for number in 0..70 {
        let until = later.after(Duration::from_secs(number));
        let text = format!("many {number}");
        registry
            .add_one_time_password(mine.id, &user, &secret(&text), until)
            .await
            .unwrap();
    }
    assert!(!take(&mine, "many 0").await);
    assert!(take(&mine, "many 69").await);
    registry
        .set_entry_password(mine.id, secret("new hash"))
        .await
        .unwrap();
    assert!(
        !take(&mine, "many 68").await,
        "another entry password ends them"
    );
}

pub(crate) async fn forwards_are_renewed_and_old_ports_come_back(bed: Bed) {
    let device = bed.made(bed.new_device()).await;
    let other = bed.made(bed.new_device()).await;
    let registry = &bed.registry;
    let before = registry.device(device.id).await.unwrap().unwrap().forwards;
    registry.renew_forwards(device.id).await.unwrap();
    let after = registry.device(device.id).await.unwrap().unwrap().forwards;
    assert_eq!(after.len(), before.len());
    assert_eq!(after[0].id, before[0].id);
    assert_ne!(after[0].public_port, before[0].public_port);
    assert_ne!(after[0].public_port, other.forward.public_port);
    assert!(after[0].link_token != before[0].link_token);
    // Without a free port nothing changes.
    let mut node = registry.node("eu1").await.unwrap().unwrap();
    node.ports = (after[0].public_port, after[0].public_port);
    registry.put_node(node).await.unwrap();
    let full = registry.renew_forwards(device.id).await;
    assert!(
        matches!(full, Err(ForwardError::NodeUnavailable)),
        "{full:?}"
    );
    let now = registry.device(device.id).await.unwrap().unwrap().forwards;
    assert_eq!(now, after);
}

pub(crate) async fn sessions_are_noted_and_closed(bed: Bed) {
    let user = user(&bed, "udo").await;
    let device = bed.made(bed.new_device()).await;
    let session = |number: u128| OperatorSession {
        id: Uuid::from_u128(number),
        account: bed.account,
        user: user.id,
        username: "udo".into(),
        device: Some(device.id),
        host: None,
        target: device.name.clone(),
        way_in: "gateway".into(),
        node: "eu1".into(),
        peer: "192.0.2.1".into(),
        began_at: Timestamp(i64::try_from(number).unwrap()),
        ended_at: None,
        received_bytes: 0,
        sent_bytes: 0,
        ending: None,
        recording_file: (number == 1).then(|| "1.cast".into()),
    };
    let registry = &bed.registry;
    for number in 1..=3 {
        registry.begin_session(&session(number)).await.unwrap();
    }
    let end = |ending: &str| SessionEnd {
        ending: ending.into(),
        received_bytes: 5,
        sent_bytes: 7,
    };
    let chosen = async |filter: SessionFilter| {
        let filter = SessionFilter { limit: 9, ..filter };
        registry.sessions_of(bed.account, &filter).await.unwrap().1
    };
    let open = || SessionFilter {
        open_only: true,
        ..SessionFilter::default()
    };
    let called = |name: &str| SessionFilter {
        username: Some(name.to_owned()),
        ..SessionFilter::default()
    };
    let since = |at| SessionFilter {
        since: Some(at),
        ..SessionFilter::default()
    };
    assert_eq!(chosen(open()).await, 3);
    let name = session(1).username;
    assert_eq!(
        (chosen(called(&name)).await, chosen(called("x")).await),
        (3, 0)
    );
    let (begun, after) = (session(2).began_at, Timestamp(session(3).began_at.0 + 1));
    assert_eq!(
        (chosen(since(begun)).await, chosen(since(after)).await),
        (2, 0)
    );
    let first = Uuid::from_u128(1);
    registry.end_session(first, end("closed")).await.unwrap();
    registry.end_session(first, end("later")).await.unwrap();
    assert_eq!(registry.close_sessions("eu2").await.unwrap(), 0);
    assert_eq!(chosen(open()).await, 2);
    assert_eq!(registry.close_sessions("eu1").await.unwrap(), 2);
    assert_eq!(chosen(open()).await, 0);
    let filter = SessionFilter {
        limit: 2,
        ..SessionFilter::default()
    };
    let (page, total) = registry.sessions_of(bed.account, &filter).await.unwrap();
    assert_eq!((page.len(), total), (2, 3));
    assert_eq!(page[0].id, Uuid::from_u128(3), "newest first");
    assert_eq!(page[0].ending.as_deref(), Some("node lost"));
    let found = registry
        .session_of(bed.account, first)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(found.ending.as_deref(), Some("closed"));
    assert_eq!((found.received_bytes, found.sent_bytes), (5, 7));
    let other = registry.create_account("other").await.unwrap().id;
    assert!(registry.session_of(other, first).await.unwrap().is_none());
    let (page, total) = registry.sessions_of(other, &filter).await.unwrap();
    assert_eq!((page.len(), total), (0, 0));
    assert!(
        registry
            .forget_sessions(Timestamp(0))
            .await
            .unwrap()
            .is_empty()
    );
    let later = Timestamp::now().after(Duration::from_secs(1));
    let mut names = registry.forget_sessions(later).await.unwrap();
    names.sort();
    assert_eq!(names, [None, None, Some("1.cast".to_owned())]);
}
