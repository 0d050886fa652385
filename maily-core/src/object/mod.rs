//! Kubernetes objects as plain data, and the field arithmetic that server-side apply rests on.
//!
//! Everything here is pure. The simulated world and the real adapter are judged by the same functions.

mod fields;
mod key;
mod managed;
mod manifest;
mod schema;
mod scope;
mod selector;

pub use fields::{FieldSet, lay_over};
pub(crate) use fields::{atomics, covers};
pub(crate) use key::by_kind;
pub use key::{ObjectKey, ObjectKind};
pub(crate) use managed::{edited_at, editors, last_editor, managers, sets};
pub use manifest::{Object, ObjectError};
pub use schema::{ListKind, is_atomic_map, list_kind, root};
pub use scope::Scopes;
pub use selector::LabelSelector;
