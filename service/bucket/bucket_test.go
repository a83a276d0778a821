package bucket

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	form "mime/multipart"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"
	"github.com/minio/minio-go/v7"
	miniocredentials "github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/identity"
	"github.com/mayfly-cloud/mayfly/service"
)

// node is a running service with its S3 port.
type node struct {
	*Driver
	dir string
	url string

	mu     sync.Mutex
	events []service.ObjectChange // guarded by mu
	hops   []int                  // guarded by mu; of each of them
	refuse error                  // guarded by mu
}

func manifests() []*mayfly.Manifest {
	return []*mayfly.Manifest{
		{
			App: "photos",
			Buckets: map[string]*mayfly.Bucket{
				"uploads": {}, "thumbs": {Public: true, CORS: &mayfly.CORS{Origins: []string{"https://a.example"}}},
				"history": {Versioning: true}, "small": {Quota: 1000}, "heard": {}, "gone": {Expire: mayfly.Duration(time.Hour)}, "secret": {},
			},
			Functions: map[mayfly.FunctionName]*mayfly.Function{
				"f": {
					Allow: []string{"* bucket/uploads", "* bucket/thumbs", "* bucket/history", "write bucket/small", "* bucket/heard", "read bucket/gone"},
					On:    []mayfly.Trigger{{Bucket: "heard"}, {Bucket: "gone"}},
				},
				"reader": {Allow: []string{"read bucket/uploads"}},
			},
		},
		{
			App: "other", Buckets: map[string]*mayfly.Bucket{"uploads": {}},
			Functions: map[mayfly.FunctionName]*mayfly.Function{"f": {Allow: []string{"* bucket/*"}}},
		},
	}
}

func start(t testing.TB, dir string) *node {
	t.Helper()
	n := &node{dir: dir}
	authz := identity.NewAuthorizer(nil)
	if err := authz.Apply(manifests()); err != nil {
		t.Fatal(err)
	}
	var err error
	n.Driver, err = Open(Config{Dir: dir, Authz: authz, Users: authz.ApplyUsers, Changed: n.changed})
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Apply(context.Background(), manifests()); err != nil {
		t.Fatal(err)
	}
	if err := n.Recover(context.Background()); err != nil {
		t.Fatal(err)
	}
	n.serve(t)
	return n
}

// serve runs the service, with its S3 port, until the test ends.
func (n *node) serve(t testing.TB) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n.url = "http://" + l.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := n.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	wg.Go(func() { n.ServePublic(l) })
	t.Cleanup(func() {
		cancel()
		_ = n.Close()
		wg.Wait()
	})
}

func (n *node) changed(ctx context.Context, c service.ObjectChange) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.refuse != nil {
		return n.refuse
	}
	n.events, n.hops = append(n.events, c), append(n.hops, mayfly.HopsFrom(ctx))
	return nil
}

func (n *node) seen() []service.ObjectChange {
	n.mu.Lock()
	defer n.mu.Unlock()
	return append([]service.ObjectChange(nil), n.events...)
}

// as is an unmodified SDK with the key of a function, or of the administrator.
func (n *node) as(app, fn string) *s3.Client {
	key := n.Admin()
	if app != "" {
		key = n.keys.function(mayfly.AppName(app), mayfly.FunctionName(fn))
	}
	return s3.New(s3.Options{
		Region: Region, BaseEndpoint: &n.url, UsePathStyle: true, RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider(key.Access, key.Secret, ""),
	})
}

func put(t testing.TB, c *s3.Client, bucket, key, body string) {
	t.Helper()
	if _, err := c.PutObject(t.Context(), &s3.PutObjectInput{Bucket: &bucket, Key: &key, Body: strings.NewReader(body)}); err != nil {
		t.Fatalf("put %s/%s: %v", bucket, key, err)
	}
}

