//! Results without an end, and who reads them.

use std::{future::pending, io};

use tokio::io::{Interest, unix::AsyncFd};

/// Ends when nobody reads standard output any more, as `head` does once it has what it wants: the next line, which would
/// tell, may never come.
#[expect(
    deprecated,
    reason = "unsound where a descriptor may be closed meanwhile, as that of this stream never is"
)]
pub(crate) async fn unread() {
    // What cannot be watched, such as a file, is never closed by others.
    let Ok(out) = AsyncFd::with_interest(io::stdout(), Interest::ERROR) else { return pending().await };
    if out.ready(Interest::ERROR).await.is_err() {
        pending().await
    }
}
