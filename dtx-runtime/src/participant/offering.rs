//! The methods by which handlers are given to a participant, whatever its unit of work.

/// The same methods for handlers of another unit of work.
macro_rules! offering {
    ($unit:ty) => {
        /// Offers a compensatable step: execute and compensate.
        #[must_use]
        pub fn saga<A: Execute<$unit> + Compensate<$unit>>(self, action: A) -> Self {
            self.offer::<A>(action, |offers, name, action| {
                offers.execute(name, action) & offers.compensate(name, action)
            })
        }

        /// Offers a step that is never taken back: execute alone. For pivots, retriable steps, and
        /// to add `execute` to what else an action offers.
        #[must_use]
        pub fn retriable<A: Execute<$unit>>(self, action: A) -> Self {
            self.offer::<A>(action, |offers, name, action| offers.execute(name, action))
        }

        /// Offers the two-phase saga: prepare and cancel, execute and compensate.
        #[must_use]
        pub fn two_phase<A: Prepare<$unit> + Execute<$unit> + Compensate<$unit>>(
            self,
            action: A,
        ) -> Self {
            self.offer::<A>(action, |offers, name, action| {
                offers.prepare(name, action)
                    & offers.execute(name, action)
                    & offers.compensate(name, action)
            })
        }

        /// Offers the three-phase saga: reserve and release, validate, execute. For
        /// `Gate::Independent` add [`Self::saga`], which offers to compensate.
        #[must_use]
        pub fn three_phase<A: Reserve<$unit> + Validate<$unit> + Execute<$unit>>(
            self,
            action: A,
        ) -> Self {
            self.offer::<A>(action, |offers, name, action| {
                offers.reserve(name, action)
                    & offers.validate(name, action)
                    & offers.execute(name, action)
            })
        }

        /// Offers two-phase commit: prepare, commit and abort.
        #[must_use]
        pub fn two_phase_commit<A: TwoPhaseCommit<$unit>>(self, action: A) -> Self {
            self.offer::<A>(action, |offers, name, action| offers.vote(name, action))
        }

        /// Offers to take messages in: fire-and-forget, and eventual operations.
        #[must_use]
        pub fn deliver<A: Deliver<$unit>>(self, action: A) -> Self {
            self.offer::<A>(action, |offers, name, action| offers.deliver(name, action))
        }

        /// Offers to say what is known. Without it, the inbox answers.
        #[must_use]
        pub fn status<A: Status<$unit>>(self, action: A) -> Self {
            self.offer::<A>(action, |offers, name, action| offers.status(name, action))
        }

        fn offer<A: Action>(
            mut self,
            action: A,
            add: impl FnOnce(&mut Offers<$unit>, &ActionName, &Arc<A>) -> bool,
        ) -> Self {
            let participant = self.name.clone();
            let fault = match ActionName::new(A::NAME) {
                Ok(name) if add(&mut self.offers, &name, &Arc::new(action)) => None,
                Ok(action) => {
                    Some(ParticipantError::Twice { participant, action, version: A::VERSION })
                }
                Err(error) => Some(ParticipantError::Action { participant, error }),
            };
            self.fault = self.fault.or(fault);
            self
        }
    };
}

pub(super) use offering;
