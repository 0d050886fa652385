//! `schema`: what the project file and the documents of `--output json` look like.

use std::collections::BTreeMap;

use maily_core::{
    engine::{
        Epoch, Event, Plan, RunId,
        journal::{JournalEvent, ReleaseHead},
    },
    model,
    object::Object,
    provider::ClusterIdentity,
    release::{MovedImage, RunSummary, Status},
};
use schemars::JsonSchema;
use serde_json::{Value, json};

use super::fence::Settled;
use crate::{
    args::SchemaFor,
    exit::{CliError, Code},
    render::{FORMAT, Ui},
};

pub(super) fn schema(ui: &Ui, of: SchemaFor) -> Result<Code, CliError> {
    let text = serde_json::to_string_pretty(&document(of))
        .map_err(|error| CliError::new(Code::Failed, error.to_string()))?;
    ui.print(&text)?;
    Ok(Code::Done)
}

fn document(of: SchemaFor) -> Value {
    match of {
        SchemaFor::Project => model::schema(),
        SchemaFor::Status => headed("status", derived::<Status>()),
        SchemaFor::History => headed("history", derived::<History>()),
        SchemaFor::Plan => headed("plan", derived::<Planned>()),
        // The engine writes the format into every event itself, an unchanged environment has none of them.
        SchemaFor::Event => {
            let mut schema = derived::<Event>();
            if let Some(kinds) = schema["oneOf"].as_array_mut() {
                let failures = json!({"type": "array", "items": {"$ref": "#/$defs/Failure"}});
                kinds.push(json!({"type": "object",
                    "properties": {"event": {"const": "unchanged"}, "not_serving": failures}, "required": ["event"],
                    "description": "There was nothing to do: the only line of such a run, without `run` and `at`."}));
            }
            schema["required"] = json!(["format", "environment"]);
            schema
        }
        SchemaFor::Log => json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Log", "type": "object",
            "properties": {
                "format": {"const": FORMAT}, "pod": {"type": "string"}, "container": {"type": "string"},
                "time": {"type": ["string", "null"], "format": "date-time"}, "line": {"type": "string"},
            },
            "required": ["format", "pod", "container", "line"],
        }),
        SchemaFor::Run => headed("run", derived::<Run>()),
        SchemaFor::Release => headed("release", derived::<Release>()),
        SchemaFor::ShowProject => headed("project", derived::<ShownProject>()),
        SchemaFor::Environments => headed("environments", derived::<Environments>()),
        SchemaFor::Binding => headed("binding", derived::<Binding>()),
        SchemaFor::Init => headed("init", derived::<Init>()),
        SchemaFor::Doctor => headed("doctor", derived::<Doctor>()),
        SchemaFor::Faults => headed("faults", derived::<Faults>()),
        SchemaFor::Clock => headed("clock", derived::<Clock>()),
        SchemaFor::NoRun => {
            let mut schema = headed("resume", derived::<NoRun>());
            schema["properties"]["kind"] = json!({"enum": ["resume", "abort", "leave"]});
            schema
        }
        SchemaFor::Error => headed(
            "error",
            json!({
                "$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Error", "type": "object",
                "properties": {
                    "code": {"type": "integer", "description": "The exit code."},
                    "message": {"type": "string"}, "help": {"type": ["string", "null"]},
                },
                "required": ["code", "message"],
            }),
        ),
    }
}

/// Runs on record, newest first.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "the shape of the document that `history` prints")]
struct History {
    /// The environment.
    environment: String,
    /// The runs.
    runs: Vec<RunSummary>,
}

/// What would be done.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "the shape of the document that `plan` prints")]
struct Planned {
    /// The plan, as `plan --out` saves it.
    plan: Plan,
}

/// A run with everything on record.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "the shape of the document that `show run` prints")]
struct Run {
    /// The run in a few words.
    summary: RunSummary,
    /// Its plan; none where the process ended before it was stored.
    plan: Option<Plan>,
    /// Its journal, in order.
    events: Vec<Entry>,
}

/// An entry of a journal.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "a part of the document that `show run` prints")]
struct Entry {
    /// Epoch of the process that wrote it.
    epoch: Epoch,
    /// What it says.
    entry: JournalEvent,
}

/// A release with its objects.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "the shape of the document that `show release` prints")]
struct Release {
    /// The release.
    release: ReleaseHead,
    /// The run that made it.
    run: RunId,
    /// Its objects, values of Secrets hidden.
    objects: Vec<ReleasedObject>,
    /// Images that are other ones than in the release from which the state of their service comes.
    moved_images: Vec<MovedImage>,
}

