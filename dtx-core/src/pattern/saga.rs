//! Saga: executed in the order of the dependencies, compensated in the reverse order.
//!
//! `Turned` is durable before the first compensation leaves; `PivotSent` before the pivot does,
//! and from then on only the pivot's own no turns the Saga (rules 2 and 4).

use crate::pattern::{
    Phase,
    table::{Row, Table, rows},
};

#[rustfmt::skip]
const ROWS: &[Row] = rows![
    // from      , on                         , when         => to          , acts
    Initial      , Start                      , PivotNext    => Executing   , [Record(PivotSent)];
    Initial      , Start                      , Always       => Executing   , [Ask(Execute)];
    Initial      , ResumedPivot               , Always       => Executing   , [Ask(Execute)];
    Initial      , ResumedBackward            , AllUndone    => Failed      , [FinishAwaited];
    Initial      , ResumedBackward            , Always       => Compensating, [Undo];
    Initial      , Overdue | Cancelled        , Always       => Compensating, [Decide(Turned)];
    Executing    , Done                       , All(Execute) => Completed   , [Decide(Completed)];
    Executing    , Done                       , PivotNext    => _           , [Record(PivotSent)];
    Executing    , Done                       , Always       => _           , [Ask(Execute)];
    Executing    , Recorded(PivotSent)        , Always       => _           , [Ask(Execute)];
    Executing    , No                         , Undecided    => Compensating, [Decide(Turned)];
    Executing    , No                         , PivotSaidNo  => Compensating, [Decide(Turned)];
    Executing    , No                         , Always       => _           , [Except];
    Executing    , Lost                       , Undecided    => Compensating, [Decide(Turned)];
    Executing    , Lost                       , Always       => _           , [AskAgain];
    Executing | Completed , Overdue | Cancelled , Always     => Compensating, [Decide(Turned)];
    Completed    , Decided(Completed)         , Always       => _           , [Tell(Committed), Close];
    Compensating , Decided(Turned)            , AllUndone    => Failed      , [FinishAwaited];
    Compensating , Decided(Turned)            , Always       => _           , [Undo];
    Compensating , Undone                     , AllUndone    => Failed      , [FinishAwaited];
    Compensating , Undone                     , Always       => _           , [Undo];
    Compensating , CannotUndo                 , Always       => _           , [Attention];
    Failed       , Recorded(Finished)         , Always       => _           , [TellReversed, Close];
];

/// The table of Saga.
pub const TABLE: Table<'static> = Table {
    name: "saga",
    phases: &[Phase::Execute],
    drop: None,
    reverse: Some(Phase::Compensate),
    rows: ROWS,
};
