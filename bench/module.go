package main

// smallWasm is a wasip1 command of a few hundred bytes that writes text to its
// standard output, as a C or Rust program of that size is: what a call costs
// where the guest itself costs next to nothing.
//
// (module
//
//	(import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
//	(memory (export "memory") 1)
//	(data (i32.const 0) "\10\00\00\00" LENGTH)   an iovec: the text is at 16
//	(data (i32.const 16) TEXT)
//	(func (export "_start") (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))
func smallWasm(text string) []byte {
	const i32 = 0x7f
	out := []byte("\x00asm\x01\x00\x00\x00")
	section := func(id byte, content ...[]byte) {
		var body []byte
		for _, c := range content {
			body = append(body, c...)
		}
		out = append(append(append(out, id), leb(len(body))...), body...)
	}
	name := func(s string) []byte { return append(leb(len(s)), s...) }
	section(1, []byte{2, 0x60, 4, i32, i32, i32, i32, 1, i32, 0x60, 0, 0})
	section(2, []byte{1}, name("wasi_snapshot_preview1"), name("fd_write"), []byte{0, 0})
	section(3, []byte{1, 1})
	section(5, []byte{1, 0, 1})
	section(7, []byte{2}, name("memory"), []byte{2, 0}, name("_start"), []byte{0, 1})
	section(10, []byte{1, 13, 0, 0x41, 1, 0x41, 0, 0x41, 1, 0x41, 8, 0x10, 0, 0x1a, 0x0b})
	iovec := []byte{16, 0, 0, 0, byte(len(text)), byte(len(text) >> 8), 0, 0}
	section(11, []byte{2, 0, 0x41, 0, 0x0b}, leb(len(iovec)), iovec, []byte{0, 0x41, 16, 0x0b}, leb(len(text)), []byte(text))
	return out
}

// leb is n as an unsigned LEB128.
func leb(n int) []byte {
	var out []byte
	for ; n >= 0x80; n >>= 7 {
		out = append(out, byte(n)|0x80)
	}
	return append(out, byte(n))
}
