//! Parse → start the log → run the command → exit code.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use image_census::cli::{Cli, Command, LogFormat, LogLevel};
use image_census::commands::{self, Outcome, UsageError};
use tokio::signal::unix::{Signal, SignalKind, signal};
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
        Ok(Outcome::Failed) => ExitCode::from(1),
        Ok(Outcome::Incomplete) => ExitCode::from(3),
        Ok(Outcome::Different) => ExitCode::from(4),
        Err(error) if error.is::<Abandoned>() => ExitCode::from(130),
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
    let out = &mut io::BufWriter::new(Output {
        stdout: io::stdout(),
        is_closed: false,
    });
    let outcome = match cli.command {
        Command::Snapshot(arguments) => {
            let signals = Signals::new()?;
            let (first, abandoned) = (signals.first.clone(), signals.second());
            tokio::select! {
                outcome = commands::snapshot(&arguments, first, out) => outcome,
                () = abandoned => Err(Abandoned.into()),
            }
        }
        Command::List(arguments) => commands::list(&arguments, out).await,
        Command::Get(arguments) => commands::get(&arguments, out).await,
        Command::Diff(arguments) => commands::diff(&arguments, out).await,
        Command::Trend(arguments) => commands::trend(&arguments, out).await,
        Command::Prune(arguments) => commands::prune(&arguments, out).await,
        Command::Check(arguments) => commands::check(&arguments, out).await,
        Command::Eol(arguments) => commands::eol(&arguments, out),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "image-census", out);
            Ok(Outcome::Done)
        }
    };
    let outcome = outcome?;
    out.flush()?;
    Ok(outcome)
}

/// The first SIGTERM or SIGINT asks for a report of what is known by then, the second for the end.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    /// Cancelled by the first.
    first: CancellationToken,
}

/// A second signal came: dropping the command ends its processes, and there is no report.
#[derive(Debug, thiserror::Error)]
#[error("ended by a second signal: no report")]
struct Abandoned;

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            first: CancellationToken::new(),
        })
    }

    /// Ends with the second signal.
    async fn second(mut self) {
        self.next().await;
        self.first.cancel();
        self.next().await;
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Standard output. When nobody reads it any more, what is left goes nowhere: the work is done and its
/// outcome told all the same.
struct Output {
    stdout: io::Stdout,
    is_closed: bool,
}

impl Output {
    fn unless_closed<T>(&mut self, result: io::Result<T>, instead: T) -> io::Result<T> {
        match result {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.is_closed = true;
                Ok(instead)
            }
            result => result,
        }
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.is_closed {
            return Ok(bytes.len());
        }
        let result = self.stdout.write(bytes);
        self.unless_closed(result, bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.is_closed {
            return Ok(());
        }
        let result = self.stdout.flush();
        self.unless_closed(result, ())
    }
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
