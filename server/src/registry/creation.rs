//! Making devices (provisioning contract section 4.1): one task takes what was asked for at the same time and writes
//! it in one transaction, so that many calls share the one wait for the disk.
//!
//! *Invariant:* a call is answered only after its transaction is committed.

mod batch;
mod facts;
mod rows;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::Registry;
use super::error::{CreateDeviceError, RegistryError};
use super::model::{CreatedDevice, NewDevice};
use super::store::Store;
use batch::Batch;
pub(super) use rows::{device_row, first_forward};

/// Devices in one transaction. More than this gains nothing, and holds up the other writers.
const BATCH_DEVICES: usize = 64;
/// Calls that wait for the writer; further ones wait for a place.
const QUEUE_CALLS: usize = 1024;
/// How long a call waits for its place and its answer together.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);
/// How often a batch is tried when another process took a port, a name or a number meanwhile.
const TRIES: usize = 4;

type Answer = Result<CreatedDevice, CreateDeviceError>;

/// A call that waits for its answer.
#[derive(Debug)]
pub(super) struct Call {
    new: NewDevice,
    answer: oneshot::Sender<Answer>,
}

/// Starts the writer. It ends with the last sender, or with the set.
pub(super) fn start(store: Arc<Store>) -> (mpsc::Sender<Call>, JoinSet<()>) {
    let (sender, calls) = mpsc::channel(QUEUE_CALLS);
    let mut task = JoinSet::new();
    task.spawn(write_all(store, calls));
    (sender, task)
}

impl Registry {
    /// Makes a device with its first forward, or returns the one that has this public key already. Key, account, name,
    /// region, port and serial number are judged and taken in one transaction, which writes the event
    /// `device.created` as well.
    ///
    /// # Errors
    /// [`CreateDeviceError`]; then nothing was changed and no serial number was used.
    pub async fn create_device(&self, new: NewDevice) -> Answer {
        let (answer, answered) = oneshot::channel();
        let asked = async {
            self.creations
                .send(Call { new, answer })
                .await
                .map_err(|_| RegistryError::Closed)?;
            answered.await.map_err(|_| RegistryError::Closed)?
        };
        timeout(ANSWER_WITHIN, asked)
            .await
            .map_err(|_| RegistryError::Busy(ANSWER_WITHIN))?
    }
}

async fn write_all(store: Arc<Store>, mut calls: mpsc::Receiver<Call>) {
    let mut waiting = Vec::with_capacity(BATCH_DEVICES);
    while calls.recv_many(&mut waiting, BATCH_DEVICES).await > 0 {
        // Whoever gave up gets no device that nobody would ever learn of.
        waiting.retain(|call| !call.answer.is_closed());
        let (news, answers): (Vec<_>, Vec<_>) = waiting
            .drain(..)
            .map(|call| (call.new, call.answer))
            .unzip();
        for (answer, result) in answers.into_iter().zip(write(&store, &news).await) {
            // The caller may have given up just now.
            drop(answer.send(result));
        }
    }
}

/// Writes a batch; when that fails for what is in it, one by one, so that one call does not fail the others.
async fn write(store: &Store, news: &[NewDevice]) -> Vec<Answer> {
    let error = match write_batch(store, news).await {
        Ok(answers) => return answers,
        Err(error) => error,
    };
    tracing::warn!(devices = news.len(), %error, "write batch of devices");
    if news.len() == 1 || !error.is_about_rows() {
        return news.iter().map(|_| Err(error.clone().into())).collect();
    }
    let mut answers = Vec::with_capacity(news.len());
    for new in news {
        let alone = write_batch(store, std::slice::from_ref(new)).await;
        answers.push(match alone {
            Ok(mut one) => one.pop().unwrap_or(Err(RegistryError::Closed.into())),
            Err(error) => Err(error.into()),
        });
    }
    answers
}

async fn write_batch(store: &Store, news: &[NewDevice]) -> Result<Vec<Answer>, RegistryError> {
    let mut tries = 1;
    loop {
        match Batch::write(store, news).await {
            Err(error) if error.is_about_rows() && tries < TRIES => {
                tracing::debug!(tries, %error, "try batch of devices again");
                store.with_ports(|ports| ports.forget());
                tries += 1;
            }
            other => return other,
        }
    }
}
