//! The table's file and the gateway's own, replaced, moved, damaged and looked at while packets are
//! forwarded.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::{Command, Output},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use eip_dp_tests::lab::{
    gateway::Gateway,
    process::{outcome, run},
    scene::{EIPS, Options, Scene},
    traffic::{Pinging, ping},
    wait::until,
};

const LONG: Duration = Duration::from_mins(2);

fn table(gateway: &Gateway) -> PathBuf {
    PathBuf::from(gateway.table().replacen("sqlite:", "", 1))
}

fn in_run(gateway: &Gateway, suffix: &str) -> PathBuf {
    Path::new(eip_dp_user::daemon::RUN_FOLDER).join(format!("{}.{suffix}", gateway.name()))
}

/// What a command that has to fail complained about.
fn complaint(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The program with this gateway's name, and no word about the table.
fn with_name(scene: &Scene) -> Command {
    let gateway = &scene.gateway;
    let program = gateway.program().to_string_lossy().into_owned();
    let mut command = scene.backbone.gateway.command(&program);
    command
        .args(["--name", gateway.name()])
        .env_remove("EIP_DP_TABLE");
    command
}

fn applied(gateway: &Gateway) -> Result<u64> {
    let status = gateway.status()?;
    status["applied"]["revision"]
        .as_u64()
        .context("no revision in `status`")
}

fn wait_for_log(gateway: &Gateway, what: &str) -> Result<()> {
    until(LONG, &format!("the daemon to log {what:?}"), || {
        Ok(gateway.log().contains(what).then_some(()))
    })
}

/// Pings the first EIP from now on.
fn watch(scene: &Scene) -> Result<Pinging> {
    let log = scene.lab.folder().join("ping");
    Pinging::start(&scene.backbone.internet, EIPS[0].address, &log)
}

/// The daemon has not ended, and no ping was lost.
fn served_all_along(scene: &mut Scene, pinging: Pinging) -> Result<()> {
    scene.gateway.daemon()?.still_runs()?;
    let pinged = pinging.stop()?;
    assert!(pinged.lost_nothing(), "{pinged}");
    Ok(())
}

/// A copy is renamed over the table again and again, while commands read and write it.
#[test]
fn renames_over_the_table_crash_nobody_and_stop_no_packet() -> Result<()> {
    const ROUNDS: usize = 60;
    let mut scene = Scene::new(&Options::default())?;
    let pinging = watch(&scene)?;
    let path = table(&scene.gateway);
    let backup = path.with_file_name("backup.db");
    scene.gateway.ok(&format!("backup {}", backup.display()))?;
    let gateway = &scene.gateway;
    std::thread::scope(|scope| -> Result<()> {
        let writer = scope.spawn(move || -> Result<()> {
            for round in 0..ROUNDS {
                let output = gateway.outcome(&format!("instance create r{round}"))?;
                // A rename may come between the change and its end: then that is told.
                let said = String::from_utf8_lossy(&output.stderr);
                let is_told = output.status.success() || said.contains("was replaced");
                ensure!(is_told, "{output:?}");
                gateway.ok("eip list")?;
            }
            Ok(())
        });
        let beside = path.with_file_name("beside.db");
        while !writer.is_finished() {
            fs::copy(&backup, &beside)?;
            fs::rename(&beside, &path)?;
        }
        writer.join().expect("no panic")
    })?;
    fs::copy(&backup, path.with_file_name("last.db"))?;
    fs::rename(path.with_file_name("last.db"), &path)?;
    scene.gateway.daemon()?.still_runs()?;
    scene.gateway.ok("instance create after --wait")?;
    scene.gateway.ok("verify")?;
    served_all_along(&mut scene, pinging)
}

/// By a copy that comes in pieces, into a new file and into the same one; and by `restore`.
#[test]
fn a_copy_is_followed_once_it_is_whole() -> Result<()> {
    let mut scene = Scene::new(&Options::default())?;
    let internet = scene.backbone.internet.clone();
    let path = table(&scene.gateway);
    let backup = path.with_file_name("backup.db");
    scene.gateway.ok(&format!("backup {}", backup.display()))?;
    let copied = applied(&scene.gateway)?;
    let content = fs::read(&backup)?;
    let answers =
        || -> Result<bool> { Ok(ping(&internet, None, EIPS[0].address, 1)?.received == 1) };
    for is_new_file in [true, false] {
        scene.gateway.ok("disassociate eip-a --wait")?;
        assert!(!answers()?);
        if is_new_file {
            fs::remove_file(&path)?;
        }
        fs::write(&path, "")?;
        wait_for_log(&scene.gateway, "is empty and no table yet")?;
        // Nobody makes a new one meanwhile, and nothing changes.
        let said = complaint(&scene.gateway.outcome("pool create 192.0.2.0/24")?);
        assert!(said.contains("restore"), "{said}");
        assert!(!complaint(&scene.gateway.outcome("eip list")?).is_empty());
        assert_eq!(fs::metadata(&path)?.len(), 0);
        for part in 1..4 {
            fs::write(&path, &content[..content.len() * part / 4])?;
            assert!(!scene.gateway.outcome("eip list")?.status.success());
        }
        fs::write(&path, &content)?;
        until(LONG, "the copy to be followed", || {
            Ok(answers()?.then_some(()))
        })?;
        assert_eq!(applied(&scene.gateway)?, copied);
        scene.gateway.ok("verify")?;
    }
    // Of two copies, each written over the other in place, the one that is there is followed, also
    // where nothing but their content tells them apart.
    scene.gateway.ok("disassociate eip-a --wait")?;
    let second = path.with_file_name("second.db");
    scene.gateway.ok(&format!("backup {}", second.display()))?;
    for (copy, is_answered) in [(&backup, true), (&second, false), (&backup, true)] {
        fs::write(&path, fs::read(copy)?)?;
        until(LONG, "the other copy to be followed", || {
            Ok((answers()? == is_answered).then_some(()))
        })?;
    }
    scene.gateway.ok("disassociate eip-a --wait")?;
    let restored = scene
        .gateway
        .ok(&format!("restore {} --wait", backup.display()))?;
    assert!(
        restored.contains(&format!("revision {copied}")),
        "{restored}"
    );
    assert!(answers()?);
    wait_for_log(&scene.gateway, "older revision")?;
    scene.gateway.daemon()?.still_runs()
}

/// The folder is renamed, a link on the way leads elsewhere, the table goes and comes back.
#[test]
fn a_table_that_moves_is_followed_where_its_path_leads() -> Result<()> {
    let mut scene = Scene::new(&Options::default())?;
    let pinging = watch(&scene)?;
    scene.gateway.stop()?;
    let path = table(&scene.gateway);
    let folder = scene.lab.folder().join("places");
    for place in ["one", "two"] {
        fs::create_dir_all(folder.join(place))?;
    }
    for suffix in ["", "-journal"] {
        let name = format!("table.db{suffix}");
        fs::rename(path.with_file_name(&name), folder.join("one").join(&name))?;
    }
    symlink("one", folder.join("current"))?;
    symlink(folder.join("current/table.db"), &path)?;
    scene.gateway.start()?;
    scene.gateway.ok("instance create one --wait")?;
    // Another place.
    fs::copy(folder.join("one/table.db"), folder.join("two/table.db"))?;
    symlink("two", folder.join("next"))?;
    fs::rename(folder.join("next"), folder.join("current"))?;
    scene.gateway.ok("instance create two --wait")?;
    let status = scene.gateway.status()?;
    assert_eq!(status["table"]["revision"], status["applied"]["revision"]);
    // Nothing at all.
    fs::rename(folder.join("two"), folder.join("three"))?;
    wait_for_log(&scene.gateway, "is gone")?;
    assert!(
        !scene
            .gateway
            .outcome("vpc create w --cidr 10.9.0.0/16")?
            .status
            .success()
    );
    assert!(!folder.join("two").exists(), "nobody makes it anew");
    fs::rename(folder.join("three"), folder.join("two"))?;
    wait_for_log(&scene.gateway, "followed again")?;
    scene.gateway.ok("instance create three --wait")?;
    scene.gateway.ok("verify")?;
    served_all_along(&mut scene, pinging)
}

/// No command judges or changes a gateway by another table than its own, whether its daemon runs or
/// not.
#[test]
fn another_table_is_refused_by_all() -> Result<()> {
    let mut scene = Scene::new(&Options::default())?;
    let pinging = watch(&scene)?;
    let path = table(&scene.gateway);
    let kept = path.with_file_name("kept.db");
    let other = path.with_file_name("other.db");
    let other_url = format!("sqlite:{}", other.display());
    for table in [&other_url, &"sqlite:/nowhere/table.db".to_owned()] {
        for verb in ["verify", "verify --repair", "stats", "status"] {
            let mut words = vec!["--table", table.as_str()];
            words.extend(verb.split(' '));
            let output = outcome(with_name(&scene).args(words))?;
            if verb != "status" {
                complaint(&output);
            }
        }
    }
    assert!(!other.exists(), "who looks makes no table");
    run(with_name(&scene).args(["--table", &other_url, "pool", "create", "192.0.2.0/24"]))?;
    for daemon_runs in [true, false] {
        if !daemon_runs {
            scene.gateway.stop()?;
        }
        for verb in ["verify", "verify --repair", "stats", "status"] {
            let mut words = vec!["--table", other_url.as_str()];
            words.extend(verb.split(' '));
            let said = complaint(&outcome(with_name(&scene).args(words))?);
            assert!(said.contains("another table"), "{verb}: {said}");
        }
        let check =
            outcome(with_name(&scene).args(["--table", &other_url, "check", "--uplink", "up0"]))?;
        let said = String::from_utf8_lossy(&check.stdout);
        assert!(said.contains("another table"), "{said}");
    }
    // Nor does a daemon start with it, also where the right one was.
    let configuration = scene.gateway.configuration();
    let start = ["run", "--config", configuration.to_str().context("a path")?];
    let said = complaint(&outcome(
        with_name(&scene).args(["--table", &other_url]).args(start),
    )?);
    assert!(said.contains("another table"), "{said}");
    fs::rename(&path, &kept)?;
    let said = complaint(&outcome(&mut scene.gateway.command(&start))?);
    assert!(said.contains("there is no table"), "{said}");
    let said = complaint(&scene.gateway.outcome("pool create 192.0.2.0/24")?);
    assert!(said.contains("restore"), "{said}");
    assert!(!path.exists());
    fs::copy(&other, &path)?;
    let said = complaint(&outcome(&mut scene.gateway.command(&start))?);
    assert!(said.contains("another table"), "{said}");
    let said = complaint(&scene.gateway.outcome("instance create i")?);
    assert!(said.contains("another table"), "{said}");
    // Its own is followed, from another path as well.
    let kept_url = format!("sqlite:{}", kept.display());
    run(with_name(&scene).args(["--table", &kept_url, "verify"]))?;
    fs::rename(&kept, &path)?;
    scene.gateway.start()?;
    fs::copy(&other, path.with_file_name("over.db"))?;
    fs::rename(path.with_file_name("over.db"), &path)?;
    wait_for_log(&scene.gateway, "is another table")?;
    served_all_along(&mut scene, pinging)
}

#[test]
fn every_verb_asks_the_running_daemon_for_its_table() -> Result<()> {
    let scene = Scene::new(&Options {
        silent: true,
        ..Options::default()
    })?;
    let listed = outcome(with_name(&scene).args(["eip", "list"]))?;
    assert!(listed.status.success(), "{listed:?}");
    assert!(String::from_utf8_lossy(&listed.stdout).contains(EIPS[0].address));
    let said = String::from_utf8_lossy(&listed.stderr);
    assert!(said.starts_with("note: the table is sqlite:"), "{said}");
    let json = outcome(with_name(&scene).args(["--output", "json", "eip", "list"]))?;
    assert!(json.stderr.is_empty(), "{json:?}");
    serde_json::from_slice::<serde_json::Value>(&json.stdout)?;
    run(with_name(&scene).args(["eip", "create", "new", "--wait"]))?;
    scene.gateway.ok("eip show new")?;
    for verb in ["status", "verify", "stats", "export"] {
        run(with_name(&scene).arg(verb))?;
    }
    Ok(())
}

/// What lies on a read-only file system can be read.
#[test]
fn reading_asks_for_no_right_to_write() -> Result<()> {
    let scene = Scene::new(&Options {
        silent: true,
        ..Options::default()
    })?;
    let folder = scene.lab.folder().join("medium");
    fs::create_dir(&folder)?;
    let path = folder.join("table.db");
    scene.gateway.ok(&format!("backup {}", path.display()))?;
    let program = scene.gateway.program().display().to_string();
    for verb in [
        "eip list",
        "export",
        "eni show a-primary",
        "backup /dev/shm/none",
    ] {
        let script = format!(
            "mount --bind {0} {0} && mount -o remount,ro,bind {0} && {program} --table sqlite:{1} {verb}",
            folder.display(),
            path.display()
        );
        let output = outcome(Command::new("unshare").args(["--mount", "sh", "-c", &script]))?;
        let is_backup = verb.starts_with("backup");
        ensure!(output.status.success(), "{verb}: {output:?}");
        if is_backup {
            fs::remove_file("/dev/shm/none")?;
        }
    }
    let script = format!(
        "mount --bind {0} {0} && mount -o remount,ro,bind {0} && {program} --table sqlite:{1} eip create x",
        folder.display(),
        path.display()
    );
    let output = outcome(Command::new("unshare").args(["--mount", "sh", "-c", &script]))?;
    let said = complaint(&output);
    assert!(said.contains("cannot open or write"), "{said}");
    Ok(())
}

/// Files and folders are root's alone, and a daemon closes what an earlier one left open.
#[test]
fn nobody_else_gets_at_the_gateways_files() -> Result<()> {
    let mut scene = Scene::new(&Options {
        silent: true,
        ..Options::default()
    })?;
    let pins = Path::new("/sys/fs/bpf/eip-dp").join(scene.gateway.name());
    let path = table(&scene.gateway);
    let run_folder = Path::new(eip_dp_user::daemon::RUN_FOLDER).to_owned();
    let all = |gateway: &Gateway| {
        [
            path.clone(),
            path.with_file_name("table.db-journal"),
            in_run(gateway, "lock"),
            in_run(gateway, "status.json"),
            run_folder.clone(),
            pins.clone(),
            pins.join("links"),
            pins.join("lock"),
        ]
    };
    scene.gateway.stop()?;
    for path in [&path, &in_run(&scene.gateway, "lock")] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o644))?;
    }
    fs::set_permissions(&pins, fs::Permissions::from_mode(0o755))?;
    scene.gateway.start()?;
    scene.gateway.ok("instance create i --wait")?;
    for path in all(&scene.gateway) {
        let found = fs::metadata(&path).with_context(|| path.display().to_string())?;
        // A group that another gateway names may go through the folder of all of them.
        let others = if path == run_folder { 0o066 } else { 0o077 };
        assert_eq!(found.mode() & others, 0, "{}", path.display());
    }
    // A cleaner's work changes nothing of who has the lock.
    fs::remove_file(in_run(&scene.gateway, "lock"))?;
    let configuration = scene.gateway.configuration();
    let start = ["run", "--config", configuration.to_str().context("a path")?];
    let said = complaint(&outcome(&mut scene.gateway.command(&start))?);
    assert!(said.contains("runs already"), "{said}");
    assert_eq!(scene.gateway.status()?["daemon"]["running"], true);
    // Folders that others may write to may hold anything.
    scene.gateway.stop()?;
    fs::set_permissions(&pins, fs::Permissions::from_mode(0o777))?;
    for words in [&start[..], &["status"], &["verify"]] {
        let said = complaint(&outcome(&mut scene.gateway.command(words))?);
        assert!(said.contains("not root's alone"), "{said}");
    }
    fs::set_permissions(&pins, fs::Permissions::from_mode(0o700))?;
    scene.gateway.start()
}

