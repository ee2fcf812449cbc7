//! The module's source as `make install` leaves it, and klips.ko that dkms(8) makes of it, for the test kernel.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The tools that the kernel was made with, first: a module must be made with the same.
const PATH: &str = "/usr/lib/llvm-19/bin:/usr/bin:/usr/sbin:/bin:/sbin";

fn project() -> &'static Path {
    let testing = Path::new(env!("CARGO_MANIFEST_DIR"));
    testing.parent().expect("testing is in the project")
}

/// What the command says, which must succeed.
fn said(command: &mut Command) -> String {
    let done = command
        .output()
        .unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let said = String::from_utf8_lossy(&[done.stdout, done.stderr].concat()).into_owned();
    assert!(done.status.success(), "{command:?}: {said}");
    said
}

fn make(arguments: &[String]) {
    said(
        Command::new("make")
            .arg("-C")
            .arg(project())
            .args(arguments),
    );
}

#[test]
fn dkms_makes_the_module_of_what_is_installed() {
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let path = |name: &str| scratch.path().join(name);
    let version = env!("CARGO_PKG_VERSION");
    let name = format!("klips-{version}");
    let me = std::env::current_exe().expect("a running program has a name");
    let profile = me
        .ancestors()
        .nth(2)
        .expect("tests are in <target>/<profile>/deps");
    let target = profile
        .parent()
        .expect("a profile is in a target directory");
    let install = |what: &str| {
        [
            what.to_owned(),
            format!("TARGET={}", target.display()),
            "PROFILE=debug".to_owned(),
            "PREFIX=/usr".to_owned(),
            format!("DESTDIR={}", path("root").display()),
            format!("KLIPS_SOURCE={}", path(&name).display()),
        ]
    };
    make(&install("klips-source"));
    // As root often is: without cargo, and what it would fetch.
    let without_cargo = |what| [install(what).to_vec(), vec!["CARGO=no-cargo".to_owned()]].concat();
    make(&without_cargo("install"));
    let source = path("root/usr/src").join(&name);

    let kernel = said(&mut Command::new(project().join("testing/kernels/build")));
    let kernel = PathBuf::from(kernel.lines().last().expect("it prints the directory"));
    let release = std::fs::read_to_string(kernel.join("include/config/kernel.release"))
        .expect("a kernel that is built");
    let dkms = || {
        let tools = std::env::var("PATH").unwrap_or_default();
        let mut command = Command::new("dkms");
        command.env("PATH", format!("{PATH}:{tools}"));
        for (tree, directory) in [
            ("dkmstree", "tree"),
            ("sourcetree", "src"),
            ("installtree", "modules"),
        ] {
            std::fs::create_dir_all(path(directory)).expect("the scratch directory is ours");
            command.arg(format!("--{tree}")).arg(path(directory));
        }
        command
    };
    said(dkms().arg("add").arg(&source));
    said(
        dkms()
            .args([
                "build",
                &format!("klips/{version}"),
                "-k",
                release.trim(),
                "--kernelsourcedir",
            ])
            .arg(&kernel),
    );
    let built = path("tree")
        .join("klips")
        .join(version)
        .join(release.trim());
    let module = said(
        Command::new("find")
            .arg(&built)
            .args(["-name", "klips.ko*"]),
    );
    let about = said(Command::new("modinfo").arg(module.trim()));
    assert!(about.contains("license:        GPL"), "{about}");
    assert!(
        about.contains(&format!("vermagic:       {} ", release.trim())),
        "{about}"
    );

    make(&without_cargo("uninstall"));
    assert!(!source.exists(), "uninstall takes the source away");
}
