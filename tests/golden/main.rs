//! Golden tests: tables of inputs and what must come of them, as files beside this one.

mod route;
