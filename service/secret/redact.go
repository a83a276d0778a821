package secret

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// minRedacted is the shortest value that is looked for: a shorter one would
// take words out of ordinary lines.
const minRedacted = 6

// redactor finds secrets in lines. It is made again when one changed.
type redactor struct {
	values func() []string
	made   atomic.Pointer[strings.Replacer] // nil: to be made again
	mu     sync.Mutex                       // of making
}

func (r *redactor) stale() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.made.Store(nil)
}

func (r *redactor) redact(line string) string {
	replacer := r.made.Load()
	if replacer == nil {
		replacer = r.make()
	}
	return replacer.Replace(line)
}

func (r *redactor) make() *strings.Replacer {
	r.mu.Lock()
	defer r.mu.Unlock()
	if made := r.made.Load(); made != nil {
		return made
	}
	var needles []string
	for _, v := range r.values() {
		needles = append(needles, forms(v)...)
	}
	// The longest first: of two that begin alike the replacer takes the first.
	slices.SortFunc(needles, func(a, b string) int { return cmp.Or(cmp.Compare(len(b), len(a)), strings.Compare(a, b)) })
	var pairs []string
	for _, n := range slices.Compact(needles) {
		pairs = append(pairs, n, "[secret]")
	}
	made := strings.NewReplacer(pairs...)
	r.made.Store(made)
	return made
}

// forms is a value as it appears in output: plain, in JSON, in a URL, in base64,
// and line by line where it has several.
func forms(value string) []string {
	quoted, _ := json.Marshal(value)
	all := []string{
		value, string(quoted[1 : len(quoted)-1]), url.QueryEscape(value),
		base64.StdEncoding.EncodeToString([]byte(value)),
	}
	if strings.Contains(value, "\n") {
		for line := range strings.Lines(value) {
			if line = strings.TrimSpace(line); len(line) >= 16 && !strings.HasPrefix(line, "-----") {
				all = append(all, line)
			}
		}
	}
	return slices.DeleteFunc(all, func(s string) bool { return len(s) < minRedacted })
}
