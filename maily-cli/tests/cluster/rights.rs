//! A release with exactly the rights that `doctor` asks for, and with one less.

use serde_json::{Value, json};

use crate::site::{Done, Site, done};

/// Everything that a workload can be rendered to and the server serves, with a job and its undo.
const FILE: &str = "maily: 1
project: shop
images: registry.example/shop/{service}:{version}
environments: {}
phases:
  - {name: all, environment: production, gates: [smoke]}
gates:
  smoke: {job: {image: 'registry.example/shop/smoke:{version}'}}
services:
  api:
    workload:
      port: 8080
      scale: 2..3
      config: {limits.yaml: one}
      ingress: {host: shop.example, tls: shop-tls}
      permissions: [{resources: [widgets], verbs: [list]}]
  web: {needs: [api], workload: {port: 8080, talks-to: [api]}}
  migrate: {before: api, job: {command: [up], undo: [down]}}
  nightly: {manifests: nightly.yaml}
  open: {manifests: open.yaml}
";

const NIGHTLY: &str = "apiVersion: batch/v1
kind: CronJob
metadata: {name: nightly}
spec:
  schedule: '0 3 1 1 *'
  jobTemplate:
    spec:
      template:
        spec: {restartPolicy: Never, containers: [{name: main, image: 'registry.example/shop/nightly:v1'}]}
";

/// An account of the namespace with the role that `doctor` printed, and the way in with it.
struct Account<'s> {
    site: &'s Site,
    cluster_roles: Vec<String>,
    /// Roles and cluster roles as they were printed.
    roles: Vec<Value>,
}

impl<'s> Account<'s> {
    fn new(site: &'s Site) -> Self {
        site.kubectl(&["create", "serviceaccount", "releases"]).expect(0);
        let printed = site.run(&["doctor", "--version", "v1", "--role"]).expect(0);
        site.write("role.yaml", &printed.out);
        site.kubectl(&["apply", "-f", "role.yaml"]).expect(0);
        let role = "maily-production";
        let wide = format!("maily-{}-production", site.namespace);
        let account = format!("--serviceaccount={}:releases", site.namespace);
        site.kubectl(&["create", "rolebinding", role, &format!("--role={role}"), &account]).expect(0);
        let bind = ["create", "clusterrolebinding", &wide, &format!("--clusterrole={wide}"), &account];
        site.kubectl(&bind).expect(0);
        let token = site.kubectl(&["create", "token", "releases"]).expect(0).out;
        let own = std::fs::read_to_string(site.kubeconfig()).expect("can be read");
        let users = own.find("users:").expect("has users");
        let ours =
            format!("{}users: [{{name: admin, user: {{token: '{}'}}}}]\n", &own[..users], token.trim());
        site.write("releases.kubeconfig", &ours);
        let read = |what: &str, name: &str| site.kubectl(&["get", what, name, "-o", "json"]).expect(0).json();
        let roles = vec![read("clusterrole", &wide), read("role", role)];
        Self { site, cluster_roles: vec![wide], roles }
    }

    fn run(&self, args: &[&str]) -> Done {
        let mut command = self.site.command(&[args, &["--kubeconfig", "releases.kubeconfig"]].concat());
        command.env_remove("KUBECONFIG");
        done(command)
    }

    /// Puts a role's rules to what they shall be.
    fn rules(&self, role: &Value, rules: &[Value]) {
        let (kind, name) =
            (role["kind"].as_str().expect("has one"), role["metadata"]["name"].as_str().expect("has one"));
        let patch = json!([{"op": "replace", "path": "/rules", "value": rules}]).to_string();
        self.site.kubectl(&["patch", kind, name, "--type=json", "-p", &patch]).expect(0);
    }
}

impl Drop for Account<'_> {
    fn drop(&mut self) {
        for name in &self.cluster_roles {
            self.site.kubectl(&["delete", "--wait=false", "clusterrole,clusterrolebinding", name]);
        }
    }
}

async fn site() -> Site {
    let site = Site::new("role").await;
    site.write("maily.yaml", FILE);
    site.write("nightly.yaml", NIGHTLY);
    let cluster_wide = format!("{}-open", site.namespace);
    site.write(
        "open.yaml",
        &format!(
            "apiVersion: scheduling.k8s.io/v1\nkind: PriorityClass\nmetadata: {{name: {cluster_wide}}}\nvalue: 7\n"
        ),
    );
    site.bind();
    site
}

