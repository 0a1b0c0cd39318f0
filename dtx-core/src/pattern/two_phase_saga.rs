//! 2PS: all prepare, then all execute. One gate, parallel inside each phase, no locks.
//!
//! `Turned` is durable before the first cancel or compensation leaves. A cancel that finds its
//! operation executed is followed by a compensation (rule 3).

use crate::pattern::{
    Phase,
    table::{Row, Table, rows},
};

#[rustfmt::skip]
const ROWS: &[Row] = rows![
    // from      , on                         , when         => to          , acts
    Initial      , Start                      , Always       => Preparing   , [Ask(Prepare)];
    Initial      , ResumedBackward            , Always       => Compensating, [Undo];
    Initial      , Overdue | Cancelled        , Always       => Compensating, [Decide(Turned)];
    Preparing    , Done                       , All(Prepare) => Prepared    , [];
    Preparing    , Done                       , Always       => _           , [];
    Preparing    , No | Lost | Overdue | Cancelled , Always  => Compensating, [Decide(Turned)];
    Prepared     , Entered                    , GateShut     => _           , [OpenGate];
    Prepared     , Entered                    , Always       => Executing   , [Ask(Execute)];
    Prepared     , GateOpened                 , Always       => Executing   , [Ask(Execute)];
    Prepared     , GateRefused | Overdue | Cancelled , Always => Compensating, [Decide(Turned)];
    Executing    , Done                       , All(Execute) => Completed   , [Decide(Completed)];
    Executing    , Done                       , Always       => _           , [Ask(Execute)];
    Executing    , No | Lost                  , Always       => Compensating, [Decide(Turned)];
    Executing | Completed , Overdue | Cancelled , Always     => Compensating, [Decide(Turned)];
    Completed    , Decided(Completed)         , Always       => _           , [Tell(Committed), Close];
    Compensating , Decided(Turned)            , AllUndone    => Failed      , [FinishAwaited];
    Compensating , Decided(Turned)            , Always       => _           , [Undo];
    Compensating , Undone                     , AllUndone    => Failed      , [FinishAwaited];
    Compensating , Undone | WasExecuted       , Always       => _           , [Undo];
    Compensating , CannotUndo                 , Always       => _           , [Attention];
    Failed       , Recorded(Finished)         , Always       => _           , [TellReversed, Close];
];

/// The table of 2PS.
pub const TABLE: Table<'static> = Table {
    name: "2ps",
    phases: &[Phase::Prepare, Phase::Execute],
    drop: Some(Phase::Cancel),
    reverse: Some(Phase::Compensate),
    rows: ROWS,
};
