//! What was received and is not yet in a batch.

use std::collections::{HashMap, HashSet, VecDeque};

use dtx_core::store::Scope;

use super::job::Job;

/// Commands by the scope that they touch. A scope is in one batch at a time, so that its commands
/// keep their order and share one write.
#[derive(Debug, Default)]
pub(crate) struct ScopeQueue {
    waiting: HashMap<Scope, VecDeque<Job>>,
    busy: HashSet<Scope>,
    ready: VecDeque<Scope>,
}

impl ScopeQueue {
    pub(crate) fn push(&mut self, scope: Scope, job: Job) {
        if let Some(jobs) = self.waiting.get_mut(&scope) {
            jobs.push_back(job);
            return;
        }
        if !self.busy.contains(&scope) {
            self.ready.push_back(scope.clone());
        }
        self.waiting.insert(scope, VecDeque::from([job]));
    }

    /// Up to `max` commands; their scopes are busy until they are released.
    pub(crate) fn take(&mut self, max: usize) -> Vec<(Scope, Vec<Job>)> {
        let mut batch = Vec::new();
        let mut room = max;
        while room > 0
            && let Some(scope) = self.ready.pop_front()
        {
            let waiting = self.waiting.get_mut(&scope).expect("a ready scope has commands");
            let jobs: Vec<_> = waiting.drain(..waiting.len().min(room)).collect();
            if waiting.is_empty() {
                self.waiting.remove(&scope);
            }
            room -= jobs.len();
            self.busy.insert(scope.clone());
            batch.push((scope, jobs));
        }
        batch
    }

    pub(crate) fn release(&mut self, scopes: Vec<Scope>) {
        for scope in scopes {
            self.busy.remove(&scope);
            if self.waiting.contains_key(&scope) {
                self.ready.push_back(scope);
            }
        }
    }

    /// Everything that is in no batch.
    pub(crate) fn drain(&mut self) -> Vec<Job> {
        self.ready.clear();
        self.waiting.drain().flat_map(|(_, jobs)| jobs).collect()
    }
}

#[cfg(test)]
mod tests {
    use dtx_core::{ids::AcceptSequence, name::ParticipantName, pattern::Phase};

    use super::*;
    use crate::participant::host::testing::command;

    fn job(operation: u16) -> Job {
        let mut command = command(1, Phase::Execute);
        command.operation.0 = operation;
        command.sequence = AcceptSequence::default();
        command.participant = ParticipantName::new("bank").expect("a name");
        Job::of_inquiry(command)
    }

    fn scope(name: &str) -> Scope {
        Scope::new(name).expect("a scope")
    }

    fn shape(batch: &[(Scope, Vec<Job>)]) -> Vec<(String, Vec<u16>)> {
        let numbers = |jobs: &[Job]| jobs.iter().map(|j| j.command.operation.0).collect();
        batch.iter().map(|(scope, jobs)| (scope.to_string(), numbers(jobs))).collect()
    }

    #[test]
    fn a_busy_scope_waits_and_keeps_its_order() {
        let mut queue = ScopeQueue::default();
        for (name, number) in [("a", 1), ("b", 2), ("a", 3)] {
            queue.push(scope(name), job(number));
        }
        let first = queue.take(10);
        assert_eq!(shape(&first), [("a".into(), vec![1, 3]), ("b".into(), vec![2])]);
        queue.push(scope("a"), job(4));
        queue.push(scope("c"), job(5));
        assert_eq!(shape(&queue.take(10)), [("c".into(), vec![5])]);
        queue.release(vec![scope("a"), scope("b")]);
        assert_eq!(shape(&queue.take(10)), [("a".into(), vec![4])]);
        queue.release(vec![scope("a"), scope("c")]);
        assert!(queue.take(10).is_empty());
    }

    #[test]
    fn a_batch_is_cut_at_its_limit_and_the_rest_comes_next() {
        let mut queue = ScopeQueue::default();
        (0..5).for_each(|number| queue.push(scope("a"), job(number)));
        assert_eq!(shape(&queue.take(3)), [("a".into(), vec![0, 1, 2])]);
        assert!(queue.take(3).is_empty());
        queue.release(vec![scope("a")]);
        assert_eq!(shape(&queue.take(3)), [("a".into(), vec![3, 4])]);
    }

    #[test]
    fn drained_commands_are_gone() {
        let mut queue = ScopeQueue::default();
        (0..5).for_each(|number| queue.push(scope("a"), job(number)));
        assert_eq!(queue.drain().len(), 5);
        assert!(queue.take(3).is_empty());
    }
}