func get(t testing.TB, c *s3.Client, bucket, key string) string {
	t.Helper()
	out, err := c.GetObject(t.Context(), &s3.GetObjectInput{Bucket: &bucket, Key: &key})
	if err != nil {
		return code(err)
	}
	defer out.Body.Close()
	body, err := io.ReadAll(out.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

func code(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	return fmt.Sprint(err)
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(60 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatal("never happened: " + what)
}

func TestNamesAndGrants(t *testing.T) {
	n := start(t, t.TempDir())
	before, _ := os.Getwd()
	f, admin := n.as("photos", "f"), n.as("", "")
	put(t, f, "uploads", "a/b c+d.txt", "hello")
	if got := get(t, f, "uploads", "a/b c+d.txt"); got != "hello" {
		t.Errorf("inside: %q", got)
	}
	if got := get(t, admin, "photos.uploads", "a/b c+d.txt"); got != "hello" {
		t.Errorf("outside: %q", got)
	}
	for _, c := range []struct{ app, fn, bucket, want string }{
		{"photos", "f", "photos.uploads", "hello"},
		{"photos", "reader", "uploads", "hello"},
		{"photos", "f", "secret", "AccessDenied"},
		{"photos", "f", "nothing", "NoSuchBucket"},
		{"other", "f", "uploads", "NoSuchKey"},
		{"other", "f", "photos.uploads", "NoSuchBucket"},
		{"", "", "uploads", "NoSuchBucket"},
	} {
		if got := get(t, n.as(c.app, c.fn), c.bucket, "a/b c+d.txt"); got != c.want {
			t.Errorf("%s/%s reads %s: %q, want %q", c.app, c.fn, c.bucket, got, c.want)
		}
	}
	_, err := n.as("photos", "reader").PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("uploads"), Key: aws.String("x"), Body: strings.NewReader("x")})
	if code(err) != "AccessDenied" || !strings.Contains(err.Error(), `add "write bucket/uploads" to functions.reader.allow`) {
		t.Errorf("a write of a reader: %v", err)
	}
	if _, err := f.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String("mine")}); code(err) != "AccessDenied" {
		t.Errorf("a function made a bucket: %v", err)
	}
	for name, c := range map[string]*s3.Client{"uploads": f, "photos.uploads": admin} { // tools do so before they write
		if _, err := c.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &name}); code(err) != "BucketAlreadyOwnedByYou" {
			t.Errorf("%s is made again: %v", name, err)
		}
	}
	if _, err := f.DeleteBucket(t.Context(), &s3.DeleteBucketInput{Bucket: aws.String("thumbs")}); code(err) != "AccessDenied" {
		t.Errorf("a function removed a bucket: %v", err)
	}
	if after, _ := os.Getwd(); after != before {
		t.Errorf("the working folder is %s", after)
	}
	stranger := s3.New(s3.Options{Region: Region, BaseEndpoint: &n.url, UsePathStyle: true, RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider(n.keys.function("photos", "f").Access, "a wrong secret", "")})
	if got := get(t, stranger, "uploads", "a/b c+d.txt"); got != "SignatureDoesNotMatch" {
		t.Errorf("a wrong secret: %q", got)
	}
	res, err := http.Get(n.url + "/photos.uploads/a/b%20c+d.txt")
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusForbidden {
		t.Errorf("without signature: %s", res.Status)
	}
	list, err := f.ListBuckets(t.Context(), &s3.ListBucketsInput{})
	if err != nil || len(list.Buckets) != 6 {
		t.Errorf("a function sees %d buckets: %v", len(list.Buckets), err)
	}
	list, err = admin.ListBuckets(t.Context(), &s3.ListBucketsInput{})
	if err != nil || len(list.Buckets) != 8 {
		t.Errorf("the administrator sees %d buckets: %v", len(list.Buckets), err)
	}
}

func TestKeysCannotLeaveTheirBucket(t *testing.T) {
	n := start(t, t.TempDir())
	put(t, n.as("other", "f"), "uploads", "k", "theirs")
	for _, key := range []string{"../other.uploads/k", "a/../../other.uploads/k", "..", ".sgwtmp/x"} {
		if err := checkKey(&key); err == nil {
			t.Errorf("%q is a key", key)
		}
		if got := get(t, n.as("photos", "f"), "uploads", key); got == "theirs" {
			t.Errorf("%q reads another app's object", key)
		}
		_, err := n.as("photos", "f").CopyObject(t.Context(), &s3.CopyObjectInput{Bucket: aws.String("uploads"), Key: aws.String("x"), CopySource: aws.String("uploads/" + key)})
		if err == nil {
			t.Errorf("%q can be copied", key)
		}
	}
	for _, source := range []string{"other.uploads/k", "../other.uploads/k", "secret/k"} {
		_, err := n.as("photos", "f").CopyObject(t.Context(), &s3.CopyObjectInput{Bucket: aws.String("uploads"), Key: aws.String("x"), CopySource: &source})
		if err == nil {
			t.Errorf("%q can be copied", source)
		}
	}
}

