//! A workload that the file describes itself.

use serde_json::Value;

use super::{Percent, Quantity};

/// A Deployment and what belongs to it.
#[derive(Clone, Debug, PartialEq)]
pub struct Workload {
    /// Name of the Kubernetes objects; the service's where none is given.
    pub name: Option<String>,
    /// Pattern of the image, where it is not the service's.
    pub image: Option<String>,
    /// Port that it serves; a worker has none.
    pub port: Option<u16>,
    /// Further ports by name.
    pub ports: Vec<(String, u16)>,
    /// What it runs; the image's own where empty.
    pub command: Vec<String>,
    /// Arguments.
    pub args: Vec<String>,
    /// CPUs: request and limit.
    pub cpu: (Quantity, Quantity),
    /// Bytes: request and limit.
    pub memory: (Quantity, Quantity),
    /// Number of replicas.
    pub scale: Scale,
    /// Probes.
    pub health: Health,
    /// Variables.
    pub env: Vec<(String, String)>,
    /// Variables from existing Secrets.
    pub secrets: Vec<(String, SecretRef)>,
    /// Files of configuration by name, mounted at `/etc/config`.
    pub config: Vec<(String, String)>,
    /// Volumes.
    pub volumes: Vec<Volume>,
    /// The way in from outside.
    pub ingress: Option<Ingress>,
    /// What it may do in its namespace.
    pub permissions: Vec<Permission>,
    /// Whom it talks to; given, everything else is refused by a NetworkPolicy.
    pub talks_to: Option<Vec<String>>,
    /// Changes of the objects that come of all this, by kind; `null` takes an object out.
    pub patch: Vec<(String, Value)>,
}

/// Number of replicas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scale {
    /// As many.
    Fixed(u32),
    /// An autoscaler decides.
    Range {
        /// At least.
        min: u32,
        /// At most.
        max: u32,
        /// CPU use that it aims at.
        cpu: Percent,
    },
}

/// HTTP paths that tell how a pod is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// Takes requests.
    pub ready: Option<String>,
    /// Lives.
    pub live: Option<String>,
    /// Has started: until then nothing else is asked.
    pub start: Option<String>,
}

/// A key of an existing Secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretRef {
    /// Name of the Secret.
    pub name: String,
    /// Key in it.
    pub key: String,
}

/// A volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    /// Name.
    pub name: String,
    /// Where it is mounted.
    pub mount: String,
    /// What is in it.
    pub source: VolumeSource,
}

/// What is in a volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VolumeSource {
    /// Nothing at first; it ends with the pod.
    Empty,
    /// A PersistentVolumeClaim of its own.
    Own {
        /// Its size.
        size: Quantity,
        /// Its storage class; the cluster's default where none is given.
        class: Option<String>,
        /// Whether several nodes may write it at once.
        many: bool,
    },
    /// A PersistentVolumeClaim that is there.
    Claim(String),
    /// A Secret that is there.
    Secret(String),
    /// A ConfigMap that is there.
    Config(String),
}

/// The way in from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ingress {
    /// Host name.
    pub host: String,
    /// Path.
    pub path: String,
    /// Secret with the certificate.
    pub tls: Option<String>,
    /// Class of the Ingress.
    pub class: Option<String>,
    /// An HTTPRoute on this Gateway, `NAME` or `NAMESPACE/NAME`, instead of an Ingress.
    pub gateway: Option<String>,
    /// The Gateway's listener: it has the certificate.
    pub listener: Option<String>,
}

/// Something that it may do in its namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permission {
    /// API group; empty for the core group.
    pub group: String,
    /// Plural names.
    pub resources: Vec<String>,
    /// Verbs.
    pub verbs: Vec<String>,
}
