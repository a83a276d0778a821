// A function that makes thumbnails of what is put into a bucket, with nothing
// but the standard library.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	_ "image/gif"
	"image/jpeg"
	_ "image/png"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
)

// side is the longest of a thumbnail, in pixels; maxPixels what is decoded.
const (
	side      = 320
	maxPixels = 50_000_000
)

// event is S3's notification, as far as it is used.
type event struct {
	Records []struct {
		S3 struct {
			Bucket struct{ Name string }
			Object struct{ Key string }
		}
	}
}

func handle(data []byte) error {
	var e event
	if err := json.Unmarshal(data, &e); err != nil {
		return err
	}
	for _, r := range e.Records {
		key, err := url.QueryUnescape(r.S3.Object.Key) // S3 encodes keys in events
		if err != nil {
			return err
		}
		if err := thumbnail(r.S3.Bucket.Name, key); err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
	}
	return nil
}

func thumbnail(bucket, key string) error {
	original, err := call("GET", object(bucket, key), "", nil)
	if err != nil {
		return err
	}
	info, _, err := image.DecodeConfig(bytes.NewReader(original))
	if err != nil {
		return err
	}
	if info.Width*info.Height > maxPixels {
		return fmt.Errorf("%d × %d pixels are too many", info.Width, info.Height)
	}
	img, _, err := image.Decode(bytes.NewReader(original))
	if err != nil {
		return err
	}
	var out bytes.Buffer
	if err := jpeg.Encode(&out, shrink(img), &jpeg.Options{Quality: 80}); err != nil {
		return err
	}
	name := strings.TrimPrefix(key, "raw/")
	if _, err := call("PUT", object("thumbs", name+".jpg"), "image/jpeg", out.Bytes()); err != nil {
		return err
	}
	// An event may come twice: the row is made or replaced.
	statement, err := json.Marshal(map[string]any{
		"sql":  "INSERT INTO photos (name, width, height, bytes) VALUES (?, ?, ?, ?) ON CONFLICT (name) DO UPDATE SET width = excluded.width, height = excluded.height, bytes = excluded.bytes",
		"args": []any{name, info.Width, info.Height, len(original)},
	})
	if err != nil {
		return err
	}
	if _, err := call("POST", "/databases/main/query", "application/json", statement); err != nil {
		return err
	}
	_, err = call("POST", "/kv/counters/increment/thumbnails", "", nil)
	return err
}

// shrink averages the pixels that become one.
func shrink(img image.Image) image.Image {
	b := img.Bounds()
	w, h := b.Dx(), b.Dy()
	if longest := max(w, h); longest > side {
		w, h = max(1, w*side/longest), max(1, h*side/longest)
	}
	out := image.NewRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		y0, y1 := b.Min.Y+y*b.Dy()/h, b.Min.Y+(y+1)*b.Dy()/h
		for x := range w {
			x0, x1 := b.Min.X+x*b.Dx()/w, b.Min.X+(x+1)*b.Dx()/w
			out.Set(x, y, average(img, x0, y0, x1, y1))
		}
	}
	return out
}

func average(img image.Image, x0, y0, x1, y1 int) color.Color {
	var r, g, b, n uint64
	for y := y0; y < y1; y++ {
		for x := x0; x < x1; x++ {
			pr, pg, pb, _ := img.At(x, y).RGBA()
			r, g, b, n = r+uint64(pr), g+uint64(pg), b+uint64(pb), n+1
		}
	}
	if n == 0 {
		return color.Black
	}
	return color.RGBA64{uint16(r / n), uint16(g / n), uint16(b / n), 0xffff}
}

func object(bucket, key string) string {
	return "/buckets/" + bucket + "/objects/" + url.PathEscape(key)
}

// call asks the platform; who asks is known by the connection.
func call(method, path, kind string, body []byte) ([]byte, error) {
	req, err := http.NewRequest(method, os.Getenv("MAYFLY_ENDPOINT")+"/v1/apps/"+os.Getenv("MAYFLY_APP")+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if kind != "" {
		req.Header.Set("Content-Type", kind)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	reply, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode >= 300 {
		err = fmt.Errorf("%s %s: %s %s", method, path, res.Status, reply)
	}
	return reply, err
}
