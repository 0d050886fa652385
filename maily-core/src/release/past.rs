//! The releases on record, as far as a question about them needs: each short form is read once, from the newest on.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::{
    engine::{
        Head, Origins, ReleaseId, RunId,
        history::{self, Release},
        is_exact,
        journal::{JournalError, ReleaseHead},
        known_origins,
    },
    provider::RecordStore,
};

pub(super) struct Past<'a> {
    records: &'a dyn RecordStore,
    /// The releases on record, ascending.
    pub(super) ids: &'a [ReleaseId],
    /// Those that were read, ascending; the last is in force.
    heads: Vec<ReleaseHead>,
    runs: BTreeMap<ReleaseId, RunId>,
    /// Of how many of `ids` none was read yet.
    unread: usize,
    whole: BTreeMap<ReleaseId, Arc<Release>>,
}

impl<'a> Past<'a> {
    pub(super) fn new(records: &'a dyn RecordStore, head: &'a Head) -> Self {
        let (heads, runs) = match &head.release {
            Some((run, release)) => (vec![release.clone()], BTreeMap::from([(release.id, run.clone())])),
            None => (Vec::new(), BTreeMap::new()),
        };
        let unread = head.releases.len().saturating_sub(heads.len());
        Self { records, ids: &head.releases, heads, runs, unread, whole: BTreeMap::new() }
    }

    /// Whether releases were forgotten.
    pub(super) fn is_cut(&self) -> bool {
        self.ids.first().is_some_and(|first| *first > ReleaseId(1))
    }

    /// Reads on into the past until there is enough. What older programs wrote says its origins only as a whole.
    pub(super) async fn until(
        &mut self,
        enough: impl Fn(&[ReleaseHead]) -> bool,
    ) -> Result<&[ReleaseHead], JournalError> {
        let mut exact = self.heads.iter().all(is_exact);
        while self.unread > 0 && !(exact && enough(&self.heads)) {
            self.unread -= 1;
            if let Some((run, head)) = history::release_head(self.records, self.ids[self.unread]).await? {
                exact &= is_exact(&head);
                self.runs.insert(head.id, run);
                self.heads.insert(0, head);
            }
        }
        Ok(&self.heads)
    }

    /// The releases that were read, newest first.
    pub(super) fn newest_first(&self) -> impl Iterator<Item = &ReleaseHead> {
        self.heads.iter().rev()
    }

    /// The origins of a release. It is read as far as needed.
    pub(super) async fn origins(&mut self, id: ReleaseId) -> Result<Origins, JournalError> {
        if let Some(release) = self.whole.get(&id).filter(|release| is_exact(&release.head)) {
            return Ok(release.head.origins.clone());
        }
        let heads = self.until(|heads| heads.first().is_some_and(|first| first.id <= id)).await?;
        let at = heads.iter().position(|head| head.id == id);
        Ok(at.map(|at| known_origins(heads).swap_remove(at)).unwrap_or_default())
    }

    /// A release with its objects.
    pub(super) async fn release(&mut self, id: ReleaseId) -> Result<Option<Arc<Release>>, JournalError> {
        if let Some(release) = self.whole.get(&id) {
            return Ok(Some(Arc::clone(release)));
        }
        let known = self.heads.iter().find(|head| head.id == id).zip(self.runs.get(&id));
        let release = match known {
            Some((head, run)) => history::with_objects(self.records, run.clone(), head.clone()).await?,
            None => history::release(self.records, id).await?,
        };
        let release = release.map(Arc::new);
        if let Some(release) = &release {
            self.whole.insert(id, Arc::clone(release));
        }
        Ok(release)
    }

    /// All versions on record that a component had, or any component.
    pub(super) fn versions(&self, component: Option<&str>) -> Vec<String> {
        let had = |release: &'_ ReleaseHead| -> Vec<String> {
            let of = release.versions.iter().filter(|(name, _)| component.is_none_or(|c| c == name.as_str()));
            of.map(|(_, version)| version.clone()).collect()
        };
        self.heads.iter().flat_map(had).collect::<BTreeSet<_>>().into_iter().collect()
    }
}
