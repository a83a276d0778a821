package artifact

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"io/fs"
	"os"
	"sync"
	"time"
)

// hashCache remembers the hashes of source files, so that a save of one file
// reads one file. An entry counts while the file's inode, size and times are
// the same.
type hashCache struct {
	mu    sync.Mutex
	known map[string]cached // guarded by mu
}

type cached struct {
	stamp stamp
	hash  string
}

// maxCached bounds the cache; past it, it starts anew.
const maxCached = 200_000

// racy is how young a file may be to be remembered: one that is written again
// within the same tick of the file system's clock would keep its times.
const racy = 100 * time.Millisecond

// of is the hash of the file at path, which info describes.
func (c *hashCache) of(path string, info fs.FileInfo) (string, error) {
	at := stampOf(info)
	c.mu.Lock()
	hit, ok := c.known[path]
	c.mu.Unlock()
	if ok && hit.stamp == at {
		return hit.hash, nil
	}
	hash, err := hashFile(path)
	if err != nil {
		return "", err
	}
	if time.Since(info.ModTime()) > racy && time.Since(at.changed) > racy {
		c.mu.Lock()
		if c.known == nil || len(c.known) >= maxCached {
			c.known = map[string]cached{}
		}
		c.known[path] = cached{at, hash}
		c.mu.Unlock()
	}
	return hash, nil
}

func hashFile(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
