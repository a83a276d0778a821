package artifact

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/mayfly-cloud/mayfly"
)

// Config configures a Store.
type Config struct {
	Dir      string       // made where it is missing; one daemon's at a time, but for Shared
	MaxSize  mayfly.Bytes // of one bundle, unpacked; default 1GiB
	MaxFiles int          // of one bundle; default 50,000

	// Exclude are folders of this machine that no bundle takes in, such as the
	// daemon's data where it lies beside the app.
	Exclude []string

	// NoSync does not wait for the disk. A crash of the machine, not of the
	// daemon, may then lose bundles; for development, where the source is at hand.
	NoSync bool
}

// WithDefaults fills what was not said.
func (c Config) WithDefaults() Config {
	if c.MaxSize == 0 {
		c.MaxSize = mayfly.GiB
	}
	if c.MaxFiles == 0 {
		c.MaxFiles = 50_000
	}
	return c
}

// Store keeps bundles in a folder. It is safe for concurrent use.
type Store struct {
	cfg    Config
	hashes hashCache

	shared bool // with other processes

	// building has a lock per inputs digest, so that equal builds run once.
	mu       sync.Mutex
	building map[string]*sync.Mutex // guarded by mu
}

// New opens the store in cfg.Dir and drops what an interrupted daemon left half
// made.
func New(cfg Config) (*Store, error) {
	s := newStore(cfg)
	if err := os.RemoveAll(s.path("tmp")); err != nil {
		return nil, mayfly.Errorf(mayfly.Internal, "open the artifact store", "%w", err)
	}
	return s, s.makeFolders()
}

func newStore(cfg Config) *Store {
	return &Store{cfg: cfg.WithDefaults(), building: map[string]*sync.Mutex{}}
}

func (s *Store) makeFolders() error {
	for _, dir := range []string{"bundles", "pool", "index", "builds", "tmp"} {
		if err := os.MkdirAll(s.path(dir), 0o755); err != nil {
			return mayfly.Errorf(mayfly.Internal, "open the artifact store", "%w", err)
		}
	}
	return nil
}

func (s *Store) path(parts ...string) string {
	return filepath.Join(append([]string{s.cfg.Dir}, parts...)...)
}

// Bundles is the folder below which every bundle lies.
func (s *Store) Bundles() string { return s.path("bundles") }

// Bundle is one function's files.
type Bundle struct {
	Digest  string       `json:"digest"`
	Dir     string       `json:"-"`
	Size    mayfly.Bytes `json:"size"` // of the files' content
	Files   int          `json:"files"`
	Largest []Part       `json:"largest"` // what makes it large, the largest first
	Built   bool         `json:"-"`       // a build command ran for it now
	Fresh   bool         `json:"-"`       // it was not in the store before
}

const algorithm = "sha256:"

// hexOf is the hex part of a digest.
func hexOf(digest string) (string, error) {
	h, ok := strings.CutPrefix(digest, algorithm)
	if b, err := hex.DecodeString(h); !ok || err != nil || len(b) != 32 || strings.ToLower(h) != h {
		return "", mayfly.Errorf(mayfly.Invalid, "find a bundle", "%q is not a digest; it is sha256: and 64 hex digits", digest)
	}
	return h, nil
}

// Dir is the folder of a bundle. It returns a NotFound error where the store
// does not have it.
func (s *Store) Dir(digest string) (string, error) {
	h, err := hexOf(digest)
	if err != nil {
		return "", err
	}
	dir := s.path("bundles", h)
	if _, err := os.Stat(dir); err != nil {
		return "", mayfly.Errorf(mayfly.NotFound, "find a bundle", "there is no bundle %s on this node", digest)
	}
	return dir, nil
}

// Bundle describes a bundle that the store has.
func (s *Store) Bundle(digest string) (Bundle, error) {
	dir, err := s.Dir(digest)
	if err != nil {
		return Bundle{}, err
	}
	l, err := s.index(digest)
	if err != nil {
		return Bundle{}, err
	}
	return l.bundle(digest, dir), nil
}

// index is the stored listing of a bundle.
func (s *Store) index(digest string) (listing, error) {
	h, err := hexOf(digest)
	if err != nil {
		return nil, err
	}
	data, err := os.ReadFile(s.path("index", h+".json"))
	if err != nil {
		return nil, mayfly.Errorf(mayfly.NotFound, "find a bundle", "the index of bundle %s is missing: %w", digest, err)
	}
	var l listing
	if err := json.Unmarshal(data, &l); err != nil {
		return nil, mayfly.Errorf(mayfly.Internal, "find a bundle", "the index of bundle %s is damaged: %w", digest, err)
	}
	return l, nil
}

// Remove drops a bundle; one that is not there is no error. The caller makes
// sure that nothing runs from it.
func (s *Store) Remove(digest string) error {
	h, err := hexOf(digest)
	if err != nil {
		return err
	}
	tmp, err := s.temp()
	if err != nil {
		return err
	}
	if err := os.Rename(s.path("bundles", h), filepath.Join(tmp, "bundle")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove bundle %s: %w", digest, err)
	}
	_ = os.Remove(s.path("index", h+".json"))
	return os.RemoveAll(tmp)
}

// Sweep removes every bundle that keep does not want, then the build results
// and the file contents that no bundle has any more. No Pack or Import may run
// beside it whose bundle keep does not know.
func (s *Store) Sweep(ctx context.Context, keep func(digest string) bool) (removed int, err error) {
	entries, err := os.ReadDir(s.Bundles())
	if err != nil {
		return 0, fmt.Errorf("sweep the artifact store: %w", err)
	}
	for _, e := range entries {
		digest := algorithm + e.Name()
		if keep(digest) {
			continue
		}
		if err := s.Remove(digest); err != nil {
			return removed, err
		}
		removed++
	}
	if removed == 0 {
		return 0, nil
	}
	s.sweepBuilds()
	return removed, s.sweepPool(ctx)
}

func (s *Store) sweepBuilds() {
	entries, _ := os.ReadDir(s.path("builds"))
	for _, e := range entries {
		data, err := os.ReadFile(s.path("builds", e.Name()))
		if err == nil {
			if _, err := s.Dir(string(data)); err == nil {
				continue
			}
		}
		_ = os.Remove(s.path("builds", e.Name()))
	}
}

// sweepPool drops contents whose only link is the pool's.
func (s *Store) sweepPool(ctx context.Context) error {
	return filepath.WalkDir(s.path("pool"), func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return errors.Join(err, ctx.Err())
		}
		info, err := e.Info()
		if err == nil && links(info) == 1 {
			err = os.Remove(path)
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	})
}

// temp is a fresh folder on the store's file system.
func (s *Store) temp() (string, error) {
	dir, err := os.MkdirTemp(s.path("tmp"), "")
	if err != nil {
		return "", fmt.Errorf("make a temporary folder: %w", err)
	}
	return dir, nil
}
