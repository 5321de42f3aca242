//! Speech for the simulators: short μ-law clips and what is said in them.
