//! Parse → start the log → run the command → exit code.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use image_census::cli::{Cli, Command, LogFormat, LogLevel};
use image_census::commands::{self, Outcome, UsageError};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

fn main() -> ExitCode {
    let cli = Cli::parse();
    start_log(cli.log_format, cli.log_level);
    let outcome = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime.block_on(run(cli)),
        Err(error) => Err(error.into()),
    };
    match outcome {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::Incomplete) => ExitCode::from(3),
        // A reader of our output that has seen enough is no failure.
        Err(error) if is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            let text = format!("{error:#}");
            let _ = writeln!(
                io::stderr(),
                "error: {}",
                image_census::report::plain(&text)
            );
            ExitCode::from(if error.is::<UsageError>() { 2 } else { 1 })
        }
    }
}

async fn run(cli: Cli) -> anyhow::Result<Outcome> {
    let out = &mut io::BufWriter::new(io::stdout());
    let outcome = match cli.command {
        Command::Snapshot(arguments) => commands::snapshot(&arguments, on_signal()?, out).await,
        Command::List(arguments) => commands::list(&arguments, out).await,
        Command::Get(arguments) => commands::get(&arguments, out).await,
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "image-census", out);
            Ok(Outcome::Done)
        }
    };
    out.flush()?;
    outcome
}

/// Cancelled by the first SIGTERM or SIGINT; a SIGINT after that ends the program at once.
fn on_signal() -> io::Result<CancellationToken> {
    let (mut terminate, mut interrupt) = (
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
    );
    let token = CancellationToken::new();
    let cancelled = token.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        cancelled.cancel();
        interrupt.recv().await;
        abort();
    });
    Ok(token)
}

#[allow(clippy::exit, reason = "the second SIGINT asks for exactly this")]
fn abort() {
    std::process::exit(130);
}

fn is_closed_pipe(error: &anyhow::Error) -> bool {
    let cause = error
        .chain()
        .find_map(|cause| cause.downcast_ref::<io::Error>());
    cause.is_some_and(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
}

fn start_log(format: LogFormat, level: LogLevel) {
    // Our own events only, at any level: the libraries' trace requests, with access key ids in them.
    let filter = Targets::new().with_target("image_census", LevelFilter::from(level));
    let log = tracing_subscriber::fmt()
        .with_writer(io::stderr)
        .with_max_level(LevelFilter::TRACE)
        .with_target(false);
    let terminal = io::stderr().is_terminal();
    if format == LogFormat::Json || (format == LogFormat::Auto && !terminal) {
        log.json().flatten_event(true).finish().with(filter).init();
    } else {
        log.with_ansi(terminal).finish().with(filter).init();
    }
}
