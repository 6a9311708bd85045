//! `strata stats`: what a snapshot's file says.

use clap::{Args, ValueEnum};
use core::fmt::{self, Write as _};
use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use strata_stats::{Dialect, Document, ReadError, explain, render_brief, render_html};

/// Show what a snapshot says
///
/// FILE is what a program under Strata wrote because of STRATA_CONF=snapshot_file:FILE, or - for standard input.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// The snapshot
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// An earlier snapshot of the same program: show what changed since (brief, explain, json, html)
    #[arg(long, value_name = "EARLIER")]
    diff: Option<PathBuf>,

    /// The form
    #[arg(long, value_name = "FORM", value_enum, default_value = "brief")]
    format: Format,

    /// Write to PAGE in place of standard output
    #[arg(short, long, value_name = "PAGE")]
    output: Option<PathBuf>,
}

/// The forms in which a snapshot can be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// One screen: what the program holds, what the allocator holds, what could go back
    Brief,
    /// What stands out, ranked, and what to do about it
    Explain,
    /// The ledger against what the kernel has in memory
    Kernel,
    /// TCMalloc's report as of April 2020
    Tcmalloc,
    /// TCMalloc's report as of today
    TcmallocToday,
    /// The figures as protobuf text, with the fields of April 2020
    Pbtxt,
    /// The figures as protobuf text, with the fields of today
    PbtxtToday,
    /// The snapshot itself, or with --diff what changed
    Json,
    /// A page with pictures, which needs nothing but a browser
    Html,
}

impl Format {
    /// Whether a doubt about the snapshots stands in the text itself, which may be kept; else it goes to standard error.
    const fn is_for_reading(self) -> bool {
        matches!(self, Self::Brief | Self::Explain)
    }
}

/// Why nothing is shown.
#[derive(Debug)]
pub(crate) enum Failure {
    /// A file is not to be had.
    Read(PathBuf, io::Error),
    /// A file is no snapshot.
    NoSnapshot(PathBuf, ReadError),
    /// A form that shows no differences was asked for some.
    NoDifference,
    /// The snapshot does not say what the kernel has.
    NoKernel,
    /// The output is not to be written.
    Write(io::Error),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(path, error) => write!(f, "{}: {error}", path.display()),
            Self::NoSnapshot(path, error) => write!(f, "{}: {error}", path.display()),
            Self::NoDifference => {
                f.write_str("--diff goes with --format brief, explain, json and html")
            }
            Self::NoKernel => f.write_str(
                "the snapshot does not say what the kernel has (snapshot_detail:figures)",
            ),
            Self::Write(error) => write!(f, "cannot write: {error}"),
        }
    }
}

/// Shows the snapshot.
pub(crate) fn perform(options: &Options) -> ExitCode {
    match show(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("strata: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn show(options: &Options) -> Result<(), Failure> {
    let later = read(&options.file)?;
    let earlier = options.diff.as_deref().map(read).transpose()?;
    let text = render(options.format, &later, earlier.as_ref())?;
    if !options.format.is_for_reading()
        && let Some(doubt) = doubt(&later, earlier.as_ref())
    {
        eprintln!("strata: {doubt}");
    }
    let written = match &options.output {
        Some(page) => fs::write(page, text),
        None => io::stdout().write_all(text.as_bytes()),
    };
    match written {
        // Whoever reads has seen enough.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        other => other.map_err(Failure::Write),
    }
}

/// Why two snapshots are not an earlier and a later one of one program, if they are not. They are compared all the
/// same: who compares two runs knows what it means.
fn doubt(later: &Document, earlier: Option<&Document>) -> Option<String> {
    let earlier = earlier?;
    if later.process_id != earlier.process_id || later.process_name != earlier.process_name {
        let (one, other) = (earlier.title(), later.title());
        return Some(format!(
            "the snapshots are of two processes, {one} and {other}: what differs is not what changed"
        ));
    }
    let is_backwards = later.snapshot.taken_ns < earlier.snapshot.taken_ns;
    is_backwards.then(|| {
        "the snapshot of --diff is the later one of the two: changes are shown backwards".to_owned()
    })
}

fn read(path: &Path) -> Result<Document, Failure> {
    let text = if path.as_os_str() == "-" {
        let mut text = Vec::new();
        io::stdin().read_to_end(&mut text).map(|_| text)
    } else {
        fs::read(path)
    };
    let text = text.map_err(|error| Failure::Read(path.to_owned(), error))?;
    Document::read(&text).map_err(|error| Failure::NoSnapshot(path.to_owned(), error))
}

/// What a text begins with: of what it is, and what speaks against reading a difference as a change.
fn head(later: &Document, earlier: Option<&Document>) -> String {
    let mut head = later.title();
    head.push('\n');
    if let Some(doubt) = doubt(later, earlier) {
        let _ = writeln!(head, "Beware: {doubt}");
    }
    head
}

fn render(format: Format, later: &Document, earlier: Option<&Document>) -> Result<String, Failure> {
    let mut text = String::new();
    let before = earlier.map(|earlier| &*earlier.snapshot);
    let figures = later.figures();
    // Strings take all that is written.
    let _ = match format {
        Format::Html => return Ok(render_html(later, earlier)),
        Format::Brief => {
            text.push_str(&head(later, earlier));
            render_brief(figures, before, &mut text)
        }
        Format::Explain => {
            text.push_str(&head(later, earlier));
            write!(text, "{}", explain(figures, before))
        }
        Format::Kernel if earlier.is_some() => return Err(Failure::NoDifference),
        Format::Kernel => match &later.kernel {
            Some(kernel) => writeln!(text, "{}\n{kernel}", later.title()),
            None => return Err(Failure::NoKernel),
        },
        Format::Json => match before {
            Some(before) => {
                let difference = serde_json::to_string(&later.snapshot.diff(before));
                writeln!(text, "{}", difference.unwrap_or_default())
            }
            None => later.write(&mut text),
        },
        Format::Tcmalloc | Format::TcmallocToday | Format::Pbtxt | Format::PbtxtToday
            if earlier.is_some() =>
        {
            return Err(Failure::NoDifference);
        }
        Format::Tcmalloc => later.render(Dialect::TcmallocText, &mut text),
        Format::TcmallocToday => later.render(Dialect::TcmallocTextToday, &mut text),
        Format::Pbtxt => later.render(Dialect::TcmallocPbtxt, &mut text),
        Format::PbtxtToday => later.render(Dialect::TcmallocPbtxtToday, &mut text),
    };
    Ok(text)
}
