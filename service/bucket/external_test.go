package bucket

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/identity"
)

// oneSecret is Secrets with one value for all.
type oneSecret struct {
	mu    sync.Mutex
	value string // guarded by mu
}

func (s *oneSecret) Secret(context.Context, mayfly.AppName, string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.value == "" {
		return "", mayfly.Errorf(mayfly.NotFound, "use secret", "it is not set")
	}
	return s.value, nil
}

// afar is an app whose bucket is on another S3 server.
func afar(url string, b mayfly.Bucket) []*mayfly.Manifest {
	b.External, b.Credentials = url, "S3_KEYS"
	return []*mayfly.Manifest{{
		App: "photos", Buckets: map[string]*mayfly.Bucket{"uploads": &b},
		Functions: map[mayfly.FunctionName]*mayfly.Function{"f": {Allow: []string{"* bucket/uploads"}, On: []mayfly.Trigger{{Bucket: "uploads"}}}},
	}}
}

// startExternal is a node whose bucket is on the S3 server at url.
func startExternal(t *testing.T, url string, key Key, b mayfly.Bucket) *node {
	t.Helper()
	n := &node{dir: t.TempDir()}
	apps := afar(url, b)
	authz := identity.NewAuthorizer(nil)
	if err := authz.Apply(apps); err != nil {
		t.Fatal(err)
	}
	var err error
	if n.Driver, err = Open(Config{Dir: n.dir, Authz: authz, Changed: n.changed, Secrets: &oneSecret{value: key.Access + ":" + key.Secret}}); err != nil {
		t.Fatal(err)
	}
	if err := n.Check(apps[0]); err != nil {
		t.Fatal(err)
	}
	if err := n.Apply(t.Context(), apps); err != nil {
		t.Fatal(err)
	}
	n.serve(t)
	return n
}

// TestExternalBucket keeps an app's objects on a second S3 server: all that a
// function does reaches it, and events are made here.
func TestExternalBucket(t *testing.T) {
	remote := start(t, t.TempDir())
	n := startExternal(t, remote.url+"/elsewhere", remote.Admin(), mayfly.Bucket{Public: true, Versioning: true, CORS: &mayfly.CORS{Origins: []string{"https://a.example"}}})
	ctx := t.Context()
	there := remote.as("", "")
	here := n.as("photos", "f")
	bucket, key := aws.String("uploads"), aws.String("dir/a b.txt")

	if _, err := here.PutObject(ctx, &s3.PutObjectInput{Bucket: bucket, Key: key, Body: strings.NewReader("hello"), ContentType: aws.String("text/x"), Metadata: map[string]string{"who": "me"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := here.PutObject(ctx, &s3.PutObjectInput{Bucket: bucket, Key: key, Body: strings.NewReader("x"), IfNoneMatch: aws.String("*")}); code(err) != "PreconditionFailed" {
		t.Errorf("a condition that does not hold: %v", err)
	}
	if got := get(t, there, "elsewhere", *key); got != "hello" {
		t.Fatalf("on the other server: %s", got)
	}
	head, err := here.HeadObject(ctx, &s3.HeadObjectInput{Bucket: bucket, Key: key})
	if err != nil || aws.ToString(head.ContentType) != "text/x" || head.Metadata["who"] != "me" {
		t.Errorf("its metadata: %+v, %v", head, err)
	}
	part, err := here.GetObject(ctx, &s3.GetObjectInput{Bucket: bucket, Key: key, Range: aws.String("bytes=1-3")})
	if err != nil {
		t.Fatal(err)
	}
	if b, _ := io.ReadAll(part.Body); string(b) != "ell" {
		t.Errorf("a range: %q", b)
	}
	_ = part.Body.Close()
	if _, err := here.CopyObject(ctx, &s3.CopyObjectInput{Bucket: bucket, Key: aws.String("copy"), CopySource: aws.String("uploads/dir/a%20b.txt")}); err != nil {
		t.Error(err)
	}
	upload(t, here, "uploads", "big")
	list, err := here.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: bucket})
	if err != nil || len(list.Contents) != 3 || aws.ToString(list.Name) != "uploads" {
		t.Errorf("list: %+v, %v", list, err)
	}
	versions, err := here.ListObjectVersions(ctx, &s3.ListObjectVersionsInput{Bucket: bucket, Prefix: key})
	if err != nil || len(versions.Versions) != 1 {
		t.Errorf("versions: %+v, %v", versions, err)
	}
	if _, err := here.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: bucket, Key: aws.String("copy")}); err != nil {
		t.Error(err)
	}
	if got := get(t, here, "uploads", "copy"); got != "NoSuchKey" {
		t.Errorf("a deleted object: %s", got)
	}
	var events []string
	for _, e := range n.seen() {
		events = append(events, e.Event+" "+e.Key)
	}
	want := "ObjectCreated:Put dir/a b.txt, ObjectCreated:Copy copy, ObjectCreated:CompleteMultipartUpload big, ObjectRemoved:DeleteMarkerCreated copy"
	if said := strings.Join(events, ", "); said != want {
		t.Errorf("events: %s\nwant %s", said, want)
	}
	if e := n.seen()[0]; e.Size != 5 || e.ETag == "" {
		t.Errorf("the first: %+v", e)
	}
	w := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodGet, PublicPath+"photos/uploads/dir/a%20b.txt", nil)
	r.Header.Set("Range", "bytes=0-1")
	n.PublicHandler().ServeHTTP(w, r)
	if w.Code != http.StatusPartialContent || w.Body.String() != "he" || w.Header().Get("ETag") == "" {
		t.Errorf("a public read: %d %q %v", w.Code, w.Body, w.Header())
	}
}

