package bucket

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/mayfly-cloud/mayfly"
)

func TestPublicBuckets(t *testing.T) {
	n := start(t, t.TempDir())
	c := n.as("photos", "f")
	_, err := c.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("thumbs"), Key: aws.String("a/b.png"), Body: strings.NewReader("0123456789"), ContentType: aws.String("image/png")})
	if err != nil {
		t.Fatal(err)
	}
	put(t, c, "uploads", "private", "x")
	h := n.PublicHandler()
	ask := func(method, path string, headers ...string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(method, path, nil)
		for i := 0; i < len(headers); i += 2 {
			r.Header.Set(headers[i], headers[i+1])
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w
	}
	w := ask("GET", "/_bucket/photos/thumbs/a/b.png", "Origin", "https://a.example")
	if w.Code != 200 || w.Body.String() != "0123456789" || w.Header().Get("Content-Type") != "image/png" ||
		w.Header().Get("Cache-Control") == "" || w.Header().Get("Access-Control-Allow-Origin") != "https://a.example" {
		t.Errorf("got %d %q %v", w.Code, w.Body, w.Header())
	}
	etag := w.Header().Get("ETag")
	for _, c := range []struct {
		method, path string
		headers      []string
		code         int
		body         string
	}{
		{"GET", "/_bucket/photos/thumbs/a/b.png", []string{"If-None-Match", etag}, 304, ""},
		{"GET", "/_bucket/photos/thumbs/a/b.png", []string{"Range", "bytes=3-5"}, 206, "345"},
		{"GET", "/_bucket/photos/thumbs/a/b.png", []string{"Range", "bytes=90-"}, 416, ""},
		{"HEAD", "/_bucket/photos/thumbs/a/b.png", nil, 200, ""},
		{"PUT", "/_bucket/photos/thumbs/a/b.png", nil, 405, ""},
		{"GET", "/_bucket/photos/thumbs/a", nil, 404, ""},
		{"GET", "/_bucket/photos/uploads/private", nil, 404, ""},
		{"GET", "/_bucket/other/thumbs/a/b.png", nil, 404, ""},
		{"GET", "/_bucket/photos/thumbs/../../photos.uploads/private", nil, 404, ""},
		{"GET", "/_bucket/photos/thumbs/%2e%2e/photos.uploads/private", nil, 404, ""},
		{"GET", "/_bucket/photos/thumbs/", nil, 404, ""},
		{"GET", "/_bucket/", nil, 404, ""},
	} {
		if w := ask(c.method, c.path, c.headers...); w.Code != c.code || c.body != "" && w.Body.String() != c.body {
			t.Errorf("%s %s %v: %d %q", c.method, c.path, c.headers, w.Code, w.Body)
		}
	}
	if w := ask("GET", "/_bucket/photos/thumbs/a/b.png", "Origin", "https://b.example"); w.Header().Get("Access-Control-Allow-Origin") != "" {
		t.Error("a foreign origin is allowed")
	}
}

// TestPublicErrorsAreProblems reads what a client gets where there is nothing.
func TestPublicErrorsAreProblems(t *testing.T) {
	n := start(t, t.TempDir())
	for path, status := range map[string]int{"GET /_bucket/photos/thumbs/none": 404, "GET /_bucket/photos/uploads/a": 404, "PUT /_bucket/photos/thumbs/a": 405} {
		method, target, _ := strings.Cut(path, " ")
		w := httptest.NewRecorder()
		n.PublicHandler().ServeHTTP(w, httptest.NewRequest(method, target, nil))
		var p mayfly.Problem
		if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil || w.Code != status || p.Status != status || p.Detail == "" || w.Header().Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: %d %v %s", path, w.Code, w.Header(), w.Body)
		}
	}
}

