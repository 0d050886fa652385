//! Where the desired objects of a service come from.