/// A process that ends with this value.
struct Ended(std::process::Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Who is not root can hold no lock that a daemon wants.
#[test]
fn a_lock_that_somebody_else_holds_stops_no_daemon() -> Result<()> {
    let mut scene = Scene::new(&Options {
        silent: true,
        ..Options::default()
    })?;
    scene.gateway.stop()?;
    let lock = in_run(&scene.gateway, "lock");
    // As an earlier version left it, opened by somebody while that was so.
    fs::set_permissions(&lock, fs::Permissions::from_mode(0o644))?;
    let file = fs::File::open(&lock)?;
    let log = scene.lab.folder().join("holder");
    let mut holder = Command::new("setpriv");
    holder
        .args([
            "--reuid=65534",
            "--regid=65534",
            "--clear-groups",
            "sh",
            "-c",
        ])
        .arg("flock --shared 0 && echo held && exec sleep 100")
        .stdin(file);
    holder.stdout(fs::File::create(&log)?);
    let _holder = Ended(holder.spawn()?);
    until(LONG, "somebody to hold the lock", || {
        Ok(fs::read_to_string(&log)?.contains("held").then_some(()))
    })?;
    assert_eq!(scene.gateway.status()?["daemon"]["running"], false);
    scene.gateway.start()?;
    assert_eq!(scene.gateway.status()?["daemon"]["running"], true);
    Ok(())
}

/// What is damaged under /run is made anew.
#[test]
fn damaged_reports_and_settings_are_rebuilt() -> Result<()> {
    let mut scene = Scene::new(&Options {
        silent: true,
        ..Options::default()
    })?;
    let status = in_run(&scene.gateway, "status.json");
    let settings = in_run(&scene.gateway, "settings.json");
    for content in ["", "{\"pid\": ", "[1, 2, 3]", "\u{0}\u{0}"] {
        scene.gateway.kill()?;
        for file in [&status, &settings] {
            fs::write(file, content)?;
        }
        scene.gateway.status_text()?;
        scene.gateway.start()?;
        scene.gateway.ok("instance create i --wait")?;
        scene.gateway.ok("instance delete i")?;
        serde_json::from_slice::<serde_json::Value>(&fs::read(&status)?)?;
        let warnings = scene.gateway.status()?["warnings"].to_string();
        assert!(!warnings.contains("settings are unknown"), "{warnings}");
    }
    // While it runs, too: the next news of the table has it written.
    fs::write(&status, "damaged")?;
    scene.gateway.ok("verify")?;
    scene.gateway.ok("eni detach a-secondary --wait")?;
    until(LONG, "the report to be whole", || {
        Ok(serde_json::from_slice::<serde_json::Value>(&fs::read(&status)?).ok())
    })?;
    Ok(())
}

/// The program, as a user of one group and without any right.
fn as_user(scene: &Scene, gid: u32, words: &str) -> Result<Output> {
    let gateway = &scene.gateway;
    let mut command = scene.backbone.gateway.command("setpriv");
    command
        .args(["--reuid=65533", &format!("--regid={gid}"), "--clear-groups"])
        .arg(gateway.program())
        .args(["--name", gateway.name()])
        .args(words.split_whitespace())
        .env_remove("EIP_DP_TABLE");
    outcome(&mut command)
}

/// A group that this host has, and that nobody of the test is in otherwise.
const GROUP: (&str, u32) = ("daemon", 1);
const NO_MEMBER: u32 = 65_533;

/// Nothing is written by a member of the group, and nothing but the copies opened; by others not
/// even those.
fn nothing_else_is_opened(scene: &Scene, gid: u32) -> Result<()> {
    let said = complaint(&as_user(scene, gid, "instance create mine")?);
    assert!(said.contains("may read a copy"), "{said}");
    let live = table(&scene.gateway);
    let tries = [
        live.clone(),
        in_run(&scene.gateway, "status.json"),
        in_run(&scene.gateway, "lock"),
    ];
    for path in tries {
        for gid in [gid, NO_MEMBER] {
            let mut command = Command::new("setpriv");
            command.args(["--reuid=65533", &format!("--regid={gid}"), "--clear-groups"]);
            let output = outcome(
                command
                    .args(["flock", "--shared", "--nonblock"])
                    .arg(&path)
                    .arg("true"),
            )?;
            assert!(!output.status.success(), "{}", path.display());
        }
    }
    for words in ["status", "stats", "drops"] {
        let said = complaint(&as_user(scene, NO_MEMBER, words)?);
        assert!(said.contains("[files] group"), "{words}: {said}");
    }
    complaint(&as_user(scene, NO_MEMBER, "eip list")?);
    Ok(())
}

/// Copies that are lost or damaged are made again; a link in their folder's place is not followed,
/// and what it leads to stays whose it was.
fn copies_are_made_again(scene: &Scene, gid: u32) -> Result<()> {
    let folder = in_run(&scene.gateway, "readers");
    let elsewhere = scene.lab.folder().join("elsewhere");
    fs::create_dir(&elsewhere)?;
    fs::set_permissions(&elsewhere, fs::Permissions::from_mode(0o1777))?;
    let before = fs::metadata(&elsewhere)?;
    fs::remove_dir_all(&folder)?;
    symlink(&elsewhere, &folder)?;
    wait_for_log(&scene.gateway, "is no folder of this daemon's own")?;
    let after = fs::metadata(&elsewhere)?;
    assert_eq!((after.mode(), after.gid()), (before.mode(), before.gid()));
    assert_eq!(fs::read_dir(&elsewhere)?.count(), 0);
    fs::remove_file(&folder)?;
    let read = |words: &str| Ok(as_user(scene, gid, words)?.status.success().then_some(()));
    until(LONG, "the copies to be there again", || {
        Ok(read("status")?.and(read("stats")?).and(read("export")?))
    })?;
    fs::write(folder.join("table.db"), "")?;
    let said = complaint(&as_user(scene, gid, "export")?);
    assert!(said.contains("gone or empty"), "{said}");
    until(LONG, "the copy of the table to be whole", || read("export"))
}

/// Nobody is told that all is well by the copies of a daemon that has ended; a file in their place
/// stops no daemon.
fn copies_end_with_the_daemon(scene: &mut Scene, gid: u32) -> Result<()> {
    scene.gateway.stop()?;
    let output = as_user(scene, gid, "status -o json")?;
    assert_eq!(output.status.code(), Some(1));
    let json: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    assert_eq!(json["daemon"]["running"], false, "{json}");
    let unknown = json["serving"]["unknown"].as_str().unwrap_or_default();
    assert!(unknown.contains("no daemon runs"), "{json}");
    for words in ["stats", "drops"] {
        let said = complaint(&as_user(scene, gid, words)?);
        assert!(said.contains("no daemon runs"), "{words}: {said}");
    }
    let folder = in_run(&scene.gateway, "readers");
    fs::remove_file(folder.join("status.json"))?;
    let said = complaint(&as_user(scene, gid, "status")?);
    assert!(said.contains("no daemon runs that would"), "{said}");
    fs::remove_dir_all(&folder)?;
    let said = complaint(&as_user(scene, gid, "status")?);
    assert!(said.contains("[files] group"), "{said}");
    fs::write(&folder, "a file")?;
    Ok(())
}

/// Members of the group that the configuration names read status, counters and the table, by copies
/// that lock nothing; nobody else does.
#[test]
fn a_group_reads_copies_and_nobody_else_anything() -> Result<()> {
    let mut scene = Scene::new(&Options {
        silent: true,
        ..Options::default()
    })?;
    let (group, gid) = GROUP;
    let folder = in_run(&scene.gateway, "readers");
    assert!(!folder.exists(), "nobody asked for it");
    let said = complaint(&as_user(&scene, gid, "status")?);
    assert!(said.contains("[files] group"), "{said}");
    let plain = fs::read_to_string(scene.gateway.configuration())?;
    scene.gateway.stop()?;
    scene
        .gateway
        .configure(&format!("{plain}\n[files]\ngroup = \"{group}\"\n"))?;
    scene.gateway.start()?;
    until(LONG, "the first copies", || {
        let files = ["table.db", "status.json", "stats.json"];
        let all = files.iter().all(|file| folder.join(file).exists());
        Ok(all.then_some(()))
    })?;
    for (path, mode) in [
        (folder.clone(), 0o750),
        (folder.join("table.db"), 0o640),
        (folder.join("status.json"), 0o640),
        (folder.join("stats.json"), 0o640),
    ] {
        let found = fs::metadata(&path)?;
        let seen = (found.uid(), found.gid(), found.mode() & 0o7777);
        assert_eq!(seen, (0, gid, mode), "{}", path.display());
    }
    // What a member reads, and that it is said where from.
    let read = |words: &str| -> Result<(String, String)> {
        let output = as_user(&scene, gid, words)?;
        ensure!(output.status.success(), "{words}: {output:?}");
        let [out, err] = [output.stdout, output.stderr].map(String::from_utf8);
        Ok((out?, err?))
    };
    let (status, _) = read("status")?;
    assert!(status.contains("copy of this"), "{status}");
    let json: serde_json::Value = serde_json::from_str(&read("status -o json")?.0)?;
    assert_eq!(json["daemon"]["running"], true, "{json}");
    assert!(json["copied_seconds_ago"].is_u64());
    for words in [
        "eip list",
        "eip show eip-a",
        "eni list",
        "export",
        "eni show a1",
    ] {
        let (out, err) = read(words)?;
        assert!(err.contains("read from the copy of"), "{words}: {err}");
        assert!(out.contains("eip-a") || out.contains("a-primary"), "{out}");
    }
    for words in ["stats", "stats eip-a", "drops --all"] {
        let (out, err) = read(words)?;
        assert!(err.contains("copy of the counters"), "{words}: {err}");
        assert!(!out.is_empty());
    }
    // A change comes to the copy.
    scene.gateway.ok("instance create new --wait")?;
    until(LONG, "the copy to follow", || {
        Ok(as_user(&scene, gid, "instance show new")?
            .status
            .success()
            .then_some(()))
    })?;
    nothing_else_is_opened(&scene, gid)?;
    copies_are_made_again(&scene, gid)?;
    copies_end_with_the_daemon(&mut scene, gid)?;
    // A group that is taken out of the configuration reads nothing any more.
    scene.gateway.configure(&plain)?;
    scene.gateway.start()?;
    assert!(!folder.exists());
    complaint(&as_user(&scene, gid, "status")?);
    scene.gateway.stop()?;
    scene
        .gateway
        .configure(&format!("{plain}\n[files]\ngroup = \"no-such-group\"\n"))?;
    let configuration = scene.gateway.configuration();
    let start = ["run", "--config", configuration.to_str().context("a path")?];
    let said = complaint(&outcome(&mut scene.gateway.command(&start))?);
    assert!(said.contains("`group`: \"no-such-group\""), "{said}");
    Ok(())
}

/// Without a daemon an older copy of the table is no table to repair by, unless that is meant.
#[test]
fn an_older_copy_sets_nobody_back_unasked() -> Result<()> {
    let mut scene = Scene::new(&Options {
        silent: true,
        ..Options::default()
    })?;
    let older = table(&scene.gateway).with_file_name("older.db");
    let url = format!("sqlite:{}", older.display());
    scene.gateway.ok(&format!("backup {}", older.display()))?;
    scene.gateway.ok("disassociate eip-a --wait")?;
    let forwarded = applied(&scene.gateway)?;
    scene.gateway.stop()?;
    let with_copy = |words: &str| {
        outcome(
            with_name(&scene)
                .args(["--table", &url])
                .args(words.split(' ')),
        )
    };
    let said = complaint(&with_copy("verify --repair")?);
    assert!(said.contains("to repair by it is to go back"), "{said}");
    assert_eq!(applied(&scene.gateway)?, forwarded);
    let check = with_copy("check --uplink up0")?;
    let said = String::from_utf8_lossy(&check.stdout);
    assert!(said.contains("older than what is forwarded"), "{said}");
    assert!(said.contains("is a copy of the table"), "{said}");
    assert_eq!(check.status.code(), Some(1));
    let status = with_copy("status")?;
    let said = String::from_utf8_lossy(&status.stdout);
    assert!(said.contains("no, the table is at revision"), "{said}");
    let shown = with_copy("eip show eip-a")?;
    let said = String::from_utf8_lossy(&shown.stdout);
    assert!(said.contains("leave out --table"), "{said}");
    // It is followed where that is meant, and `status` knows by what the gateway forwards.
    let repaired = with_copy("verify --repair --older")?;
    ensure!(repaired.status.success(), "{repaired:?}");
    assert!(applied(&scene.gateway)? < forwarded);
    // That does not make the copy's place the table's.
    let (own, away) = (table(&scene.gateway), older.with_file_name("away.db"));
    fs::rename(&own, &away)?;
    let said = complaint(&scene.gateway.outcome("pool create 198.18.0.0/24")?);
    assert!(said.contains("is gone or empty"), "{said}");
    fs::rename(&away, &own)?;
    let said = complaint(&scene.gateway.outcome("status")?);
    assert!(said.is_empty(), "{said}");
    scene.gateway.ok("verify --repair")?;
    assert_eq!(applied(&scene.gateway)?, forwarded);
    scene.gateway.ok("status")?;
    // Nor is a copy the same that took its place and came to the same revision by another change.
    scene.gateway.ok(&format!("restore {}", older.display()))?;
    scene.gateway.ok("instance create other")?;
    let status = scene.gateway.outcome("status")?;
    let said = String::from_utf8_lossy(&status.stdout);
    assert!(said.contains("need not be the same"), "{said}");
    assert_eq!(status.status.code(), Some(1));
    Ok(())
}

/// In the daemon's mount namespace the table's file system becomes another one, read-only, and is
/// taken away while the daemon has the file open.
#[test]
fn a_table_whose_file_system_goes_is_waited_for() -> Result<()> {
    let mut scene = Scene::new(&Options::default())?;
    // It gives the daemon a mount namespace of its own.
    scene.gateway.stop()?;
    scene.gateway.set_resolver("")?;
    scene.gateway.start()?;
    let pinging = watch(&scene)?;
    let path = table(&scene.gateway);
    let folder = path.parent().context("a folder")?.display().to_string();
    let kept = scene.lab.folder().join("kept.db");
    let process = scene.gateway.daemon()?.id().to_string();
    let inside = |script: &str| {
        run(Command::new("nsenter").args(["--mount", "--target", &process, "sh", "-ec", script]))
    };
    scene.gateway.ok(&format!("backup {}", kept.display()))?;
    let copied = applied(&scene.gateway)?;
    // An empty file system over it.
    inside(&format!("mount -t tmpfs none {folder}"))?;
    wait_for_log(&scene.gateway, "is gone")?;
    inside(&format!("cp {} {folder}/table.db", kept.display()))?;
    wait_for_log(&scene.gateway, "followed again")?;
    // Away with it, while the file is open: what is below is the table again.
    scene.gateway.ok("instance create below")?;
    inside(&format!("umount -l {folder}"))?;
    scene.gateway.ok("instance create above --wait")?;
    // One that it may not write to is followed all the same.
    let medium = scene.lab.folder().join("medium");
    fs::create_dir(&medium)?;
    let medium = medium.display();
    inside(&format!(
        "mount -t tmpfs none {medium}; cp {0} {medium}/table.db; mount -o remount,ro {medium}; mount --bind {medium} {folder}",
        kept.display()
    ))?;
    until(LONG, "the copy on the medium to be followed", || {
        Ok((applied(&scene.gateway)? == copied).then_some(()))
    })?;
    inside(&format!("umount -l {folder}"))?;
    scene.gateway.ok("instance create after --wait")?;
    scene.gateway.ok("verify")?;
    served_all_along(&mut scene, pinging)
}

/// A link in the table's place leads to the same table: who names either path means it, and nobody
/// makes another one there.
#[test]
fn a_path_that_becomes_a_link_is_the_tables_path() -> Result<()> {
    let mut scene = Scene::new(&Options {
        silent: true,
        ..Options::default()
    })?;
    let path = table(&scene.gateway);
    let moved = scene.lab.folder().join("moved.db");
    fs::rename(&path, &moved)?;
    symlink(&moved, &path)?;
    scene.gateway.ok("instance create one --wait")?;
    scene.gateway.ok("verify")?;
    scene.gateway.ok("status")?;
    let url = format!("sqlite:{}", moved.display());
    run(with_name(&scene).args(["--table", &url, "instance", "create", "two", "--wait"]))?;
    scene.gateway.stop()?;
    let away = scene.lab.folder().join("away.db");
    fs::rename(&moved, &away)?;
    let said = complaint(&scene.gateway.outcome("pool create 192.0.2.0/24")?);
    assert!(said.contains("is gone or empty"), "{said}");
    assert!(!moved.exists(), "nobody makes a new one");
    fs::rename(&away, &moved)?;
    scene.gateway.start()?;
    scene.gateway.ok("instance create three --wait")?;
    Ok(())
}

/// One row with a value that no rule lets through, and a daemon that starts with it: that object is
/// served no longer, and named; all others are.
#[test]
fn a_row_that_cannot_be_read_costs_one_object() -> Result<()> {
    let mut scene = Scene::new(&Options::default())?;
    let internet = scene.backbone.internet.clone();
    let answers =
        |address: &str| -> Result<bool> { Ok(ping(&internet, None, address, 1)?.received == 1) };
    let path = table(&scene.gateway);
    let backup = path.with_file_name("backup.db");
    scene.gateway.ok(&format!("backup {}", backup.display()))?;
    let (sound, damaged) = (EIPS[0], EIPS[2]);
    assert!(answers(sound.address)? && answers(damaged.address)?);
    scene.gateway.stop()?;
    // The state of that EIP.
    let mut content = fs::read(&path)?;
    let row = [damaged.id.as_bytes(), b"\x04\xcb\x00\x71"].concat();
    let find = |from: usize, what: &[u8]| {
        let found = content[from..]
            .windows(what.len())
            .position(|one| one == what);
        found.map(|at| from + at)
    };
    let at = find(0, &row).context("the EIP's row")?;
    let state = find(at, b"associated").context("its state")?;
    assert!(state < at + 64, "of the same row");
    content[state..state + 4].copy_from_slice(b"lost");
    fs::write(&path, content)?;
    scene.gateway.start()?;
    assert!(answers(sound.address)?);
    assert!(!answers(damaged.address)?);
    let status = scene.gateway.status()?;
    assert_eq!(status["serving"]["ok"], false, "{status}");
    let unserved = status["serving"]["unserved"].to_string();
    assert!(unserved.contains("eip eip-a3: the table's row"), "{status}");
    complaint(&scene.gateway.outcome("eip show eip-a3")?);
    scene.gateway.ok("instance create i --wait")?;
    // With a whole copy it is served again.
    scene
        .gateway
        .ok(&format!("restore {} --wait", backup.display()))?;
    assert!(answers(damaged.address)?);
    until(LONG, "`status` to be good", || {
        Ok(scene
            .gateway
            .outcome("status")?
            .status
            .success()
            .then_some(()))
    })
}
