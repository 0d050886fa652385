//! Mistakes in the project file that would hurt silently: each is named at its place, and nothing is written.

use crate::{
    bad_input::{BASE, refused, services},
    desk::Desk,
};

/// Objects of a first plan.
fn planned(file: &str) -> Vec<serde_json::Value> {
    let desk = Desk::with(file);
    desk.sandbox(&["deploy", "--env", "production", "--version", "v1", "--yes"]).expect(0);
    let release = desk.sandbox(&["show", "release", "--env", "production", "-o", "json"]).expect(0).json();
    let objects = release["objects"].as_array().expect("is a list");
    objects.iter().map(|object| object["object"].clone()).collect()
}

fn of_kind<'o>(objects: &'o [serde_json::Value], kind: &str) -> &'o serde_json::Value {
    objects
        .iter()
        .find(|object| object["kind"] == kind)
        .unwrap_or_else(|| panic!("no {kind} in {objects:#?}"))
}

#[test]
fn a_misspelt_peer_does_not_open_the_network() {
    let two = |peer: &str| {
        services(&format!(
            "  api: {{workload: {{port: 80, talks-to: [{peer}]}}}}\n  cart: {{workload: {{port: 80}}}}"
        ))
    };
    refused(&two("crat"), &["maily.yaml:7:41: unknown service `crat`", "did you mean `cart`?"]);
    refused(&two("api"), &["talks to itself"]);
    let other = services("  api: {workload: {port: 80, talks-to: [web]}}\n  web: {vercel: {project: web}}");
    refused(&other, &["`web` is described by `vercel`"]);
    for (web, kind) in [("manifests: web.yaml", "manifests"), ("from: all", "from")] {
        let file = services(&format!(
            "  api: {{workload: {{port: 80, talks-to: [web]}}}}\n  web: {{{web}}}\nsources: {{all: {{manifests: all.yaml}}}}"
        ));
        let said = [
            "maily.yaml:7:41",
            &format!("`web` is described by `{kind}`"),
            "no NetworkPolicy can let `api` through",
            "describe `web` as a `workload`; or leave `talks-to` out of `api`",
        ];
        refused(&file, &said);
    }
    let overridden = format!(
        "{}services: {{api: {{workload: {{port: 80}}}}}}\n",
        BASE.replace("{namespace: shop}", "{services: {api: {workload: {talks-to: [nobody]}}}}")
    );
    refused(&overridden, &["maily.yaml:5", "unknown service `nobody`"]);
    let objects = planned(&two("cart"));
    let egress = of_kind(&objects, "NetworkPolicy")["spec"]["egress"].to_string();
    assert!(egress.contains("cart") && !egress.contains("0.0.0.0/0"), "{egress}");
}

#[test]
fn amounts_that_nobody_means_are_refused() {
    for (workload, said) in [
        ("memory: 512m", "512Mi"),
        ("memory: 512..1024", "has no unit"),
        ("memory: 0", "is nothing"),
        ("cpu: 500Mi", "`Mi` is no unit of `cpu`"),
        ("cpu: 2..1", "above the limit"),
        ("port: http", "1 to 65535"),
        ("port: 0", "1 to 65535"),
        ("volumes: {d: {mount: /d, size: 10}}", "10Mi"),
        ("volumes: {d: {mount: d}}", "`mount: /d`"),
        ("scale: 2, volumes: {d: {mount: /d, size: 1Gi}}", "volume `d` is held by one node"),
        ("volumes: {d: {mount: /d, size: 1Gi}}, scale: 1..2", "`access: many-nodes`"),
        ("volumes: {d: {mount: /d, size: 1Gi, secret: s}}", "one of `size`"),
        ("volumes: {d: {mount: /d, class: gp3}}", "belongs to a volume with a `size`"),
        ("port: 80, health: {ready: health}", "`ready: /health`"),
        ("env: {1A: x}", "no name of a variable"),
        ("env: {A: x}, secrets: {A: 'secret:s#k'}", "under `env` and under `secrets`"),
        ("name: A_B", "`A_B` is no name"),
        ("permissions: [{resources: [pods]}]", "`resources` and `verbs`"),
        ("replicas: 3", "write `scale: 3`"),
        ("resources: {}", "`cpu: 250m..1`"),
    ] {
        let err =
            refused(&services(&format!("  api: {{workload: {{{workload}}}}}")), &["maily.yaml:7:", said]);
        assert!(err.contains('^'), "{err}");
    }
}

