//! Commands and exit codes. Data goes to standard output, talk to standard error.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::level_filters::LevelFilter;

use crate::agent::{self, RunError};
use crate::api::ApiError;
use crate::config::{self, Config, DEFAULT_PATH, LogLevel, Named};
use crate::enrol::{self, EnrolError};
use crate::state::{StateError, StateFolder};
use crate::{doctor, gateway_key};

mod command;
mod show;

use command::{Command, HELP, Verb};

/// How the program ended; the numbers are part of its interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done; `status`: connected; `doctor`: all is well.
    Ok = 0,
    /// Failed for a reason of its own: disk, another agent.
    Failed = 1,
    /// Bad command line or configuration.
    Usage = 2,
    /// The device is not enrolled.
    NotEnrolled = 3,
    /// The server said no.
    Refused = 4,
    /// The server cannot be reached, or the tunnel is down.
    Unreachable = 5,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Runs the command line of this process.
#[must_use]
pub fn main() -> Exit {
    let Command { config, verb } = match Command::read(std::env::args_os().skip(1)) {
        Ok(command) => command,
        Err(error) => {
            complain(&error.to_string(), "see `moorline-agent --help`");
            return Exit::Usage;
        }
    };
    match verb {
        Verb::Help => {
            show::line(HELP.trim_end());
            return Exit::Ok;
        }
        Verb::Version => {
            show::line(concat!("moorline-agent ", env!("CARGO_PKG_VERSION")));
            return Exit::Ok;
        }
        _ => {}
    }
    let (config, unknown) = match load_config(config) {
        Ok(loaded) => loaded,
        Err(error) => {
            complain(
                &error.to_string(),
                "see `moorline-agent --help` for the settings",
            );
            return Exit::Usage;
        }
    };
    start_log(config.log);
    for setting in unknown {
        tracing::warn!(setting, "unknown setting on the kernel command line");
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        // For name look-ups only.
        .max_blocking_threads(2)
        .thread_stack_size(256 * 1024)
        .thread_keep_alive(std::time::Duration::from_secs(1))
        .build();
    match runtime {
        Ok(runtime) => runtime.block_on(Box::pin(dispatch(verb, config))),
        Err(error) => {
            complain(&format!("start: {error}"), "is the device out of memory?");
            Exit::Failed
        }
    }
}

fn load_config(given: Option<PathBuf>) -> Result<(Config, Vec<String>), config::ConfigError> {
    let given = given.or_else(|| std::env::var_os("MOORLINE_CONFIG").map(PathBuf::from));
    match given {
        Some(path) => config::load(&path, Named::Yes),
        None => config::load(DEFAULT_PATH.as_ref(), Named::No),
    }
}

fn start_log(level: LogLevel) {
    let level = match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
    };
    // No times: whoever collects the log has a better clock than a device at boot.
    tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .with_target(false)
        .without_time()
        // A log that cannot be written (full disk, logger gone) would be complained about there, and end the program.
        .log_internal_errors(false)
        .compact()
        .init();
}

async fn dispatch(verb: Verb, config: Config) -> Exit {
    let state = StateFolder::find(config.state_dir.as_deref());
    match verb {
        Verb::Run => run(config).await,
        Verb::Enrol => enrol_once(&config, &state).await,
        Verb::Status(form) => show::status(&state, form).await,
        Verb::Doctor(form) => {
            let findings = doctor::examine(&config, &state).await;
            show::findings(&findings, form)
        }
        Verb::FactoryReset => factory_reset(&config, &state),
        Verb::Unenrol => unenrol(&config, &state).await,
        Verb::CheckConfig => check_config(&config, &state),
        Verb::Version | Verb::Help => Exit::Ok,
    }
}

async fn run(config: Config) -> Exit {
    let stop = CancellationToken::new();
    let signals = (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
    );
    let (Ok(mut terminate), Ok(mut interrupt)) = signals else {
        complain("listen for signals", "is the device out of memory?");
        return Exit::Failed;
    };
    let stopping = stop.clone();
    let stopped = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        stopping.cancel();
        std::future::pending::<()>().await;
    };
    let result = tokio::select! {
        result = Box::pin(agent::run(config, stop)) => result,
        () = stopped => Ok(()),
    };
    match result {
        Ok(()) => Exit::Ok,
        Err(error) => cannot_run(&error),
    }
}

