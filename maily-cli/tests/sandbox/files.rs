//! Files that commands write, and output that cannot be written.

use std::{
    fs::{self, File},
    os::unix::fs::{FileTypeExt as _, PermissionsExt as _, symlink},
    process::Stdio,
};

use crate::{
    bad_input::services,
    desk::{Desk, Done, done},
    interrupts::begun,
};

fn small() -> Desk {
    Desk::with(&services("  api: {workload: {port: 80}}"))
}

fn plan(desk: &Desk, out: &str) -> Done {
    desk.sandbox(&["plan", "--env", "production", "--version", "v1.0.0", "--out", out])
}

fn names(desk: &Desk) -> Vec<String> {
    let entries = fs::read_dir(desk.path()).expect("can be read");
    let mut names: Vec<String> =
        entries.map(|entry| entry.expect("can be read").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn a_saved_plan_touches_no_other_file() {
    let desk = small();
    desk.write("plan.new", "mine");
    desk.write("plan.json.new", "mine, too");
    plan(&desk, "plan.json").expect(0);
    assert_eq!(names(&desk), [".maily", "maily.yaml", "plan.json", "plan.json.new", "plan.new"]);
    assert_eq!(fs::read_to_string(desk.path().join("plan.new")).expect("is there"), "mine");
    desk.sandbox(&["apply", "plan.json", "--yes"]).expect(0);
}

#[test]
fn a_plan_is_saved_where_a_link_points_and_keeps_the_files_mode() {
    let desk = small();
    desk.write("plans/real.json", "old");
    let real = desk.path().join("plans/real.json");
    fs::set_permissions(&real, fs::Permissions::from_mode(0o640)).expect("is ours");
    symlink("plans/real.json", desk.path().join("plan.json")).expect("can be made");
    plan(&desk, "plan.json").expect(0);
    assert!(fs::symlink_metadata(desk.path().join("plan.json")).expect("is there").is_symlink());
    let written = fs::read_to_string(&real).expect("is there");
    assert!(written.contains("\"plan\"") || written.contains("digest"), "{written}");
    assert_eq!(fs::metadata(&real).expect("is there").permissions().mode() & 0o777, 0o640);
    // A link to a file that is not there yet makes it.
    symlink("plans/next.json", desk.path().join("next.json")).expect("can be made");
    plan(&desk, "next.json").expect(0);
    assert!(desk.path().join("plans/next.json").is_file());
    assert!(fs::symlink_metadata(desk.path().join("next.json")).expect("is there").is_symlink());
}

#[test]
fn a_pipe_is_written_to_and_stays_one() {
    let desk = small();
    desk.pipe("pipe");
    let path = desk.path().join("pipe");
    let reader = {
        let path = path.clone();
        std::thread::spawn(move || {
            // Both ends, so that neither waits for the other for ever.
            let mut file = File::options().read(true).write(true).open(path).expect("opens");
            let mut first = [0; 1];
            std::io::Read::read_exact(&mut file, &mut first).expect("can be read");
            first
        })
    };
    std::thread::sleep(std::time::Duration::from_millis(200));
    plan(&desk, "pipe").expect(0);
    assert!(fs::symlink_metadata(&path).expect("is there").file_type().is_fifo());
    assert_eq!(reader.join().expect("ends"), *b"{");
    // What is no file takes the plan, too: here the program's own output.
    let through = plan(&desk, "/dev/stdout").expect(0);
    assert!(through.out.contains("\"digest\""), "{}", through.out);
}

#[test]
fn a_plan_that_cannot_be_saved_leaves_nothing_behind() {
    let desk = small();
    fs::create_dir(desk.path().join("folder")).expect("can be made");
    let refused = plan(&desk, "folder").expect(1);
    assert!(refused.err.contains("failed to write `folder`"), "{}", refused.err);
    assert_eq!(names(&desk), [".maily", "folder", "maily.yaml"]);
}

fn full(desk: &Desk, args: &[&str]) -> Done {
    let mut all = vec!["--sandbox"];
    all.extend(args);
    let mut command = desk.command(&all);
    let full = File::options().write(true).open("/dev/full").expect("is there");
    command.stdout(full).stderr(Stdio::piped());
    let output = command.spawn().expect("starts").wait_with_output().expect("ends");
    Done {
        code: output.status.code().unwrap_or(-1),
        out: String::new(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

#[test]
fn a_run_whose_output_cannot_be_written_ends_with_its_own_code() {
    let desk = small();
    let done = full(&desk, &["deploy", "--env", "production", "--version", "v1.0.0", "--yes"]).expect(0);
    assert!(done.err.contains("warning: failed to print"), "{}", done.err);
    let status = desk.sandbox(&["status", "--env", "production", "-o", "json"]).expect(0).json();
    assert_eq!(status["release"], 1, "{status}");
    // Where nothing but the output was asked for, that it is lost is a failure.
    let lost = full(&desk, &["status", "--env", "production"]).expect(1).err;
    assert!(lost.contains("failed to print") && lost.contains("send it elsewhere"), "{lost}");
}

#[test]
fn records_that_go_away_under_a_run_leave_it_to_resume() {
    let desk = Desk::example();
    let child = begun(&desk);
    let (state, away) = (desk.path().join(".maily"), desk.path().join("away"));
    fs::rename(&state, &away).expect("is ours");
    let output = child.wait_with_output().expect("ends");
    let err = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(130), "{err}");
    assert!(err.contains("failed to write") && err.contains("resume --env production"), "{err}");
    fs::rename(&away, &state).expect("is ours");
    desk.sandbox(&["sandbox", "fault", "clear"]).expect(0);
    desk.sandbox(&["resume", "--env", "production"]).expect(0);
}

#[test]
fn a_damaged_sandbox_is_reset() {
    let desk = small();
    desk.write(".maily/sandbox.json", "{\"format\": 1, \"wor");
    desk.write(".maily/sandbox.new", "half");
    let refused = desk.sandbox(&["status", "--env", "production"]).expect(1);
    assert!(refused.err.contains("sandbox reset"), "{}", refused.err);
    desk.sandbox(&["sandbox", "reset"]).expect(0);
    assert!(!desk.path().join(".maily/sandbox.json").exists());
    assert!(!desk.path().join(".maily/sandbox.new").exists());
    desk.sandbox(&["deploy", "--env", "production", "--version", "v1.0.0", "--yes"]).expect(0);
    // There is nothing to reset twice, and that is no error.
    desk.sandbox(&["sandbox", "reset"]).expect(0);
    desk.sandbox(&["sandbox", "reset"]).expect(0);
}

#[test]
fn a_sandbox_that_does_not_fit_on_the_disk_leaves_no_half_file() {
    let desk = small();
    desk.sandbox(&["sandbox", "reset"]).expect(0);
    // As on a full disk: no file may grow beyond a block.
    let mut limited = std::process::Command::new("sh");
    let program = env!("CARGO_BIN_EXE_mailyctl");
    let script =
        format!("trap '' XFSZ; ulimit -f 1; exec '{program}' --sandbox sandbox fault add api-down 1");
    limited.args(["-c", &script]).current_dir(desk.path()).stdin(Stdio::null());
    let failed = done(limited).expect(1);
    assert!(failed.err.contains("sandbox.json"), "{}", failed.err);
    assert!(!desk.path().join(".maily/sandbox.new").exists());
}

/// A command for which no file may grow beyond so many blocks of 512 bytes, as on a disk that is full then.
fn with_blocks(desk: &Desk, blocks: u32, args: &str) -> Done {
    let program = env!("CARGO_BIN_EXE_mailyctl");
    let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec '{program}' --sandbox {args}");
    let mut limited = std::process::Command::new("sh");
    limited.args(["-c", &script]).current_dir(desk.path()).stdin(Stdio::null());
    done(limited)
}

#[test]
fn a_full_disk_takes_no_plan_and_leaves_what_was_there() {
    // The world is small before anything runs in it, and the plan of many services is not.
    let many: String = (0..60).map(|n| format!("  s{n}: {{workload: {{port: 80}}}}\n")).collect();
    let desk = Desk::with(&services(&many));
    let args = "plan --env production --version v1.0.0 --out plan.json";
    let refused = with_blocks(&desk, 64, args).expect(1).err;
    assert!(refused.contains("failed to write `plan.json`: File too large"), "{refused}");
    assert!(!refused.contains("saved; carry it out"), "{refused}");
    assert_eq!(names(&desk), [".maily", "maily.yaml"], "and nothing half");
    plan(&desk, "plan.json").expect(0);
    let before = fs::read(desk.path().join("plan.json")).expect("is there");
    with_blocks(&desk, 64, &args.replace("v1.0.0", "v2.0.0")).expect(1);
    assert_eq!(fs::read(desk.path().join("plan.json")).expect("is there"), before, "the old plan is whole");
    assert_eq!(names(&desk), [".maily", "maily.yaml", "plan.json"]);
    desk.sandbox(&["apply", "plan.json", "--yes"]).expect(0);
}

#[cfg(target_os = "linux")]
#[test]
fn a_device_that_is_full_takes_no_plan() {
    let desk = small();
    symlink("/dev/full", desk.path().join("full")).expect("can be made");
    for out in ["/dev/full", "full"] {
        let refused = plan(&desk, out).expect(1).err;
        assert!(refused.contains(&format!("failed to write `{out}`: No space left on device")), "{refused}");
        assert!(!refused.contains("saved; carry it out"), "{refused}");
    }
    let there = fs::metadata("/dev/full").expect("is there");
    assert!(there.file_type().is_char_device(), "a device stays one");
    assert_eq!(names(&desk), [".maily", "full", "maily.yaml"]);
}

#[test]
fn streams_that_are_closed_are_as_streams_to_nowhere() {
    let desk = small();
    let program = env!("CARGO_BIN_EXE_mailyctl");
    let closed = |args: &str, streams: &str| {
        let mut command = std::process::Command::new("sh");
        command
            .args(["-c", &format!("exec '{program}' --sandbox {args} {streams}")])
            .current_dir(desk.path());
        done(command)
    };
    let deploy = "deploy --env production --version v1.0.0";
    let refused = closed(deploy, "<&-").expect(2).err;
    assert!(refused.contains("nobody can be asked here"), "{refused}");
    let status = || desk.sandbox(&["status", "--env", "production", "-o", "json"]).expect(0).json();
    assert_eq!(status()["release"], serde_json::Value::Null, "nobody has said yes");
    closed(&format!("{deploy} --yes"), "<&-").expect(0);
    assert_eq!(status()["release"], 1);
    // What is written to a number that nobody holds must not land in a file that was opened under it.
    closed("deploy --env production --version v2.0.0 --yes", "<&- >&- 2>&-").expect(0);
    assert_eq!(status()["release"], 2);
    closed("plan --env production --version v3.0.0 --out plan.json", "<&- >&- 2>&-").expect(0);
    desk.sandbox(&["apply", "plan.json", "--yes"]).expect(0);
}
