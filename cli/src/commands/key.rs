//! `moorline key`.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use reqwest::Method;
use serde::Serialize;

use crate::api::{KeyEnvelope, KeyInfo, KeyList, NewKey};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::finding;
use crate::gateway::USUAL_IDENTITIES;
use crate::instant;
use crate::output::{Mark, Table};
use crate::session::Session;

mod generate;

const EXAMPLES: &str = "Examples:
  moorline key add
  moorline key add laptop.pub --label laptop
  moorline key generate --to deploy_key --label deploy
  moorline key add --user udo udo.pub
  moorline key list --user udo
  moorline key rm laptop

With --user an administrator works on the keys of somebody else.";

/// SSH keys you log in to devices with
#[derive(Debug, clap::Subcommand)]
#[command(after_help = EXAMPLES)]
pub(crate) enum Command {
    /// Show your keys
    #[command(visible_alias = "ls")]
    List {
        #[command(flatten)]
        owner: Owner,
    },
    /// Add a public key
    Add {
        /// Its file, or - for stdin; without it, the key ssh would use from ~/.ssh
        file: Option<PathBuf>,
        /// What to call it, in place of its comment
        #[arg(long)]
        label: Option<String>,
        #[command(flatten)]
        owner: Owner,
    },
    /// Let the server make a key pair; the private half is shown this once
    Generate(generate::Arguments),
    /// Remove a key
    Rm {
        /// Id, fingerprint or label
        key: String,
        #[command(flatten)]
        owner: Owner,
    },
}

/// Whose keys.
#[derive(Debug, clap::Args)]
pub(crate) struct Owner {
    /// Of this user instead of yours: name, short id or UUID
    #[arg(long)]
    user: Option<String>,
}

/// The keys of one user, at the server.
struct Ring {
    /// UUID, unless it is whoever is logged in.
    owner: Option<String>,
}

impl Owner {
    async fn ring(&self, session: &Session) -> anyhow::Result<Ring> {
        let owner = match &self.user {
            Some(name) => Some(finding::user(session, name).await?.id),
            None => None,
        };
        Ok(Ring { owner })
    }
}

impl Ring {
    fn path<'a>(&'a self, more: &[&'a str]) -> Vec<&'a str> {
        let root = match &self.owner {
            None => KEYS.to_vec(),
            Some(owner) => vec!["v1", "admin", "users", owner, "ssh-keys"],
        };
        [&root[..], more].concat()
    }
}

#[derive(Serialize)]
struct Removed<'a> {
    removed: &'a KeyInfo,
}

/// Largest file read as a public key, in bytes: the longest RSA key is a tenth of it.
const MAX_KEY: u64 = 64 * 1024;

const KEYS: [&str; 3] = ["v1", "user", "ssh-keys"];

/// Runs `moorline key`.
pub(crate) async fn run(session: &Session, command: Command) -> anyhow::Result<()> {
    match command {
        Command::List { owner } => list(session, &owner.ring(session).await?).await,
        Command::Add { file, label, owner } => {
            let ring = owner.ring(session).await?;
            add(session, &ring, file, label.as_deref()).await
        }
        Command::Generate(arguments) => generate::run(session, &arguments).await,
        Command::Rm { key, owner } => remove(session, &owner.ring(session).await?, &key).await,
    }
}

async fn keys(session: &Session, ring: &Ring) -> anyhow::Result<KeyList> {
    let path = ring.path(&[]);
    session.api.get("list SSH keys", &path, &[]).await
}

async fn list(session: &Session, ring: &Ring) -> anyhow::Result<()> {
    let answer = keys(session, ring).await?;
    session.output.data(&answer, |output| {
        if answer.keys.is_empty() {
            output.say(match ring.owner {
                None => "no SSH keys; `moorline key add` adds yours",
                Some(_) => "no SSH keys",
            });
            return Ok(());
        }
        let now = std::time::SystemTime::now();
        let columns = ["LABEL", "PURPOSE", "ADDED", "FINGERPRINT"];
        let mut table = Table::new(&columns).cut();
        for key in &answer.keys {
            table.row([
                (key.label.as_str(), Mark::Plain),
                (&key.purpose, Mark::Plain),
                (&instant::ago(&key.created_at, now), Mark::Plain),
                (&key.fingerprint, Mark::Plain),
            ]);
        }
        output.table(table)
    })
}

