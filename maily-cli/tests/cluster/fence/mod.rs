//! The fence on a real API server, and what holds without it. These tests count in the audit log: the stack has to be
//! started with `MAILY_STACK_AUDIT=1`.

mod install;
mod lagging;
mod paused;
mod pods;
mod relay;
mod slow;
mod webhook;