fn check_config(config: &Config, state: &StateFolder) -> Exit {
    match agent::check_configured(config, state) {
        Ok(()) => Exit::Ok,
        Err(error) => cannot_run(&error),
    }
}

fn cannot_run(error: &RunError) -> Exit {
    let (exit, hint) = match error {
        RunError::InUse(_) => (
            Exit::Failed,
            "`moorline-agent status` says what it is doing",
        ),
        RunError::Unconfigured(_) => (
            Exit::Usage,
            "write /etc/moorline/agent.toml, or set MOORLINE_API_URL and MOORLINE_API_KEY",
        ),
    };
    complain(&error.to_string(), hint);
    exit
}

async fn enrol_once(config: &Config, state: &StateFolder) -> Exit {
    let locked = state.create().and_then(|()| state.lock());
    let _lock = match locked {
        Ok(lock) => lock,
        Err(StateError::InUse(_)) => return show::identity_of_running(state),
        Err(error) => return fail(&error.into()),
    };
    match enrol::enrol(config, state).await {
        Ok(enrolled) => {
            show::line(&format!(
                "enrolled as {} ({})",
                enrolled.identity.name, enrolled.identity.client_id
            ));
            Exit::Ok
        }
        Err(error) => fail(&error),
    }
}

fn factory_reset(config: &Config, state: &StateFolder) -> Exit {
    if !state.path().exists() {
        show::line("nothing to forget");
        return Exit::Ok;
    }
    let _lock = match state.lock() {
        Ok(lock) => lock,
        Err(error) => return fail(&error.into()),
    };
    match state.clear() {
        Ok(()) => {
            take_out_gateway_key(config);
            show::line("forgotten; the next start is a first boot");
            Exit::Ok
        }
        Err(error) => fail(&error.into()),
    }
}

async fn unenrol(config: &Config, state: &StateFolder) -> Exit {
    let identity = match state.identity() {
        Ok(Some(identity)) => identity,
        Ok(None) => {
            complain("the device is not enrolled", "there is nothing to delete");
            return Exit::NotEnrolled;
        }
        Err(error) => return fail(&error.into()),
    };
    let _lock = match state.lock() {
        Ok(lock) => lock,
        Err(error) => return fail(&error.into()),
    };
    let deleted = enrol::delete_client(config, state, &identity).await;
    match deleted.and_then(|()| Ok(state.clear()?)) {
        Ok(()) => {
            take_out_gateway_key(config);
            show::line(&format!("deleted {} at the server", identity.name));
            Exit::Ok
        }
        Err(error) => fail(&error),
    }
}

fn take_out_gateway_key(config: &Config) {
    if let Some(path) = &config.authorized_keys
        && let Err(error) = gateway_key::put(path, None)
    {
        tracing::warn!(path = %path.display(), %error, "take out the gateway's key");
    }
}

fn fail(error: &EnrolError) -> Exit {
    let (exit, hint) = match error {
        EnrolError::State(StateError::InUse(_)) => (Exit::Failed, "stop the running agent first"),
        EnrolError::State(StateError::Damaged { .. }) => (
            Exit::Failed,
            "`moorline-agent factory-reset` starts over; the device then becomes a new client",
        ),
        EnrolError::State(StateError::Disk { .. }) => (
            Exit::Failed,
            "is the disk full or read-only? state_dir in the configuration names another place",
        ),
        EnrolError::NoCredential(_) => (Exit::Usage, "`moorline-agent --help` shows how"),
        EnrolError::Api(ApiError::NoUrl) => (Exit::Usage, "set api_url or MOORLINE_API_URL"),
        EnrolError::Api(ApiError::Setup(_)) => (Exit::Usage, "check [trust] in the configuration"),
        EnrolError::Api(ApiError::Refused { .. }) => (
            Exit::Refused,
            "check key, scopes, limits and region at the server",
        ),
        EnrolError::Script(_) | EnrolError::Api(_) => (
            Exit::Unreachable,
            "`moorline-agent doctor` finds out what is in the way",
        ),
    };
    complain(&agent::with_causes(error), hint);
    exit
}

fn complain(what: &str, hint: &str) {
    let mut stderr = std::io::stderr().lock();
    writeln!(stderr, "moorline-agent: {what}\nhint: {hint}").unwrap_or_default();
}