// upload puts an object of two parts.
func upload(t *testing.T, c *s3.Client, bucket, key string) {
	t.Helper()
	ctx := t.Context()
	up, err := c.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{Bucket: &bucket, Key: &key})
	if err != nil {
		t.Fatal(err)
	}
	var parts []types.CompletedPart
	for i, text := range []string{strings.Repeat("x", 5<<20), "end"} {
		number := aws.Int32(int32(i + 1))
		out, err := c.UploadPart(ctx, &s3.UploadPartInput{Bucket: &bucket, Key: &key, UploadId: up.UploadId, PartNumber: number, Body: strings.NewReader(text)})
		if err != nil {
			t.Fatal(err)
		}
		parts = append(parts, types.CompletedPart{ETag: out.ETag, PartNumber: number})
	}
	if _, err := c.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{Bucket: &bucket, Key: &key, UploadId: up.UploadId, MultipartUpload: &types.CompletedMultipartUpload{Parts: parts}}); err != nil {
		t.Fatal(err)
	}
}

// TestExternalBucketOutOfReach lets a node start while the other server is not
// there, refuses a deploy that changes the bucket then, and no other, and says
// what is wrong to whoever asks.
func TestExternalBucketOutOfReach(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	url := "http://" + l.Addr().String() + "/elsewhere"
	_ = l.Close()
	n := startExternal(t, url, Key{"a", "b"}, mayfly.Bucket{})
	if err := n.Apply(t.Context(), afar(url, mayfly.Bucket{Versioning: true})); mayfly.CodeOf(err) != mayfly.Unavailable || !strings.Contains(err.Error(), url) {
		t.Errorf("a deploy that changes it: %v", err)
	}
	other := &mayfly.Manifest{App: "other", Buckets: map[string]*mayfly.Bucket{"mine": {}}}
	if err := n.Apply(t.Context(), append(afar(url, mayfly.Bucket{}), other)); err != nil || n.spec("other", "mine") == nil {
		t.Errorf("a deploy of another app: %v", err)
	}
	_, err = n.as("", "").GetObject(t.Context(), &s3.GetObjectInput{Bucket: aws.String("photos.uploads"), Key: aws.String("a")})
	if code(err) != "ServiceUnavailable" {
		t.Errorf("a read: %v", err)
	}
}

// TestExternalBucketThatHangs bounds what a deploy waits for.
func TestExternalBucketThatHangs(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0") // takes connections and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	n := start(t, t.TempDir())
	n.cfg.Secrets = &oneSecret{value: "a:b"}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := n.Apply(ctx, afar("http://"+l.Addr().String()+"/elsewhere", mayfly.Bucket{})); mayfly.CodeOf(err) != mayfly.Unavailable {
		t.Errorf("a deploy: %v", err)
	}
}

func TestExternalBucketsAreChecked(t *testing.T) {
	n := start(t, t.TempDir())
	for _, c := range []struct {
		bucket mayfly.Bucket
		want   string
	}{
		{mayfly.Bucket{External: "https://s3.example.com/b", Credentials: "K"}, ""},
		{mayfly.Bucket{External: "https://s3.example.com", Credentials: "K"}, "buckets.far.external"},
		{mayfly.Bucket{External: "s3://b", Credentials: "K"}, "buckets.far.external"},
		{mayfly.Bucket{External: "https://a:b@s3.example.com/b", Credentials: "K"}, "in a secret"},
		{mayfly.Bucket{External: "https://s3.example.com/b"}, "buckets.far.credentials: is missing"},
		{mayfly.Bucket{Credentials: "K"}, "buckets.far.credentials: is for a bucket with external"},
		{mayfly.Bucket{Region: "x"}, "buckets.far.region"},
		{mayfly.Bucket{External: "https://s3.example.com/b", Credentials: "K", Quota: 1}, "buckets.far.quota"},
	} {
		err := n.Check(&mayfly.Manifest{App: "a", Buckets: map[string]*mayfly.Bucket{"far": &c.bucket}})
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%+v: %v, want %q", c.bucket, err, c.want)
		}
	}
}
