package wasm

// Modules by hand, so that tests and benchmarks have ones as small as a C compiler
// makes them. Opcodes: WebAssembly core specification 1, section 5.

func leb(n int) []byte {
	var b []byte
	for {
		c := byte(n & 0x7f)
		if n >>= 7; n == 0 {
			return append(b, c)
		}
		b = append(b, c|0x80)
	}
}

func sleb(n int) []byte {
	var b []byte
	for {
		c := byte(n & 0x7f)
		n >>= 7
		if n == 0 && c&0x40 == 0 || n == -1 && c&0x40 != 0 {
			return append(b, c)
		}
		b = append(b, c|0x80)
	}
}

func str(s string) []byte { return append(leb(len(s)), s...) }

func cat(parts ...[]byte) []byte {
	var b []byte
	for _, p := range parts {
		b = append(b, p...)
	}
	return b
}

func vec(items ...[]byte) []byte { return append(leb(len(items)), cat(items...)...) }

func section(id byte, body []byte) []byte { return cat([]byte{id}, leb(len(body)), body) }

func i32const(n int) []byte { return append([]byte{0x41}, sleb(n)...) }

var (
	wasiType  = []byte{0x60, 4, 0x7f, 0x7f, 0x7f, 0x7f, 1, 0x7f}
	startType = []byte{0x60, 0, 0}
	store     = []byte{0x36, 2, 0}
	load      = []byte{0x28, 2, 0}
	drop      = []byte{0x1a}
)

func imported(name string) []byte {
	return cat(str("wasi_snapshot_preview1"), str(name), []byte{0, 0})
}

// module is a command with fd_read and fd_write whose entry has one i32 local
// and the given body.
func module(entry string, pages int, body []byte) []byte {
	code := cat([]byte{1, 1, 0x7f}, body, []byte{0x0b})
	return cat([]byte("\x00asm\x01\x00\x00\x00"),
		section(1, vec(wasiType, startType)),
		section(2, vec(imported("fd_read"), imported("fd_write"))),
		section(3, vec([]byte{1})),
		section(5, vec(cat([]byte{0}, leb(pages)))),
		section(7, vec(cat(str(entry), []byte{0, 2}), cat(str("memory"), []byte{2, 0}))),
		section(10, vec(cat(leb(len(code)), code))))
}

// echoModule copies stdin to stdout.
func echoModule() []byte {
	loop := cat(
		i32const(0), i32const(64), store, // iovec: address
		i32const(4), i32const(65000), store, // and length
		i32const(0), i32const(0), i32const(1), i32const(8), []byte{0x10, 0}, drop, // fd_read(0, iovec, 1, n)
		i32const(8), load, []byte{0x22, 0}, // local.tee n
		[]byte{0x45, 0x0d, 1}, // i32.eqz, br_if 1
		i32const(4), []byte{0x20, 0}, store,
		i32const(1), i32const(0), i32const(1), i32const(12), []byte{0x10, 1}, drop, // fd_write(1, iovec, 1, n)
		[]byte{0x0c, 0}, // br 0
	)
	return module("_start", 2, cat([]byte{0x02, 0x40, 0x03, 0x40}, loop, []byte{0x0b, 0x0b}))
}

// spinModule never returns and calls nothing.
func spinModule() []byte { return module("_start", 1, []byte{0x03, 0x40, 0x0c, 0, 0x0b}) }

// trapModule executes unreachable.
func trapModule() []byte { return module("_start", 1, []byte{0x00}) }