async fn add(
    session: &Session,
    ring: &Ring,
    file: Option<PathBuf>,
    label: Option<&str>,
) -> anyhow::Result<()> {
    let file = match file {
        None => Some(usual_key()?),
        Some(file) => (file.as_os_str() != "-").then_some(file),
    };
    let (text, source) = match &file {
        Some(file) => (read_file(file)?, file.display().to_string()),
        None => {
            let text = read_limited(io::stdin().lock()).context("read stdin")?;
            (text, "stdin".to_owned())
        }
    };
    let public_key = one_key(&text, &source)?;
    let known = keys(session, ring).await?;
    // Whoever logs in as somebody else does not do so with a key of this machine.
    let own = file.as_deref().filter(|_| ring.owner.is_none());
    let identity = own.and_then(private_half);
    if let Some(key) = known
        .keys
        .into_iter()
        .find(|key| is_same(&key.public_key, public_key))
    {
        identity.map_or(Ok(()), |path| session.keep_identity(path))?;
        let answer = KeyEnvelope { key };
        return session.output.data(&answer, |output| {
            output.say(&format!(
                "{source} was there already: {}",
                answer.key.fingerprint
            ));
            Ok(())
        });
    }
    let wanted = NewKey {
        public_key,
        purpose: "inbound",
        label,
    };
    let attempt = format!("add SSH key {source}");
    let answer: KeyEnvelope = session
        .api
        .submit(&attempt, Method::POST, &ring.path(&[]), &wanted)
        .await?;
    identity.map_or(Ok(()), |path| session.keep_identity(path))?;
    session.output.data(&answer, |output| {
        output.say(&format!("added {source}: {}", answer.key.fingerprint));
        Ok(())
    })
}

/// The private key beside the public key `file`, if it is there.
fn private_half(file: &Path) -> Option<PathBuf> {
    let name = file.file_name()?.to_str()?.strip_suffix(".pub")?;
    let path = std::path::absolute(file.with_file_name(name)).ok()?;
    path.is_file().then_some(path)
}

fn read_file(file: &Path) -> anyhow::Result<String> {
    let attempt = || format!("read public key {}", file.display());
    let opened = File::open(file).map_err(|error| {
        let exit = match error.kind() {
            io::ErrorKind::NotFound => Exit::NotFound,
            _ => Exit::Failed,
        };
        Failure::new(exit, attempt()).because(error)
    })?;
    read_limited(opened).with_context(attempt)
}

fn read_limited(source: impl io::Read) -> io::Result<String> {
    let mut text = String::new();
    source.take(MAX_KEY).read_to_string(&mut text)?;
    Ok(text)
}

/// The one public key in `text`; a private key is refused before it goes anywhere.
fn one_key<'a>(text: &'a str, source: &str) -> Result<&'a str, Failure> {
    let wrong = |reason: &str| {
        let message = format!("read public key {source}: {reason}");
        Failure::new(Exit::Usage, message)
    };
    if text.contains("PRIVATE KEY") {
        return Err(wrong("this is a private key").hint("give the .pub file beside it"));
    }
    let mut lines = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    match (lines.next(), lines.next()) {
        (Some(line), None) => Ok(line),
        (None, _) => Err(wrong("it is empty")),
        (Some(_), Some(_)) => Err(wrong("more than one line").hint("add keys one at a time")),
    }
}

/// Whether two public keys are one, whatever their comments.
fn is_same(a: &str, b: &str) -> bool {
    a.split_whitespace()
        .take(2)
        .eq(b.split_whitespace().take(2))
}

/// The key that ssh would use: the first of its usual files, else the only `.pub` file there is.
fn usual_key() -> anyhow::Result<PathBuf> {
    let folder = directories::BaseDirs::new()
        .context("find ~/.ssh: no home folder")?
        .home_dir()
        .join(".ssh");
    choose_key(&folder).map_err(Into::into)
}