func TestSDK(t *testing.T) {
	n := start(t, t.TempDir())
	c := n.as("photos", "f")
	ctx := t.Context()
	up := aws.String("uploads")
	_, err := c.PutObject(ctx, &s3.PutObjectInput{
		Bucket: up, Key: aws.String("k"), Body: strings.NewReader("0123456789"), ContentType: aws.String("text/x"), Metadata: map[string]string{"a": "b"},
		CacheControl: aws.String("max-age=5"), Tagging: aws.String("t=1"), ChecksumAlgorithm: types.ChecksumAlgorithmSha256,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Run("range", func(t *testing.T) {
		out, err := c.GetObject(ctx, &s3.GetObjectInput{Bucket: up, Key: aws.String("k"), Range: aws.String("bytes=2-4")})
		if err != nil {
			t.Fatal(err)
		}
		defer out.Body.Close()
		if b, _ := io.ReadAll(out.Body); string(b) != "234" {
			t.Errorf("got %q", b)
		}
	})
	t.Run("conditions", func(t *testing.T) {
		_, err := c.PutObject(ctx, &s3.PutObjectInput{Bucket: up, Key: aws.String("k"), Body: strings.NewReader("x"), IfNoneMatch: aws.String("*")})
		if code(err) != "PreconditionFailed" {
			t.Errorf("create of what is there: %v", err)
		}
		_, err = c.GetObject(ctx, &s3.GetObjectInput{Bucket: up, Key: aws.String("k"), IfMatch: aws.String(`"wrong"`)})
		if code(err) != "PreconditionFailed" {
			t.Errorf("read of another: %v", err)
		}
	})
	t.Run("copy", func(t *testing.T) {
		if _, err := c.CopyObject(ctx, &s3.CopyObjectInput{Bucket: aws.String("thumbs"), Key: aws.String("copy/of k"), CopySource: aws.String("uploads/k")}); err != nil {
			t.Fatal(err)
		}
		head, err := c.HeadObject(ctx, &s3.HeadObjectInput{Bucket: aws.String("thumbs"), Key: aws.String("copy/of k"), ChecksumMode: types.ChecksumModeEnabled})
		if err != nil || head.Metadata["a"] != "b" || *head.ContentType != "text/x" || *head.ContentLength != 10 || *head.CacheControl != "max-age=5" {
			t.Fatalf("got %+v, %v", head, err)
		}
		tags, err := c.GetObjectTagging(ctx, &s3.GetObjectTaggingInput{Bucket: aws.String("thumbs"), Key: aws.String("copy/of k")})
		if err != nil || len(tags.TagSet) != 1 || *tags.TagSet[0].Value != "1" {
			t.Errorf("tags: %+v %v", tags, err)
		}
		if got := get(t, c, "thumbs", "copy/of k"); got != "0123456789" {
			t.Errorf("got %q", got)
		}
		_, err = c.CopyObject(ctx, &s3.CopyObjectInput{Bucket: up, Key: aws.String("k"), CopySource: aws.String("uploads/k")})
		if err == nil {
			t.Error("a copy onto itself that changes nothing")
		}
		_, err = c.CopyObject(ctx, &s3.CopyObjectInput{Bucket: up, Key: aws.String("k"), CopySource: aws.String("uploads/k"), MetadataDirective: types.MetadataDirectiveReplace, Metadata: map[string]string{"a": "c"}})
		if err != nil || get(t, c, "uploads", "k") != "0123456789" {
			t.Errorf("new metadata: %v", err)
		}
		if head, err := c.HeadObject(ctx, &s3.HeadObjectInput{Bucket: up, Key: aws.String("k")}); err != nil || head.Metadata["a"] != "c" {
			t.Errorf("got %+v, %v", head, err)
		}
		_, err = c.CopyObject(ctx, &s3.CopyObjectInput{Bucket: up, Key: aws.String("z"), CopySource: aws.String("uploads/k"), CopySourceIfMatch: aws.String(`"wrong"`)})
		if code(err) != "PreconditionFailed" {
			t.Errorf("a condition on the source: %v", err)
		}
	})
	t.Run("list", func(t *testing.T) {
		for i := range 5 {
			put(t, c, "uploads", fmt.Sprintf("dir/%d", i), "x")
		}
		out, err := c.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: up, Prefix: aws.String("dir/"), MaxKeys: aws.Int32(3)})
		if err != nil || len(out.Contents) != 3 || !*out.IsTruncated || *out.Name != "uploads" {
			t.Fatalf("first page: %+v %v", out, err)
		}
		out, err = c.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: up, Prefix: aws.String("dir/"), ContinuationToken: out.NextContinuationToken})
		if err != nil || len(out.Contents) != 2 {
			t.Errorf("second page: %+v %v", out, err)
		}
		out, err = c.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: up, Delimiter: aws.String("/")})
		if err != nil || len(out.CommonPrefixes) != 1 {
			t.Errorf("folders: %+v %v", out, err)
		}
		if _, err := c.HeadBucket(ctx, &s3.HeadBucketInput{Bucket: up}); err != nil {
			t.Error(err)
		}
		deleted, err := c.DeleteObjects(ctx, &s3.DeleteObjectsInput{Bucket: up, Delete: &types.Delete{Objects: []types.ObjectIdentifier{{Key: aws.String("dir/0")}, {Key: aws.String("dir/1")}, {Key: aws.String("never")}}}})
		if err != nil || len(deleted.Deleted) != 3 || len(deleted.Errors) != 0 {
			t.Errorf("delete many: %+v %v", deleted, err)
		}
		if got := get(t, c, "uploads", "dir/0"); got != "NoSuchKey" {
			t.Errorf("after its deletion: %q", got)
		}
	})
	t.Run("multipart", func(t *testing.T) { multipart(t, c) })
	t.Run("versions", func(t *testing.T) { versions(t, c) })
	t.Run("presigned", func(t *testing.T) {
		p, err := s3.NewPresignClient(c).PresignGetObject(ctx, &s3.GetObjectInput{Bucket: up, Key: aws.String("k")})
		if err != nil {
			t.Fatal(err)
		}
		res, err := http.Get(p.URL)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		if b, _ := io.ReadAll(res.Body); string(b) != "0123456789" {
			t.Errorf("got %d %q", res.StatusCode, b)
		}
	})
	t.Run("errors show no folder", func(t *testing.T) {
		_, err := n.as("", "").ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: aws.String("not.there")})
		if code(err) != "NoSuchBucket" || strings.Contains(err.Error(), n.dir) {
			t.Errorf("got %v", err)
		}
	})
}

