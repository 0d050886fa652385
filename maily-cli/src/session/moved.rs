//! Images that a way back brought, and that are others than they were.

use futures::FutureExt as _;
use maily_core::{
    engine::{EnvironmentError, ReleaseId},
    release::{self, MovedImage},
};

use crate::{exit::CliError, render::Ui, wire::Wired};

/// Says where a way back brought other images than there were. The run is over, and its end stays what it is.
pub(super) async fn tell_moved(ui: &Ui, wired: &Wired, id: ReleaseId) {
    let moved = wired.environment.read(|records| release::moved_images_of(records, id).boxed()).await;
    for told in told_moved(moved, &wired.environment.name, id) {
        ui.caution(&ui.tool.in_text(&told));
    }
}

fn told_moved(
    moved: Result<Vec<MovedImage>, EnvironmentError>,
    environment: &str,
    id: ReleaseId,
) -> Vec<String> {
    match moved {
        Ok(moved) => moved.iter().map(MovedImage::told).collect(),
        Err(error) => vec![format!(
            "whether images are others than they were could not be read ({}): `mailyctl show release --env \
             {environment} {id}` tells it",
            CliError::from(error)
        )],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_that_could_not_be_compared_are_not_called_the_same() {
        use maily_core::{
            engine::journal::JournalError,
            provider::{ErrorKind, ProviderError},
        };
        let away = ProviderError::new(ErrorKind::Unavailable, "kubernetes", "get", "release/3", "is away");
        let error = EnvironmentError::from(JournalError::Store(away));
        let told = told_moved(Err(error), "production", ReleaseId(3));
        let [told] = &told[..] else { panic!("{told:?}") };
        assert!(told.contains("could not be read (") && told.contains("is away"), "{told}");
        assert!(told.contains("`mailyctl show release --env production 3`"), "{told}");
        assert_eq!(told_moved(Ok(Vec::new()), "production", ReleaseId(3)), [""; 0]);
    }
}
