//! Sets annotations on objects.
