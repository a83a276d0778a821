package process

import "golang.org/x/sys/unix"

const auditArch = unix.AUDIT_ARCH_AARCH64

// archCalls are denied calls whose numbers differ between architectures.
var archCalls = []uint32{unix.SYS_LOOKUP_DCOOKIE, unix.SYS_KEXEC_FILE_LOAD}
