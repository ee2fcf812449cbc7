//! Where everything is on this host, and what version it has.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The directories, from the environment or from where this program is installed.
#[derive(Debug)]
pub struct Paths {
    /// `$IPSEC_CONFS`: ipsec.conf, ipsec.secrets, ipsec.d.
    pub confs: PathBuf,
    /// `$IPSEC_RUNDIR`: sockets, pid files, ipsec.info.
    pub rundir: PathBuf,
    /// `$IPSEC_EXECDIR`: programs that people do not type.
    pub execdir: PathBuf,
    /// Where this program itself is.
    sbin: Option<PathBuf>,
}

impl Paths {
    /// The directories of this process.
    pub fn get() -> &'static Self {
        static PATHS: OnceLock<Paths> = OnceLock::new();
        PATHS.get_or_init(Self::find)
    }

    fn find() -> Self {
        let set = |name: &str| {
            std::env::var_os(name)
                .filter(|v| !v.is_empty())
                .map(PathBuf::from)
        };
        let sbin = std::env::current_exe()
            .ok()
            .and_then(|e| Some(e.parent()?.to_path_buf()));
        let beside = || match &sbin {
            // <prefix>/sbin/ipsec has its helpers in <prefix>/libexec/ipsec; a build directory has them beside it.
            Some(dir) if dir.join("pluto").is_file() => dir.clone(),
            Some(dir) => dir.parent().unwrap_or(dir).join("libexec/ipsec"),
            None => "/usr/local/libexec/ipsec".into(),
        };
        Self {
            confs: set("IPSEC_CONFS").unwrap_or_else(|| "/etc".into()),
            rundir: set("IPSEC_RUNDIR").unwrap_or_else(|| "/run/pluto".into()),
            execdir: set("IPSEC_EXECDIR").unwrap_or_else(beside),
            sbin,
        }
    }

    /// `ipsec.conf`.
    pub fn conf(&self) -> PathBuf {
        self.confs.join("ipsec.conf")
    }

    /// The files of the policy groups.
    pub fn policies(&self) -> PathBuf {
        self.confs.join("ipsec.d/policies")
    }

    /// `ipsec.secrets`.
    pub fn secrets(&self) -> PathBuf {
        self.confs.join("ipsec.secrets")
    }

    /// `ipsec.info`: what setup found.
    pub fn info(&self) -> PathBuf {
        self.rundir.join("ipsec.info")
    }

    /// A file in the run directory.
    pub fn run(&self, name: &str) -> PathBuf {
        self.rundir.join(name)
    }

    /// Gives a child the directories, and a PATH on which updown commands find `ipsec` and `ip`.
    pub fn environment(&self, child: &mut Command) {
        child.env("IPSEC_CONFS", absolute(&self.confs));
        child.env("IPSEC_RUNDIR", absolute(&self.rundir));
        child.env("IPSEC_EXECDIR", absolute(&self.execdir));
        let old = std::env::var_os("PATH").unwrap_or_default();
        let standard = [
            "/usr/local/sbin",
            "/sbin",
            "/usr/sbin",
            "/usr/local/bin",
            "/bin",
            "/usr/bin",
        ]
        .map(PathBuf::from);
        let mut dirs: Vec<PathBuf> = std::env::split_paths(&old).collect();
        // A name on the PATH that is another ipsec must not win over this one.
        dirs.splice(
            0..0,
            self.sbin
                .iter()
                .filter(|d| d.join("ipsec").is_file())
                .cloned(),
        );
        for dir in standard {
            if !dirs.contains(&dir) {
                dirs.push(dir);
            }
        }
        child.env(
            "PATH",
            std::env::join_paths(dirs)
                .unwrap_or_else(|_| OsString::from("/usr/sbin:/usr/bin:/sbin:/bin")),
        );
    }
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf())
}

/// The version of these programs.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The version, or `U…/K…` where KLIPS has another or is not there.
pub fn version_code() -> String {
    let klips = pfkey::client::Control::find().table(pfkey::client::Table::Version);
    match klips
        .as_deref()
        .ok()
        .and_then(|text| text.split_whitespace().last())
    {
        Some(VERSION) => VERSION.to_string(),
        Some(other) => format!("U{VERSION}/K{other}"),
        None => format!("U{VERSION}/K(no kernel code presently loaded)"),
    }
}
