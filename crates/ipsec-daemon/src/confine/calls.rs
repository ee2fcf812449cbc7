//! System calls, by a seccomp filter: those that the daemons and the libraries below them make, and no others.
//!
//! A call that is not listed is answered with ENOSYS, as an older kernel would, and not by death: libraries have a second way
//! for calls that are new. Not listed are, above all, running programs, tracing, mounts, namespaces, modules, keys of the
//! kernel, BPF, io_uring, other users' ids, and signals to other processes.

use std::collections::BTreeMap;

use libc::*;
use seccompiler::{
    BpfProgram, Error, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition,
    SeccompFilter, SeccompRule,
};

use super::{ConfineError, not_built_in};

/// Open descriptors and files.
const FILES: &[c_long] = &[
    SYS_read,
    SYS_write,
    SYS_readv,
    SYS_writev,
    SYS_pread64,
    SYS_pwrite64,
    SYS_lseek,
    SYS_close,
    SYS_close_range,
    SYS_openat,
    SYS_openat2,
    SYS_fstat,
    SYS_newfstatat,
    SYS_statx,
    SYS_statfs,
    SYS_fstatfs,
    SYS_faccessat,
    SYS_faccessat2,
    SYS_readlinkat,
    SYS_getdents64,
    SYS_unlinkat,
    SYS_renameat2,
    SYS_mkdirat,
    SYS_fchmod,
    SYS_fchmodat,
    SYS_ftruncate,
    SYS_fallocate,
    SYS_fsync,
    SYS_fdatasync,
    SYS_flock,
    SYS_fcntl,
    SYS_ioctl,
    SYS_dup,
    SYS_dup3,
    SYS_getcwd,
    SYS_chdir,
    SYS_umask,
];

/// Waiting.
const WAITS: &[c_long] = &[
    SYS_epoll_create1,
    SYS_epoll_ctl,
    SYS_epoll_pwait,
    SYS_epoll_pwait2,
    SYS_ppoll,
    SYS_pselect6,
    SYS_eventfd2,
    SYS_pipe2,
    SYS_timerfd_create,
    SYS_timerfd_settime,
    SYS_timerfd_gettime,
    SYS_signalfd4,
    SYS_inotify_init1,
    SYS_inotify_add_watch,
    SYS_inotify_rm_watch,
    SYS_nanosleep,
    SYS_clock_nanosleep,
    SYS_clock_gettime,
    SYS_clock_getres,
    SYS_gettimeofday,
    SYS_times,
];

/// Sockets, once they are made.
const SOCKETS: &[c_long] = &[
    SYS_bind,
    SYS_connect,
    SYS_listen,
    SYS_accept,
    SYS_accept4,
    SYS_getsockname,
    SYS_getpeername,
    SYS_sendto,
    SYS_recvfrom,
    SYS_sendmsg,
    SYS_recvmsg,
    SYS_sendmmsg,
    SYS_recvmmsg,
    SYS_setsockopt,
    SYS_getsockopt,
    SYS_shutdown,
    SYS_socketpair,
];

/// Memory, threads, signals, and what a process asks about itself. `mmap`, `mprotect` and `clone` are among [`conditional`];
/// what `clone3` is to do can't be seen by a filter, and the C library uses `clone` where there is none.
const PROCESS: &[c_long] = &[
    SYS_munmap,
    SYS_mremap,
    SYS_madvise,
    SYS_brk,
    SYS_mlock,
    SYS_mlock2,
    SYS_munlock,
    SYS_membarrier,
    SYS_futex,
    SYS_set_robust_list,
    SYS_get_robust_list,
    SYS_rseq,
    SYS_set_tid_address,
    SYS_exit,
    SYS_exit_group,
    SYS_restart_syscall,
    SYS_rt_sigaction,
    SYS_rt_sigprocmask,
    SYS_rt_sigreturn,
    SYS_rt_sigtimedwait,
    SYS_rt_sigpending,
    SYS_rt_sigsuspend,
    SYS_sigaltstack,
    SYS_tgkill,
    SYS_getpid,
    SYS_gettid,
    SYS_getppid,
    SYS_getpgid,
    SYS_getuid,
    SYS_geteuid,
    SYS_getgid,
    SYS_getegid,
    SYS_capget,
    SYS_getrandom,
    SYS_getrlimit,
    SYS_prlimit64,
    SYS_getrusage,
    SYS_sysinfo,
    SYS_uname,
    SYS_sched_yield,
    SYS_sched_getaffinity,
    SYS_sched_getparam,
    SYS_sched_getscheduler,
    SYS_getcpu,
];

/// The older forms that only some processors have.
#[cfg(target_arch = "x86_64")]
const OLDER: &[c_long] = &[
    SYS_open,
    SYS_stat,
    SYS_lstat,
    SYS_access,
    SYS_readlink,
    SYS_getdents,
    SYS_unlink,
    SYS_rename,
    SYS_renameat,
    SYS_mkdir,
    SYS_chmod,
    SYS_dup2,
    SYS_pipe,
    SYS_poll,
    SYS_select,
    SYS_epoll_create,
    SYS_epoll_wait,
    SYS_eventfd,
    SYS_inotify_init,
    SYS_time,
    SYS_arch_prctl,
];
#[cfg(not(target_arch = "x86_64"))]
const OLDER: &[c_long] = &[];

