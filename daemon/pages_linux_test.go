package daemon

import (
	"os"
	"strconv"
	"strings"
	"testing"
)

func TestForgetPages(t *testing.T) {
	before := residentFile(t)
	if err := forgetPages(); err != nil {
		t.Fatal(err)
	}
	if after := residentFile(t); after >= before {
		t.Errorf("%d KiB of files are resident, %d before", after, before)
	}
}

// residentFile is how many KiB of files are in this process's memory.
func residentFile(t *testing.T) int {
	t.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Skipf("this kernel does not tell: %v", err)
	}
	_, rest, found := strings.Cut(string(status), "RssFile:")
	if !found {
		t.Skip("this kernel does not tell files from other memory")
	}
	n, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestFileMappingsAreUntouched(t *testing.T) {
	const smaps = `00400000-00500000 r-xp 00000000 fe:00 1 /bin/node
Rss: 100 kB
Private_Dirty: 8 kB
Anonymous: 0 kB
VmFlags: rd ex
00500000-00600000 r--p 00100000 fe:00 1 /bin/node
Private_Dirty: 4 kB
Anonymous: 4 kB
00600000-00700000 rw-p 00200000 fe:00 1 /bin/node
Anonymous: 0 kB
00700000-00800000 r--p 00200000 fe:00 2 /bin/other
Anonymous: 0 kB
00800000-00900000 r--p 00000000 00:00 0
Anonymous: 8 kB
00900000-00a00000 r--p 00300000 fe:00 1 /bin/node
Anonymous: 0 kB
00a00000-00b00000 rw-p 00000000 00:00 0
Anonymous: 12 kB
`
	got := fileMappings([]byte(smaps), "/bin/node")
	if len(got) != 2 || got[0] != (mapping{0x400000, 0x500000}) || got[1] != (mapping{0x900000, 0xa00000}) {
		t.Errorf("%x", got)
	}
}
