//! `doctor`: walks from the state folder to the forward and says in plain words what is wrong and what to do.

use std::time::Duration;

use serde::{Serialize, Serializer};
use tokio::time::timeout;

use crate::api::{ApiClient, ApiError, Unreachable};
use crate::cli::Exit;
use crate::clock::{Clock, system_time};
use crate::config::{Config, Wishes};
use crate::device_key::DeviceKey;
use crate::enrol;
use crate::provision::Provision;
use crate::state::{Identity, StateFolder};
use crate::status::{self, Activity};
use crate::tunnel::{self, ConnectError};

mod way;

/// Time for one step that talks to the network.
const STEP_TIMEOUT: Duration = Duration::from_secs(40);

/// How a step went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it should be.
    Good,
    /// Worth knowing, stops nothing.
    Doubtful,
    /// This is in the way.
    Bad,
    /// Could not be looked at, or need not be.
    Skipped,
}

/// The result of one step.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// What was looked at.
    pub what: &'static str,
    /// How it went.
    pub verdict: Verdict,
    /// In words.
    pub says: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// What the program exits with if this is the first thing that is bad.
    #[serde(rename = "exit_code", serialize_with = "exit_number")]
    pub exit: Exit,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands over a reference"
)]
fn exit_number<S: Serializer>(exit: &Exit, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u8(*exit as u8)
}

impl Finding {
    fn new(what: &'static str, verdict: Verdict, says: impl Into<String>) -> Self {
        Self {
            what,
            verdict,
            says: says.into(),
            hint: None,
            exit: Exit::Failed,
        }
    }

    fn good(what: &'static str, says: impl Into<String>) -> Self {
        Self::new(what, Verdict::Good, says)
    }

    fn skipped(what: &'static str, says: impl Into<String>) -> Self {
        Self::new(what, Verdict::Skipped, says)
    }

    fn doubtful(what: &'static str, says: impl Into<String>, hint: &str) -> Self {
        Self {
            hint: Some(hint.to_owned()),
            ..Self::new(what, Verdict::Doubtful, says)
        }
    }

    fn bad(what: &'static str, exit: Exit, says: impl Into<String>, hint: &str) -> Self {
        Self {
            hint: Some(hint.to_owned()),
            exit,
            ..Self::new(what, Verdict::Bad, says)
        }
    }
}

/// Takes every step. Nothing is changed, and a tunnel that is up is left alone.
pub async fn examine(config: &Config, state: &StateFolder) -> Vec<Finding> {
    let identity = state.identity().ok().flatten();
    let provision = state.provision().ok().flatten();
    let mut findings = vec![
        disk(state),
        enrolment(state, identity.as_ref()),
        way::link(),
        clock(state),
        way::proxy(config, identity.as_ref()),
    ];
    findings.push(way::name(config, identity.as_ref()).await);
    findings.extend(api(config, state, identity.as_ref()).await);
    findings.extend(ssh(state, provision.as_ref()).await);
    findings.push(forward(provision.as_ref()).await);
    findings
}

fn disk(state: &StateFolder) -> Finding {
    let path = state.path().display();
    match state.check_writable() {
        Ok(()) => Finding::good("disk", format!("state folder {path} can be written")),
        Err(error) => {
            let says = crate::agent::with_causes(&error);
            let hint = "free space, remount it writable, or set state_dir to another place";
            if state.identity().is_ok_and(|identity| identity.is_some()) {
                Finding::doubtful("disk", says, hint)
            } else {
                Finding::bad("disk", Exit::Failed, says, hint)
            }
        }
    }
}

fn enrolment(state: &StateFolder, identity: Option<&Identity>) -> Finding {
    let damage = state
        .device_key()
        .err()
        .or_else(|| state.identity().err())
        .or_else(|| state.provision().err());
    match (damage, identity) {
        (Some(error), _) => Finding::bad(
            "enrolment",
            Exit::Failed,
            crate::agent::with_causes(&error),
            "check the disk; `moorline-agent factory-reset` starts over as a new client",
        ),
        (None, Some(identity)) => {
            let (name, id) = (&identity.name, &identity.client_id);
            Finding::good("enrolment", format!("enrolled as {name} ({id})"))
        }
        (None, None) => Finding::doubtful(
            "enrolment",
            "not enrolled yet",
            "`moorline-agent run` enrols as soon as the steps below are well",
        ),
    }
}

fn clock(state: &StateFolder) -> Finding {
    match enrol::floor(state).judge(system_time()) {
        Clock::Plausible(_) => Finding::good("clock", "shows a possible time"),
        Clock::Behind { .. } => Finding::doubtful(
            "clock",
            "is behind: it shows a time before this program was built or last used",
            "set up NTP; certificates are judged by the last known time meanwhile",
        ),
    }
}

async fn api(config: &Config, state: &StateFolder, identity: Option<&Identity>) -> [Finding; 2] {
    let client = match enrol::api_client(config, state, identity) {
        Ok(client) => client,
        Err(error) => {
            let hint = "check api_url and [trust] in the configuration";
            let finding = Finding::bad("api", Exit::Usage, error.to_string(), hint);
            return [finding, Finding::skipped("key", "the API cannot be asked")];
        }
    };
    let reached = match timeout(STEP_TIMEOUT, client.probe()).await {
        Ok(result) => result,
        Err(_) => Err(Unreachable::Timeout.into()),
    };
    if let Err(error) = reached {
        let finding = Finding::bad(
            "api",
            Exit::Unreachable,
            error.to_string(),
            api_hint(&error),
        );
        return [finding, Finding::skipped("key", "the API cannot be asked")];
    }
    let finding = Finding::good("api", "reached, and it is Moorline");
    [finding, key(config, state, identity, &client).await]
}