/// `prctl` for names of threads and of memory.
const PRCTL: [c_int; 3] = [PR_SET_NAME, PR_GET_NAME, PR_SET_VMA];

/// Restricts this thread and those it starts to the listed calls; `false` where the kernel has no such filters, or the
/// processor is one that none is written for.
pub fn restrict(families: &[i32]) -> Result<bool, ConfineError> {
    let Ok(arch) = std::env::consts::ARCH.try_into() else {
        return Ok(false);
    };
    let failed = |e: &dyn std::fmt::Display| ConfineError::new("system calls", e);
    let rules = rules(families).map_err(|e| failed(&e))?;
    let refused = SeccompAction::Errno(ENOSYS as u32);
    let program: BpfProgram = SeccompFilter::new(rules, refused, SeccompAction::Allow, arch)
        .and_then(TryInto::try_into)
        .map_err(|e| failed(&e))?;
    match seccompiler::apply_filter(&program) {
        Ok(()) => Ok(true),
        Err(Error::Prctl(e) | Error::Seccomp(e)) if not_built_in(&e) => Ok(false),
        Err(e) => Err(failed(&e)),
    }
}

type Rules = BTreeMap<c_long, Vec<SeccompRule>>;

fn rules(families: &[i32]) -> Result<Rules, seccompiler::BackendError> {
    let listed = [FILES, WAITS, SOCKETS, PROCESS, OLDER];
    let mut rules: Rules = listed
        .into_iter()
        .flatten()
        .map(|call| (*call, Vec::new()))
        .collect();
    rules.extend(conditional(families)?);
    Ok(rules)
}

/// Calls that are allowed with some arguments only.
fn conditional(families: &[i32]) -> Result<Rules, seccompiler::BackendError> {
    let when = |argument, operator, value: i32| {
        let value = value as u32;
        let condition =
            SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, value.into())?;
        SeccompRule::new(vec![condition])
    };
    let one_of = |argument, values: &[i32]| {
        let equal = |value: &i32| when(argument, SeccompCmpOp::Eq, *value);
        values.iter().map(equal).collect::<Result<Vec<_>, _>>()
    };
    // No code but what is in files, which name services are loaded from as late as they are asked.
    let no_code = when(2, SeccompCmpOp::MaskedEq(PROT_EXEC as u64), 0)?;
    let both = (PROT_WRITE | PROT_EXEC) as u64;
    let not_both = [0, PROT_WRITE, PROT_EXEC]
        .map(|rights| when(2, SeccompCmpOp::MaskedEq(both), rights))
        .into_iter()
        .collect::<Result<Vec<_>, _>>()?;
    // Threads, and neither processes nor namespaces.
    let new =
        CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS;
    let looked_at = (new | CLONE_NEWCGROUP | CLONE_THREAD) as u32;
    let thread = when(0, SeccompCmpOp::MaskedEq(looked_at.into()), CLONE_THREAD)?;
    let families = [&[AF_UNIX, AF_NETLINK], families].concat();
    Ok(BTreeMap::from([
        (SYS_socket, one_of(0, &families)?),
        (SYS_clone, vec![thread]),
        (SYS_prctl, one_of(0, &PRCTL)?),
        (SYS_mmap, not_both),
        (SYS_mprotect, vec![no_code]),
    ]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn g11_the_filter_fits_and_lacks_what_must_be_lacking() {
        let rules = rules(&[AF_INET, AF_INET6]).unwrap();
        for call in [
            SYS_execve,
            SYS_execveat,
            SYS_clone3,
            SYS_ptrace,
            SYS_mount,
            SYS_umount2,
            SYS_setns,
            SYS_unshare,
            SYS_chroot,
            SYS_pivot_root,
            SYS_init_module,
            SYS_finit_module,
            SYS_kexec_load,
            SYS_bpf,
            SYS_io_uring_setup,
            SYS_perf_event_open,
            SYS_userfaultfd,
            SYS_keyctl,
            SYS_add_key,
            SYS_setuid,
            SYS_setresuid,
            SYS_capset,
            SYS_kill,
            SYS_process_vm_readv,
            SYS_process_vm_writev,
            SYS_open_by_handle_at,
            SYS_memfd_create,
            SYS_personality,
            SYS_reboot,
        ] {
            assert!(!rules.contains_key(&call), "system call {call}");
        }
        assert_eq!(rules[&SYS_socket].len(), 4);
        let arch = std::env::consts::ARCH.try_into().unwrap();
        let refused = SeccompAction::Errno(ENOSYS as u32);
        let filter = SeccompFilter::new(rules, refused, SeccompAction::Allow, arch).unwrap();
        let program: BpfProgram = filter.try_into().unwrap();
        assert!(program.len() < 4096, "more than the kernel takes");
    }
}
