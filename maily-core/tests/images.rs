//! Which image a service gets: the one that stands nearest to it in the project file.

use std::path::Path;

use async_trait::async_trait;
use maily_core::{
    model::Project,
    object::Object,
    source::{Printed, RenderRequest, Rendered, SourceError, SourceErrors, Tools, render},
};

/// A program that prints a Deployment for each name, of the first version.
#[derive(Debug)]
struct Prints(&'static [&'static str]);

#[async_trait]
impl Tools for Prints {
    async fn run(&self, _: &str, _: &[String], _: &Path) -> Result<Printed, SourceError> {
        let deployment = |name: &&str| {
            format!(
                "---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: {name}}}\nspec:\n  \
                 selector: {{matchLabels: {{app: {name}}}}}\n  template:\n    metadata: {{labels: {{app: {name}}}}}\n    \
                 spec: {{containers: [{{name: main, image: 'r.example/{name}:v1'}}, {{name: proxy, image: 'r.example/proxy:v1'}}]}}\n"
            )
        };
        Ok(Printed { text: self.0.iter().map(deployment).collect(), remarks: Vec::new() })
    }
}

/// What comes of these lines at version `v2`.
async fn rendered(images: &str, lines: &str, accept_new: bool) -> Result<Rendered, SourceErrors> {
    let text =
        format!("maily: 1\nproject: shop\nimages: '{images}'\nenvironments: {{staging: {{}}}}\n{lines}\n");
    let resolved =
        Project::parse(&text, "maily.yaml").expect("is a project").resolve("staging").expect("is there");
    let version = "v2".parse().expect("is a version");
    let request = RenderRequest { resolved: &resolved, version: &version, only: None, accept_new };
    render(&request, &Prints(&["web", "cart"])).await
}

const IMAGES: &str = "r.example/{service}:{version}";

/// Images of a service's Deployment.
async fn images(lines: &str, service: &str) -> Vec<String> {
    let rendered = rendered(IMAGES, lines, true).await.unwrap_or_else(|error| panic!("{lines}: {error}"));
    let deployment = |object: &&Object| object.kind() == "Deployment" && object.name() == service;
    let objects = &rendered.services[service].objects;
    let containers =
        objects.iter().find(deployment).expect("has one").items("/spec/template/spec/containers");
    containers.iter().map(|container| container["image"].as_str().expect("has one").to_owned()).collect()
}

#[tokio::test]
async fn the_image_of_a_workload_is_the_one_that_stands_nearest_to_it() {
    for (web, image) in [
        ("workload: {port: 80}", "r.example/web:v2"),
        ("workload: {port: 80, image: 'r.example/web:1.2.3'}", "r.example/web:1.2.3"),
        ("workload: {port: 80, image: '{images}-slim'}", "r.example/web:v2-slim"),
        ("image: '{images}-slim', workload: {port: 80}", "r.example/web:v2-slim"),
        ("image: 'r.example/web:1.2.3', workload: {port: 80}", "r.example/web:1.2.3"),
        (
            "image: 'r.example/web:0', workload: {port: 80, image: 'r.example/web:1.2.3'}",
            "r.example/web:1.2.3",
        ),
    ] {
        assert_eq!(images(&format!("services: {{web: {{{web}}}}}"), "web").await, [image], "{web}");
    }
}

#[tokio::test]
async fn what_a_patch_says_of_an_image_stays() {
    let patched = |image: &str| {
        format!(
            "services: {{web: {{workload: {{port: 80, patch: {{Deployment: {{spec: {{template: {{spec: {{containers: [{{name: tool, image: '{image}'}}]}}}}}}}}}}}}}}}}"
        )
    };
    let found = images(&patched("r.example/web:tools"), "web").await;
    assert_eq!(found, ["r.example/web:v2", "r.example/web:tools"]);
    // The project's own image is never one that moves.
    let refused = rendered(IMAGES, &patched("r.example/web"), false).await.expect_err("moves").to_string();
    assert!(refused.contains("may be another image tomorrow"), "{refused}");
}

