//! 3PS: every operation runs through reserve and validate at its own pace; execution waits for
//! all validations (`Gate::AllValidated`), or for nothing (`Gate::Independent`).
//!
//! With the gate, `Commit` is durable before the first execution and `Abort` before the first
//! release, so if any validation fails nothing is executed. Without it, the verdicts and the
//! compensation are those of a Saga.

use crate::pattern::{
    Phase,
    table::{Row, Table, rows},
};

#[rustfmt::skip]
const ROWS: &[Row] = rows![
    // from      , on                         , when         => to          , acts
    Initial      , Start                      , Always       => Reserving   , [Ask(Reserve)];
    Initial      , ResumedForward             , Always       => Executing   , [Tell(Committed), Ask(Execute)];
    Initial      , ResumedBackward            , Always       => Releasing   , [Tell(Aborted), Undo];
    Initial      , Overdue | Cancelled        , Always       => Aborting    , [Decide(Abort)];
    Reserving    , Done                       , All(Reserve) => Reserved    , [Ask(Validate)];
    Reserving    , Done                       , Always       => _           , [Ask(Validate)];
    Reserving    , No                         , ValidationSaidNo => Invalid , [Decide(Abort)];
    Reserving    , No | Lost | Overdue | Cancelled , Always  => Aborting    , [Decide(Abort)];
    Reserved     , Entered                    , Always       => Validating  , [];
    Validating   , Done                       , All(Validate) => Validated  , [];
    Validating   , Done                       , Always       => _           , [];
    Validating   , No                         , Always       => Invalid     , [Decide(Abort)];
    Validating   , Lost | Overdue | Cancelled , Always       => Aborting    , [Decide(Abort)];
    Validated    , Entered                    , GateShut     => _           , [OpenGate];
    Validated    , Entered | GateOpened       , Always       => _           , [Decide(Commit)];
    Validated    , GateRefused | Overdue | Cancelled , Always => Aborting   , [Decide(Abort)];
    Validated    , Decided(Commit)            , Always       => Executing   , [Tell(Committed), Ask(Execute)];
    Executing    , Done                       , All(Execute) => Completed   , [FinishLazily, Close];
    Executing    , Done                       , Always       => _           , [];
    Executing    , No                         , Always       => _           , [Except];
    Executing    , Lost                       , Always       => _           , [AskAgain];
    Initial | Reserving | Validating | Validated | Aborting | Invalid
                 , Decided(Abort)             , Always       => Releasing   , [Tell(Aborted), Undo];
    Releasing    , Entered | Undone           , AllUndone    => Failed      , [FinishLazily, Close];
    Releasing    , Undone                     , Always       => _           , [];
    Releasing    , CannotUndo                 , Always       => _           , [Attention];
];

/// The table of 3PS with `Gate::AllValidated`.
pub const TABLE: Table<'static> = Table {
    name: "3ps",
    phases: &[Phase::Reserve, Phase::Validate, Phase::Execute],
    drop: Some(Phase::Release),
    reverse: None,
    rows: ROWS,
};

#[rustfmt::skip]
const INDEPENDENT_ROWS: &[Row] = rows![
    // from      , on                         , when         => to          , acts
    Initial      , Start                      , Always       => Reserving   , [Ask(Reserve)];
    Initial      , ResumedBackward            , Always       => Compensating, [Undo];
    Initial      , Overdue | Cancelled        , Always       => Compensating, [Decide(Turned)];
    Reserving    , Done                       , All(Reserve) => Validating  , [Ask(Validate)];
    Reserving    , Done                       , Always       => _           , [Ask(Validate), Ask(Execute)];
    Validating   , Done                       , All(Validate) => Executing  , [Ask(Execute)];
    Validating   , Done                       , Always       => _           , [Ask(Execute)];
    Executing    , Done                       , All(Execute) => Completed   , [Decide(Completed)];
    Executing    , Done                       , Always       => _           , [];
    Reserving | Validating | Executing
                 , No | Lost                  , Always       => Compensating, [Decide(Turned)];
    Reserving | Validating | Executing | Completed
                 , Overdue | Cancelled        , Always       => Compensating, [Decide(Turned)];
    Completed    , Decided(Completed)         , Always       => _           , [Tell(Committed), Close];
    Compensating , Decided(Turned)            , AllUndone    => Failed      , [FinishAwaited];
    Initial | Reserving | Validating | Executing | Completed | Compensating
                 , Decided(Turned)            , Always       => Compensating, [Undo];
    Compensating , Undone                     , AllUndone    => Failed      , [FinishAwaited];
    Compensating , Undone | WasExecuted       , Always       => _           , [Undo];
    Compensating , CannotUndo                 , Always       => _           , [Attention];
    Failed       , Recorded(Finished)         , Always       => _           , [TellReversed, Close];
];

/// The table of 3PS with `Gate::Independent`.
pub const INDEPENDENT: Table<'static> = Table {
    name: "3ps-independent",
    phases: &[Phase::Reserve, Phase::Validate, Phase::Execute],
    drop: Some(Phase::Release),
    reverse: Some(Phase::Compensate),
    rows: INDEPENDENT_ROWS,
};
