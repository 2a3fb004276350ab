//! Starts all rooms, connects them, and stops them in order.