#[tokio::test]
async fn a_service_from_manifests_gets_its_own_image() {
    for (web, image) in [
        ("kustomize: all", "r.example/web:v2"),
        ("kustomize: all, image: '{images}-slim'", "r.example/web:v2-slim"),
        ("kustomize: all, image: 'r.example/web:1.2.3'", "r.example/web:1.2.3"),
        ("from: all", "r.example/web:v2"),
        ("from: all, image: '{images}-slim'", "r.example/web:v2-slim"),
    ] {
        let lines = format!("services: {{web: {{{web}}}}}\nsources: {{all: {{kustomize: all}}}}");
        assert_eq!(images(&lines, "web").await, [image, "r.example/proxy:v1"], "{web}");
    }
}

#[tokio::test]
async fn a_service_that_is_taken_along_gets_the_version() {
    let lines = "services: {web: {from: all}}\nsources: {all: {kustomize: all}}";
    assert_eq!(images(lines, "cart").await, ["r.example/cart:v2", "r.example/proxy:v1"]);
}

#[tokio::test]
async fn a_pattern_that_makes_no_image_is_refused_once_wherever_it_stands() {
    for (project, web, said) in [
        (IMAGES, "image: '{image}-slim'", "image `{image}-slim`: unknown placeholder `{image}`"),
        (IMAGES, "image: 'r.example/web'", "image `r.example/web` has no fixed version"),
        (IMAGES, "image: 'r.example/Web:{version}'", "`r.example/Web:v2` is no image"),
        (
            "r.example/{name}:{version}",
            "critical: true",
            "image `r.example/{name}:{version}`: unknown placeholder",
        ),
        (
            "r.example/{name}:{version}",
            "image: '{images}-slim'",
            "image `r.example/{name}:{version}`: unknown",
        ),
        ("r.example/{service}", "critical: true", "image `r.example/web` has no fixed version"),
    ] {
        for source in ["kustomize: all", "from: all", "workload: {port: 80}"] {
            let lines =
                format!("services: {{web: {{{source}, {web}}}}}\nsources: {{all: {{kustomize: all}}}}");
            let refused = rendered(project, &lines, false).await.expect_err(&lines).to_string();
            assert_eq!(refused.matches(said).count(), 1, "{lines}: {refused}");
        }
    }
}

#[tokio::test]
async fn an_error_about_an_image_points_at_the_line_that_says_it() {
    for (project, lines, place) in [
        (
            IMAGES,
            "services:\n  web:\n    workload:\n      image: 'r.example/web'\n",
            "maily.yaml:8:14: service `web`",
        ),
        (
            IMAGES,
            "services:\n  web:\n    image: '{image}'\n    workload: {port: 80}\n",
            "maily.yaml:7:12: service `web`",
        ),
        ("r.example/{service}", "services: {web: {workload: {port: 80}}}", "maily.yaml:3:9: service `web`"),
        (
            IMAGES,
            "services: {web: {workload: {port: 80}}}\nphases: [{name: all, environment: staging, services: all, gates: [suite]}]\n\
             gates:\n  suite:\n    job:\n      image: 'r.example/suite'",
            "maily.yaml:10:14: gate `suite`",
        ),
    ] {
        let refused = rendered(project, lines, false).await.expect_err(lines).to_string();
        assert!(refused.starts_with(place) && refused.contains(" | ") && refused.contains('^'), "{refused}");
    }
}

#[tokio::test]
async fn an_image_of_somebody_else_may_move_with_a_word_and_where_nothing_is_strict() {
    for lines in [
        "services:\n  web:\n    workload: {port: 80, image: 'redis:latest'}\n",
        "services:\n  web:\n    image: redis\n    workload: {port: 80}\n",
        "services:\n  web:\n    workload: {port: 80}\n  up:\n    before: web\n    job: {image: redis, command: [up]}\n",
    ] {
        let notes = rendered(IMAGES, lines, false).await.expect(lines).notes;
        let told: Vec<&str> =
            notes.iter().filter(|n| n.topic == "moving-image").map(|n| n.text.as_str()).collect();
        assert!(told.len() == 1 && told[0].starts_with("maily.yaml:"), "{lines}: {told:?}");
        assert!(told[0].contains("` uses `redis") && told[0].contains("another image tomorrow"), "{told:?}");
        let strict = format!("strict: true\n{lines}");
        let refused = rendered(IMAGES, &strict, false).await.expect_err(lines).to_string();
        assert!(refused.contains("another image tomorrow") && refused.contains('^'), "{refused}");
    }
    // Without a word on which images are the project's, those of the file are.
    let own = "services: {web: {image: redis, workload: {port: 80}}}";
    let text = format!("maily: 1\nproject: shop\nenvironments: {{staging: {{}}}}\n{own}\n");
    let resolved = Project::parse(&text, "maily.yaml").expect("is one").resolve("staging").expect("is there");
    let version = "v2".parse().expect("is a version");
    let request = RenderRequest { resolved: &resolved, version: &version, only: None, accept_new: false };
    let refused = render(&request, &Prints(&[])).await.expect_err("moves").to_string();
    assert!(refused.contains("has no fixed version"), "{refused}");
}

