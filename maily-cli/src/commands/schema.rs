//! `schema`: what the project file and the documents of `--output json` look like.

use maily_core::{
    engine::{Event, Plan},
    model,
    release::{RunSummary, Status},
};
use schemars::JsonSchema;
use serde_json::{Value, json};

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
                kinds.push(json!({"type": "object", "properties": {"event": {"const": "unchanged"}}, "required": ["event"],
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
