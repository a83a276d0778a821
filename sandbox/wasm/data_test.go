package wasm

import (
	"bytes"
	"context"
	"math"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"
)

func TestSigned(t *testing.T) {
	for _, v := range []int32{0, 1, -1, 63, 64, -64, -65, 1 << 20, math.MaxInt32, math.MinInt32} {
		if got, n := signed(appendSigned(nil, v)); got != v || n != len(appendSigned(nil, v)) {
			t.Errorf("%d became %d", v, got)
		}
	}
}

// memoryOf is a module's memory once it is instantiated, and not started.
func memoryOf(t *testing.T, module []byte) []byte {
	ctx := context.Background()
	r := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfigInterpreter())
	defer r.Close(ctx)
	wasi_snapshot_preview1.MustInstantiate(ctx, r)
	m, err := r.InstantiateWithConfig(ctx, module, wazero.NewModuleConfig().WithStartFunctions())
	if err != nil {
		t.Fatal(err)
	}
	b, _ := m.Memory().Read(0, m.Memory().Size())
	return bytes.Clone(b)
}

func TestMergedDataIsTheSame(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles a module of Go")
	}
	module := goGuest(t)
	merged := mergeData(module)
	if bytes.Equal(module, merged) {
		t.Fatal("nothing was merged")
	}
	if !bytes.Equal(memoryOf(t, module), memoryOf(t, merged)) {
		t.Error("the memories differ")
	}
}

func TestMergeSegments(t *testing.T) {
	seg := func(at int32, data string) []byte {
		return append(append(appendSigned([]byte{0, i32Const}, at), end, byte(len(data))), data...)
	}
	body := func(all ...[]byte) []byte { return append([]byte{byte(len(all))}, bytes.Join(all, nil)...) }
	for name, c := range map[string]struct{ in, want []byte }{
		"beside one another": {body(seg(8, "ab"), seg(10, "cd"), seg(14, "e")), body(seg(8, "abcd\x00\x00e"))},
		"far apart":          {body(seg(8, "ab"), seg(5000, "cd")), nil},
		"overlapping":        {body(seg(8, "ab"), seg(9, "cd")), nil},
		"backwards":          {body(seg(11, "ab"), seg(9, "cd")), body(seg(9, "cdab"))},
		"between others":     {body(seg(8, "ab"), seg(0, "c"), seg(10, "d"), seg(5000, "e")), body(seg(0, "c\x00\x00\x00\x00\x00\x00\x00abd"), seg(5000, "e"))},
		"high":               {body(seg(-16, "ab"), seg(-14, "cd")), body(seg(-16, "abcd"))},
		"passive":            {body(seg(8, "ab"), []byte{1, 1, 'x'}), nil},
		"cut":                {body(seg(8, "ab"), seg(10, "cd"))[:12], nil},
	} {
		if got := mergeSegments(c.in); !bytes.Equal(got, c.want) {
			t.Errorf("%s: %q, not %q", name, got, c.want)
		}
	}
}

func FuzzMergeData(f *testing.F) {
	f.Add(echoModule())
	f.Add([]byte("\x00asm\x01\x00\x00\x00\x0b\x0b\x02\x00\x41\x00\x0b\x01a\x00\x41\x01\x0b\x01b"))
	f.Fuzz(func(t *testing.T, module []byte) {
		merged := mergeData(bytes.Clone(module))
		if again := mergeData(merged); len(again) > len(merged) {
			t.Errorf("%q grows", module)
		}
	})
}
