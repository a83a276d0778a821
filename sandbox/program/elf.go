package program

import (
	"debug/elf"
	"io"
	"os"
	"runtime"
)

var machines = map[string]elf.Machine{
	"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64, "386": elf.EM_386, "arm": elf.EM_ARM,
	"riscv64": elf.EM_RISCV, "ppc64le": elf.EM_PPC64, "s390x": elf.EM_S390, "loong64": elf.EM_LOONGARCH,
}

// foreign says why a file cannot run here: it is a program of another system or
// machine. It is "" for a program of this one, and for what the kernel has to
// judge, such as a script.
func foreign(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	var magic [4]byte
	if _, err := io.ReadFull(f, magic[:]); err != nil {
		return "is empty"
	}
	switch string(magic[:]) {
	case "\xcf\xfa\xed\xfe", "\xca\xfe\xba\xbe", "\xce\xfa\xed\xfe":
		return "was built for macOS; build it for linux/" + runtime.GOARCH
	case "\x00asm":
		return "is a WebAssembly module; use runtime: wasm"
	case "\x7fELF":
		return foreignELF(f)
	}
	if magic[0] == 'M' && magic[1] == 'Z' {
		return "was built for Windows; build it for linux/" + runtime.GOARCH
	}
	return ""
}

func foreignELF(f *os.File) string {
	e, err := elf.NewFile(f)
	if err != nil {
		return "is not a valid program: " + err.Error()
	}
	if want, ok := machines[runtime.GOARCH]; ok && e.Machine != want {
		return "was built for another machine (" + e.Machine.String() + "); build it for linux/" + runtime.GOARCH
	}
	return ""
}
