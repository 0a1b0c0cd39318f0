//! How far a run is, on stderr.

use std::{
    fmt::Display,
    io::{IsTerminal, Write},
    sync::atomic::{AtomicUsize, Ordering},
};

use clap::ValueEnum;
use dtx_shop::Told;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;

/// How progress is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum ProgressMode {
    /// A bar when stderr is a terminal, else nothing.
    #[default]
    Auto,
    /// A bar.
    Bar,
    /// Lines such as {"progress":120,"of":6919}.
    Json,
    /// Lines such as {"accepted":"17"} and {"order":"17","outcome":"committed"}, each once it
    /// is durable.
    Orders,
    /// Nothing.
    None,
}

/// About how many lines a whole run prints.
const LINES: usize = 200;

/// Shows how far a run is.
#[derive(Debug)]
pub(crate) enum Progress {
    Bar(ProgressBar),
    Lines { of: usize, printed: AtomicUsize },
    Orders,
    Silent,
}

impl Progress {
    /// For a run of so many orders. `what` stands before the bar.
    pub(crate) fn new(mode: ProgressMode, what: &str, of: usize) -> Self {
        let is_bar = match mode {
            ProgressMode::Auto => std::io::stderr().is_terminal(),
            ProgressMode::Bar => true,
            ProgressMode::Json => return Self::Lines { of, printed: AtomicUsize::new(usize::MAX) },
            ProgressMode::Orders => return Self::Orders,
            ProgressMode::None => false,
        };
        if !is_bar {
            return Self::Silent;
        }
        let bar = ProgressBar::with_draw_target(Some(of as u64), ProgressDrawTarget::stderr());
        let template = "{prefix} [{bar:40}] {pos}/{len} {per_sec} {eta}";
        let style = ProgressStyle::with_template(template).expect("the template is valid");
        bar.set_style(style.progress_chars("=> "));
        bar.set_prefix(what.to_owned());
        Self::Bar(bar)
    }

    /// How it goes on.
    pub(crate) fn tell(&self, told: Told<'_>) {
        match (self, told) {
            (Self::Orders, Told::Accepted(order, _)) => print(&json!({ "accepted": order })),
            (Self::Orders, Told::Ended(order, _, outcome)) => {
                print(&json!({ "order": order, "outcome": outcome }));
            }
            (_, Told::Done(done)) => self.set(done),
            _ => {}
        }
    }

    /// So many orders have ended.
    pub(crate) fn set(&self, done: usize) {
        match self {
            Self::Bar(bar) => bar.set_position(done as u64),
            Self::Lines { of, printed } => {
                let step = (of / LINES).max(1);
                let before = printed.load(Ordering::Relaxed);
                // The first, the last, and every step between them.
                if before == usize::MAX || done == *of || done >= before + step {
                    printed.store(done, Ordering::Relaxed);
                    print(&format_args!("{{\"progress\":{done},\"of\":{of}}}"));
                }
            }
            Self::Orders | Self::Silent => {}
        }
    }
}

/// One line, in one piece, so that a reader sees whole lines. Nobody may be reading any more, which
/// is no reason to stop.
fn print(line: &dyn Display) {
    let _ = std::io::stderr().write_all(format!("{line}\n").as_bytes());
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Self::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}
