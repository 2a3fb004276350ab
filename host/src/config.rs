//! Options of `serve`, from arguments and environment.
