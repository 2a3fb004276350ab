//! `serve`: the plugin.