func TestAPI(t *testing.T) {
	n := start(t, t.TempDir())
	huma.NewError = func(status int, msg string, errs ...error) huma.StatusError {
		if e := (*mayfly.Error)(nil); errors.As(errors.Join(errs...), &e) {
			status, msg = e.Code.HTTPStatus(), e.Error()
		}
		return &huma.ErrorModel{Status: status, Detail: msg}
	}
	mux := http.NewServeMux()
	n.Register(humago.New(mux, huma.DefaultConfig("test", "1")))
	ask := func(who mayfly.Caller, method, path, body string) (int, string) {
		r := httptest.NewRequest(method, path, strings.NewReader(body))
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, r.WithContext(mayfly.WithCaller(context.Background(), who)))
		return w.Code, w.Body.String()
	}
	admin := mayfly.Caller{Kind: mayfly.CallerAdmin}
	reader := mayfly.Caller{Kind: mayfly.CallerFunction, App: "photos", Function: "reader"}
	presigned := func(who mayfly.Caller, method string) (int, string) {
		status, body := ask(who, "POST", "/v1/apps/photos/buckets/uploads/presign", `{"method":"`+method+`","key":"k 1"}`)
		var out struct{ URL string }
		_ = json.Unmarshal([]byte(body), &out)
		return status, out.URL
	}
	eventually(t, "the S3 port is known", func() bool { status, _ := presigned(admin, "PUT"); return status == 200 })
	_, url := presigned(admin, "PUT")
	req, _ := http.NewRequest("PUT", url, strings.NewReader("by a URL"))
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.StatusCode != 200 {
		t.Errorf("put by URL: %s", res.Status)
	}
	if status, _ := presigned(reader, "PUT"); status != 403 {
		t.Errorf("a reader may presign a write: %d", status)
	}
	status, url := presigned(reader, "GET")
	if status != 200 {
		t.Fatalf("a reader may not presign a read: %d", status)
	}
	res, err = http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(res.Body)
	_ = res.Body.Close()
	if string(body) != "by a URL" {
		t.Errorf("read by URL: %q", body)
	}
	for _, c := range []struct {
		who                mayfly.Caller
		method, path, body string
		status             int
		want               string
	}{
		{admin, "GET", "/v1/apps/photos/buckets", "", 200, `"bucket":"uploads","s3_name":"photos.uploads","objects":1,"bytes":8`},
		{admin, "GET", "/v1/apps/photos/buckets/uploads/objects", "", 200, `"key":"k 1","size":8`},
		{admin, "GET", "/v1/apps/photos/buckets/none/objects", "", 404, "declares no bucket"},
		{reader, "GET", "/v1/apps/photos/buckets/uploads/objects", "", 403, "list bucket/uploads"},
		{reader, "DELETE", "/v1/apps/photos/buckets/uploads/objects/k%201", "", 403, ""},
		{reader, "GET", "/v1/s3", "", 403, ""},
		{admin, "GET", "/v1/s3", "", 200, `"access_key_id":"MAYF`},
		{admin, "POST", "/v1/apps/photos/buckets/uploads/presign", `{"method":"GET","key":"k","expires":"9d"}`, 400, "7d"},
		{admin, "DELETE", "/v1/apps/photos/buckets/uploads/objects/k%201", "", 204, ""},
		{admin, "PUT", "/v1/apps/photos/buckets/uploads/objects/a/b", "plain", 200, `"size":5`},
		{admin, "GET", "/v1/apps/photos/buckets/uploads/objects?delimiter=/", "", 200, `"folders":["a/"],"objects":[]`},
		{admin, "GET", "/v1/apps/photos/buckets/uploads/objects?delimiter=/&prefix=a/", "", 200, `"objects":[{"key":"a/b"`},
		{reader, "GET", "/v1/apps/photos/buckets/uploads/objects/a%2Fb", "", 200, "plain"},
		{reader, "GET", "/v1/apps/photos/buckets/uploads/objects/none", "", 404, "NoSuchKey"},
		{reader, "PUT", "/v1/apps/photos/buckets/uploads/objects/a", "x", 403, "write bucket/uploads"},
		{reader, "GET", "/v1/apps/other/buckets/uploads/objects/a", "", 403, "cannot reach app other"},
		{admin, "GET", "/v1/apps/photos/buckets/uploads/objects/%2e%2e/x", "", 400, ""},
		{admin, "DELETE", "/v1/apps/photos/buckets/uploads/objects/a/b", "", 204, ""},
		{admin, "GET", "/v1/apps/photos/buckets", "", 200, `"bucket":"uploads","s3_name":"photos.uploads","objects":0`},
	} {
		if status, body := ask(c.who, c.method, c.path, c.body); status != c.status || !strings.Contains(body, c.want) {
			t.Errorf("%s %s: %d %s, want %d with %q", c.method, c.path, status, body, c.status, c.want)
		}
	}
}

func TestCheck(t *testing.T) {
	d := &Driver{}
	for name, b := range map[string]*mayfly.Bucket{"ab": nil, "UP": nil, "a.b": nil, "abc-": nil, strings.Repeat("a", 60): nil} {
		if err := d.Check(&mayfly.Manifest{App: "photos", Buckets: map[string]*mayfly.Bucket{name: b}}); err == nil {
			t.Errorf("%q is a bucket", name)
		}
	}
	if err := d.Check(&mayfly.Manifest{App: "photos", Buckets: map[string]*mayfly.Bucket{"up-loads1": nil}}); err != nil {
		t.Error(err)
	}
}