#[tokio::test]
#[ignore = "needs the test stack (MAILY_TEST_STACK)"]
async fn a_release_needs_the_role_that_doctor_prints_and_no_more() {
    let site = site().await;
    let account = Account::new(&site);
    site.until("the server knows the role", async || account.run(&["doctor", "--version", "v1"]).code == 0)
        .await;
    for command in [
        &["plan", "--version", "v1", "--out", "plan.json"][..],
        &["apply", "plan.json", "--yes"],
        &["deploy", "--version", "v2", "--yes"],
        &["status"],
        &["history"],
        &["logs", "api"],
        &["logs", "migrate"],
        &["logs", "nightly"],
        &["rollback", "--components", "all", "--to-version", "v1", "--yes"],
        &["doctor"],
    ] {
        account.run(command).expect(0);
    }
    for (version, kind, name) in [
        ("autoscaling/v2", "HorizontalPodAutoscaler", "api"),
        ("policy/v1", "PodDisruptionBudget", "api"),
        ("networking.k8s.io/v1", "NetworkPolicy", "web"),
        ("networking.k8s.io/v1", "Ingress", "api"),
        ("rbac.authorization.k8s.io/v1", "RoleBinding", "api"),
        ("batch/v1", "CronJob", "nightly"),
    ] {
        assert!(site.get(version, kind, name).await.is_some(), "{kind} {name}");
    }
    // One that fails has to say why, and to go back, with these rights alone.
    site.write("maily.yaml", &std::fs::read_to_string(site.path().join("maily.yaml")).expect("is there").replace(
        "talks-to: [api]",
        "talks-to: [api], patch: {Deployment: {spec: {template: {metadata: {annotations: {stack.maily.dev/behaviour: crash-loop}}}}}}",
    ));
    let failed = account.run(&["deploy", "--version", "v3", "--yes"]).expect(3);
    assert!(failed.err.contains("crash-loop") || failed.err.contains("CrashLoopBackOff"), "{}", failed.err);
    account.run(&["remove", "--components", "all", "--yes"]).expect(0);
    assert!(site.get("apps/v1", "Deployment", "api").await.is_none());
}

#[tokio::test]
#[ignore = "needs the test stack (MAILY_TEST_STACK)"]
async fn behind_a_fence_the_role_that_doctor_prints_is_enough_too() {
    let site = site().await;
    site.run(&["env", "bind", "production", "--install-fence"]).expect(0);
    let account = Account::new(&site);
    site.until("the server knows the role", async || account.run(&["doctor", "--version", "v1"]).code == 0)
        .await;
    account.run(&["deploy", "--version", "v1", "--yes"]).expect(0);
    let doctor = account.run(&["doctor"]).expect(0).out;
    assert!(doctor.contains("✓ fence") && doctor.contains("refuses what is older than epoch"), "{doctor}");
    account.run(&["remove", "--components", "all", "--yes"]).expect(0);
}

#[tokio::test]
#[ignore = "needs the test stack (MAILY_TEST_STACK)"]
async fn every_single_permission_that_is_missing_is_named() {
    let site = site().await;
    let account = Account::new(&site);
    site.until("the server knows the role", async || account.run(&["doctor", "--version", "v1"]).code == 0)
        .await;
    let mut tried = 0;
    for role in &account.roles {
        let rules = role["rules"].as_array().expect("is a list");
        for (at, rule) in rules.iter().enumerate() {
            // One of each rule's resources loses one verb, another one of each.
            let list = |field: &str| rule[field].as_array().expect("is a list").clone();
            let (resources, verbs) = (list("resources"), list("verbs"));
            let (resource, verb) = (&resources[at % resources.len()], &verbs[at % verbs.len()]);
            let mut less: Vec<Value> = rules.clone();
            let without = |list: &[Value], one: &Value| -> Vec<Value> {
                list.iter().filter(|v| *v != one).cloned().collect()
            };
            less[at]["resources"] = without(&resources, resource).into();
            let mut rest = rule.clone();
            (rest["resources"], rest["verbs"]) = (json!([resource]), without(&verbs, verb).into());
            less.push(rest);
            less.retain(|rule| ["resources", "verbs"].iter().all(|field| rule[*field] != json!([])));
            account.rules(role, &less);
            let group = match rule["apiGroups"][0].as_str() {
                Some("") | None => String::new(),
                Some(group) => format!(".{group}"),
            };
            let named =
                format!("{} {}{group}", verb.as_str().expect("is text"), resource.as_str().expect("is text"));
            site.until(&format!("`{named}` is named"), async || {
                let told = account.run(&["doctor", "--version", "v1"]);
                told.code == 1 && told.out.contains(&named)
            })
            .await;
            tried += 1;
        }
        account.rules(role, rules);
    }
    assert!(tried > 12, "{tried} permissions");
    site.until("all is well again", async || account.run(&["doctor", "--version", "v1"]).code == 0).await;
}
