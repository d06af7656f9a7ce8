//! `admin master-key rotate`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde::Serialize;

use super::{AdminError, DataPlace};
use crate::backup::names::stamp;
use crate::master_key::MasterKeyError;
use crate::master_key::files::KeyFiles;
use crate::registry::error::RegistryError;
use crate::registry::model::Timestamp;
use crate::registry::rotation::{Resealed, Rotation, RotationError, rotate as reseal};
use crate::serve::lock_data_dir;

const ATTEMPT: &str = "rotate master key";

/// Verbs of `admin master-key`.
#[derive(Debug, Subcommand)]
pub enum MasterKeyCommand {
    /// Make a new master key and seal everything anew under it
    ///
    /// Stop every server that works on the database first; the command refuses to run beside one.
    ///
    /// Everything goes on as before: API keys, key binding tokens, private keys of users, secrets of egress IPs, the
    /// sessions of clients, and logins, as the secret of their tokens is another one (`jwt_secret`). Only one-time
    /// passwords for hosts, good for two minutes, are void, and counts of failed logins begin anew.
    ///
    /// The former key is kept as `master.key.old-<time>`. Nothing in the database opens with it any more, but
    /// snapshots taken before do: move it to where they are, and delete it with the last of them. Take a new snapshot
    /// and a copy of the new key right away.
    ///
    /// If other machines work on the same database, copy the new `master.key` into their data folders before their
    /// servers are started.
    ///
    /// It can be cut off at any moment: either nothing has changed, or everything has, and the next start of the
    /// server or the next `rotate` puts the key files right.
    #[command(verbatim_doc_comment)]
    Rotate(RotateArgs),
}

/// Arguments of `admin master-key rotate`.
#[derive(Args, Debug)]
pub struct RotateArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Answer {
    /// Whether this run only put the key files of an earlier one right.
    finished_earlier: bool,
    master_key: PathBuf,
    former_key: PathBuf,
    resealed: Option<Resealed>,
}

pub(super) async fn run(
    command: MasterKeyCommand,
    place: &DataPlace,
) -> Result<String, AdminError> {
    match command {
        MasterKeyCommand::Rotate(args) => rotate(&args, place).await,
    }
}

async fn rotate(args: &RotateArgs, place: &DataPlace) -> Result<String, AdminError> {
    let _lock = lock_data_dir(&place.data_dir).map_err(|error| {
        AdminError::new(ATTEMPT, error).hint("stop the server, and start it again afterwards")
    })?;
    let files = KeyFiles::read(&place.master_key).map_err(|error| {
        AdminError::new(ATTEMPT, error)
            .hint("check --data-dir or --config; a key is made at the first start of the server")
    })?;
    let url = place.database_url.expose();
    let done = reseal(url, files.candidates(), || files.prepare()).await;
    let done = done.map_err(refused)?;
    let former_key = files.promote(&stamp(Timestamp::now())).map_err(|error| {
        AdminError::new(ATTEMPT, error).hint(
            "the database is under the new key, master.key.new, already: when the cause is gone, the next start of \
             the server or `rotate` puts it in its place",
        )
    })?;
    let answer = Answer {
        finished_earlier: done == Rotation::WasDone,
        master_key: place.master_key.clone(),
        former_key,
        resealed: match done {
            Rotation::Done(resealed) => Some(resealed),
            Rotation::WasDone => None,
        },
    };
    match args.json {
        true => super::json(&answer),
        false => Ok(text(&answer)),
    }
}

fn refused(error: RotationError) -> AdminError {
    let hint = match &error {
        RotationError::InUse => "stop them, and start them again with the new key afterwards",
        RotationError::NoDatabase => "check --data-dir or --config",
        RotationError::Damaged { .. } => "nothing was changed",
        RotationError::Unknown(_) => {
            "either nothing has changed or everything has: run it again, it finds out and goes on"
        }
        RotationError::Key(MasterKeyError::NoPlainFile(_)) => {
            "put the key itself into the data folder, mode 0600"
        }
        RotationError::Key(_) => "nothing was changed",
        RotationError::Registry(RegistryError::OtherMasterKey) => {
            "former keys are kept as master.key.old-<time>; nothing was changed"
        }
        RotationError::Registry(_) => {
            "nothing was changed; check --data-dir or --config, and that you run this as the user the server runs as"
        }
    };
    AdminError::new(ATTEMPT, error).hint(hint)
}

fn text(answer: &Answer) -> String {
    let mut lines = match &answer.resealed {
        None => vec!["an earlier rotation was cut off, it is done now".to_owned()],
        Some(done) => vec![
            "the master key is rotated, sealed anew are".to_owned(),
            format!("  secrets of API keys     {}", done.api_keys),
            format!("  key binding tokens      {}", done.binding_tokens),
            format!("  private keys of users   {}", done.user_private_keys),
            format!("  secrets of egress IPs   {}", done.egress_secrets),
            format!("  devices                 {}", done.devices),
        ],
    };
    let former = answer.former_key.display();
    lines.push(format!("new key     {}", answer.master_key.display()));
    lines.push(format!("former key  {former}"));
    lines.push("Snapshots from before open with the former key alone: keep it with them, and not here. Take a new".into());
    lines.push("snapshot and a copy of the new key now. Other machines of this database need the new key before their".into());
    lines.push("servers start.".into());
    lines.push(String::new());
    lines.join("\n")
}