fn choose_key(folder: &Path) -> Result<PathBuf, Failure> {
    let usual = USUAL_IDENTITIES
        .iter()
        .map(|name| folder.join(format!("{name}.pub")))
        .find(|path| path.is_file());
    if let Some(path) = usual {
        return Ok(path);
    }
    let mut found: Vec<PathBuf> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            let name = path
                .file_name()
                .and_then(|name| name.to_str())
                .unwrap_or_default();
            name.ends_with(".pub") && !name.ends_with("-cert.pub")
        })
        .collect();
    let attempt = format!("find a public key in {}", folder.display());
    match (found.pop(), found.len()) {
        (Some(only), 0) => Ok(only),
        (Some(_), others) => {
            let message = format!("{attempt}: there are {}", others + 1);
            Err(Failure::new(Exit::Usage, message).hint("name one: moorline key add FILE"))
        }
        (None, _) => Err(
            Failure::new(Exit::NotFound, format!("{attempt}: there is none"))
                .hint("make one with `ssh-keygen -t ed25519`"),
        ),
    }
}

async fn remove(session: &Session, ring: &Ring, asked: &str) -> anyhow::Result<()> {
    let keys = keys(session, ring).await?.keys;
    let attempt = format!("remove SSH key {asked}");
    let key = choose_named(&keys, asked).map_err(|count| {
        let failure = match count {
            0 => Failure::new(Exit::NotFound, format!("{attempt}: there is no such key")),
            _ => Failure::new(
                Exit::Usage,
                format!("{attempt}: {count} keys have this label"),
            ),
        };
        failure.hint("`moorline key list --json` shows ids")
    })?;
    let path = ring.path(&[&key.id]);
    session.api.delete(&attempt, &path).await?;
    session.output.data(&Removed { removed: key }, |output| {
        output.say(&format!("removed {} ({})", key.fingerprint, key.label));
        Ok(())
    })
}

/// The key whose id, fingerprint or label is `asked`; else how many there are.
fn choose_named<'a>(keys: &'a [KeyInfo], asked: &str) -> Result<&'a KeyInfo, usize> {
    if let Some(key) = keys
        .iter()
        .find(|key| key.id == asked || key.fingerprint == asked)
    {
        return Ok(key);
    }
    let mut labelled = keys.iter().filter(|key| key.label == asked);
    match (labelled.next(), labelled.count()) {
        (Some(key), 0) => Ok(key),
        (None, _) => Err(0),
        (Some(_), others) => Err(others + 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_keys_and_crowds_are_refused() {
        assert_eq!(
            one_key("# mine\n ssh-ed25519 AA me \n", "f").unwrap(),
            "ssh-ed25519 AA me"
        );
        for bad in [
            "",
            "#\n",
            "a b\nc d",
            "-----BEGIN OPENSSH PRIVATE KEY-----\nAA",
        ] {
            assert_eq!(one_key(bad, "f").unwrap_err().exit(), Exit::Usage, "{bad}");
        }
    }

    #[test]
    fn comments_do_not_make_another_key() {
        assert!(is_same("ssh-ed25519 AA me", "ssh-ed25519 AA  you"));
        assert!(!is_same("ssh-ed25519 AA me", "ssh-ed25519 AB me"));
    }

    #[test]
    fn the_usual_key_comes_before_the_only_one() {
        let folder = tempfile::tempdir().unwrap();
        let touch = |name: &str| std::fs::write(folder.path().join(name), "x").unwrap();
        assert_eq!(
            choose_key(folder.path()).unwrap_err().exit(),
            Exit::NotFound
        );
        touch("work.pub");
        touch("work-cert.pub");
        assert_eq!(
            choose_key(folder.path()).unwrap(),
            folder.path().join("work.pub")
        );
        touch("home.pub");
        assert_eq!(choose_key(folder.path()).unwrap_err().exit(), Exit::Usage);
        touch("id_rsa.pub");
        touch("id_ed25519.pub");
        assert_eq!(
            choose_key(folder.path()).unwrap(),
            folder.path().join("id_ed25519.pub")
        );
    }

    #[test]
    fn a_label_has_to_be_the_only_one() {
        let key = |id: &str, label: &str| KeyInfo {
            id: id.to_owned(),
            label: label.to_owned(),
            purpose: String::new(),
            key_type: String::new(),
            fingerprint: format!("SHA256:{id}"),
            public_key: String::new(),
            created_at: String::new(),
            rest: serde_json::Map::new(),
        };
        let keys = [key("1", "laptop"), key("2", "laptop"), key("3", "desk")];
        assert_eq!(choose_named(&keys, "desk").unwrap().id, "3");
        assert_eq!(choose_named(&keys, "SHA256:2").unwrap().id, "2");
        assert_eq!(choose_named(&keys, "laptop").unwrap_err(), 2);
        assert_eq!(choose_named(&keys, "x").unwrap_err(), 0);
    }
}