#[test]
fn nothing_is_silently_ignored() {
    for (service, said) in [
        ("workload: {ingress: {host: a.example}}", "`ingress` needs a port"),
        ("workload: {health: {live: /x}}", "`health` needs a port"),
        ("workload: {port: 80, ingress: {host: a.example, gateway: g, tls: s}}", "belongs to an Ingress"),
        ("workload: {port: 80, ingress: {host: a.example, listener: s}}", "belongs to a `gateway`"),
        ("workload: {port: 80, ingress: {host: 'a b'}}", "no host name"),
        ("workload: {args: ['{verison}']}", "unknown placeholder `{verison}`"),
        ("workload: {patch: {Deployment: {metadata: {name: x}}}}", "cannot change `metadata.name`"),
        ("workload: {patch: {Deploment: {}}}", "this workload has"),
        ("workload: {port: 80}, checks: [{http: health}]", "neither a path nor a URL"),
        ("workload: {port: 80}, checks: [{http: /x, expect: 20}]", "no status of HTTP"),
        ("workload: {port: 80}, aliases: [b]", "`b` means service `b`, too"),
        ("job: {command: [x]}", "would never run"),
        ("before: b, after: b, job: {command: [x]}", "either `before` or `after`"),
        ("before: b, job: {undo: ['{previous-schema}']}", "not there yet"),
    ] {
        refused(&services(&format!("  a: {{{service}}}\n  b: {{workload: {{port: 80}}}}")), &[said]);
    }
    let data = |data: &str| format!("{BASE}data: {{{data}}}\nservices: {{a: {{workload: {{port: 80}}}}}}\n");
    refused(&data("db: {rdz: x}"), &["unknown key `rdz`", "did you mean `rds`?"]);
    refused(&data("db: {}"), &["it is not said what `db` is"]);
    refused(&data("a: {rds: x}"), &["under `services` and under `data`"]);
    let gates = |gate: &str| {
        format!(
            "{BASE}services: {{a: {{workload: {{port: 80}}}}}}\ngates: {{g: {gate}}}\nphases: [{{name: p, environment: production, gates: [g]}}]\n"
        )
    };
    refused(&gates("{http: /health}"), &["no full URL"]);
    refused(&gates("{command: [echo, '{nope}']}"), &["unknown placeholder"]);
    refused(BASE, &["the project has no services"]);
}

