//! A call in several statements: parts that are sent one after another, each of them made again
//! when it met what others wrote.

use std::{future::Future, sync::Arc};

use dtx_core::error::{Effect, ErrorKind};

use crate::{
    error::Failure,
    store::{Inner, owned},
};

/// About how many bytes of values travel in one statement.
pub(crate) const STATEMENT_BYTES: usize = 8 << 20;

/// How often a statement that met another one is made again before the call fails.
const TRIES: usize = 20;

/// What became of the items of one part, in order.
pub(crate) type Answer<R> = Result<Vec<R>, Failure>;

/// Some items of a call that go in one statement.
pub(crate) trait Part: Send + Sync + 'static {
    /// What becomes of an item.
    type Result: Send + 'static;

    /// Where the items stand in the call.
    fn places(&self) -> &[usize];

    /// Sends the statement. `is_again`: it met others before.
    fn send(
        &self,
        inner: &Inner,
        is_again: bool,
    ) -> impl Future<Output = Answer<Self::Result>> + Send;

    /// What an item comes to that failed.
    fn failed(failure: Failure) -> Self::Result;
}

/// Sends the parts, and puts what became of each item into its place. `results` are those of the
/// call, with the places of the parts' items empty.
///
/// # Cancel safety
/// What was begun goes on in a task of its own.
pub(crate) async fn settle<P: Part>(
    inner: &Arc<Inner>,
    parts: Vec<P>,
    mut results: Vec<Option<P::Result>>,
) -> Vec<P::Result> {
    let places: Vec<Vec<usize>> = parts.iter().map(|part| part.places().to_vec()).collect();
    let work = {
        let inner = inner.clone();
        async move { run(&inner, parts).await }
    };
    let answers = match owned(work).await {
        Ok(answers) => answers,
        Err(failure) => places.iter().map(|_| Err(failure.clone())).collect(),
    };
    for (places, answer) in places.iter().zip(answers) {
        let mut answer = answer.map(Vec::into_iter);
        for place in places {
            results[*place] = match &mut answer {
                Ok(decided) => decided.next(),
                Err(failure) => Some(P::failed(failure.clone())),
            };
        }
    }
    let missing =
        || P::failed(Failure::new(ErrorKind::Internal, Effect::Unknown, "no answer for it"));
    results.into_iter().map(|result| result.unwrap_or_else(missing)).collect()
}

/// Sends the parts one after another. After one that failed the others are not tried: they would
/// wait as long, and their order would be lost.
async fn run<P: Part>(inner: &Inner, parts: Vec<P>) -> Vec<Answer<P::Result>> {
    let mut answers = Vec::with_capacity(parts.len());
    let mut stopped: Option<Failure> = None;
    for part in parts {
        if let Some(failure) = &stopped {
            let mut failure = failure.clone();
            failure.effect = Effect::None;
            answers.push(Err(failure));
            continue;
        }
        let answer = run_part(inner, &part).await;
        stopped = answer.as_ref().err().cloned();
        answers.push(answer);
    }
    answers
}

async fn run_part<P: Part>(inner: &Inner, part: &P) -> Answer<P::Result> {
    for time in 0..TRIES {
        match part.send(inner, time > 0).await {
            Err(failure) if failure.again() => {}
            answer => return answer,
        }
    }
    let context = format!("it met other writes {TRIES} times");
    Err(Failure::new(ErrorKind::Unavailable, Effect::None, context))
}
