//! `moorline login`.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use moorline_protocol::operator::GatewayInfo;
use reqwest::Method;

use super::whoami::WhoAmI;
use crate::api::{Address, Api, Login, LoginAnswer};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::gateway;
use crate::instant;
use crate::profile::{Pin, Profile, ProfileName, Token, Trust};
use crate::session::{self, Context};

/// Log in to a server and remember it as a profile
///
/// The password is asked for, or read from stdin with --password-stdin; it is never kept.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// URL of the server; without it, log in again where the profile says
    url: Option<Address>,

    /// Who logs in: user name or short id
    #[arg(long, short, env = "MOORLINE_USERNAME", value_name = "NAME")]
    username: Option<String>,

    /// Read the password from the first line of stdin
    #[arg(long)]
    password_stdin: bool,

    /// Believe certificates of this authority too (PEM file)
    #[arg(long, value_name = "FILE", conflicts_with = "pin")]
    ca: Option<PathBuf>,

    /// Believe only a server with this public key: sha256/BASE64, as the server prints it
    #[arg(long, value_name = "PIN")]
    pin: Option<Pin>,
}

const EXAMPLES: &str = "Examples:
  moorline login https://moor.example.com:8080 --username admin
  moorline login https://moor.example.com:8080 --ca ca.pem
  moorline --profile work login
  moorline login https://moor.example.com:8080 --username ci --password-stdin < password";

/// Logs in, and keeps profile, token and the gateway's host key.
pub(crate) async fn run(context: Context, arguments: Arguments) -> anyhow::Result<()> {
    let (name, known) = choose_profile(&context, arguments.url.as_ref())?;
    let mut profile = draft(&arguments, known)?;
    let api = session::connect(context.output, &name, &profile)?;
    if profile.username.is_empty() {
        profile.username = context.output.ask("user name", "--username NAME")?;
    }
    let password = if arguments.password_stdin {
        context.output.password_from_stdin()?
    } else {
        let question = format!("password of {} at {}", profile.username, profile.url);
        context.output.ask_password(&question)?
    };
    let login = Login {
        username: &profile.username,
        password: password.expose(),
    };
    let attempt = format!("log in to {}", profile.url);
    let path = ["v1", "auth", "login"];
    let answer: LoginAnswer = api.submit(&attempt, Method::POST, &path, &login).await?;
    let life = Duration::from_secs(answer.expires_in);
    let token = Token {
        expires_at: instant::after(SystemTime::now(), life).unwrap_or_default(),
        token: answer.token,
    };
    profile.username = answer.username;
    profile.role = answer.role;
    profile.short_id = answer.short_id;
    profile.gateway = find_gateway(&context, api.with_token(token.token.clone())).await?;
    keep(&context, &name, &profile, &token)?;
    report(&context, &name, &profile, &token)
}

/// The profile a login is for: the one asked for, else the one that has this URL, else a new one.
fn choose_profile(
    context: &Context,
    url: Option<&Address>,
) -> anyhow::Result<(ProfileName, Option<Profile>)> {
    let store = &context.store;
    let Some(url) = url else {
        let (name, profile) = context.profile()?;
        return Ok((name, Some(profile)));
    };
    let text = url.to_string();
    if let Some(name) = &context.asked {
        let known = store.profile(name)?.filter(|profile| profile.url == text);
        return Ok((name.clone(), known));
    }
    let names = store.names()?;
    let current = store.current()?;
    for name in current.iter().chain(&names) {
        if let Some(profile) = store.profile(name)?
            && profile.url == text
        {
            return Ok((name.clone(), Some(profile)));
        }
    }
    let name = if names.is_empty() {
        ProfileName::first()
    } else {
        ProfileName::from_lossy(&url.authority())
    };
    Ok((name, None))
}

/// The profile as it is before the server has answered: from the arguments, else as `known`.
fn draft(arguments: &Arguments, known: Option<Profile>) -> anyhow::Result<Profile> {
    let given_trust = match (&arguments.ca, &arguments.pin) {
        (Some(file), _) => Some(Trust::Ca(read_ca(file)?)),
        (None, Some(pin)) => Some(Trust::Pin(pin.clone())),
        (None, None) => None,
    };
    let (known_username, known_trust, known_url, identities) = known
        .map(|known| (known.username, known.trust, known.url, known.identities))
        .unwrap_or_default();
    Ok(Profile {
        url: arguments.url.as_ref().map_or(known_url, Address::to_string),
        username: arguments.username.clone().unwrap_or(known_username),
        role: String::new(),
        short_id: String::new(),
        identities,
        trust: given_trust.unwrap_or(known_trust),
        gateway: None,
    })
}

fn read_ca(file: &PathBuf) -> anyhow::Result<String> {
    std::fs::read_to_string(file).map_err(|error| {
        let exit = if error.kind() == std::io::ErrorKind::NotFound {
            Exit::NotFound
        } else {
            Exit::Failed
        };
        let message = format!("read CA certificate {}", file.display());
        Failure::new(exit, message).because(error).into()
    })
}

/// Where the gateway is. A server that does not say is no reason to refuse the login.
async fn find_gateway(context: &Context, api: Api) -> anyhow::Result<Option<GatewayInfo>> {
    match api.get("find the gateway", &["v1", "gateway"], &[]).await {
        Ok(found) => Ok(Some(gateway::checked(found)?)),
        Err(error) => {
            context.output.warn(&crate::failure::chain(&error));
            Ok(None)
        }
    }
}

fn keep(
    context: &Context,
    name: &ProfileName,
    profile: &Profile,
    token: &Token,
) -> anyhow::Result<()> {
    let store = &context.store;
    let old = store.profile(name)?;
    store.save_profile(name, profile)?;
    store.save_token(name, token)?;
    store.set_current(name).context("keep the login")?;
    let Some(gateway) = &profile.gateway else {
        return Ok(());
    };
    if let Some(known) = old.and_then(|old| old.gateway)
        && known.host_key != gateway.host_key
    {
        context.output.warn(
            "the gateway has another host key than at the last login; it is believed from now on",
        );
    }
    gateway::save_known_hosts(store, name, gateway)
}

fn report(
    context: &Context,
    name: &ProfileName,
    profile: &Profile,
    token: &Token,
) -> anyhow::Result<()> {
    let answer = WhoAmI::of(name, profile, &token.expires_at);
    context.output.data(&answer, |output| {
        output.say(&format!(
            "logged in to {} as {} until {} (profile {name})",
            answer.url, answer.username, answer.expires_at
        ));
        Ok(())
    })
}