#[test]
fn every_default_can_be_overridden() {
    let objects = planned(&services(
        r#"  api:
    workload:
      port: 8000
      ports: {metrics: 9090}
      env: {VERSION: '{version}', JSON: '{"a": 1}', EMPTY: ''}
      health: {ready: /ready, live: /live, start: /start}
      volumes: {tls: {mount: /tls, secret: api-tls}, data: {mount: /data, size: 1Gi, class: fast, access: many-nodes}}
      ingress: {host: api.example, gateway: edge/public, listener: https}
      patch:
        Deployment: {spec: {template: {spec: {terminationGracePeriodSeconds: 60, containers: [{name: api, lifecycle: null}]}}}}
        ServiceAccount: {metadata: {annotations: {role: reader}}}
        PodDisruptionBudget: null"#,
    ));
    assert!(objects.iter().all(|object| object["kind"] != "PodDisruptionBudget"), "it was taken out");
    let pod = &of_kind(&objects, "Deployment")["spec"]["template"]["spec"];
    assert_eq!(pod["terminationGracePeriodSeconds"], 60);
    let container = &pod["containers"][0];
    assert_eq!(
        (&container["lifecycle"], &container["image"]),
        (&serde_json::Value::Null, &"registry.example/api:v1".into())
    );
    assert_eq!(container["startupProbe"]["httpGet"]["path"], "/start");
    assert_eq!(container["env"][0]["value"], "v1");
    assert_eq!(container["env"][1]["value"], r#"{"a": 1}"#);
    assert_eq!(pod["volumes"][0]["secret"]["secretName"], "api-tls");
    let claim = &of_kind(&objects, "PersistentVolumeClaim")["spec"];
    assert_eq!(
        (&claim["storageClassName"], &claim["accessModes"][0]),
        (&"fast".into(), &"ReadWriteMany".into())
    );
    let ports = of_kind(&objects, "Service")["spec"]["ports"].as_array().expect("is a list").len();
    assert_eq!(ports, 2);
    let parent = &of_kind(&objects, "HTTPRoute")["spec"]["parentRefs"][0];
    assert_eq!(*parent, serde_json::json!({"namespace": "edge", "name": "public", "sectionName": "https"}));
    assert_eq!(of_kind(&objects, "ServiceAccount")["metadata"]["annotations"]["role"], "reader");
}

#[test]
fn phases_of_environments_that_are_not_declared_are_left_out() {
    let project = |environment: &str| {
        Desk::with(&format!(
            "maily: 1\nproject: shop\nimages: 'r.example/{{service}}:{{version}}'\nenvironments: {{{environment}: {{}}}}\nservices: {{a: {{workload: {{port: 80}}}}}}\n"
        ))
    };
    let done = project("production").sandbox(&["phased-deploy", "--version", "v1", "--yes"]).expect(0);
    assert!(done.out.contains("production is at release 1"), "{}", done.out);
    let none = project("live").sandbox(&["phased-deploy", "--version", "v1", "--yes"]).expect(2);
    assert!(none.err.contains("no phase has an environment"), "{}", none.err);
}

#[test]
fn jobs_and_gates_have_their_own_time() {
    let desk = Desk::with(&format!(
        "{BASE}services:\n  api: {{workload: {{port: 80}}}}\n  schema: {{before: api, job: {{command: [up], secrets: {{URL: 'secret:db#url'}}, timeout: 20m}}}}\ngates: {{g: {{job: {{image: 'e2e:1', timeout: 15m}}}}}}\nphases: [{{name: p, environment: production, gates: [g]}}]\n"
    ));
    let plan = desk.sandbox(&["plan", "--version", "v1", "-o", "json"]).expect(0).json();
    let seconds = |part: &str| {
        let steps = plan["plan"]["steps"].as_array().expect("is a list");
        let step = steps.iter().find(|step| step["id"].as_str().is_some_and(|id| id.contains(part)));
        step.unwrap_or_else(|| panic!("no {part}"))["timeout_s"].clone()
    };
    assert_eq!(
        (seconds("job/schema"), seconds("gate/g"), seconds("rollout")),
        (1200.into(), 900.into(), 600.into())
    );
    assert!(plan.to_string().contains(r#""secretKeyRef":{"key":"url","name":"db"}"#));
}

#[test]
fn a_rollout_that_its_own_strategy_ends_early_is_told() {
    let desk = Desk::with(&services("  db: {manifests: m.yaml}"));
    let write = |version: &str| {
        let pods = format!("{{containers: [{{name: db, image: 'registry.example/db:{version}'}}]}}");
        desk.write(
            "m.yaml",
            &format!(
                "apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {{name: db}}\nspec: {{serviceName: db, replicas: 3, updateStrategy: {{rollingUpdate: {{partition: 2}}}}, selector: {{matchLabels: {{app: db}}}}, template: {{metadata: {{labels: {{app: db}}}}, spec: {pods}}}}}\n"
            ),
        );
    };
    let told =
        "partition: StatefulSet/db has `partition: 2`: of the pods that are there only those from db-2 on";
    write("v1");
    desk.sandbox(&["deploy", "--version", "v1", "--yes"]).expect(0);
    write("v2");
    let plan = desk.sandbox(&["plan", "--version", "v2"]).expect(0).out;
    assert!(plan.contains(told), "{plan}");
    let deployed = desk.sandbox(&["deploy", "--version", "v2", "--yes"]).expect(0);
    assert!(deployed.out.contains(told), "{}", deployed.out);
    let back = desk.sandbox(&["rollback", "--last-good", "--dry-run"]).expect(0).out;
    assert!(back.contains(told), "{back}");
}

#[test]
fn what_belongs_to_a_service_is_refused_beside_a_job() {
    let beside = |words: &str, said: &[&str]| {
        let file = services(&format!(
            "  migrate: {{before: api, {words}, job: {{command: [up]}}}}\n  api: {{workload: {{port: 80}}}}\n  auth: {{workload: {{port: 80}}}}"
        ));
        refused(&file, said)
    };
    let said =
        ["maily.yaml:7:26: `timeout` beside a `job` would do nothing", "help: write it inside of `job`"];
    beside("timeout: 1h", &said);
    for (words, key) in [
        ("needs: [auth]", "needs"),
        ("checks: [{http: 'https://a.example'}]", "checks"),
        ("critical: true", "critical"),
    ] {
        let said = format!("maily.yaml:7:26: `{key}` beside a `job` would do nothing");
        beside(words, &[&said, "help: write it at `api`"]);
    }
    let override_of = format!(
        "{}services:\n  api: {{workload: {{port: 80}}}}\n  migrate: {{before: api, job: {{command: [up]}}}}\n",
        BASE.replace("{namespace: shop}", "{services: {migrate: {timeout: 1h}}}")
    );
    refused(&override_of, &["maily.yaml:5:37: `timeout` beside a `job`"]);
}

#[test]
fn words_that_mean_nothing_at_their_place_are_refused() {
    for (service, said) in [
        ("port: 80, scale: {range: 3, cpu: 50%}}", "`cpu` belongs to a range of replicas"),
        ("port: 80}, checks: [{command: [look], expect: 204}]", "`expect` belongs to `http`"),
    ] {
        refused(&services(&format!("  a: {{workload: {{{service}}}")), &["maily.yaml:7:", said]);
    }
    let gates = |gate: &str, said: &str| {
        let file = format!(
            "{BASE}services: {{a: {{workload: {{port: 80}}}}}}\ngates: {{g: {gate}}}\nphases: [{{name: p, environment: production, gates: [g]}}]\n"
        );
        refused(&file, &["maily.yaml:7:", said]);
    };
    gates("{command: [look], expect: 204}", "`expect` belongs to `http`");
    gates("{job: {image: 'e2e:1'}, expect: 204}", "`expect` belongs to `http`");
    gates("{job: {image: 'e2e:1', undo: [down]}}", "a gate's job has no `undo`");
    gates("{command: [look, '{service}']}", "`{service}` means nothing here");
    gates("{http: 'https://{service}.example'}", "`{service}` means nothing here");
}

/// What the API server would refuse at the latest moment is an error of the file.
#[test]
fn what_kubernetes_forbids_of_a_workload_is_refused_at_its_place() {
    let long = "x".repeat(254);
    for (workload, said) in [
        ("port: 80, ports: {m: 80}", "maily.yaml:7:41: port 80 stands twice"),
        ("port: 80, ports: {m: 81, n: 81}", "maily.yaml:7:48: port 81 stands twice"),
        ("ports: {a--b: 81}", "`a--b` is no name of a further port"),
        ("config: {'../x': y}", "maily.yaml:7:29: `../x` is no name of a file"),
        ("config: {'..x': y}", "maily.yaml:7:29: `..x` is no name of a file"),
        ("config: {'.': y}", "`.` is no name of a file"),
        (&format!("config: {{{long}: y}}"), "is no name of a file"),
        ("config: {a: y}, volumes: {v: {mount: /etc/config}}", "maily.yaml:7:57: `/etc/config` is where"),
        ("config: {a: y}, volumes: {v: {mount: /etc/config/}}", "maily.yaml:7:57: `/etc/config` is where"),
        ("volumes: {v: {mount: /a}, w: {mount: /a/}}", "two volumes are mounted at `/a`"),
        ("volumes: {v: {mount: /a, size: 0Gi}}", "`0Gi` is nothing"),
        ("env: {'..A': b}", "`..A` is no name of a variable"),
        ("secrets: {A: 'secret:s#a/b'}", "maily.yaml:7:33: `a/b` is no key of a Secret"),
        ("scale: 3000000000", "`3000000000` is no number of replicas"),
        ("port: 80, ingress: {host: a.example, path: /a/../b}", "maily.yaml:7:63: `/a/../b` is no path"),
        ("port: 80, ingress: {host: 10.0.0.1}", "`10.0.0.1` is no host name"),
    ] {
        refused(&services(&format!("  api: {{workload: {{{workload}}}}}")), &[said, "^", "help: "]);
    }
    refused(&services("  1a: {workload: {port: 80}}"), &["maily.yaml:7:7: `1a` is no name of a Service"]);
    // Where nothing is mounted there, and for what serves nothing, it is free.
    planned(&services("  1a: {workload: {volumes: {v: {mount: /etc/config}}}}"));
}

#[test]
fn two_workloads_of_one_name_are_refused_once_and_at_their_place() {
    let err = refused(
        &services("  web: {workload: {name: a}}\n  api: {workload: {name: a}}"),
        &["maily.yaml:8:26: the workload of `api` is called `a`, as that of `web`", "help: "],
    );
    assert_eq!(err.matches("is called").count(), 1, "{err}");
    refused(
        &services("  web: {workload: {name: api}}\n  api: {workload: {}}"),
        &["maily.yaml:7:26: the workload of `web` is called `api`, as that of `api`"],
    );
}

#[test]
fn a_patch_does_not_take_the_workload_away() {
    refused(
        &services("  web: {workload: {port: 80, patch: {Deployment: null}}}"),
        &["maily.yaml:7:50: a workload without its Deployment", "help: "],
    );
}

#[test]
fn nobody_is_sent_to_a_key_that_is_refused() {
    let desk = Desk::with(&format!("{}\nunheard-of: 1\n", services("  api: {workload: {port: 80}}")));
    let said = desk.sandbox(&["plan", "--version", "v1"]).expect(2).err;
    assert!(said.contains("unknown key `unheard-of`") && said.contains("services"), "{said}");
    for later in ["secrets", "backups", "freeze"] {
        assert!(!said.contains(later), "{said}");
    }
}