func multipart(t *testing.T, c *s3.Client) {
	ctx, up, key := t.Context(), aws.String("uploads"), aws.String("big file")
	created, err := c.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{Bucket: up, Key: key})
	if err != nil || *created.Bucket != "uploads" {
		t.Fatalf("%+v %v", created, err)
	}
	var want bytes.Buffer
	var parts []types.CompletedPart
	for i := range int32(2) {
		part := make([]byte, 5<<20)
		_, _ = rand.Read(part)
		want.Write(part)
		out, err := c.UploadPart(ctx, &s3.UploadPartInput{Bucket: up, Key: key, UploadId: created.UploadId, PartNumber: aws.Int32(i + 1), Body: bytes.NewReader(part)})
		if err != nil {
			t.Fatal(err)
		}
		parts = append(parts, types.CompletedPart{ETag: out.ETag, PartNumber: aws.Int32(i + 1), ChecksumCRC32: out.ChecksumCRC32, ChecksumCRC64NVME: out.ChecksumCRC64NVME})
	}
	copied, err := c.UploadPartCopy(ctx, &s3.UploadPartCopyInput{Bucket: up, Key: key, UploadId: created.UploadId, PartNumber: aws.Int32(3), CopySource: aws.String("uploads/k"), CopySourceRange: aws.String("bytes=1-3")})
	if err != nil {
		t.Fatal(err)
	}
	want.WriteString("123")
	parts = append(parts, types.CompletedPart{ETag: copied.CopyPartResult.ETag, PartNumber: aws.Int32(3), ChecksumCRC32: copied.CopyPartResult.ChecksumCRC32, ChecksumCRC64NVME: copied.CopyPartResult.ChecksumCRC64NVME})
	listed, err := c.ListParts(ctx, &s3.ListPartsInput{Bucket: up, Key: key, UploadId: created.UploadId})
	if err != nil || len(listed.Parts) != 3 || *listed.Bucket != "uploads" {
		t.Errorf("parts: %+v %v", listed, err)
	}
	done, err := c.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{Bucket: up, Key: key, UploadId: created.UploadId, MultipartUpload: &types.CompletedMultipartUpload{Parts: parts}})
	if err != nil || *done.Bucket != "uploads" {
		t.Fatalf("%+v %v", done, err)
	}
	if got := get(t, c, "uploads", "big file"); got != want.String() {
		t.Errorf("%d bytes, want %d", len(got), want.Len())
	}
	again, err := c.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{Bucket: up, Key: key})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{Bucket: up, Key: key, UploadId: again.UploadId}); err != nil {
		t.Error(err)
	}
}

