//! A state machine and its checkpoint, kept without copying: every input that was completed is applied to a second
//! instance, which is therefore always the state as of the last completed input. The machine is deterministic, so both
//! are equal; a panic between the two leaves the second one whole.

use super::conversation::Effect;

/// See the module.
pub struct Checkpointed<S> {
    live: S,
    completed: S,
    /// What the second instance would do was done already.
    discarded: Vec<Effect>,
}

impl<S: Clone + PartialEq> Checkpointed<S> {
    pub fn new(state: S) -> Self {
        Self { completed: state.clone(), live: state, discarded: Vec::new() }
    }

    pub fn live(&self) -> &S {
        &self.live
    }

    /// Applies an input; [`complete`](Self::complete) follows when its effects are carried out.
    pub fn step(&mut self, input: impl FnOnce(&mut S, &mut Vec<Effect>), effects: &mut Vec<Effect>) {
        input(&mut self.live, effects);
    }

    /// The input is completed.
    pub fn complete(&mut self, input: impl FnOnce(&mut S, &mut Vec<Effect>)) {
        input(&mut self.completed, &mut self.discarded);
        self.discarded.clear();
        if cfg!(debug_assertions) {
            self.check();
        }
    }

    /// Goes back to the last completed input.
    pub fn restore(&mut self) {
        self.live = self.completed.clone();
    }

    /// Panics where a completed input has not left both instances the same.
    fn check(&self) {
        assert!(self.live == self.completed, "the checkpoint is not what the call has come to");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_input_that_was_not_completed_leaves_no_trace() {
        let mut state = Checkpointed::new(vec![0]);
        state.step(|state, _| state.push(1), &mut vec![]);
        state.complete(|state, _| state.push(1));
        state.step(|state, _| state.push(2), &mut vec![]);
        assert_eq!(state.live(), &[0, 1, 2]);
        state.restore();
        assert_eq!(state.live(), &[0, 1]);
    }

    #[test]
    #[should_panic(expected = "the checkpoint is not what the call has come to")]
    fn a_machine_that_does_something_else_the_second_time_is_noticed() {
        let mut state = Checkpointed::new(vec![0]);
        state.step(|state, _| state.push(1), &mut vec![]);
        state.complete(|state, _| state.push(2));
    }
}
