//! A bad line between `mailyctl` and the API server. Double effects are looked for in the audit log: the stack has to
//! be started with `MAILY_STACK_AUDIT=1`.

mod door;
mod releases;
mod weather;
mod wire;

pub(crate) use door::Door;
