//! Where the host gets the time from.