const fn api_hint(error: &ApiError) -> &'static str {
    match error {
        ApiError::Unreachable(Unreachable::Dns(_)) => "check /etc/resolv.conf and the name",
        ApiError::Unreachable(Unreachable::Proxy(_)) => {
            "check address and login of the proxy, and whether it allows the server"
        }
        ApiError::Unreachable(Unreachable::Certificate(_)) => {
            "check the clock, and pin the server's key or set trust.ca_file if it has its own CA"
        }
        ApiError::Unreachable(Unreachable::Tls(_)) => {
            "is that port HTTPS? a proxy may be intercepting the connection"
        }
        ApiError::NotMoorline(_) => "check api_url; on a guest network log in to its portal first",
        ApiError::TooMany(_) | ApiError::Busy { .. } => "the server is there; wait and see its log",
        _ => "check route, firewall and whether the server runs",
    }
}

/// Whether the key is good, without making anything: a call with a parameter that is refused only after the key was
/// accepted.
async fn key(
    config: &Config,
    state: &StateFolder,
    identity: Option<&Identity>,
    client: &ApiClient,
) -> Finding {
    let key = match enrol::api_key(config, state) {
        Ok(Some(key)) => key,
        Ok(None) if identity.is_some() => {
            return Finding::good("key", "forgotten after enrolment, as it should be");
        }
        Ok(None) => {
            let hint = "give an API key with device:create and device:read";
            return Finding::bad("key", Exit::Usage, "there is no API key", hint);
        }
        Err(error) => {
            let hint = "check api_key_file";
            return Finding::bad("key", Exit::Usage, error.to_string(), hint);
        }
    };
    let refused_on_purpose = Wishes {
        name_type: Some("doctor".into()),
        ..Wishes::default()
    };
    let introduction = crate::api::Introduction {
        public_key: "",
        hostname: "",
        hardware: serde_json::Map::new(),
    };
    let asked = client.create_new_client(&key, &refused_on_purpose, introduction);
    match timeout(STEP_TIMEOUT, asked).await {
        Ok(Err(ApiError::Refused { code: 31, .. })) => Finding::good("key", "accepted by the API"),
        Ok(Err(ApiError::Refused { message, .. })) if identity.is_some() => Finding::doubtful(
            "key",
            format!("not accepted any more: {message}"),
            "not needed while the tunnel works; it is only used to ask where the node is",
        ),
        Ok(Err(ApiError::Refused { message, .. })) => Finding::bad(
            "key",
            Exit::Refused,
            message,
            "check that the key exists, has device:create, has uses left and has not expired",
        ),
        Ok(Err(error)) => Finding::bad(
            "key",
            Exit::Unreachable,
            error.to_string(),
            api_hint(&error),
        ),
        Ok(Ok(_)) | Err(_) => Finding::skipped("key", "the API gave no clear answer"),
    }
}

async fn ssh(state: &StateFolder, provision: Option<&Provision>) -> Vec<Finding> {
    let Some(provision) = provision else {
        return vec![Finding::skipped("ssh", "no client script yet")];
    };
    let running = status::ask(state.path()).await;
    let connected = running.filter(|status| status.activity == Activity::Connected);
    if let Some(status) = connected {
        // Another login would take the tunnel over.
        let node = status.server.unwrap_or_default();
        return vec![Finding::good(
            "ssh",
            format!("the running agent is connected to {node}"),
        )];
    }
    let Ok(Some(key)) = state.device_key() else {
        return vec![Finding::skipped("ssh", "there is no device key")];
    };
    vec![login(provision, &key).await]
}

async fn login(provision: &Provision, key: &DeviceKey) -> Finding {
    let (host, port) = (&provision.server_host, provision.server_port);
    let tried = Box::pin(tunnel::try_login(provision, key));
    let error = match timeout(STEP_TIMEOUT, tried).await {
        Ok(Ok(())) => {
            return Finding::good("ssh", format!("{host} port {port} lets this device in"));
        }
        Ok(Err(error)) => error,
        Err(_) => ConnectError::Lost("no answer in time".into()),
    };
    let (exit, hint) = match &error {
        ConnectError::Dial(_) => (
            Exit::Unreachable,
            "check DNS, route and firewall: the SSH port of the node must be reachable",
        ),
        ConnectError::HostKey { .. } => (
            Exit::Refused,
            "someone is in between, or the node has a new key: then the API must give a new script",
        ),
        ConnectError::KeyRefused { .. } => (
            Exit::Refused,
            "is the device blocked, deleted, or its key replaced at the server?",
        ),
        ConnectError::Lost(_) => (
            Exit::Unreachable,
            "is that port really SSH? a firewall may be cutting it",
        ),
    };
    Finding::bad("ssh", exit, error.to_string(), hint)
}

async fn forward(provision: Option<&Provision>) -> Finding {
    let Some(provision) = provision else {
        return Finding::skipped("forward", "no client script yet");
    };
    let port = provision.forward.local_port;
    match tunnel::try_local_port(port).await {
        Ok(()) => Finding::good("forward", format!("something answers at port {port} here")),
        Err(error) => Finding::bad(
            "forward",
            Exit::Failed,
            format!("nothing answers at port {port} of this device: {error}"),
            "start the service there (sshd for port 22), or enrol with another fwport",
        ),
    }
}
