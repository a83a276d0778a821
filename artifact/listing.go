package artifact

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/mayfly-cloud/mayfly"
)

// file is one file or link of a bundle.
type file struct {
	Path string `json:"path"` // with slashes, relative
	Size int64  `json:"size,omitempty"`
	Exec bool   `json:"exec,omitempty"`
	Hash string `json:"hash,omitempty"` // of the content, hex SHA-256; "" for a link
	Link string `json:"link,omitempty"` // where a symbolic link points

	from string // on this machine, while packing
}

// listing is a bundle's files, sorted by path.
type listing []file

func (l listing) sort() {
	slices.SortFunc(l, func(a, b file) int { return cmp.Compare(a.Path, b.Path) })
}

// digest is that of the sorted listing. Every field ends in a NUL, which no
// path or link can hold, so that no two listings have the same text.
func (l listing) digest() string {
	h := sha256.New()
	for _, f := range l {
		kind := "file"
		switch {
		case f.Link != "":
			kind = "link"
		case f.Exec:
			kind = "exec"
		}
		fmt.Fprintf(h, "%s\x00%s\x00%s\x00%s\x00", kind, f.Path, f.Hash, f.Link)
	}
	return algorithm + hex.EncodeToString(h.Sum(nil))
}

func (l listing) size() (n int64) {
	for _, f := range l {
		n += f.Size
	}
	return n
}

func (l listing) bundle(digest, dir string) Bundle {
	return Bundle{Digest: digest, Dir: dir, Size: mayfly.Bytes(l.size()), Files: len(l), Largest: l.largest(5)}
}

// Part is a file or a folder of a bundle and its size.
type Part struct {
	Path string       `json:"path"` // a folder's ends in a slash
	Size mayfly.Bytes `json:"size"`
}

// largest are the n largest parts: files by themselves, deeper ones by their
// first two folders, which is where packages lie in node_modules and the like.
func (l listing) largest(n int) []Part {
	sizes := map[string]int64{}
	for _, f := range l {
		sizes[partOf(f.Path)] += f.Size
	}
	parts := make([]Part, 0, len(sizes))
	for p, size := range sizes {
		parts = append(parts, Part{Path: p, Size: mayfly.Bytes(size)})
	}
	slices.SortFunc(parts, func(a, b Part) int {
		return cmp.Or(cmp.Compare(b.Size, a.Size), cmp.Compare(a.Path, b.Path))
	})
	return parts[:min(n, len(parts))]
}

func partOf(p string) string {
	words := strings.SplitN(p, "/", 3)
	if len(words) < 3 {
		return p
	}
	return words[0] + "/" + words[1] + "/"
}

// check refuses a listing that is over the limits, or whose links lead out.
func (l listing) check(cfg Config) error {
	if len(l) == 0 {
		return mayfly.Errorf(mayfly.Invalid, "", "there are no files in it")
	}
	if size := mayfly.Bytes(l.size()); size > cfg.MaxSize {
		return mayfly.Errorf(mayfly.TooLarge, "", "its files hold %s; a bundle may hold %s. The largest: %s. Leave out what it does not need in .mayflyignore", Human(size), cfg.MaxSize, Describe(l.largest(5)))
	}
	if len(l) > cfg.MaxFiles {
		return mayfly.Errorf(mayfly.TooLarge, "", "it has %d files; a bundle may have %d. Leave out what it does not need in .mayflyignore", len(l), cfg.MaxFiles)
	}
	links := map[string]string{}
	for _, f := range l {
		if f.Link != "" {
			links[f.Path] = f.Link
		}
	}
	for p := range links {
		if err := staysInside(links, p); err != nil {
			return err
		}
	}
	return nil
}

// staysInside follows the link at p as a kernel would, through other links, and
// refuses one that leaves the bundle at any step: a lexical check is not
// enough, since "d/.." leaves it where d is a link to ".".
func staysInside(links map[string]string, p string) error {
	todo, at := strings.Split(p, "/"), []string{}
	for hops := 0; len(todo) > 0; {
		word := todo[0]
		todo = todo[1:]
		switch word {
		case "", ".":
			continue
		case "..":
			if len(at) == 0 {
				return escapes(p, links[p])
			}
			at = at[:len(at)-1]
			continue
		}
		at = append(at, word)
		target, isLink := links[path.Join(at...)]
		if !isLink {
			continue
		}
		if hops++; hops > 40 {
			return mayfly.Errorf(mayfly.Invalid, "", "the link %s goes round in a circle", p)
		}
		if path.IsAbs(target) {
			return escapes(p, links[p])
		}
		at = at[:len(at)-1]
		todo = append(strings.Split(target, "/"), todo...)
	}
	return nil
}

func escapes(p, target string) error {
	return mayfly.Errorf(mayfly.Invalid, "", "%s is a link to %s, outside the bundle; copy what it points to, or leave it out in .mayflyignore", p, target)
}

// Describe lists parts with their sizes, for messages.
func Describe(parts []Part) string {
	words := make([]string, len(parts))
	for i, p := range parts {
		words[i] = p.Path + " " + Human(p.Size)
	}
	return strings.Join(words, ", ")
}

// Human is a size with one decimal, for messages.
func Human(b mayfly.Bytes) string {
	switch {
	case b >= mayfly.GiB:
		return fmt.Sprintf("%.1f GiB", float64(b)/float64(mayfly.GiB))
	case b >= mayfly.MiB:
		return fmt.Sprintf("%.1f MiB", float64(b)/float64(mayfly.MiB))
	case b >= mayfly.KiB:
		return fmt.Sprintf("%.1f KiB", float64(b)/float64(mayfly.KiB))
	}
	return fmt.Sprintf("%d B", int64(b))
}