func versions(t *testing.T, c *s3.Client) {
	ctx, bucket, key := t.Context(), aws.String("history"), aws.String("dir/k")
	put(t, c, "history", "dir/k", "one")
	put(t, c, "history", "dir/k", "two")
	if _, err := c.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: bucket, Key: key}); err != nil {
		t.Fatal(err)
	}
	if got := get(t, c, "history", "dir/k"); got != "NoSuchKey" {
		t.Errorf("behind a marker: %q", got)
	}
	out, err := c.ListObjectVersions(ctx, &s3.ListObjectVersionsInput{Bucket: bucket})
	if err != nil || len(out.Versions) != 2 || len(out.DeleteMarkers) != 1 || *out.Name != "history" {
		t.Fatalf("%+v %v", out, err)
	}
	oldest := out.Versions[1].VersionId
	old, err := c.GetObject(ctx, &s3.GetObjectInput{Bucket: bucket, Key: key, VersionId: oldest})
	if err != nil {
		t.Fatal(err)
	}
	defer old.Body.Close()
	if b, _ := io.ReadAll(old.Body); string(b) != "one" {
		t.Errorf("the oldest is %q", b)
	}
	if _, err := c.CopyObject(ctx, &s3.CopyObjectInput{Bucket: bucket, Key: key, CopySource: aws.String("history/dir/k?versionId=" + *oldest)}); err != nil {
		t.Fatal(err)
	}
	if got := get(t, c, "history", "dir/k"); got != "one" {
		t.Errorf("restored: %q", got)
	}
}

