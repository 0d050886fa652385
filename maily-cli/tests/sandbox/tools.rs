//! Sources that the user's own programs render.

use std::os::unix::fs::PermissionsExt as _;

use crate::{
    bad_input::services,
    desk::{Desk, Done, done},
};

const MANIFEST: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: rendered}\ndata: {a: b}\n";

/// A program of this name that writes down how it was called and prints a text.
fn program(desk: &Desk, name: &str, prints: &str) {
    let script = format!("#!/bin/sh\necho \"$@\" >> {name}.called\ncat <<'END'\n{prints}END\n");
    desk.write(&format!("bin/{name}"), &script);
    let path = desk.path().join("bin").join(name);
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).expect("is ours");
}

fn plan(desk: &Desk) -> Done {
    let mut command = desk.command(&["--sandbox", "plan", "--version", "v1"]);
    command.env("PATH", format!("{}:/bin:/usr/bin", desk.path().join("bin").display()));
    done(command)
}

fn called(desk: &Desk, name: &str) -> String {
    std::fs::read_to_string(desk.path().join(format!("{name}.called"))).expect("was called")
}

#[test]
fn a_chart_gets_its_values_and_the_version() {
    let desk = Desk::with(&services(
        "  search: {helm: {chart: charts/search, release: find, values: ['values/{env}.yaml'], set: {image.tag: '{version}', list: 'a,b'}}}",
    ));
    program(&desk, "helm", MANIFEST);
    let shown = plan(&desk).expect(0);
    assert!(shown.out.contains("+ ConfigMap rendered"), "{}", shown.out);
    assert_eq!(
        called(&desk, "helm"),
        "template find charts/search --namespace shop --include-crds --skip-tests --values values/production.yaml --set image.tag=v1 --set list=a\\,b\n"
    );
}

#[test]
fn a_kustomization_is_built_in_the_project_folder() {
    let desk = Desk::with(&services("  web: {kustomize: 'overlays/{env}'}"));
    program(&desk, "kustomize", MANIFEST);
    plan(&desk).expect(0);
    assert_eq!(called(&desk, "kustomize"), "build overlays/production\n");
}

#[test]
fn what_a_program_prints_is_checked_like_any_manifest() {
    let desk = Desk::with(&services("  web: {kustomize: overlay}"));
    program(&desk, "kustomize", "metadata: {name: a}\n");
    let refused = plan(&desk).expect(2);
    assert!(refused.err.contains("kustomize overlay:1:1: an object without `kind`"), "{}", refused.err);
    desk.write("bin/kustomize", "#!/bin/sh\necho 'no such overlay' >&2\nexit 1\n");
    let refused = plan(&desk).expect(2);
    assert!(refused.err.contains("kustomize: failed (exit status: 1): no such overlay"), "{}", refused.err);
}
