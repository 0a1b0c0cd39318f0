//! What happens in runs, counted.

use serde::Serialize;

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {
        /// What happened in a run, counted. Sums in a [`Summary`](crate::Summary).
        #[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
        #[non_exhaustive]
        pub struct Counters {
            $($(#[$doc])* pub $name: u64,)+
        }

        impl Counters {
            /// All counters with their names.
            pub fn list(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name)),+]
            }

            /// Adds those of another run.
            pub fn add(&mut self, other: &Self) {
                $(self.$name += other.$name;)+
            }
        }
    };
}

counters! {
    /// Events.
    events,
    /// Transactions whose accept was told.
    accepted,
    /// Outcomes that were told, repeats by later owners included.
    told,
    /// Transactions that committed.
    committed,
    /// Transactions that were aborted.
    aborted,
    /// Transactions that were compensated.
    compensated,
    /// Transactions that were dispatched.
    dispatched,
    /// Commands that left.
    commands,
    /// Replies that left.
    replies,
    /// Messages that were lost.
    lost,
    /// Messages that came twice.
    duplicates,
    /// Partitions of the nodes.
    partitions,
    /// Regions that were lost for a while.
    region_losses,
    /// Messages and calls that a partition or an outage stopped.
    cut_off,
    /// Commits that were sent.
    commits,
    /// Commits that failed in one way or another.
    store_faults,
    /// Commits that landed after their failure had been told.
    late_landings,
    /// Times that the store was away or slow.
    outages,
    /// Crashes of coordinators and participants.
    crashes,
    /// Coordinators that stood still for a while.
    stalls,
    /// Shards that were given back.
    handovers,
    /// Jumps of a clock.
    clock_steps,
    /// Crashes by a transaction that kills who handles it.
    poisoned,
    /// Shards whose loss was found by a write.
    leases_lost,
    /// Transactions that were found open by a new owner.
    recovered,
    /// Transactions that were parked.
    parked,
    /// Signals that became durable.
    signals,
    /// Inquiries of participants.
    inquiries,
    /// Inquiries that wrote a going back.
    inquiry_aborts,
    /// Submissions that met their own key.
    duplicate_keys,
    /// Handlers' own no.
    rejected,
    /// Forward commands that came after their operation was taken back.
    refused_undone,
    /// Commands that came after the time of what they needed.
    refused_expired,
    /// Takings back of what had been executed, asked for as if it had not.
    refused_executed,
    /// Takings back of what had never come.
    tombstones,
    /// Times that a transaction began to wait for an operator.
    needs_attention,
    /// What operators did, after the faults and before.
    operator_moves,
    /// Transactions that a healer took for orphans.
    orphans,
    /// Stuck transactions that a healer tried again.
    heal_retries,
    /// Operations that ended in the dead letters.
    dead_letters,
    /// Writes of participants that had to be planned again.
    replans,
    /// Rows that participants forgot.
    collected,
    /// Records that coordinators waited for.
    awaited_writes,
    /// Records that nobody waited for.
    lazy_writes,
}