func TestMinioClient(t *testing.T) {
	n := start(t, t.TempDir())
	key := n.keys.function("photos", "f")
	c, err := minio.New(strings.TrimPrefix(n.url, "http://"), &minio.Options{Creds: miniocredentials.NewStaticV4(key.Access, key.Secret, ""), Region: Region})
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	body := make([]byte, 17<<20) // several parts, streamed
	_, _ = rand.Read(body)
	info, err := c.PutObject(ctx, "uploads", "deep/er/file", bytes.NewReader(body), -1, minio.PutObjectOptions{PartSize: 6 << 20, UserTags: map[string]string{"x": "y"}})
	if err != nil || info.Size != int64(len(body)) {
		t.Fatalf("%+v %v", info, err)
	}
	o, err := c.GetObject(ctx, "uploads", "deep/er/file", minio.GetObjectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	if got, err := io.ReadAll(o); err != nil || !bytes.Equal(got, body) {
		t.Errorf("%d bytes back: %v", len(got), err)
	}
	if ok, err := c.BucketExists(ctx, "uploads"); err != nil || !ok {
		t.Errorf("exists: %v %v", ok, err)
	}
	for o := range c.ListObjects(ctx, "uploads", minio.ListObjectsOptions{Recursive: true}) {
		if o.Err != nil || o.Key != "deep/er/file" {
			t.Errorf("listed %+v", o)
		}
	}
	if err := c.RemoveObject(ctx, "uploads", "deep/er/file", minio.RemoveObjectOptions{}); err != nil {
		t.Error(err)
	}
}

// TestFormOfABrowser uploads as a page's form does, with a policy that its server
// signed.
func TestFormOfABrowser(t *testing.T) {
	n := start(t, t.TempDir())
	key := n.keys.function("photos", "f")
	c, err := minio.New(strings.TrimPrefix(n.url, "http://"), &minio.Options{Creds: miniocredentials.NewStaticV4(key.Access, key.Secret, ""), Region: Region})
	if err != nil {
		t.Fatal(err)
	}
	policy := minio.NewPostPolicy()
	if err := errors.Join(policy.SetBucket("heard"), policy.SetKeyStartsWith("in/"), policy.SetContentLengthRange(1, 10), policy.SetExpires(time.Now().Add(time.Hour))); err != nil {
		t.Fatal(err)
	}
	url, fields, err := c.PresignedPostPolicy(t.Context(), policy)
	if err != nil {
		t.Fatal(err)
	}
	post := func(key, content string) int {
		var body bytes.Buffer
		w := form.NewWriter(&body)
		for name, value := range fields {
			if name != "key" {
				_ = w.WriteField(name, value)
			}
		}
		_ = w.WriteField("key", key)
		file, _ := w.CreateFormFile("file", "a.txt")
		_, _ = io.WriteString(file, content)
		_ = w.Close()
		res, err := http.Post(url.String(), w.FormDataContentType(), &body)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		return res.StatusCode
	}
	for _, c := range []struct {
		key, body string
		status    int
	}{{"in/a", "12345", 204}, {"out/a", "12345", 403}, {"in/b", "longer than ten", 400}} {
		if status := post(c.key, c.body); status != c.status {
			t.Errorf("%s %q: %d, want %d", c.key, c.body, status, c.status)
		}
	}
	if got := n.seen(); len(got) != 1 || got[0].Event != "ObjectCreated:Post" || got[0].Key != "in/a" || got[0].Size != 5 {
		t.Errorf("events: %+v", got)
	}
}

func TestEvents(t *testing.T) {
	n := start(t, t.TempDir())
	c := n.as("photos", "f")
	put(t, c, "heard", "raw/a b.jpg", "12345")
	put(t, c, "uploads", "quiet", "x")
	if _, err := c.CopyObject(t.Context(), &s3.CopyObjectInput{Bucket: aws.String("heard"), Key: aws.String("copy"), CopySource: aws.String("uploads/quiet")}); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"copy", "never"} {
		if _, err := c.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: aws.String("heard"), Key: &key}); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	for _, e := range n.seen() {
		got = append(got, fmt.Sprint(e.Event, " ", e.Key, " ", e.Size))
	}
	want := "[ObjectCreated:Put raw/a b.jpg 5 ObjectCreated:Copy copy 1 ObjectRemoved:Delete copy 0]"
	if fmt.Sprint(got) != want {
		t.Errorf("got %v", got)
	}
	if e := n.seen()[0]; e.App != "photos" || e.Bucket != "heard" || e.Who.Function != "f" || e.ETag != "827ccb0eea8a706c4c34a16891f84e7b" {
		t.Errorf("got %+v", e)
	}
	n.mu.Lock()
	n.refuse = errors.New("the queue is full")
	n.mu.Unlock()
	put(t, c, "heard", "late", "x")
	n.mu.Lock()
	n.refuse = nil
	n.mu.Unlock()
	eventually(t, "an event that was not accepted", func() bool { return len(n.seen()) == 4 })
	eventually(t, "nothing is left", func() bool { left, _ := os.ReadDir(n.intents); return len(left) == 0 })
}

