package wasm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/tetratelabs/wazero"

	"github.com/mayfly-cloud/mayfly"
)

// recordName is what a compiling worker leaves beside what it compiled.
const recordName = "record.json"

const maxRecord = 4 << 20

// recordSuffix says what is done to a module before it is compiled (mergeData):
// another way to do it takes another name.
const recordSuffix = ".joined.json"

// cache is the folder of compiled modules:
//
//	wazero-VERSION-ARCH-OS/KEY     native code, named by wazero
//	wazero-VERSION-ARCH-OS/HASH.joined.json   a record, by the module's hash
//	tmp-*                          of a compilation under way
type cache struct {
	dir     string
	engine  string // the folder of this engine's version
	size    mayfly.Bytes
	pruning sync.Mutex
}

// openCache makes the folders and removes what an interrupted compilation left.
func openCache(dir string, size mayfly.Bytes) (*cache, error) {
	if dir == "" {
		return nil, mayfly.Errorf(mayfly.Invalid, "wasm", "a folder for compiled modules is needed: Config.Dir is empty")
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("wasm cache: %w", err)
	}
	left, _ := filepath.Glob(filepath.Join(dir, "tmp-*"))
	for _, l := range left {
		os.RemoveAll(l)
	}
	engine, err := engineDir(dir)
	if err != nil {
		return nil, err
	}
	return &cache{dir: dir, engine: engine, size: size}, nil
}

// engineDir makes the folder that wazero uses in a cache folder, open to workers
// of other users.
func engineDir(dir string) (string, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("wasm cache: %w", err)
	}
	name, err := engineName(dir)
	if err != nil {
		return "", err
	}
	engine := filepath.Join(dir, name)
	if err := os.MkdirAll(engine, 0o755); err != nil {
		return "", fmt.Errorf("wasm cache: %w", err)
	}
	return engine, nil
}

// engineName asks wazero for its folder's name by an empty cache.
func engineName(dir string) (string, error) {
	tmp, err := os.MkdirTemp(dir, "tmp-")
	if err != nil {
		return "", fmt.Errorf("wasm cache: %w", err)
	}
	defer os.RemoveAll(tmp)
	c, err := wazero.NewCompilationCacheWithDir(tmp)
	if err != nil {
		return "", fmt.Errorf("wasm cache: %w", err)
	}
	c.Close(context.Background())
	entries, err := os.ReadDir(tmp)
	if err != nil || len(entries) != 1 {
		return "", fmt.Errorf("wasm cache: no folder of the engine: %w", err)
	}
	return entries[0].Name(), nil
}

func used(path string) time.Time {
	st, err := os.Stat(path)
	if err != nil {
		return time.Time{}
	}
	return st.ModTime()
}

func (c *cache) recordPath(hash string) string { return filepath.Join(c.engine, hash+recordSuffix) }

// has reports whether the module was compiled.
func (c *cache) has(hash string) bool {
	_, err := os.Stat(c.recordPath(hash))
	return err == nil
}

// record is what is known of a compiled module, nil where it was not compiled.
func (c *cache) record(hash string) *record {
	b, err := os.ReadFile(c.recordPath(hash))
	if err != nil {
		return nil
	}
	var rec record
	if json.Unmarshal(b, &rec) != nil {
		return nil
	}
	for _, f := range rec.Files {
		if _, err := os.Stat(filepath.Join(c.engine, f)); err != nil {
			return nil
		}
	}
	now := time.Now()
	os.Chtimes(c.recordPath(hash), now, now) // what prune goes by; not worth an error
	return &rec
}

// begin makes a folder that a compiling worker, whatever its user, writes to.
func (c *cache) begin() (string, error) {
	dir, err := os.MkdirTemp(c.dir, "tmp-")
	if err != nil {
		return "", fmt.Errorf("wasm cache: %w", err)
	}
	if err := os.Chmod(dir, 0o777); err != nil {
		return "", fmt.Errorf("wasm cache: %w", err)
	}
	return dir, nil
}

// commit moves what a worker compiled into the cache.
func (c *cache) commit(dir, hash string) (*record, error) {
	rec, err := readRecord(dir)
	if err != nil {
		return nil, err
	}
	from := filepath.Join(dir, filepath.Base(c.engine))
	entries, err := os.ReadDir(from)
	if err != nil {
		return nil, fmt.Errorf("wasm cache: %w", err)
	}
	for _, e := range entries {
		if !e.Type().IsRegular() || strings.HasSuffix(e.Name(), ".json") {
			continue
		}
		to := filepath.Join(c.engine, e.Name())
		if err := errors.Join(os.Rename(filepath.Join(from, e.Name()), to), publish(to)); err != nil {
			return nil, fmt.Errorf("wasm cache: %w", err)
		}
		rec.Files = append(rec.Files, e.Name())
	}
	b, err := json.Marshal(rec)
	if err == nil {
		err = os.WriteFile(c.recordPath(hash), b, 0o644)
	}
	if err != nil {
		return nil, fmt.Errorf("wasm cache: %w", err)
	}
	c.prune(hash)
	return rec, nil
}

// publish lets every worker read a file, and none change it.
func publish(path string) error {
	if os.Geteuid() == 0 {
		if err := os.Chown(path, 0, 0); err != nil {
			return err
		}
	}
	return os.Chmod(path, 0o644)
}

// readRecord reads what the worker told. It is the worker's own word: its names
// of files are not used.
func readRecord(dir string) (*record, error) {
	f, err := os.OpenFile(filepath.Join(dir, recordName), os.O_RDONLY|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return nil, fmt.Errorf("wasm cache: %w", err)
	}
	defer f.Close()
	var rec record
	if err := json.NewDecoder(io.LimitReader(f, maxRecord)).Decode(&rec); err != nil {
		return nil, fmt.Errorf("wasm cache: %w", err)
	}
	rec.Files = nil
	return &rec, nil
}

// prune removes the modules that were used longest ago until the cache fits its
// size. It keeps the one named, and leaves other engines' folders alone.
func (c *cache) prune(keep string) {
	c.pruning.Lock()
	defer c.pruning.Unlock()
	total := mayfly.Bytes(0)
	var records []string
	sizes := map[string]mayfly.Bytes{}
	filepath.WalkDir(c.engine, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return nil
		}
		if st, err := e.Info(); err == nil {
			sizes[e.Name()] = mayfly.Bytes(st.Size())
			total += mayfly.Bytes(st.Size())
		}
		if strings.HasSuffix(path, ".json") {
			records = append(records, path)
		}
		return nil
	})
	slices.SortFunc(records, func(a, b string) int { return used(a).Compare(used(b)) })
	for _, path := range records {
		if total <= c.size || filepath.Base(path) == keep+recordSuffix {
			continue
		}
		total -= c.remove(path, sizes)
	}
}

// remove deletes a record and its files, and returns their size.
func (c *cache) remove(path string, sizes map[string]mayfly.Bytes) (freed mayfly.Bytes) {
	var rec record
	if b, err := os.ReadFile(path); err == nil {
		_ = json.Unmarshal(b, &rec) // a broken record has no files
	}
	os.Remove(path)
	for _, f := range rec.Files {
		if f == filepath.Base(f) && os.Remove(filepath.Join(c.engine, f)) == nil {
			freed += sizes[f]
		}
	}
	return freed + sizes[filepath.Base(path)]
}
