package e2e

import (
	"strings"
	"testing"
)

// TestStorageIsMetered holds data in each service, and finds it in what the app
// costs, across a kill.
func TestStorageIsMetered(t *testing.T) {
	needs(t, "python3")
	t.Parallel() // it mostly waits
	dir := app(t, map[string]string{
		"mayfly.yaml": "app: shop\ndefaults: {tags: {team: red}}\nbuckets: {photos: {}}\nkv: {carts: {}}\ndatabases: {main: {}}\n" +
			"functions: {f: {runtime: python, source: ./src, handler: app.handler}}\n",
		"src/app.py": "def handler(event, context): return 'ok'\n",
	})
	data := t.TempDir()
	n := start(t, data, "dev", dir)
	write(t, dir+"/a.bin", strings.Repeat("x", 3<<20))
	for _, args := range [][]string{{"bucket", "cp", dir + "/a.bin", "photos/a.bin"}, {"kv", "put", "carts", "key", "value"}} {
		if out, code := n.cli(args...); code != 0 {
			t.Fatalf("mayfly %s: exit %d\n%s", strings.Join(args, " "), code, out)
		}
	}
	type held struct {
		Kind        string  `json:"kind"`
		Name        string  `json:"name"`
		Tag         string  `json:"tag"`
		Bytes       int64   `json:"bytes"`
		ByteSeconds float64 `json:"byte_seconds"`
		Cost        float64 `json:"cost"`
	}
	all := func(n *node) (storage map[string]held, total float64) {
		var out struct {
			Storage []held `json:"storage"`
			Total   struct {
				Storage float64 `json:"storage"`
			} `json:"total"`
		}
		if err := n.client().Do(t.Context(), "GET", "/v1/cost?by=resource,tag:team", nil, &out); err != nil {
			t.Fatal(err)
		}
		storage = map[string]held{}
		for _, h := range out.Storage {
			storage[h.Kind+"/"+h.Name] = h
		}
		return storage, out.Total.Storage
	}
	var before map[string]held
	eventually(t, "storage has a cost", func() bool {
		var total float64
		before, total = all(n)
		b := before["bucket/photos"]
		return b.Bytes == 3<<20 && b.ByteSeconds > 0 && b.Cost > 0 && b.Tag == "red" && before["kv/carts"].ByteSeconds > 0 && before["database/main"].ByteSeconds > 0 && total >= b.Cost
	})
	if b := before["kv/carts"].Bytes; b != int64(len("key")+len("value")) {
		t.Errorf("the store holds %d bytes", b)
	}
	n.kill()
	n = start(t, data, "dev", dir)
	after, _ := all(n)
	for name, b := range before {
		if a := after[name]; a.ByteSeconds < b.ByteSeconds {
			t.Errorf("%s: %+v, before the kill %+v", name, a, b)
		}
	}
	eventually(t, "the bucket is counted again", func() bool {
		now, _ := all(n)
		return now["bucket/photos"].Bytes == 3<<20 && now["bucket/photos"].ByteSeconds > before["bucket/photos"].ByteSeconds
	})
}