// TestEventsAfterACrash leaves what a process that was killed would: a noted
// write that happened, one that did not, a removal, one that was told of late,
// and half a note.
func TestEventsAfterACrash(t *testing.T) {
	dir := t.TempDir()
	authz := identity.NewAuthorizer(nil)
	_ = authz.Apply(manifests())
	first, err := Open(Config{Dir: dir, Authz: authz, Changed: func(context.Context, service.ObjectChange) error { return errors.New("gone") }})
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	ctx := platform(t.Context())
	if err := first.Apply(ctx, manifests()); err != nil {
		t.Fatal(err)
	}
	s := first.spec("photos", "heard")
	p := place{store: s.store, app: "photos", bucket: "heard", spec: s, hops: 3}
	write := func(key, body string) {
		in := s3PutInput(p.folder, key, body)
		if _, err := first.files.PutObject(ctx, in); err != nil {
			t.Fatal(err)
		}
	}
	note := func(key, event string) {
		if _, err := first.intend(ctx, mayfly.CallerFrom(ctx), p, key, event); err != nil {
			t.Fatal(err)
		}
	}
	write("removed", "x")
	write("same", "x")
	note("made", "ObjectCreated:Put")
	write("made", "new")
	note("same", "ObjectCreated:Put") // and killed before it was written
	note("never", "ObjectCreated:Put")
	note("removed", "ObjectRemoved:Delete")
	if _, err := first.files.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &p.folder, Key: aws.String("removed")}); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(first.intents, "half.tmp"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	for i := range 2 * maxRefusals { // more than are tried while nothing is accepted
		key := fmt.Sprint("many", i)
		note(key, "ObjectCreated:Put")
		write(key, "new")
	}
	if err := first.reconcile(ctx, true); err == nil { // a start at which the queues take nothing
		t.Error("events that were not accepted are told")
	}
	n := &node{dir: dir}
	if n.Driver, err = Open(Config{Dir: dir, Authz: authz, Changed: n.changed}); err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	if err := errors.Join(n.Apply(ctx, manifests()), n.reconcile(ctx, false)); err != nil { // as Run does later
		t.Fatal(err)
	}
	var got []string
	for _, e := range n.seen() {
		got = append(got, e.Event+" "+e.Key)
	}
	if len(got) != 2+2*maxRefusals || fmt.Sprint(got[:3]) != "[ObjectCreated:Put made ObjectRemoved:Delete removed ObjectCreated:Put many0]" {
		t.Errorf("got %v", got)
	}
	if slices.ContainsFunc(n.hops, func(hops int) bool { return hops != 3 }) {
		t.Errorf("the events went through %v functions", n.hops)
	}
	if left, _ := os.ReadDir(n.intents); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

func TestQuota(t *testing.T) {
	dir := t.TempDir()
	n := start(t, dir)
	c := n.as("photos", "f")
	put(t, c, "small", "k", strings.Repeat("x", 800))
	try := func(key string, size int) string {
		_, err := c.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("small"), Key: &key, Body: strings.NewReader(strings.Repeat("x", size))})
		if err == nil {
			return ""
		}
		return code(err)
	}
	if got := try("l", 300); got != "QuotaExceeded" {
		t.Errorf("past the quota: %q", got)
	}
	if got := try("k", 900); got != "" {
		t.Errorf("in its place: %q", got)
	}
	if got := try("l", 101); got != "QuotaExceeded" {
		t.Errorf("past the quota: %q", got)
	}
	if _, err := n.as("", "").DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: aws.String("photos.small"), Key: aws.String("k")}); err != nil {
		t.Fatal(err)
	}
	if got := try("l", 1000); got != "" {
		t.Errorf("after a delete: %q", got)
	}
}

