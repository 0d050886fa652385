//! Looks from outside: checks of services, and gates of phases.

use std::collections::BTreeSet;

use super::rendering::Rendering;
use crate::{
    engine::planner::{Gate, Look},
    model::{Check, Gate as GateModel, GateLook, JobSource, Part, Service, expand_words},
    provider::{ProbeRequest, ProbeService},
};

impl Rendering<'_> {
    pub(super) fn checks(
        &mut self,
        service: &Service,
        own: Option<(&str, Option<u16>)>,
    ) -> Vec<ProbeRequest> {
        let namespace = self.namespace().to_owned();
        let mut probes = Vec::new();
        for check in &service.checks {
            match check {
                Check::Command(argv) => probes.push(self.command(argv, Some(&service.name))),
                Check::Http { url, expect } => {
                    let values = self.placeholders(Some(&service.name));
                    let url = expand_words(url, &values).unwrap_or_else(|_| url.clone());
                    let inside = own.and_then(|(name, port)| {
                        let (namespace, name) = (namespace.clone(), name.to_owned());
                        Some(ProbeService { namespace, name, port: port? })
                    });
                    if url.starts_with('/') && inside.is_none() {
                        let message =
                            format!("check `{url}` is a path, and the service has no port of its own");
                        self.refuse(Part::Service(&service.name), &["checks"], message, "write a full URL");
                        continue;
                    }
                    let service = inside.filter(|_| url.starts_with('/'));
                    probes.push(ProbeRequest::Http { url, service, expect: *expect });
                }
            }
        }
        probes
    }

    fn command(&self, argv: &[String], service: Option<&str>) -> ProbeRequest {
        let values = self.placeholders(service);
        let argv = argv.iter().map(|word| expand_words(word, &values).unwrap_or_else(|_| word.clone()));
        ProbeRequest::Command { argv: argv.collect() }
    }

    pub(super) fn gates(&mut self) {
        let resolved = self.request.resolved;
        let used: BTreeSet<_> = resolved.phases.iter().flat_map(|phase| &phase.gates).collect();
        for name in used {
            let Some(gate) = resolved.project.gates.get(name) else { continue };
            let GateModel { look, timeout, .. } = gate;
            let look = match look {
                GateLook::Job(job) => {
                    let job = JobSource { timeout: *timeout, ..(**job).clone() };
                    // Each phase gives it its own name.
                    let job = self.job(Part::Gate(name), &format!("gate-{name}"), &job, None);
                    job.map(|spec| Look::Job(spec.job))
                }
                GateLook::Check(Check::Command(argv)) => Some(Look::Probe(self.command(argv, None))),
                GateLook::Check(Check::Http { url, expect }) => {
                    match expand_words(url, &self.placeholders(None)) {
                        Ok(url) if url.starts_with("http") => {
                            Some(Look::Probe(ProbeRequest::Http { url, service: None, expect: *expect }))
                        }
                        Ok(_) => {
                            let message = "`http` of a gate is a full URL";
                            self.refuse(Part::Gate(name), &["http"], message, "write `https://…`");
                            None
                        }
                        Err(message) => {
                            self.refuse(Part::Gate(name), &["http"], message, "correct the placeholder");
                            None
                        }
                    }
                }
            };
            if let Some(look) = look {
                let timeout_s = timeout.map(|time| time.0);
                self.rendered.gates.insert(name.to_string(), Gate { look, timeout_s });
            }
        }
    }
}
