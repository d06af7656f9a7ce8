//! `moorline key generate`.

use std::path::{Path, PathBuf};

use reqwest::Method;
use serde_json::{Map, json};

use super::Owner;
use crate::api::MadeKey;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::private_file::{self, PRIVATE};
use crate::session::Session;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// File for the private key, the public key goes beside it as FILE.pub; - prints the private key
    #[arg(long, value_name = "FILE", required_unless_present = "outbound")]
    to: Option<PathBuf>,
    /// Kind of the key; rsa has 4096 bits
    #[arg(long = "type", value_name = "TYPE", value_parser = ["ed25519", "rsa"], default_value = "ed25519")]
    kind: String,
    /// What to call it [default: the user's name]
    #[arg(long)]
    label: Option<String>,
    /// Not for logging in: an identity that the user's container hosts get
    #[arg(long)]
    outbound: bool,
    #[command(flatten)]
    owner: Owner,
}

/// Mode of a public key.
const PUBLIC: u32 = 0o644;

/// Asks for a pair, and puts it where it was wanted.
pub(super) async fn run(session: &Session, arguments: &Arguments) -> anyhow::Result<()> {
    let to = arguments.to.as_deref().filter(|to| *to != Path::new("-"));
    // Before there is a key that nobody has.
    let files = to.map(pair).transpose()?;
    let ring = arguments.owner.ring(session).await?;
    let mut wanted = Map::new();
    wanted.insert("key_type".to_owned(), arguments.kind.as_str().into());
    if arguments.outbound {
        wanted.insert("purpose".to_owned(), "outbound".into());
    }
    if let Some(label) = &arguments.label {
        wanted.insert("label".to_owned(), label.as_str().into());
    }
    let path = ring.path(&["generate"]);
    let made: MadeKey = session
        .api
        .submit("make an SSH key", Method::POST, &path, &wanted)
        .await?;
    let fingerprint = &made.key.fingerprint;
    let Some((private, public)) = files else {
        return session.output.data(&made, |output| {
            if arguments.to.is_some() {
                output.raw(&made.private_key)?;
            }
            output.say(&format!("made {}: {fingerprint}", made.key.label));
            Ok(())
        });
    };
    private_file::write(&private, made.private_key.as_bytes(), PRIVATE)?;
    let line = format!("{}\n", made.public_key.trim());
    private_file::write(&public, line.as_bytes(), PUBLIC)?;
    if ring.owner.is_none() && !arguments.outbound {
        session.keep_identity(std::path::absolute(&private)?)?;
    }
    let done = json!({ "key": made.key, "private_key_file": private, "public_key_file": public });
    session.output.data(&done, |output| {
        output.say(&format!("wrote {}: {fingerprint}", private.display()));
        Ok(())
    })
}

/// The files of a pair, neither of which is there yet.
fn pair(to: &Path) -> Result<(PathBuf, PathBuf), Failure> {
    // A bare name is one in the folder where we are.
    let private = Path::new(".").join(to);
    let mut public = private.clone().into_os_string();
    public.push(".pub");
    let public = PathBuf::from(public);
    for file in [&private, &public] {
        if file.symlink_metadata().is_ok() {
            let message = format!("make an SSH key: {} is there already", file.display());
            return Err(Failure::new(Exit::Usage, message).hint("name another file with --to"));
        }
    }
    Ok((private, public))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_never_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key");
        let (private, public) = pair(&file).unwrap();
        assert_eq!(
            (private, public),
            (file.clone(), folder.path().join("key.pub"))
        );
        std::fs::write(folder.path().join("key.pub"), "x").unwrap();
        assert_eq!(pair(&file).unwrap_err().exit(), Exit::Usage);
    }
}
