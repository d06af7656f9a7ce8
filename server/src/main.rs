//! `moorline-server`.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::pin;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, CommandFactory as _, Parser, Subcommand};
use moorline_protocol::Secret;
use moorline_server::admin::{self, AdminArgs, DataPlace};
use moorline_server::api::openapi;
use moorline_server::backup::{self, BackupArgs, RestoreArgs, Said};
use moorline_server::config::file::LogFormat;
use moorline_server::config::{Config, Overrides, PortRange, Tls, TlsSource};
use moorline_server::registry::model::Timestamp;
use moorline_server::serve::{make_data_dir, serve};
use moorline_server::tls;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

/// Moorline's server: registry, API, SSH gateway and forwarding.
#[derive(Parser)]
#[command(name = "moorline-server", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the server.
    Serve(ServeArgs),
    /// Check the configuration and end.
    CheckConfig(ServeArgs),
    /// Work on the data folder, also while the server runs.
    Admin(AdminCli),
    /// Take a snapshot of the database, also while the server runs.
    Backup(BackupCli),
    /// Put a snapshot in the place of the database; the server has to be stopped.
    Restore(RestoreCli),
    /// Print the OpenAPI document of the HTTP API.
    Openapi,
    /// Print completions for a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

#[derive(Args)]
struct AdminCli {
    #[command(flatten)]
    place: PlaceArgs,
    #[command(flatten)]
    args: AdminArgs,
}

#[derive(Args)]
struct BackupCli {
    #[command(flatten)]
    place: PlaceArgs,
    #[command(flatten)]
    args: BackupArgs,
}

#[derive(Args)]
struct RestoreCli {
    #[command(flatten)]
    place: PlaceArgs,
    #[command(flatten)]
    args: RestoreArgs,
}

#[derive(Args)]
struct PlaceArgs {
    /// Configuration file of the server.
    #[arg(long, value_name = "FILE", env = "MOORLINE_CONFIG", global = true)]
    config: Option<PathBuf>,
    /// Data folder of the server [default: ./moorline-data, for root /var/lib/moorline-server].
    #[arg(long, value_name = "DIR", env = "MOORLINE_DATA_DIR", global = true)]
    data_dir: Option<PathBuf>,
}

impl PlaceArgs {
    fn load(self) -> anyhow::Result<Config> {
        let overrides = Overrides {
            data_dir: self.data_dir,
            ..Overrides::default()
        };
        Ok(Config::load(self.config.as_deref(), overrides)?)
    }
}

#[derive(Args)]
struct ServeArgs {
    /// Configuration file.
    #[arg(long, value_name = "FILE", env = "MOORLINE_CONFIG")]
    config: Option<PathBuf>,
    /// Folder of everything the server keeps [default: ./moorline-data, for root /var/lib/moorline-server].
    #[arg(long, value_name = "DIR", env = "MOORLINE_DATA_DIR")]
    data_dir: Option<PathBuf>,
    /// Address of the HTTP API [default: 0.0.0.0:8080].
    #[arg(long, value_name = "ADDR")]
    http: Option<SocketAddr>,
    /// Address of the SSH gateway, may be repeated [default: 0.0.0.0:2222].
    #[arg(long, value_name = "ADDR")]
    ssh: Vec<SocketAddr>,
    /// Name or address under which devices and people reach this server.
    #[arg(long, value_name = "NAME")]
    public_host: Option<String>,
    /// Public ports of forwards [default: 10000-59999].
    #[arg(long, value_name = "FROM-TO")]
    ports: Option<PortRange>,
    /// Serve HTTPS with a certificate the server makes itself.
    #[arg(long)]
    tls_self_signed: bool,
    /// Form of the log.
    #[arg(long, value_enum)]
    log_format: Option<LogFormat>,
}

