package e2e

import (
	"bytes"
	"encoding/json"
	"image"
	_ "image/jpeg"
	"image/png"
	"net/http"
	"strings"
	"testing"
)

// TestPhotos uploads to examples/photos and waits for all that follows: the
// thumbnail, its row, the row's event, the message, both counters.
func TestPhotos(t *testing.T) {
	needs(t, "python3", "node", "go")
	n := start(t, t.TempDir(), "dev", "../examples/photos")
	if r := n.call("GET", "/", ""); r.status != 200 || !strings.Contains(r.body, "<title>photos</title>") {
		t.Errorf("page: %d %.80q", r.status, r.body)
	}
	if r := n.call("POST", "/photos", "x", "Content-Type", "text/plain"); r.status != 400 {
		t.Errorf("upload of no image: %d %s", r.status, r.body)
	}
	var photo bytes.Buffer
	if err := png.Encode(&photo, image.NewGray(image.Rect(0, 0, 640, 480))); err != nil {
		t.Fatal(err)
	}
	var uploaded struct{ Name string }
	r := n.call("POST", "/photos", photo.String(), "Content-Type", "image/png")
	if err := json.Unmarshal([]byte(r.body), &uploaded); err != nil || r.status != 202 {
		t.Fatalf("upload: %d %s: %v", r.status, r.body, err)
	}
	var got struct {
		Photos []struct {
			Name, Thumbnail      string
			Width, Height, Bytes int
		}
		Counters map[string]int
	}
	eventually(t, "a thumbnail, a row and a notice", func() bool {
		r := n.call("GET", "/photos", "")
		got.Photos = nil
		return r.status == 200 && json.Unmarshal([]byte(r.body), &got) == nil && len(got.Photos) == 1 &&
			got.Counters["thumbnails"] > 0 && got.Counters["notices"] > 0
	})
	if p := got.Photos[0]; p.Name != uploaded.Name || p.Width != 640 || p.Height != 480 || p.Bytes != photo.Len() {
		t.Errorf("row: %+v, want %s of 640 × 480 and %d bytes", p, uploaded.Name, photo.Len())
	}
	r = n.call("GET", got.Photos[0].Thumbnail, "")
	small, kind, err := image.DecodeConfig(strings.NewReader(r.body))
	if err != nil || kind != "jpeg" || small.Width != 320 || small.Height != 240 || r.header.Get("ETag") == "" {
		t.Errorf("thumbnail: %d %s %d × %d, %v: %v", r.status, kind, small.Width, small.Height, r.header, err)
	}
	if r := n.call("GET", "/_bucket/photos/uploads/raw/"+uploaded.Name, ""); r.status != http.StatusNotFound && r.status != http.StatusForbidden {
		t.Errorf("an upload is public: %d", r.status)
	}
	for _, verb := range [][]string{
		{"bucket", "ls", "uploads"}, {"kv", "list", "counters"}, {"sql", "main", "-e", "select name from photos"}, {"queue"},
	} {
		if out, code := n.cli(verb...); code != 0 || verb[0] != "kv" && verb[0] != "queue" && !strings.Contains(out, uploaded.Name) {
			t.Errorf("mayfly %s: status %d\n%s", strings.Join(verb, " "), code, out)
		}
	}
	n.stop()
}
