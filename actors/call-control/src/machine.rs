//! What a state machine of this crate is: inputs and the time go in, effects come out, and nothing else
//! happens.

/// Milliseconds by a clock that only goes forward: since the Unix epoch in a conversation, since its own
/// beginning elsewhere.
pub type Millis = u64;

/// A deterministic state machine: two equal ones stay equal as long as they take the same inputs at the same
/// times.
pub trait Machine {
    /// What happened. It may borrow from what it was read from.
    type Input<'a>;
    /// What is to be done about it. Whoever steps the machine carries it out.
    type Effect;

    /// Takes one input and pushes what is to be done about it.
    fn step(&mut self, input: &Self::Input<'_>, now: Millis, effects: &mut Vec<Self::Effect>);

    /// When the machine is to be stepped by the clock if nothing else happens before.
    fn deadline(&self) -> Option<Millis>;
}

/// A machine whose inputs can be kept and taken again, by a [`Journal`](crate::journal::Journal).
pub trait Replay: Machine {
    /// An input that borrows nothing. It may lack what the machine does not decide by: a machine that takes
    /// the kept input ends in the same state, and its effects may differ in what is lacking.
    type Kept;

    /// Keeps an input that this machine is about to take. `latest_first`: the kept inputs before, with which
    /// it may share.
    fn keep<'k>(
        &self,
        input: &Self::Input<'_>,
        latest_first: impl Iterator<Item = &'k Self::Kept>,
    ) -> Self::Kept
    where
        Self::Kept: 'k;

    /// The input that was kept.
    fn kept(kept: &Self::Kept) -> Self::Input<'_>;

    /// How many bytes the kept input holds outside of itself, as an upper bound or nearly so.
    fn heap_bytes(kept: &Self::Kept) -> usize;
}
