//! Bugs that tests switch on, to see that each is found. No program has them.

/// A rule of a pool that is broken at one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bug {
    /// I1: a giver takes back what the receiver has not acknowledged.
    TakesBack,
    /// I2: one unit more than there is may be held.
    SpendsOneMore,
    /// I3: a total that was received is added instead of merged.
    TotalsAdded,
    /// I4: what was given is not written.
    GivenUnwritten,
    /// I5: a late confirm of an expired hold sells its units.
    ExpiredSells,
    /// I5: a region makes a hold of an id whose hold it has in another region.
    HeldTwice,
    /// I6: extensions are not bounded by the total life.
    ExtendsForever,
    /// I7: a grant that was lost is not sent again.
    NeverResent,
    /// I8: one look at all regions is enough to say that all is sold.
    LooksOnce,
    /// The credit window does not bound what is spent.
    CreditIgnored,
}
