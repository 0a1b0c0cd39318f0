//! 1.5PS: a critical part that is executed or compensated, then an eventual part that is
//! delivered. The client waits for the critical part only.
//!
//! `Completed` of the critical part makes the eventual operations due in the same write.

use crate::pattern::{
    Phase,
    table::{Row, Table, rows},
};

#[rustfmt::skip]
const ROWS: &[Row] = rows![
    // from      , on                         , when         => to          , acts
    Initial      , Start                      , Always       => Executing   , [Ask(Execute)];
    Initial      , ResumedForward             , All(Deliver) => Completed   , [Tell(Committed), FinishLazily, Close];
    Initial      , ResumedForward             , Always       => Delivering  , [Tell(Committed), Ask(Deliver)];
    Initial      , ResumedBackward            , Always       => Compensating, [Undo];
    Initial      , Overdue | Cancelled        , Always       => Compensating, [Decide(Turned)];
    Executing    , Done                       , All(Execute) => Executed    , [Decide(Completed)];
    Executing    , Done                       , Always       => _           , [Ask(Execute)];
    Executing    , No | Lost                  , Always       => Compensating, [Decide(Turned)];
    Executing | Executed , Overdue | Cancelled , Always      => Compensating, [Decide(Turned)];
    Executed     , Decided(Completed)         , All(Deliver) => Completed   , [Tell(Committed), FinishLazily, Close];
    Executed     , Decided(Completed)         , Always       => Delivering  , [Tell(Committed), Ask(Deliver)];
    Delivering   , Done                       , All(Deliver) => Completed   , [FinishLazily, Close];
    Delivering   , Done                       , Always       => _           , [];
    Delivering   , Lost                       , All(Deliver) => Completed   , [DeadLetter, FinishLazily, Close];
    Delivering   , Lost                       , Always       => _           , [DeadLetter];
    Compensating , Decided(Turned)            , AllUndone    => Failed      , [FinishAwaited];
    Compensating , Decided(Turned)            , Always       => _           , [Undo];
    Compensating , Undone                     , AllUndone    => Failed      , [FinishAwaited];
    Compensating , Undone                     , Always       => _           , [Undo];
    Compensating , CannotUndo                 , Always       => _           , [Attention];
    Failed       , Recorded(Finished)         , Always       => _           , [TellReversed, Close];
];

/// The table of 1.5PS.
pub const TABLE: Table<'static> = Table {
    name: "1.5ps",
    phases: &[Phase::Execute],
    drop: None,
    reverse: Some(Phase::Compensate),
    rows: ROWS,
};
