//! Named places at which a process can be told to kill itself, for tests of what a crash leaves
//! behind.
//!
//! Without the feature `crash-points` a [`crash_point!`](crate::crash_point) compiles to nothing.
//! With it, `DTX_CRASH_POINT=NAME` kills the process at the first visit of the place, and
//! `DTX_CRASH_POINT=NAME:N` at the Nth: at once, without unwinding, as kill -9 does.
//! `DTX_CRASH_SURVEY=FILE` appends `NAME COUNT` to a file at the first visit of each place, and
//! whenever the count of its visits has doubled since.

#[cfg(feature = "crash-points")]
pub use self::armed::reach;

/// Marks a place where a process may crash: what is durable there, and what is not yet told, is
/// another state than at any other place.
///
/// `crash_point!("name")`, or `crash_point!("name", condition)` where the place counts only when
/// the condition holds. The condition must have no effect: it is not evaluated without the
/// feature `crash-points`.
#[cfg(not(feature = "crash-points"))]
#[macro_export]
macro_rules! crash_point {
    ($name:literal) => {};
    ($name:literal, $when:expr) => {{
        let _ = || -> bool { $when };
    }};
}

/// Marks a place where a process may crash: what is durable there, and what is not yet told, is
/// another state than at any other place.
///
/// `crash_point!("name")`, or `crash_point!("name", condition)` where the place counts only when
/// the condition holds. The condition must have no effect: it is not evaluated without the
/// feature `crash-points`.
#[cfg(feature = "crash-points")]
#[macro_export]
macro_rules! crash_point {
    ($name:literal) => {
        $crate::crash::reach($name)
    };
    ($name:literal, $when:expr) => {
        if $when {
            $crate::crash::reach($name);
        }
    };
}

#[cfg(feature = "crash-points")]
mod armed {
    use std::{
        collections::BTreeMap,
        env,
        fs::{File, OpenOptions},
        io::Write,
        sync::{LazyLock, Mutex, PoisonError},
        thread,
    };

    use rustix::process::{Signal, getpid, kill_process};

    const POINT: &str = "DTX_CRASH_POINT";
    const SURVEY: &str = "DTX_CRASH_SURVEY";

    /// What the environment asks for.
    #[derive(Debug, Default)]
    pub(super) struct Plan {
        pub(super) name: String,
        /// At which visit, from 1.
        pub(super) visit: u64,
        survey: Option<File>,
    }

    impl Plan {
        fn of_environment() -> Option<Self> {
            let survey = env::var_os(SURVEY).map(|path| {
                let file = OpenOptions::new().create(true).append(true).open(path);
                file.expect("the file of the survey can be written")
            });
            let point = env::var(POINT).ok();
            if survey.is_none() && point.is_none() {
                return None;
            }
            Some(Self { survey, ..Self::parse(point.as_deref().unwrap_or_default()) })
        }

        pub(super) fn parse(point: &str) -> Self {
            let (name, visit) = match point.split_once(':') {
                Some((name, visit)) => (name, visit.parse().expect("the visit is a number")),
                None => (point, 1),
            };
            Self { name: name.to_owned(), visit, survey: None }
        }
    }

    static PLAN: LazyLock<Option<Plan>> = LazyLock::new(Plan::of_environment);
    static VISITS: Mutex<BTreeMap<&'static str, u64>> = Mutex::new(BTreeMap::new());

    /// Counts a visit of a place, and kills the process if it is the one that was asked for.
    pub fn reach(name: &'static str) {
        let Some(plan) = &*PLAN else { return };
        let mut visits = VISITS.lock().unwrap_or_else(PoisonError::into_inner);
        let count = visits.entry(name).or_insert(0);
        *count += 1;
        if count.is_power_of_two()
            && let Some(mut file) = plan.survey.as_ref()
        {
            file.write_all(format!("{name} {count}\n").as_bytes()).expect("the survey is written");
        }
        if plan.name == name && plan.visit == *count {
            die(name);
        }
    }

    /// Says where, so that whoever waits knows that it was here, and is killed.
    fn die(name: &str) {
        let _ = std::io::stderr().write_all(format!("crash point {name}\n").as_bytes());
        kill_process(getpid(), Signal::KILL).expect("a process may kill itself");
        // The signal may take a moment. Nothing more may happen here.
        loop {
            thread::park();
        }
    }
}

#[cfg(all(test, feature = "crash-points"))]
mod tests {
    use super::armed::Plan;

    #[test]
    fn a_point_is_a_name_and_perhaps_a_visit() {
        let plan = Plan::parse("redb.batch.durable:17");
        assert_eq!((plan.name.as_str(), plan.visit), ("redb.batch.durable", 17));
        let plan = Plan::parse("redb.batch.durable");
        assert_eq!((plan.name.as_str(), plan.visit), ("redb.batch.durable", 1));
    }

    #[test]
    fn a_place_that_nobody_asked_for_is_passed() {
        crate::crash_point!("test.passed");
        crate::crash_point!("test.passed", true);
    }
}
