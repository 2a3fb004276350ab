//! The store and the thread, on files, in memory, and on a disk that is full.
