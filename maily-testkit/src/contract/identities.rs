//! What every [`Identities`] does.

use maily_core::provider::{Access, Identities};

/// Sentence 1: the caller has an account, a name and a region.
pub async fn the_caller_is_known(identities: &dyn Identities) {
    let caller = identities.caller().await.expect("answers");
    assert!(
        !caller.account.is_empty() && !caller.principal.is_empty() && !caller.region.is_empty(),
        "{caller:?}"
    );
    assert_eq!(identities.caller().await.expect("answers"), caller);
}

/// Sentence 2: an unknown role is no error; `known` is one that exists.
pub async fn an_unknown_role_is_none(identities: &dyn Identities, known: &str) {
    assert_eq!(identities.role("nobody-has-this-name").await.expect("answers"), None);
    assert_eq!(identities.role(known).await.expect("answers").map(|role| role.name).as_deref(), Some(known));
}

/// Sentence 3: one answer per action, in order; of a principal that is unknown nothing is known.
pub async fn answers_stand_in_order(identities: &dyn Identities, allowed: &str, denied: &str) {
    let caller = identities.caller().await.expect("answers").principal;
    let actions = [denied.to_owned(), allowed.to_owned(), denied.to_owned()];
    let answers = identities.allowed(&caller, &actions, "*").await.expect("answers");
    assert_eq!(answers, [Access::Denied, Access::Allowed, Access::Denied]);
    let stranger = format!("{caller}-nobody");
    let answers = identities.allowed(&stranger, &actions, "*").await.expect("answers");
    assert_eq!(answers, [Access::Unknown; 3]);
}
