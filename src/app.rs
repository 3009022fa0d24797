//! Putting the rooms together.
