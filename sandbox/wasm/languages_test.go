package wasm

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mayfly-cloud/mayfly"
)

// TestLanguages runs what compilers other than Go's make for wasip1.
func TestLanguages(t *testing.T) {
	for name, compile := range map[string]func(t *testing.T, to string) *exec.Cmd{"C": compileC, "Rust": compileRust, "AssemblyScript": compileAssemblyScript} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "count.wasm")
			cmd := compile(t, file)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%v: %v: %s", cmd.Args, err, out)
			}
			code, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			s := spec(t, map[string][]byte{"count.wasm": code})
			s.Env = map[string]string{"SUBJECT": "fruit"}
			in := start(t, s)
			for range 2 { // a fresh instance each
				if got, err := call(t, in, "pear apple fig"); err != nil || strings.TrimSpace(got) != `{"words":3,"first":"apple","subject":"fruit","clock":true}` {
					t.Errorf("%q, %v", got, err)
				}
			}
			_, err = call(t, in, "")
			functionError(t, err, mayfly.ErrorTypeExit, "exit status 3: no words in fruit")
		})
	}
}

// compileC needs clang, lld, wasi-libc and compiler-rt's builtins for wasm32.
func compileC(t *testing.T, to string) *exec.Cmd {
	clang, err := exec.LookPath("clang")
	if err != nil {
		t.Skip("needs clang")
	}
	if _, err := os.Stat("/usr/include/wasm32-wasi/stdio.h"); err != nil {
		t.Skip("needs wasi-libc")
	}
	cmd := exec.Command(clang, "--target=wasm32-wasi", "--sysroot=/usr", "-O2", "-o", to, "testdata/languages/count.c")
	cmd.Env = []string{"PATH=" + filepath.Dir(clang)} // it would run the wasm-opt of AssemblyScript, which is slow
	return cmd
}

// compileRust needs a rustc with the library for wasip1, whose target was called
// wasm32-wasi before Rust 1.78.
func compileRust(t *testing.T, to string) *exec.Cmd {
	for _, rustc := range []string{"rustc", "/usr/bin/rustc"} { // the first on PATH may lack what Debian's has
		for _, target := range []string{"wasm32-wasip1", "wasm32-wasi"} {
			dir, err := exec.Command(rustc, "--target", target, "--print", "target-libdir").Output()
			if err != nil {
				continue
			}
			if found, _ := filepath.Glob(filepath.Join(string(dir[:len(dir)-1]), "libstd-*.rlib")); len(found) > 0 {
				return exec.Command(rustc, "--edition", "2021", "--target", target, "-O", "-o", to, "testdata/languages/count.rs")
			}
		}
	}
	t.Skip("needs rustc with its library for wasm32-wasip1")
	return nil
}

// compileAssemblyScript needs asc on PATH and its shim for WASI beside it.
func compileAssemblyScript(t *testing.T, to string) *exec.Cmd {
	asc, err := exec.LookPath("asc")
	if err != nil {
		t.Skip("needs asc")
	}
	if asc, err = filepath.EvalSymlinks(asc); err != nil {
		t.Fatal(err)
	}
	const shim = "node_modules/@assemblyscript/wasi-shim/asconfig.json"
	dir := filepath.Join(filepath.Dir(asc), "../../..")
	if _, err := os.Stat(filepath.Join(dir, shim)); err != nil {
		t.Skip("needs @assemblyscript/wasi-shim")
	}
	source, err := filepath.Abs("testdata/languages/count.ts")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(asc, source, "--config", shim, "-o", to)
	cmd.Dir = dir // what the shim's names are relative to
	return cmd
}
