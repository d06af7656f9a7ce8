//! Lets what is older than a year go: the audit of operators' sessions with its recordings, and tasks that ended.

use std::time::Duration;

use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::recording::Recordings;
use crate::registry::Registry;
use crate::registry::error::RegistryError;
use crate::registry::model::Timestamp;

/// How often it is looked.
const INTERVAL: Duration = Duration::from_secs(24 * 3600);
/// How long sessions, recordings and tasks are kept, in microseconds: 400 days, as events are.
const KEPT_MICROS: i64 = 400 * 24 * 3600 * 1_000_000;

/// Looks until `stop`.
pub async fn run(registry: Registry, recordings: Recordings, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = stop.cancelled() => return,
        }
        if let Err(error) = sweep(&registry, &recordings, Timestamp::now()).await {
            warn!(%error, "let old sessions go");
        }
    }
}

async fn sweep(
    registry: &Registry,
    recordings: &Recordings,
    now: Timestamp,
) -> Result<(), RegistryError> {
    let before = Timestamp(now.0.saturating_sub(KEPT_MICROS));
    registry.forget_tasks(before).await?;
    loop {
        let names = registry.forget_sessions(before).await?;
        if names.is_empty() {
            return Ok(());
        }
        for name in names.into_iter().flatten() {
            if let Err(error) = recordings.remove(&name).await {
                warn!(%error, name, "remove recording");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::master_key::MasterKey;
    use crate::recording::Title;
    use crate::registry::model::{OperatorSession, SessionEnd, UserId};

    #[tokio::test]
    async fn an_old_recording_goes_with_its_session() {
        let folder = tempfile::tempdir().unwrap();
        let recordings = Recordings::new(folder.path().join("recordings"));
        let keys = MasterKey::random().unwrap();
        let url = format!("sqlite://{}/moorline.db?mode=rwc", folder.path().display());
        let registry = Registry::open(&url, keys).await.unwrap();
        let account = registry.first_account().await.unwrap().id;
        let id = Uuid::from_u128(7);
        let title = Title {
            began_at: 0,
            text: String::new(),
        };
        let mut recorder = recordings.create(id, title).await.unwrap();
        recorder.output(b"shown").await.unwrap();
        recorder.finish().await.unwrap();
        let session = OperatorSession {
            id,
            account,
            user: UserId(Uuid::from_u128(1)),
            username: "udo".into(),
            device: None,
            host: None,
            target: "cam1".into(),
            way_in: "gateway".into(),
            node: "eu1".into(),
            peer: "192.0.2.1".into(),
            began_at: Timestamp::now(),
            ended_at: None,
            received_bytes: 0,
            sent_bytes: 0,
            ending: None,
            recording_file: Some(Recordings::name(id)),
        };
        registry.begin_session(&session).await.unwrap();
        let later = |days: u64| Timestamp::now().after(Duration::from_secs(days * 24 * 3600));
        let there = async || recordings.open(id).await.is_ok();
        // One that goes on is kept however old it is.
        sweep(&registry, &recordings, later(500)).await.unwrap();
        assert!(there().await);
        let end = SessionEnd {
            ending: "closed".into(),
            received_bytes: 0,
            sent_bytes: 0,
        };
        registry.end_session(id, end).await.unwrap();
        sweep(&registry, &recordings, later(399)).await.unwrap();
        assert!(there().await);
        sweep(&registry, &recordings, later(401)).await.unwrap();
        assert!(!there().await);
        assert!(registry.session_of(account, id).await.unwrap().is_none());
    }
}
