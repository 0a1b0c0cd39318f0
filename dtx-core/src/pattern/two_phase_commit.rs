//! 2PC: all prepare and vote, then all commit or abort. Locks, atomic, blocking; presumed abort
//! (Mohan, Lindsay, Obermarck 1986). One operation alone is committed in one phase.
//!
//! `Commit` is durable before the first commit leaves and `Abort` before the first abort does; a
//! one-phase commit leaves only after `Delegated`, and then the participant's answer decides.

use crate::pattern::{
    Phase,
    table::{Row, Table, rows},
};

#[rustfmt::skip]
const ROWS: &[Row] = rows![
    // from      , on                         , when         => to          , acts
    Initial      , Start                      , Alone        => Delegating  , [Record(Delegated)];
    Initial      , Start                      , Always       => Preparing   , [Ask(Prepare)];
    Initial      , ResumedDelegated           , Always       => Delegating  , [Ask(Commit)];
    Initial      , ResumedForward             , Always       => Committing  , [Tell(Committed), Ask(Commit)];
    Initial      , ResumedBackward            , Always       => Releasing   , [Tell(Aborted), Undo];
    Initial      , Overdue | Cancelled        , Always       => Aborting    , [Decide(Abort)];
    Preparing    , Done                       , All(Prepare) => Prepared    , [];
    Preparing    , Done                       , Always       => _           , [];
    Preparing    , No | Lost | Overdue | Cancelled , Always  => Aborting    , [Decide(Abort)];
    Prepared     , Entered                    , GateShut     => _           , [OpenGate];
    Prepared     , Entered | GateOpened       , Always       => _           , [Decide(Commit)];
    Prepared     , GateRefused | Overdue | Cancelled , Always => Aborting   , [Decide(Abort)];
    Prepared     , Decided(Commit)            , All(Commit)  => Completed   , [Tell(Committed), FinishLazily, Close];
    Prepared     , Decided(Commit)            , Always       => Committing  , [Tell(Committed), Ask(Commit)];
    Committing   , Done                       , All(Commit)  => Completed   , [FinishLazily, Close];
    Committing   , Done                       , Always       => _           , [];
    Committing   , No                         , Always       => _           , [Except];
    Committing   , Lost                       , Always       => _           , [AskAgain];
    Delegating   , Recorded(Delegated)        , Always       => _           , [Ask(Commit)];
    Delegating   , Done                       , Always       => Completed   , [Tell(Committed), FinishLazily, Close];
    Delegating   , No                         , Always       => Failed      , [Tell(Aborted), FinishLazily, Close];
    Delegating   , Overdue | Cancelled        , Always       => Aborting    , [Decide(Abort)];
    Delegating   , Lost                       , Always       => _           , [AskAgain];
    Initial | Preparing | Prepared | Delegating | Aborting
                 , Decided(Abort)             , Always       => Releasing   , [Tell(Aborted), Undo];
    Releasing    , Entered | Undone           , AllUndone    => Failed      , [FinishLazily, Close];
    Releasing    , Undone                     , Always       => _           , [];
    Releasing    , CannotUndo                 , Always       => _           , [Attention];
];

/// The table of 2PC.
pub const TABLE: Table<'static> = Table {
    name: "2pc",
    phases: &[Phase::Prepare, Phase::Commit],
    drop: Some(Phase::Abort),
    reverse: None,
    rows: ROWS,
};
