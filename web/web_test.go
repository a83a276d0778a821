package web

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestHandler(t *testing.T) {
	h := Handler("/")
	for path, kind := range map[string]string{"/": "text/html", "/app.js": "javascript", "/style.css": "text/css", "/functions/a/b": "text/html"} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		if w.Code != 200 || !strings.Contains(w.Header().Get("Content-Type"), kind) {
			t.Errorf("%s: %d %s", path, w.Code, w.Header().Get("Content-Type"))
		}
		if w.Header().Get("Content-Security-Policy") == "" {
			t.Errorf("%s: no policy", path)
		}
	}
}

func TestFilesAreCompressedAndKept(t *testing.T) {
	h := Handler("/")
	ask := func(header, value string) *httptest.ResponseRecorder {
		r := httptest.NewRequest("GET", "/app.js", nil)
		r.Header.Set(header, value)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w
	}
	plain, zipped := ask("X-Nothing", ""), ask("Accept-Encoding", "gzip, br")
	z, err := gzip.NewReader(zipped.Body)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(z)
	if err != nil || !bytes.Equal(body, plain.Body.Bytes()) {
		t.Errorf("compressed, it is another file: %d and %d bytes, %v", len(body), plain.Body.Len(), err)
	}
	if w := ask("If-None-Match", plain.Header().Get("ETag")); w.Code != 304 || w.Body.Len() != 0 {
		t.Errorf("what the browser has is sent again: %d with %d bytes", w.Code, w.Body.Len())
	}
}
