//! Questions that wait for their answers.

use std::{collections::HashMap, time::Duration};

use dtx_geo::pool::{Answer, HoldId, Input};
use tokio::{sync::oneshot, time::Instant};

use crate::handle::Told;

/// The longest pause between two times that a question is asked, as a multiple of the first.
const PAUSE_MAX: u32 = 16;

#[derive(Debug)]
struct Waiter {
    input: Input,
    again: Instant,
    pause: Duration,
    reply: oneshot::Sender<Told>,
}

/// All of them, by the hold that they are about.
#[derive(Debug)]
pub(crate) struct Asks {
    waiters: HashMap<HoldId, Vec<Waiter>>,
    first_pause: Duration,
}

/// Whether this can be the answer to that. An answer that comes late, to an earlier question
/// about the same hold, is not taken for one to a later question.
fn answers(input: &Input, answer: &Answer) -> bool {
    match answer {
        Answer::Reserved { .. }
        | Answer::SoldOut { .. }
        | Answer::Unavailable { .. }
        | Answer::Busy => matches!(input, Input::Reserve { .. }),
        Answer::Pinned => matches!(input, Input::Pin { .. } | Input::Extend { .. }),
        Answer::Extended { .. } | Answer::NotExtended { .. } => {
            matches!(input, Input::Extend { .. })
        }
        // How a hold has ended: that does not change, but it can be forgotten.
        Answer::Confirmed => !matches!(input, Input::Reserve { .. }),
        Answer::Cancelled | Answer::Expired => true,
        Answer::NotHere => !matches!(input, Input::Reserve { .. } | Input::Extend { .. }),
    }
}

impl Asks {
    pub(crate) fn new(first_pause: Duration) -> Self {
        Self { waiters: HashMap::new(), first_pause }
    }

    pub(crate) fn add(&mut self, id: HoldId, input: Input, reply: oneshot::Sender<Told>) {
        let pause = self.first_pause;
        let waiter = Waiter { input, again: Instant::now() + pause, pause, reply };
        self.waiters.entry(id).or_default().push(waiter);
    }

    /// Gives an answer to whom it is for.
    pub(crate) fn answer(&mut self, id: HoldId, told: Told) {
        let Some(waiters) = self.waiters.get_mut(&id) else { return };
        for at in (0..waiters.len()).rev() {
            if answers(&waiters[at].input, &told.answer) {
                // Who asked may not wait any more.
                let _ = waiters.swap_remove(at).reply.send(told);
            }
        }
        if waiters.is_empty() {
            self.waiters.remove(&id);
        }
    }

    /// Drops those for whom nobody waits any more, and says what has to be asked again: an answer
    /// of another region may have been lost. A reserve waits by itself.
    pub(crate) fn due(&mut self) -> Vec<Input> {
        let (now, mut due, most) = (Instant::now(), Vec::new(), self.first_pause * PAUSE_MAX);
        self.waiters.retain(|_, waiters| {
            waiters.retain(|waiter| !waiter.reply.is_closed());
            for waiter in waiters.iter_mut() {
                let waits = matches!(waiter.input, Input::Reserve { .. });
                if !waits && waiter.again <= now {
                    waiter.pause = (waiter.pause * 2).min(most);
                    waiter.again = now + waiter.pause;
                    due.push(waiter.input);
                }
            }
            !waiters.is_empty()
        });
        due
    }
}
