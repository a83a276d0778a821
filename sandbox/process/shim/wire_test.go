package shim

import (
	"encoding/json"
	"os/exec"
	"slices"
	"testing"
)

func TestWire(t *testing.T) {
	var w Writer
	w.Byte(7)
	w.Uint(1 << 40)
	w.Text("text")
	w.Texts([]string{"a", ""})
	w.Flag(true)
	r := Reader(w)
	if b, n, s, l, f := r.Byte(), r.Uint(), r.Text(), r.Texts(), r.Flag(); b != 7 || n != 1<<40 || s != "text" || !slices.Equal(l, []string{"a", ""}) || !f {
		t.Error(b, n, s, l, f)
	}
	if r.Byte() != 0 || r.Uint() != 0 || r.Text() != "" || r.Texts() != nil || r.Flag() {
		t.Error("something was read beyond the end")
	}
}

func FuzzReader(f *testing.F) {
	f.Add([]byte{1, 0, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255})
	f.Fuzz(func(t *testing.T, b []byte) {
		r := Reader(b)
		r.Texts()
		r.Text()
		r.Uint()
		r.Byte()
		if len(r) > len(b) {
			t.Error("the reader grew")
		}
	})
}

// TestImports keeps this package at the front of the order of initialisation.
func TestImports(t *testing.T) {
	out, err := exec.Command("go", "list", "-json=Imports", ".").Output()
	if err != nil {
		t.Skip("no go command: ", err)
	}
	var p struct{ Imports []string }
	if err := json.Unmarshal(out, &p); err != nil {
		t.Fatal(err)
	}
	for _, imp := range p.Imports {
		if imp != "syscall" && imp != "unsafe" {
			t.Errorf("imports %s, which is initialised late; see the package documentation", imp)
		}
	}
}
