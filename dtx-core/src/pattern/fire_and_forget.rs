//! 0.5PS: delivered at least once, with no coordination. The accept is the verdict.

use crate::pattern::{
    Phase,
    table::{Row, Table, rows},
};

#[rustfmt::skip]
const ROWS: &[Row] = rows![
    // from     , on             , when         => to        , acts
    Initial     , Decided(Completed) | ResumedForward
                                 , Always       => Delivering, [Tell(Dispatched), Ask(Deliver)];
    Delivering  , Done           , All(Deliver) => Completed , [FinishLazily, Close];
    Delivering  , Done           , Always       => _         , [];
    Delivering  , Lost           , All(Deliver) => Completed , [DeadLetter, FinishLazily, Close];
    Delivering  , Lost           , Always       => _         , [DeadLetter];
];

/// The table of 0.5PS.
pub const TABLE: Table<'static> =
    Table { name: "0.5ps", phases: &[Phase::Deliver], drop: None, reverse: None, rows: ROWS };
