//! The command line.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::{
    bench, check, ci, crash_points, diagrams, examine, failures, features, matrix, mutant_list,
    page::Mode,
    prove, services,
    steps::{Steps, keep_stdout_free},
    workspace::Workspace,
};

const EXIT_CODES: &str = "\
Exit codes:
  0  everything that ran has passed
  1  something has failed, or could not be started
  2  the command line was wrong

Every command ends with one plain line: `N passed, N failed`.";

/// The project's own commands.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", after_help = EXIT_CODES)]
struct Arguments {
    #[command(subcommand)]
    command: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Formats, lints and the project's rules. Changes nothing.
    Check {
        /// Only the rules, which take about a second.
        #[arg(long)]
        rules: bool,
    },
    /// All tests, doc tests, examples and the simulator. Needs no server and no root: tests of
    /// servers that are not here are skipped, and counted as such.
    Test {
        /// Servers that must be here: `--require postgres,redis`.
        #[arg(long, value_delimiter = ',')]
        require: Vec<String>,
        /// Leaves out all tests of servers, which `ci` runs.
        #[arg(long, conflicts_with = "require")]
        without_servers: bool,
    },
    /// What needs more time: slices of the long tiers, the kill campaign, features one by one.
    Ci {
        /// Goes on after a step has failed.
        #[arg(long)]
        keep_going: bool,
        /// Servers that must be here.
        #[arg(long, value_delimiter = ',', default_values = ci::REQUIRED)]
        require: Vec<String>,
    },
    /// Servers for tests: `cargo xtask services -- --help`.
    Services {
        /// Passed on: `up|down|status [postgres] ..` or `exec postgres .. -- COMMAND`, each but
        /// `down` with `--via containers|native` if it is to be this way alone.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// The long tiers. Results go to `docs/proof`. Without a tier: what was proven, and when.
    Prove {
        /// The tier to run; see the list.
        tier: Option<String>,
        /// How many seeds the simulator tier covers in all.
        #[arg(long, default_value_t = prove::SEEDS_DEFAULT)]
        seeds: u64,
    },
    /// The shipped orders through every store, transport and pattern, plainly, with faults, with
    /// kills, and with kills of the broker, on the servers that are here.
    Matrix {
        /// Only these stores: memory, redb, postgres, redis.
        #[arg(long = "store", value_delimiter = ',', value_name = "STORE")]
        stores: Vec<String>,
        /// Only these transports: inmem, kafka, nats.
        #[arg(long = "transport", value_delimiter = ',', value_name = "TRANSPORT")]
        transports: Vec<String>,
        /// Only these patterns: 0.5ps, saga, 1.5ps, 2ps, 3ps, 2pc.
        #[arg(long = "pattern", value_delimiter = ',', value_name = "PATTERN")]
        patterns: Vec<String>,
        /// Only the cells that `ci` runs.
        #[arg(long)]
        slice: bool,
        /// List the cells and run none.
        #[arg(long)]
        list: bool,
        /// Print one JSON object on stdout, `cells` and `failed`, and everything else on stderr.
        #[arg(long)]
        json: bool,
        /// Servers that must be here: `--require postgres,kafka`.
        #[arg(long, value_delimiter = ',')]
        require: Vec<String>,
        /// How many orders each trial runs.
        #[arg(long, value_name = "N", default_value_t = matrix::ORDERS_DEFAULT)]
        orders: usize,
    },
    /// Builds every feature of every crate alone, and each store with each transport.
    Features {
        /// Only these packages.
        #[arg(long = "package", value_delimiter = ',', value_name = "PACKAGE")]
        packages: Vec<String>,
        /// List the sets of features and build none.
        #[arg(long)]
        list: bool,
        /// Print one JSON object on stdout, `sets` and `failed`, and everything else on stderr.
        #[arg(long)]
        json: bool,
    },
    /// An example of several processes: `checkout` has five services, each with its own store,
    /// scales one of them, kills some, and shows what came of it.
    Example {
        /// Its name.
        #[arg(value_parser = ["checkout"])]
        name: String,
        /// What carries the messages: kafka or nats.
        #[arg(long, default_value = "nats")]
        transport: String,
        /// How each order is coordinated: 0.5ps, saga, 1.5ps, 2ps, 3ps or 2pc.
        #[arg(long, default_value = "3ps")]
        pattern: String,
        /// How many orders.
        #[arg(long, value_name = "N", default_value_t = 1_000)]
        orders: usize,
    },
    /// Speed as ratios to floors of the same run: `cargo xtask bench -- --help`.
    Bench {
        /// Passed on to the benchmark.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Writes the generated diagrams into `docs/patterns.md`.
    Diagrams {
        /// Changes nothing and fails when the page is out of date.
        #[arg(long)]
        check: bool,
    },
    /// Writes the list of crash points, `docs/crash-points.md`, from the sources.
    CrashPoints {
        /// Changes nothing and fails when the page is out of date.
        #[arg(long)]
        check: bool,
    },
    /// Writes what every store has survived, `docs/failures.md`, from the last results.
    Failures {
        /// Changes nothing and fails when the page is out of date.
        #[arg(long)]
        check: bool,
    },
    /// Writes the list of mutants, `docs/mutants.md`, from the sources and the last result.
    Mutants {
        /// Changes nothing and fails when the page is out of date.
        #[arg(long)]
        check: bool,
    },
}

/// Reads the command line and runs the command.
pub(crate) fn run() -> ExitCode {
    let arguments = Arguments::parse();
    match start(&arguments.command) {
        Ok(steps) => steps.close(),
        Err(problem) => {
            eprintln!("error: {problem}");
            println!("0 passed, 1 failed");
            ExitCode::FAILURE
        }
    }
}

fn start(task: &Task) -> Result<Steps, String> {
    let workspace = Workspace::open()?;
    let mut steps = Steps::new();
    match task {
        Task::Check { rules } => check::run(&workspace, &mut steps, *rules)?,
        Task::Test { require, without_servers } => {
            let require = (!without_servers).then_some(require.as_slice());
            examine::run(&workspace, &mut steps, require);
        }
        Task::Services { arguments } => services::pass(&workspace, &mut steps, arguments),
        Task::Ci { keep_going, require } => {
            if !keep_going {
                steps.stop_at_first_failure();
            }
            ci::run(&workspace, &mut steps, require);
        }
        Task::Prove { tier: None, .. } => prove::list(&workspace, &mut steps),
        Task::Prove { tier: Some(tier), seeds } => {
            prove::run(&workspace, &mut steps, tier, *seeds)?;
        }
        Task::Matrix { stores, transports, patterns, slice, list, json, require, orders } => {
            if *json {
                keep_stdout_free();
            }
            let wanted = matrix::Wanted {
                stores: stores.clone(),
                transports: transports.clone(),
                patterns: patterns.clone(),
                slice: *slice,
                list: *list,
                json: *json,
                require: require.clone(),
                orders: *orders,
            };
            matrix::run(&workspace, &mut steps, &wanted)?;
        }
        Task::Features { packages, list, json } => {
            if *json {
                keep_stdout_free();
            }
            let wanted = features::Wanted {
                packages: packages.clone(),
                list: *list,
                json: *json,
                slice: None,
            };
            features::run(&workspace, &mut steps, &wanted)?;
        }
        Task::Example { transport, pattern, orders, .. } => {
            let (transport, pattern, orders) = (transport.clone(), pattern.clone(), *orders);
            let wanted = matrix::Checkout { transport, pattern, orders };
            matrix::checkout(&workspace, &mut steps, &wanted)?;
        }
        Task::Bench { arguments } => bench::run(&workspace, &mut steps, arguments),
        Task::Diagrams { check } => {
            diagrams::step(&workspace, &mut steps, Mode::of(*check));
        }
        Task::CrashPoints { check } => {
            crash_points::step(&workspace, &workspace.facts()?, &mut steps, Mode::of(*check));
        }
        Task::Failures { check } => {
            failures::step(&workspace, &mut steps, Mode::of(*check));
        }
        Task::Mutants { check } => {
            mutant_list::step(&workspace, &workspace.facts()?, &mut steps, Mode::of(*check));
        }
    }
    Ok(steps)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed_and_its_help_lists_the_exit_codes() {
        Arguments::command().debug_assert();
        let help = Arguments::command().render_help().to_string();
        assert!(help.contains("Exit codes:"), "{help}");
    }

    #[test]
    fn an_unknown_command_is_refused() {
        assert!(Arguments::try_parse_from(["xtask", "nonsense"]).is_err());
        assert!(Arguments::try_parse_from(["xtask", "ci", "--keep-going"]).is_ok());
    }
}