#[tokio::test]
async fn an_image_with_a_word_behind_the_version_follows_it() {
    let told = async |image: &str| {
        let lines = format!("services: {{web: {{kustomize: all, image: '{image}'}}}}");
        let notes = rendered(IMAGES, &lines, false).await.expect("renders").notes;
        notes.iter().any(|note| note.topic == "version")
    };
    assert!(!told("{images}-slim").await && told("r.example/web:1.2.3").await);
    // A pattern that is there and names nothing is no advice.
    let lines = "services: {web: {from: all}, cart: {from: all}}\nsources: {all: {kustomize: all}}";
    let notes = rendered("other.example/{service}:{version}", lines, false).await.expect("renders").notes;
    let version = notes.iter().find(|note| note.topic == "version").expect("is told");
    assert!(
        version.text.contains("`images: other.example/{service}:{version}` is given to none of them"),
        "{version:?}"
    );
}

/// [`Prints`] with a proxy that has no version.
#[derive(Debug)]
struct Moves;

#[async_trait]
impl Tools for Moves {
    async fn run(&self, program: &str, args: &[String], folder: &Path) -> Result<Printed, SourceError> {
        let mut printed = Prints(&["web", "cart"]).run(program, args, folder).await?;
        printed.text = printed.text.replace("/proxy:v1", "/proxy");
        Ok(printed)
    }
}

/// What comes of these patterns, as they are written, for two services of manifests.
async fn of_patterns(images: &str) -> Result<Rendered, SourceErrors> {
    of_patterns_with(&Prints(&["web", "cart"]), images).await
}

async fn of_patterns_with(tools: &dyn Tools, images: &str) -> Result<Rendered, SourceErrors> {
    let text = format!(
        "maily: 1\nproject: shop\nimages:{images}\nenvironments: {{staging: {{}}}}\nsources: {{all: {{kustomize: all}}}}\n\
         services: {{web: {{from: all}}, cart: {{from: all}}}}\n"
    );
    let resolved = Project::parse(&text, "maily.yaml").expect("is one").resolve("staging").expect("is there");
    let version = "v2".parse().expect("is a version");
    let request = RenderRequest { resolved: &resolved, version: &version, only: None, accept_new: false };
    render(&request, tools).await
}

#[tokio::test]
async fn a_wrong_pattern_of_the_project_is_told_once_at_its_place() {
    for (images, said, place) in [
        (" 'r.example/{name}:{version}'", "unknown placeholder `{name}`", "maily.yaml:3:9: service `web`"),
        (
            " ['r.example/{service}:{version}', 'r.example/{x}:{version}']",
            "`{x}`",
            "maily.yaml:3:43: `images`",
        ),
        (
            "\n- r.example/{service}:{version}\n- 'x y:{version}'",
            "`x y:{version}`",
            "maily.yaml:5:3: `images`",
        ),
        (
            "\n- r.example/{service}:{version}\n- 'y/{service}'",
            "no fixed version",
            "maily.yaml:5:3: `images`",
        ),
        (" 'r.Example/Notes/{service}:{version}'", "lower-case letters", "maily.yaml:3:9: service `web`"),
    ] {
        let refused = of_patterns(images).await.expect_err(images).to_string();
        assert!(refused.starts_with(place) && refused.contains(" | ") && refused.contains('^'), "{refused}");
        assert!(refused.contains(said) && refused.matches("help:").count() == 1, "{refused}");
    }
    // Also where no service uses one.
    let text = "maily: 1\nproject: shop\nimages: 'r.example/{x}:{version}'\nenvironments: {staging: {}}\n\
                services: {web: {workload: {port: 80, image: 'r.example/web:1'}}}\n";
    let resolved = Project::parse(text, "maily.yaml").expect("is one").resolve("staging").expect("is there");
    let version = "v2".parse().expect("is a version");
    let request = RenderRequest { resolved: &resolved, version: &version, only: None, accept_new: false };
    let refused = render(&request, &Prints(&[])).await.expect_err("is wrong").to_string();
    assert!(refused.starts_with("maily.yaml:3:9: `images`: image `r.example/{x}:{version}`"), "{refused}");
}