// TestQuotaOfAnApp shares one quota between buckets, old versions too.
func TestQuotaOfAnApp(t *testing.T) {
	n := start(t, t.TempDir())
	all := manifests()
	all[0].Quota = 1000
	quotas := service.NewQuotas()
	n.cfg.Quotas = quotas
	apply := func() {
		t.Helper()
		if err := errors.Join(quotas.Apply(t.Context(), all), n.Apply(t.Context(), all)); err != nil {
			t.Fatal(err)
		}
	}
	put(t, n.as("", ""), "photos.uploads", "old", strings.Repeat("x", 100)) // before there is a quota
	apply()
	c, room := n.as("", ""), func() int64 { r, _ := quotas.Room("photos"); return r }
	put(t, c, "photos.history", "k", strings.Repeat("x", 300))
	put(t, c, "photos.history", "k", strings.Repeat("y", 300))
	if got := room(); got != 300 {
		t.Errorf("room beside two versions: %d", got)
	}
	_, err := c.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("photos.uploads"), Key: aws.String("l"), Body: strings.NewReader(strings.Repeat("x", 301))})
	if code(err) != "QuotaExceeded" || !strings.Contains(err.Error(), "bucket/history 600B") {
		t.Errorf("past the app's quota: %v", err)
	}
	versions, err := c.ListObjectVersions(t.Context(), &s3.ListObjectVersionsInput{Bucket: aws.String("photos.history")})
	if err != nil || len(versions.Versions) != 2 {
		t.Fatalf("versions: %+v %v", versions, err)
	}
	remove := func(bucket, key string, version *string) {
		t.Helper()
		if _, err := c.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: &bucket, Key: &key, VersionId: version}); err != nil {
			t.Fatal(err)
		}
	}
	remove("photos.history", "k", nil) // a marker frees nothing
	if got := room(); got != 300 {
		t.Errorf("room beside a marker: %d", got)
	}
	remove("photos.history", "k", versions.Versions[1].VersionId)
	remove("photos.uploads", "old", nil)
	if got := room(); got != 700 {
		t.Errorf("room after deletes: %d", got)
	}
	put(t, c, "photos.uploads", "l", strings.Repeat("x", 600))
	if n.measureAll(n.spec("photos", "history")) != 300 {
		t.Error("what is counted is not what is there")
	}
	n.spec("photos", "uploads").usage.used = 7 // as if it had drifted
	n.Expire(t.Context(), time.Now())
	if got := room(); got != 100 {
		t.Errorf("room when it is counted anew: %d", got)
	}
	apply()
	if got := room(); got != 100 {
		t.Errorf("room after the next deploy: %d", got)
	}
	put(t, n.as("", ""), "other.uploads", "k", strings.Repeat("x", 5000)) // another app has none
}

func TestLifecycle(t *testing.T) {
	n := start(t, t.TempDir())
	admin := n.as("", "")
	put(t, admin, "photos.gone", "a/old", "x")
	up, err := admin.CreateMultipartUpload(t.Context(), &s3.CreateMultipartUploadInput{Bucket: aws.String("photos.gone"), Key: aws.String("half")})
	if err != nil || up.UploadId == nil {
		t.Fatal(err)
	}
	n.Expire(t.Context(), time.Now().Add(30*time.Minute))
	if got := get(t, admin, "photos.gone", "a/old"); got != "x" {
		t.Errorf("too early: %q", got)
	}
	n.Expire(t.Context(), time.Now().Add(8*24*time.Hour))
	if got := get(t, admin, "photos.gone", "a/old"); got != "NoSuchKey" {
		t.Errorf("too late: %q", got)
	}
	out, err := admin.ListMultipartUploads(t.Context(), &s3.ListMultipartUploadsInput{Bucket: aws.String("photos.gone")})
	if err != nil || len(out.Uploads) != 0 {
		t.Errorf("uploads: %+v %v", out, err)
	}
	if e := n.seen(); len(e) != 2 || e[1].Event != "ObjectRemoved:Delete" || e[1].Who.Kind != mayfly.CallerPlatform {
		t.Errorf("events: %+v", e)
	}
}

func TestData(t *testing.T) {
	first := t.TempDir()
	dir := filepath.Join(first, "one")
	n := start(t, dir)
	put(t, n.as("photos", "f"), "history", "k", "one")
	put(t, n.as("photos", "f"), "history", "k", "two")
	_ = n.Close()
	moved := filepath.Join(first, "two")
	if err := os.Rename(dir, moved); err != nil {
		t.Fatal(err)
	}
	n = start(t, moved)
	out, err := n.as("photos", "f").ListObjectVersions(t.Context(), &s3.ListObjectVersionsInput{Bucket: aws.String("history")})
	if err != nil || len(out.Versions) != 2 {
		t.Errorf("a moved folder has %+v, %v", out, err)
	}
}
