//! The projects that seeds are about.

/// A project of twelve services in two environments and three phases.
pub const PLATFORM: &str = "
maily: 1
project: shop
images: 'registry.example/shop/{service}:{version}'
history: {releases: 2, age: 0s}
environments:
  staging: {namespace: shop-staging}
  production: {namespace: shop}
services:
  api: {critical: true, workload: {port: 8000, scale: 3}}
  web: {critical: true, needs: [api], workload: {port: 8080, scale: 2..4}}
  checkout: {critical: true, needs: [api], workload: {port: 8081, scale: 2}}
  worker: {workload: {command: [work], scale: 1}}
  mailer: {needs: [worker], workload: {command: [mail], scale: 1}}
  queue: {workload: {port: 6379, scale: 1, config: {q.conf: 'size {version}'}}}
  search: {needs: [queue], workload: {port: 9200, scale: 2}}
  images: {workload: {port: 8082, scale: 1}}
  storefront: {critical: true, needs: [api], vercel: {project: storefront, domain: shop.example}}
  reports: {needs: [search, worker], workload: {port: 8084, scale: 1}}
  ledger: {workload: {port: 8085, scale: 1}}
  audit: {needs: [ledger], workload: {port: 8086, scale: 1}}
phases:
  - {name: staging, environment: staging, services: all}
  - {name: non-critical, environment: production, services: non-critical}
  - {name: critical, environment: production, services: critical}
";

/// A smaller project with what the platform has not: migrations that can be taken back and that cannot, and gates.
pub const GATED: &str = "
maily: 1
project: shop
images: 'registry.example/shop/{service}:{version}'
history: {releases: 2, age: 0s}
environments:
  staging: {namespace: shop-staging}
  production: {namespace: shop}
services:
  api: {critical: true, workload: {port: 8000, scale: 2}}
  web: {critical: true, needs: [api], workload: {port: 8080, scale: 2..4}}
  worker: {workload: {command: [work], scale: 1}}
  search: {needs: [worker], workload: {port: 9200, scale: 1, config: {s.conf: 'size {version}'}}}
  schema: {before: api, job: {image: 'registry.example/shop/schema:{version}', command: [up], undo: [down]}}
  cleanup: {after: web, job: {image: 'registry.example/shop/cleanup:{version}', command: [drop]}}
phases:
  - {name: staging, environment: staging, services: all, gates: [smoke]}
  - {name: production, environment: production, services: all, gates: [smoke, suite]}
gates:
  smoke: {command: [look], timeout: 40s}
  suite: {job: {image: 'registry.example/shop/suite:{version}', timeout: 60s}}
";

/// A smaller project most of whose services are StatefulSets in order ([`IN_ORDER`]): their controller waits for a pod
/// that nobody wants any more.
pub const ORDERED: &str = "
maily: 1
project: shop
images: 'registry.example/shop/{service}:{version}'
history: {releases: 2, age: 0s}
environments:
  staging: {namespace: shop-staging}
  production: {namespace: shop}
services:
  api: {critical: true, workload: {port: 8000, scale: 3}}
  web: {critical: true, needs: [api], workload: {port: 8080, scale: 2}}
  worker: {workload: {command: [work], scale: 2}}
  search: {needs: [worker], workload: {port: 9200, scale: 1, config: {s.conf: 'size {version}'}}}
  ledger: {workload: {port: 8085, scale: 2}}
phases:
  - {name: staging, environment: staging, services: all}
  - {name: production, environment: production, services: all}
";

/// Which services of [`ORDERED`] are StatefulSets, and the type that alone is written of some update strategies: pods that
/// are made anew then have rules of their own.
pub const IN_ORDER: &[(&str, Option<&str>)] =
    &[("api", None), ("worker", Some("RollingUpdate")), ("search", None), ("ledger", Some("RollingUpdate"))];