impl ServeArgs {
    fn load(self) -> anyhow::Result<Config> {
        let overrides = Overrides {
            data_dir: self.data_dir,
            http: self.http,
            ssh: self.ssh,
            public_host: self.public_host,
            ports: self.ports,
            tls_self_signed: self.tls_self_signed,
            log_format: self.log_format,
            jwt_secret: std::env::var("ADMIN_JWT_SECRET")
                .ok()
                .filter(|secret| !secret.is_empty())
                .map(Secret::new),
        };
        Ok(Config::load(self.config.as_deref(), overrides)?)
    }
}

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let text = format!("moorline-server: {error:#}\n");
            // Nothing is left to do when even this cannot be said.
            std::io::stderr()
                .write_all(text.as_bytes())
                .unwrap_or_default();
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<()> {
    match cli.command {
        Command::Serve(args) => {
            let config = args.load()?;
            start_log(&config)?;
            runtime()?.block_on(serve(config, CancellationToken::new()))?;
            Ok(())
        }
        Command::CheckConfig(args) => {
            let config = args.load()?;
            if let Some(Tls { source, .. }) = &config.tls
                && *source != TlsSource::SelfSigned
            {
                tls::load(source, &config.data_dir, &config.public_host, None)?;
            }
            if let Some(names) = &config.names
                && let Some((certificate, key)) = &names.certificate
            {
                let files = (certificate.as_path(), key.as_path());
                let (dir, host) = (&config.data_dir, &config.public_host);
                tls::load_for_names(files, &names.domain, None, dir, host)?;
            }
            print("configuration is good\n")
        }
        Command::Admin(cli) => run_admin(cli),
        Command::Backup(cli) => run_backup(cli),
        Command::Restore(cli) => run_restore(cli),
        Command::Openapi => print(&(openapi::text() + "\n")),
        Command::Completions { shell } => {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "moorline-server", &mut text);
            print(&String::from_utf8_lossy(&text))
        }
    }
}

fn run_admin(cli: AdminCli) -> anyhow::Result<()> {
    let config = cli.place.load()?;
    make_data_dir(&config)?;
    let place = DataPlace {
        database_url: config.database_url.clone(),
        data_dir: config.data_dir.clone(),
        master_key: config.master_key(),
    };
    let text = runtime()?.block_on(admin::run(cli.args, &place))?;
    print(&text)
}

/// A signal ends it as any other failure does: without a partial file, and with nothing deleted.
fn run_backup(cli: BackupCli) -> anyhow::Result<()> {
    let config = cli.place.load()?;
    let done = runtime()?.block_on(async {
        let mut signals = stop_signals()?;
        let [terminate, interrupt] = &mut signals;
        let stop = CancellationToken::new();
        let mut work = pin!(backup::backup(&cli.args, &config, Timestamp::now(), &stop));
        tokio::select! {
            said = &mut work => return Ok::<_, anyhow::Error>(said?),
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        stop.cancel();
        // It ends where it can be cleaned up, which is at once.
        Ok(work.await?)
    });
    say(&done?)
}

/// Signals do not cut it off: it either puts everything in its place or leaves everything as it was.
fn run_restore(cli: RestoreCli) -> anyhow::Result<()> {
    let config = cli.place.load()?;
    let done = runtime()?.block_on(async {
        let _held = stop_signals()?;
        Ok::<_, anyhow::Error>(backup::restore(&cli.args, &config, Timestamp::now()).await?)
    });
    say(&done?)
}

fn stop_signals() -> anyhow::Result<[Signal; 2]> {
    let watch = |kind| signal(kind).context("watch for signals");
    Ok([
        watch(SignalKind::terminate())?,
        watch(SignalKind::interrupt())?,
    ])
}

fn say(said: &Said) -> anyhow::Result<()> {
    print(&said.data)?;
    std::io::stderr()
        .write_all(said.advice.as_bytes())
        .context("print")
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("start the runtime")
}

fn start_log(config: &Config) -> anyhow::Result<()> {
    let filter = match std::env::var("RUST_LOG") {
        Ok(filter) if !filter.is_empty() => filter,
        _ => config.log_filter.clone(),
    };
    let filter =
        EnvFilter::try_new(&filter).with_context(|| format!("read log filter `{filter}`"))?;
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    match config.log_format {
        LogFormat::Text => log
            .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
            .init(),
        LogFormat::Json => log.json().init(),
    }
    Ok(())
}

fn print(text: &str) -> anyhow::Result<()> {
    std::io::stdout()
        .write_all(text.as_bytes())
        .context("print")
}
