//! The script of the test stack, as far as it needs no servers: what it leaves alone, and that it ends.
#![allow(clippy::disallowed_methods, reason = "tests of processes live by the machine's clock")]

use std::{
    fs,
    path::Path,
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use tempfile::TempDir;

fn script(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/stack/stack"));
    command.args(arguments).current_dir(folder);
    command.env_remove("MAILY_STACK_CACHE").env_remove("MAILY_STACK_KUBECONFIG");
    command
}

fn output(mut command: Command) -> Output {
    command.output().expect("starts")
}

fn told(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// With a cluster that stands, so that nothing is started.
fn up(folder: &Path, dir: &str) -> Output {
    let mut command = script(folder, &["up", dir]);
    command.env("MAILY_STACK_KUBECONFIG", "kubeconfig");
    output(command)
}

fn place() -> TempDir {
    let place = TempDir::new().expect("can be made");
    fs::write(place.path().join("kubeconfig"), "apiVersion: v1\n").expect("can be written");
    place
}

#[test]
fn a_folder_with_something_in_it_becomes_no_stack() {
    let place = place();
    for mine in ["notes", ".hidden"] {
        let folder = place.path().join("work");
        fs::create_dir_all(&folder).expect("can be made");
        fs::write(folder.join(mine), "mine").expect("can be written");
        let refused = up(place.path(), "work");
        assert_eq!(refused.status.code(), Some(1), "{}", told(&refused));
        assert!(told(&refused).contains("work is not empty"), "{}", told(&refused));
        assert!(!output(script(place.path(), &["down", "work"])).status.success());
        assert_eq!(fs::read_to_string(folder.join(mine)).expect("is still there"), "mine");
        fs::remove_dir_all(folder).expect("is ours");
    }
}

#[test]
fn a_file_named_stack_makes_no_stack() {
    let place = place();
    fs::write(place.path().join("stack"), "#!/bin/sh\necho mine\n").expect("can be written");
    for command in [&["down", "."][..], &["status", "."], &["kill", ".", "etcd"]] {
        let refused = output(script(place.path(), command));
        assert_eq!(refused.status.code(), Some(1), "{command:?}: {}", told(&refused));
        assert!(told(&refused).contains("is no stack"), "{command:?}: {}", told(&refused));
    }
    assert!(place.path().join("kubeconfig").exists());
}

#[test]
fn paths_are_those_of_where_the_script_is_called() {
    let place = place();
    fs::create_dir(place.path().join("empty")).expect("can be made");
    for dir in ["new/stack", "empty"] {
        let done = up(place.path(), dir);
        assert!(done.status.success(), "{}", told(&done));
        let way_in = place.path().join(dir).join("admin.kubeconfig");
        assert_eq!(fs::read_to_string(way_in).expect("is copied"), "apiVersion: v1\n");
        let done = output(script(place.path(), &["down", dir]));
        assert!(done.status.success(), "{}", told(&done));
        assert!(!place.path().join(dir).exists());
    }
    let mut path = script(place.path(), &["path"]);
    path.env("MAILY_STACK_CACHE", "built");
    let built = fs::canonicalize(place.path()).expect("is there").join("built");
    let told = told(&output(path));
    assert!(Path::new(&told).starts_with(&built), "{told}");
}

/// Ends with what it has started, whatever the assertions say.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn stat(pid: u32) -> Vec<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("is there");
    let (_, fields) = stat.rsplit_once(") ").expect("has a name");
    fields.split(' ').map(str::to_owned).collect()
}

fn until(what: &str, mut seen: impl FnMut() -> bool) {
    let limit = Instant::now() + Duration::from_secs(10);
    while !seen() {
        assert!(Instant::now() < limit, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Under a first process that waits for no children, what was killed stays in the table of processes.
#[test]
fn what_has_ended_and_is_waited_for_by_nobody_is_gone() {
    let place = place();
    let ended = Running(Command::new("true").spawn().expect("starts"));
    until("it ends", || stat(ended.0.id())[0] == "Z");
    let began = &stat(ended.0.id())[19];
    let folder = place.path().join("site");
    fs::create_dir(&folder).expect("can be made");
    fs::write(folder.join("stack"), "33100\n").expect("can be written");
    fs::write(folder.join("etcd.pid"), format!("{} {began}\n", ended.0.id())).expect("can be written");
    let told = told(&output(script(place.path(), &["status", "site"])));
    assert!(told.contains("etcd does not run"), "{told}");
    let mut down = script(place.path(), &["down", "site"]);
    let mut down = Running(down.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("starts"));
    until("the stack goes down", || down.0.try_wait().expect("is ours").is_some());
    assert!(!folder.exists());
}

/// What lies beside a kubeconfig is found from where it lies.
#[test]
fn a_kubeconfig_that_is_taken_over_keeps_its_files() {
    let place = place();
    let own = "clusters: [{name: a, cluster: {certificate-authority: /etc/ca.crt, certificate-authority-data: AAAA}}]
users:
- user:
    client-certificate: pki/me.crt
    client-key: \"pki/me.key\"
    tokenFile: token
";
    fs::write(place.path().join("kubeconfig"), own).expect("can be written");
    let made = up(place.path(), "work");
    assert!(made.status.success(), "{}", told(&made));
    let kept = fs::read_to_string(place.path().join("work/admin.kubeconfig")).expect("is there");
    let folder = place.path().display().to_string();
    let wanted = own
        .replace("pki/me", &format!("{folder}/pki/me"))
        .replace("tokenFile: token", &format!("tokenFile: {folder}/token"));
    assert_eq!(kept, wanted);
}

/// Since 1.21 Go fetches the version that is asked for by itself.
#[test]
fn a_go_that_is_too_old_is_named_with_the_remedy() {
    use std::os::unix::fs::PermissionsExt as _;

    let place = place();
    let go = place.path().join("go");
    fs::write(&go, "#!/bin/sh\ntest \"$1 $2\" != 'env GOVERSION' || echo go1.19.8\nexit 1\n")
        .expect("can be written");
    fs::set_permissions(&go, fs::Permissions::from_mode(0o755)).expect("is ours");
    let mut command = script(place.path(), &["up", "work", "28443"]);
    let path = std::env::var("PATH").expect("is set");
    command.env("PATH", format!("{}:{path}", place.path().display())).env("MAILY_STACK_CACHE", "cache");
    let refused = output(command);
    assert_eq!(refused.status.code(), Some(1), "{}", told(&refused));
    let said = told(&refused);
    assert!(
        said.contains("go1.19.8") && said.contains("Go 1.21 or newer") && said.contains("go.dev/dl"),
        "{said}"
    );
}

/// A proxy leads nowhere near the servers of this machine.
#[test]
fn no_request_to_the_stack_goes_through_a_proxy() {
    let text = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/stack/stack")).expect("is there");
    let requests: Vec<&str> = text.lines().filter(|line| line.contains("curl -")).collect();
    assert_eq!(requests.len(), 2, "{requests:?}");
    assert!(requests.iter().all(|line| line.contains("--noproxy '*'")), "{requests:?}");
}
