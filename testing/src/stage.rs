//! Where the programs under test are: a directory laid out as `make install` lays it out.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// The staged installation.
#[derive(Clone, Debug)]
pub struct Stage {
    root: PathBuf,
}

/// Programs that people do not type, in libexec/ipsec.
const LIBEXEC: [&str; 3] = ["pluto", "klipsd", "whack"];

/// Names for links on their way.
static NEXT: AtomicU32 = AtomicU32::new(0);

impl Stage {
    /// The programs beside the running test: `target/debug` for a test in `target/debug/deps`.
    ///
    /// `TESTBED_STAGE` names an installed tree (the prefix) instead.
    pub fn find() -> Stage {
        if let Some(root) = std::env::var_os("TESTBED_STAGE") {
            return Stage { root: root.into() };
        }
        let me = std::env::current_exe().expect("a running program has a name");
        let mut built = me.parent().expect("a program is in a directory");
        if built.ends_with("deps") {
            built = built.parent().expect("deps is in the profile's directory");
        }
        let stage = Stage {
            root: built.join("stage"),
        };
        stage.fill(built);
        stage
    }

    /// The directory with the `ipsec` command.
    pub fn sbin(&self) -> PathBuf {
        self.root.join("sbin")
    }

    /// `IPSEC_EXECDIR`.
    pub fn execdir(&self) -> PathBuf {
        self.root.join("libexec/ipsec")
    }

    fn fill(&self, built: &Path) {
        let source = Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .expect("testing is in the project")
            .join("conf");
        fs::create_dir_all(self.sbin()).expect("the stage can be made");
        fs::create_dir_all(self.execdir()).expect("the stage can be made");
        let mut links = vec![(built.join("ipsec"), self.sbin().join("ipsec"))];
        for name in LIBEXEC {
            links.push((built.join(name), self.execdir().join(name)));
        }
        links.push((source.join("_updown"), self.execdir().join("_updown")));
        for (from, to) in links {
            assert!(
                from.exists(),
                "{} is not built: run `cargo build --workspace --bins` first",
                from.display()
            );
            // Tests run side by side: whoever comes second finds the link made.
            if fs::read_link(&to).is_ok_and(|there| there == from) {
                continue;
            }
            let mine = NEXT.fetch_add(1, Ordering::Relaxed);
            let new = to.with_extension(format!("{}-{mine}", std::process::id()));
            symlink(&from, &new)
                .and_then(|()| fs::rename(&new, &to))
                .unwrap_or_else(|error| {
                    panic!(
                        "{} can't be linked to {}: {error}",
                        to.display(),
                        from.display()
                    )
                });
        }
    }
}
