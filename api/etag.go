package api

import (
	"bytes"
	"hash/maphash"
	"net/http"
	"strconv"
	"strings"
)

// maxTagged bounds what is held back to be compared; larger replies go out as
// they are written.
const maxTagged = 4 << 20

// seed makes tags of this process: after a restart a reply is sent once more.
var seed = maphash.MakeSeed()

// tagged gives JSON replies to GET an ETag, and answers 304 to those who have
// them already: a console that polls costs nothing while nothing changes. What
// has a tag of its own, streams, and files pass.
func tagged(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet {
			next.ServeHTTP(w, r)
			return
		}
		t := &tagger{ResponseWriter: w, have: r.Header.Get("If-None-Match")}
		next.ServeHTTP(t, r)
		t.finish()
	})
}

// tagger holds a reply back until it has ended or turns out to be no plain JSON.
type tagger struct {
	http.ResponseWriter
	have   string
	status int
	pass   bool // the header is out
	held   bytes.Buffer
}

func (t *tagger) WriteHeader(status int) {
	if t.status != 0 {
		return
	}
	t.status = status
	h := t.Header()
	if status != http.StatusOK || h.Get("ETag") != "" || !strings.HasPrefix(h.Get("Content-Type"), "application/json") {
		t.release()
	}
}

func (t *tagger) Write(b []byte) (int, error) {
	t.WriteHeader(http.StatusOK)
	if !t.pass && t.held.Len()+len(b) <= maxTagged {
		return t.held.Write(b)
	}
	t.release()
	return t.ResponseWriter.Write(b)
}

// Flush ends the holding back: who flushes streams.
func (t *tagger) Flush() {
	t.WriteHeader(http.StatusOK)
	t.release()
	if f, ok := t.ResponseWriter.(http.Flusher); ok {
		f.Flush()
	}
}

// Unwrap is for http.ResponseController.
func (t *tagger) Unwrap() http.ResponseWriter { return t.ResponseWriter }

func (t *tagger) release() {
	if t.pass {
		return
	}
	t.pass = true
	t.ResponseWriter.WriteHeader(t.status)
	_, _ = t.ResponseWriter.Write(t.held.Bytes())
	t.held.Reset()
}

func (t *tagger) finish() {
	if t.pass || t.status == 0 {
		return
	}
	tag := `"` + strconv.FormatUint(maphash.Bytes(seed, t.held.Bytes()), 36) + `"`
	t.Header().Set("ETag", tag)
	if t.have == tag {
		t.Header().Del("Content-Type")
		t.Header().Del("Content-Length")
		t.ResponseWriter.WriteHeader(http.StatusNotModified)
		return
	}
	t.release()
}
