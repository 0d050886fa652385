//! Checks and gates as one participant carries them out.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use maily_core::provider::{ErrorKind, ProbeRequest, Prober, ProviderError, Verdict};

use super::{
    place::{Place, Request, lock},
    scheduler::Seat,
};
use crate::world::{Refusal, World};

/// Looks at the world of a place over the network. What a program or an address outside says is up to the script.
#[derive(Clone, Debug)]
pub(super) struct NetProber {
    place: Arc<Place>,
    seat: Seat,
}

impl NetProber {
    pub(super) fn new(place: Arc<Place>, seat: Seat) -> Self {
        Self { place, seat }
    }
}

#[async_trait]
impl Prober for NetProber {
    async fn probe(&self, request: &ProbeRequest, _limit: Duration) -> Result<Verdict, ProviderError> {
        let what = match request {
            ProbeRequest::Http { url, .. } => url.clone(),
            ProbeRequest::Command { argv } => argv.join(" "),
        };
        let fails = *lock(&self.place.gates_fail);
        let evidence = format!("{what} was asked");
        let answer = move |_: &mut World| {
            let evidence = evidence.clone();
            Ok::<_, Refusal>(if fails { Verdict::Fail { evidence } } else { Verdict::Pass { evidence } })
        };
        let request = Request::read(self.seat.participant(), "probe", what);
        match self.place.send(&self.seat, request, answer).await {
            Err(error) if error.kind() == ErrorKind::Throttled => {
                Ok(Verdict::Insufficient { evidence: error.to_string() })
            }
            answer => answer,
        }
    }
}
