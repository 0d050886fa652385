//! The frontend host as one participant reaches it: far away, without preconditions, and with an index that lags.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use maily_core::provider::{FrontendDeployment, FrontendHost, Production, ProviderError};

use super::{
    place::{Place, Request},
    scheduler::Seat,
    weather::{Guard, span},
};
use crate::world::World;

/// How many times as far away as the cluster the host is.
const DISTANCE: u32 = 10;

/// The frontend host of a place, over the network.
#[derive(Clone, Debug)]
pub(super) struct NetFrontend {
    place: Arc<Place>,
    seat: Seat,
    environment: String,
}

/// Projects of an environment have names of their own.
pub(super) fn project_in(environment: &str, project: &str) -> String {
    format!("{project}@{environment}")
}

impl NetFrontend {
    /// The host for one participant.
    pub(super) fn new(place: Arc<Place>, seat: Seat, environment: &str) -> Self {
        Self { place, seat, environment: environment.to_owned() }
    }

    fn name(&self, project: &str) -> String {
        project_in(&self.environment, project)
    }

    fn request(&self, operation: &'static str, resource: &str, guard: Guard) -> Request {
        Request { guard, distance: DISTANCE, ..Request::read(self.seat.participant(), operation, resource) }
    }
}

#[async_trait]
impl FrontendHost for NetFrontend {
    async fn create(
        &self,
        project: &str,
        version: &str,
        tags: &BTreeMap<String, String>,
    ) -> Result<FrontendDeployment, ProviderError> {
        let (name, version, tags) = (self.name(project), version.to_owned(), tags.clone());
        let request = self.request("create a deployment of", &name, Guard::Host);
        let act = move |world: &mut World| Ok(world.create_frontend(&name, &version, &tags));
        self.place.send(&self.seat, request, act).await
    }

    async fn get(&self, project: &str, id: &str) -> Result<Option<FrontendDeployment>, ProviderError> {
        let (name, id) = (self.name(project), id.to_owned());
        let request = self.request("read deployment", &id, Guard::Reads);
        let act = move |world: &mut World| {
            Ok(world.frontend_deployments(&name).into_iter().find(|one| one.id == id))
        };
        self.place.send(&self.seat, request, act).await
    }

    async fn find(
        &self,
        project: &str,
        tags: &BTreeMap<String, String>,
    ) -> Result<Vec<FrontendDeployment>, ProviderError> {
        let (name, tags) = (self.name(project), tags.clone());
        let lag = self.place.draw(|chance, weather| span(chance, Duration::from_millis(weather.index_ms)));
        if !lag.is_zero() {
            self.place.count("index of the host behind");
        }
        let request = self.request("find deployments of", &name, Guard::Reads);
        let act = move |world: &mut World| {
            let carries =
                |one: &FrontendDeployment| tags.iter().all(|(key, value)| one.tags.get(key) == Some(value));
            Ok(world.frontend_index(&name, lag).into_iter().filter(carries).collect())
        };
        self.place.send(&self.seat, request, act).await
    }

    async fn production(&self, project: &str, domain: Option<&str>) -> Result<Production, ProviderError> {
        let (name, domain) = (self.name(project), domain.map(str::to_owned));
        let request = self.request("look at the domain of", &name, Guard::Reads);
        let act = move |world: &mut World| Ok(world.frontend_production(&name, domain.as_deref()));
        self.place.send(&self.seat, request, act).await
    }

    async fn promote(&self, project: &str, id: &str, domain: Option<&str>) -> Result<(), ProviderError> {
        let (name, id, domain) = (self.name(project), id.to_owned(), domain.map(str::to_owned));
        let request = self.request("promote deployment", &id, Guard::Host);
        let act = move |world: &mut World| world.promote_frontend(&name, &id, domain.as_deref());
        self.place.send(&self.seat, request, act).await
    }

    async fn remove(&self, project: &str, id: &str) -> Result<(), ProviderError> {
        let (name, id) = (self.name(project), id.to_owned());
        let request = self.request("remove deployment", &id, Guard::Host);
        let act = move |world: &mut World| world.remove_frontend(&name, &id);
        self.place.send(&self.seat, request, act).await
    }
}
