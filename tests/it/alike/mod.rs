//! A client cannot tell nearside from Redis: the same bytes go to nearside, in front of one server, and straight to
//! another, and what comes back is compared byte by byte.

mod fuzz;
mod pair;
mod vocabulary;
