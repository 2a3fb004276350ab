//! Receives webhooks from Lighthouse.