/// An object of a release.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "a part of the document that `show release` prints")]
struct ReleasedObject {
    /// The service that it belongs to; none where several share it.
    service: Option<String>,
    /// The object.
    object: Object,
}

/// The project, everything resolved.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "the shape of the document that `show project` prints")]
struct ShownProject {
    /// Its name.
    project: String,
    /// Every value, by environment, in the order of the file.
    environments: BTreeMap<String, Vec<ShownValue>>,
}

/// A value of the project.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "a part of the document that `show project` prints")]
struct ShownValue {
    /// Its path, such as `services.api.workload.port`.
    path: String,
    /// The value.
    value: String,
    /// Where it stands, such as `maily.yaml:12`; or `default`.
    from: String,
}

/// The environments of the project.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "the shape of the document that `env list` prints")]
struct Environments {
    /// In the order of the file.
    environments: Vec<ListedEnvironment>,
}

/// An environment.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "a part of the document that `env list` prints")]
struct ListedEnvironment {
    /// Its name.
    name: String,
    /// Its namespace.
    namespace: String,
    /// The context of the kubeconfig that leads to its cluster.
    context: Option<String>,
    /// The cluster that it is bound to.
    identity: Option<ClusterIdentity>,
    /// Whether a release needs approval.
    approval: bool,
    /// Whether its API server fences it: `installed` or `none`.
    fence: String,
}

/// An environment that was bound.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "the shape of the document that `env bind` prints")]
struct Binding {
    /// Its name.
    environment: String,
    /// The context of the kubeconfig.
    context: Option<String>,
    /// Its namespace.
    namespace: String,
    /// The cluster that it is bound to.
    cluster: ClusterIdentity,
    /// Address of the server.
    server: String,
    /// What has become of its fence.
    fence: Settled,
}

/// A project file that was written.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "the shape of the document that `init` prints")]
struct Init {
    /// The file.
    file: String,
    /// Name of the project.
    project: String,
    /// Its services.
    services: Vec<String>,
    /// What was not understood of the manifests, or is good to know of them.
    remarks: Vec<String>,
}

/// What was looked at.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "the shape of the document that `doctor` prints")]
struct Doctor {
    /// The environment.
    environment: String,
    /// Whether nothing has to be mended.
    healthy: bool,
    /// What was found.
    findings: Vec<Finding>,
    /// With `--role`: the Role that releases need, as a manifest.
    #[schemars(skip_serializing_if = "Option::is_none")]
    role: Option<String>,
}

/// Something that was looked at.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "a part of the document that `doctor` prints")]
struct Finding {
    /// What, such as `permissions`.
    what: String,
    /// How it is.
    state: State,
    /// In one sentence.
    detail: String,
    /// What to do about it.
    #[schemars(skip_serializing_if = "Option::is_none")]
    help: Option<String>,
}

/// How something is that was looked at.
#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
#[expect(dead_code, reason = "a part of the document that `doctor` prints")]
enum State {
    /// As it should be.
    Ok,
    /// Good to know; a release works.
    Warn,
    /// A release or a way back would fail.
    Bad,
}

/// Faults of the simulated world.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "the shape of the document that `sandbox fault list` prints")]
struct Faults {
    /// Those in force.
    faults: Vec<String>,
    /// Those that there are.
    kinds: Vec<String>,
}

/// How the time of the simulated world goes.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "the shape of the document that `sandbox clock` prints")]
struct Clock {
    /// Seconds of the world in a second of this machine.
    factor: f64,
    /// What time it is in the world.
    now: jiff::Timestamp,
}

/// No run is unfinished.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "the shape of the document that `resume` and `abort` print")]
struct NoRun {
    /// The environment.
    environment: String,
    /// Always null.
    run: (),
}

fn derived<T: JsonSchema>() -> Value {
    schemars::generate::SchemaSettings::draft2020_12()
        .for_serialize()
        .into_generator()
        .into_root_schema_for::<T>()
        .to_value()
}

/// A document with its format and kind.
fn headed(kind: &str, mut schema: Value) -> Value {
    schema["properties"]["format"] = json!({"const": FORMAT});
    schema["properties"]["kind"] = json!({"const": kind});
    if let Some(required) = schema["required"].as_array_mut() {
        required.extend([json!("format"), json!("kind")]);
    }
    schema
}