#[test]
fn images_that_are_no_text_are_told_what_they_are() {
    for images in ["{a: b}", "[a, {b: c}]", "[a, null]"] {
        let text = format!(
            "maily: 1\nproject: shop\nimages: {images}\nservices: {{web: {{workload: {{port: 80}}}}}}\n"
        );
        let refused = Project::parse(&text, "maily.yaml").expect_err(images).to_string();
        assert!(refused.contains("`images` is a text or a list of texts"), "{refused}");
        assert!(refused.contains("help: write `images: …`, or several as `images: [… , …]`"), "{refused}");
    }
}

#[tokio::test]
async fn a_pattern_that_names_nothing_is_told_with_what_is_there() {
    let notes = async |images: &str| of_patterns(images).await.expect(images).notes;
    let there = "there are `r.example/cart:v1`, `r.example/proxy:v1`, `r.example/web:v1`";
    let all = notes(" 'other.example/{service}:{version}'").await;
    let told = all.iter().find(|note| note.topic == "version").expect("is told");
    assert!(told.text.contains("maily.yaml:3: `images:") && told.text.contains(there), "{told:?}");
    assert!(!told.text.contains("REGISTRY") && !all.iter().any(|note| note.topic == "images"), "{all:?}");
    let one = notes("\n- r.example/{service}:{version}\n- r.example/nothing:{version}").await;
    let told: Vec<_> = one.iter().filter(|note| note.topic == "images").collect();
    let said = "maily.yaml:5: `images: r.example/nothing:{version}` is given to no image";
    assert!(told.len() == 1 && told[0].text.starts_with(said), "{told:?}");
    let fit = notes("\n- r.example/{service}:{version}\n- r.example/proxy:v1").await;
    assert!(!fit.iter().any(|note| note.topic == "images"), "{fit:?}");
}

#[tokio::test]
async fn what_stands_beside_a_pattern_without_a_service_and_stays_is_told() {
    let notes = of_patterns(" 'r.example/web:{version}'").await.expect("renders").notes;
    let told: Vec<_> = notes.iter().filter(|note| note.topic == "own-image").collect();
    assert!(
        told.iter().any(|note| note.text.contains("`r.example/cart:v1` looks like the project's own")),
        "{notes:?}"
    );
    // A chart's own path says nothing about the project's.
    let notes = of_patterns(" 'r.example/shop/web:{version}'").await.expect("renders").notes;
    assert!(!notes.iter().any(|note| note.topic == "own-image"), "{notes:?}");
}

/// What a note offers can be written.
#[tokio::test]
async fn an_image_that_may_be_another_tomorrow_is_not_offered_as_a_pattern() {
    const PATTERN: &str = "'r.example/web:{version}'";
    let offered = async |tools: &dyn Tools| {
        let notes = of_patterns_with(tools, &format!(" {PATTERN}")).await.expect("renders").notes;
        let proxy = notes.into_iter().find(|note| note.text.contains("image `r.example/proxy"));
        let text = proxy.expect("is told").text;
        let (_, offer) = text.split_once("follow the version, and `")?;
        Some(offer.split('`').next().expect("has an end").to_owned())
    };
    assert_eq!(offered(&Moves).await, None);
    let offer = offered(&Prints(&["web", "cart"])).await.expect("has a version");
    let notes = of_patterns(&format!(" [{PATTERN}, {offer}]")).await.expect("renders").notes;
    let told = |note: &maily_core::engine::Note| {
        note.topic == "own-image" && note.text.contains("image `r.example/proxy")
    };
    assert!(!notes.iter().any(told), "{notes:?}");
}
