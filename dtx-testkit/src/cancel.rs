//! Dropping a future half-way, at every point at which a caller could.
//!
//! A future can only be dropped between two polls, so trying every number of polls tries every
//! point. What must hold afterwards is up to the test: nothing is half-done, nothing is lost, the
//! next call works.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    task::Poll,
};

/// Polls a future at most `polls` times, each time that it is woken, and then drops it. `None`
/// when it was dropped; its output when it was ready in time.
///
/// With 0 the future is dropped without having been polled. It is never polled without having
/// been woken, so a future that waits for something that never comes waits here too.
pub async fn drop_after_polls<F: Future>(future: F, polls: usize) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut left = polls;
    poll_fn(move |cx| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        match future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// Runs `attempt` with 0, 1, 2, ... polls until it says that its future was ready, and returns
/// how many polls that took. `attempt` makes a fresh future, hands it to [`drop_after_polls`],
/// checks what must hold, and returns whether the future was ready.
///
/// # Panics
/// When the future is not ready after `polls_max` polls.
pub async fn at_every_poll<F: Future<Output = bool>>(
    polls_max: usize,
    mut attempt: impl FnMut(usize) -> F,
) -> usize {
    for polls in 0..=polls_max {
        if attempt(polls).await {
            return polls;
        }
    }
    panic!("the future was not ready after {polls_max} polls");
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    use super::*;

    /// Counts what it did and that it was dropped, and yields twice.
    async fn three_steps(steps: &AtomicUsize, drops: &AtomicUsize) -> &'static str {
        struct Guard<'a>(&'a AtomicUsize);
        impl Drop for Guard<'_> {
            fn drop(&mut self) {
                self.0.fetch_add(1, Relaxed);
            }
        }
        let _guard = Guard(drops);
        for _ in 0..2 {
            steps.fetch_add(1, Relaxed);
            tokio::task::yield_now().await;
        }
        steps.fetch_add(1, Relaxed);
        "done"
    }

    #[tokio::test]
    async fn a_future_is_polled_exactly_so_often_and_then_dropped() {
        for (polls, output, dropped) in
            [(0, None, 0), (1, None, 1), (2, None, 1), (3, Some("done"), 1), (4, Some("done"), 1)]
        {
            let (steps, drops) = (AtomicUsize::new(0), AtomicUsize::new(0));
            assert_eq!(drop_after_polls(three_steps(&steps, &drops), polls).await, output);
            assert_eq!(steps.load(Relaxed), polls.min(3), "after {polls} polls");
            assert_eq!(drops.load(Relaxed), dropped, "after {polls} polls");
        }
    }

    #[tokio::test]
    async fn every_number_of_polls_is_tried() {
        let (steps, drops) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let (steps, drops) = (&steps, &drops);
        let polls = at_every_poll(10, |polls| async move {
            drop_after_polls(three_steps(steps, drops), polls).await.is_some()
        })
        .await;
        assert_eq!((polls, steps.load(Relaxed)), (3, 1 + 2 + 3));
    }

    #[tokio::test]
    #[should_panic(expected = "not ready after 2 polls")]
    async fn a_future_that_needs_more_polls_fails_the_test() {
        at_every_poll(2, |polls| async move {
            let (steps, drops) = (AtomicUsize::new(0), AtomicUsize::new(0));
            drop_after_polls(three_steps(&steps, &drops), polls).await.is_some()
        })
        .await;
    }
}
