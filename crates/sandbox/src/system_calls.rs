//! Filters of system calls (seccomp).
//!
//! They refuse what no build needs and what could lead around the other restrictions: `io_uring`, for instance, opens
//! sockets without the system call `socket`.

use std::collections::BTreeMap;
use std::env::consts::ARCH;
use std::io;

use libc::c_long;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch, apply_filter,
};

/// System calls that administer the system, look into other processes, or bypass a filter.
const REFUSED: [c_long; 43] = [
    libc::SYS_acct,
    libc::SYS_add_key,
    libc::SYS_adjtimex,
    libc::SYS_bpf,
    libc::SYS_chroot,
    libc::SYS_clock_adjtime,
    libc::SYS_clock_settime,
    libc::SYS_delete_module,
    libc::SYS_fanotify_init,
    libc::SYS_finit_module,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fsopen,
    libc::SYS_fspick,
    libc::SYS_init_module,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_io_uring_setup,
    libc::SYS_kcmp,
    libc::SYS_kexec_load,
    libc::SYS_keyctl,
    libc::SYS_lookup_dcookie,
    libc::SYS_mount,
    libc::SYS_mount_setattr,
    libc::SYS_move_mount,
    libc::SYS_open_by_handle_at,
    libc::SYS_open_tree,
    libc::SYS_perf_event_open,
    libc::SYS_pidfd_getfd,
    libc::SYS_pivot_root,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_ptrace,
    libc::SYS_quotactl,
    libc::SYS_reboot,
    libc::SYS_request_key,
    libc::SYS_setns,
    libc::SYS_settimeofday,
    libc::SYS_swapoff,
    libc::SYS_swapon,
    libc::SYS_umount2,
    libc::SYS_unshare,
    libc::SYS_userfaultfd,
];

/// The flags of `clone` that create namespaces.
const NAMESPACES: [i32; 7] = [
    libc::CLONE_NEWCGROUP,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWNET,
    libc::CLONE_NEWNS,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWUTS,
];

/// The requests of `ioctl` that write to a terminal as if the user had typed it.
const TERMINAL: [u64; 2] = [0x5412, 0x541c];

/// The families of sockets for this machine, for IP, and for asking the kernel about interfaces.
const FAMILIES: [i32; 4] = [
    libc::AF_UNIX,
    libc::AF_INET,
    libc::AF_INET6,
    libc::AF_NETLINK,
];

/// The bits of the type of a socket that are not flags.
const TYPE: u64 = 0xf;

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// The sockets that a program can use.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Sockets {
    /// Those of this machine and of IP.
    All,
    /// Those between processes of the program. A filter cannot see to what a socket is connected, and the sockets of
    /// services such as Docker are files, which other restrictions do not cover.
    Own,
}

/// Restricts the calling thread and its descendants.
///
/// # Errors
/// If the kernel has no filters, or there are none for this architecture.
pub(crate) fn restrict(sockets: Sockets) -> io::Result<()> {
    let failed = |error: seccompiler::Error| io::Error::other(error.to_string());
    for filter in filters(sockets).map_err(failed)? {
        apply_filter(&filter).map_err(failed)?;
    }
    Ok(())
}

fn filters(sockets: Sockets) -> Result<Vec<BpfProgram>, seccompiler::Error> {
    let mut refused: Rules = REFUSED.iter().map(|call| (*call, Vec::new())).collect();
    let clone = NAMESPACES.map(|flag| {
        let flag = u64::from(flag.cast_unsigned());
        condition(0, SeccompCmpOp::MaskedEq(flag), flag)
    });
    refused.insert(libc::SYS_clone, any(clone)?);
    let ioctl = TERMINAL.map(|request| condition(1, SeccompCmpOp::Eq, request));
    refused.insert(libc::SYS_ioctl, any(ioctl)?);
    // Its flags are in memory, where a filter cannot read them. The C library then uses `clone`.
    let unknown = Rules::from([(libc::SYS_clone3, Vec::new())]);
    let families = match sockets {
        Sockets::All => &FAMILIES[..],
        Sockets::Own => &FAMILIES[..1],
    };
    let families = families
        .iter()
        .map(|family| u64::from(family.cast_unsigned()));
    let others: Vec<SeccompCondition> = families
        .map(|family| condition(0, SeccompCmpOp::Ne, family))
        .collect::<Result<_, _>>()?;
    let others = Rules::from([(libc::SYS_socket, vec![SeccompRule::new(others)?])]);
    let mut filters = vec![
        filter(refused, libc::EPERM)?,
        filter(unknown, libc::ENOSYS)?,
        filter(others, libc::ENETUNREACH)?,
    ];
    if sockets == Sockets::Own {
        let datagram = u64::from(libc::SOCK_DGRAM.cast_unsigned());
        let datagrams = condition(1, SeccompCmpOp::MaskedEq(TYPE), datagram);
        let connections = Rules::from([
            (libc::SYS_connect, Vec::new()),
            (libc::SYS_socket, any([datagrams])?),
        ]);
        filters.push(filter(connections, libc::ECONNREFUSED)?);
    }
    filters.extend(other_numbers());
    Ok(filters)
}

fn condition(
    argument: u8,
    operator: SeccompCmpOp,
    value: u64,
) -> Result<SeccompCondition, seccompiler::Error> {
    Ok(SeccompCondition::new(
        argument,
        SeccompCmpArgLen::Dword,
        operator,
        value,
    )?)
}

/// Returns one rule for each condition: the filter matches if any of them holds.
fn any<const N: usize>(
    conditions: [Result<SeccompCondition, seccompiler::Error>; N],
) -> Result<Vec<SeccompRule>, seccompiler::Error> {
    let rules = conditions
        .into_iter()
        .map(|condition| Ok(SeccompRule::new(vec![condition?])?));
    rules.collect()
}

/// Returns a filter that makes the system calls of `rules` fail with `errno`.
fn filter(rules: Rules, errno: i32) -> Result<BpfProgram, seccompiler::Error> {
    let architecture: TargetArch = ARCH.try_into()?;
    let refused = SeccompAction::Errno(errno.cast_unsigned());
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refused, architecture)?;
    Ok(filter.try_into()?)
}

/// Returns the filter for the second set of numbers that x86-64 has for the same system calls (x32).
#[cfg(target_arch = "x86_64")]
fn other_numbers() -> Vec<BpfProgram> {
    use seccompiler::sock_filter;
    const LOAD_NUMBER: u16 = 0x20;
    const JUMP_IF_GREATER_OR_EQUAL: u16 = 0x35;
    const RETURN: u16 = 0x06;
    const FIRST: u32 = 0x4000_0000;
    const ALLOW: u32 = 0x7fff_0000;
    const ERRNO: u32 = 0x0005_0000;
    let instruction = |code, jt, jf, k| sock_filter { code, jt, jf, k };
    vec![vec![
        instruction(LOAD_NUMBER, 0, 0, 0),
        instruction(JUMP_IF_GREATER_OR_EQUAL, 0, 1, FIRST),
        instruction(RETURN, 0, 0, ERRNO | libc::ENOSYS.cast_unsigned()),
        instruction(RETURN, 0, 0, ALLOW),
    ]]
}

#[cfg(not(target_arch = "x86_64"))]
fn other_numbers() -> Vec<BpfProgram> {
    Vec::new()
}
