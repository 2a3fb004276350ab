//! `demo`: a recorded pull request through the whole path, without a cluster.
