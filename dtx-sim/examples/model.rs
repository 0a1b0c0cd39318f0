//! Searches the states of one transaction under a model checker.
//!
//! `model list OPERATIONS` prints the cases that there are with so many
//! participants; those of one participant also with a caller who cancels and with a failing store.
//! `model OPERATIONS EPOCHS LIMIT THREADS [CASE..]` prints one JSON object for each case, and one
//! with `searched` now and then on the way. A case is
//! a name such as `3ps`, with `+cancel`, `+store` and `+plain` after it.

use std::process::ExitCode;

use dtx_sim::{Bug, Case, check_case};

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if let [list, operations] = words.as_slice()
        && list == "list"
    {
        let operations = operations.parse().unwrap_or_default();
        for case in Case::all(operations, 1) {
            println!("{}", case.name());
            if operations == 1 {
                println!("{}", case.clone().with_cancel().name());
                println!("{}", case.with_store_faults().name());
            }
        }
        return ExitCode::SUCCESS;
    }
    let numbers: Vec<u64> = words.iter().take(4).filter_map(|word| word.parse().ok()).collect();
    let [operations, epochs, limit, threads] = *numbers.as_slice() else {
        eprintln!("give OPERATIONS EPOCHS LIMIT THREADS [CASE..]");
        return ExitCode::from(2);
    };
    let all = Case::all(operations as usize, epochs);
    let mut names: Vec<String> = words.into_iter().skip(4).collect();
    if names.is_empty() {
        names = all.iter().map(|case| case.name().to_owned()).collect();
    }
    let mut is_sound = true;
    for name in names {
        let Some(case) = case(&all, &name) else {
            eprintln!("there is no case {name:?}");
            return ExitCode::from(2);
        };
        let checked = check_case(&case, limit, threads as usize, |states| {
            println!("{}", serde_json::json!({ "searched": states }));
        });
        is_sound &= checked.is_sound();
        println!("{}", serde_json::to_string(&checked).expect("a result is plain data"));
    }
    if is_sound { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn case(all: &[Case], name: &str) -> Option<Case> {
    let mut words = name.split('+');
    let first = words.next()?;
    let mut case = all.iter().find(|case| case.name() == first)?.clone();
    for word in words {
        case = match word {
            "cancel" => case.with_cancel(),
            "store" => case.with_store_faults(),
            "plain" => case.without_symmetry(),
            bug => {
                let bug = Bug::ALL.into_iter().find(|known| format!("{known:?}") == bug)?;
                case.with_bug(bug)
            }
        };
    }
    Some(case)
}
