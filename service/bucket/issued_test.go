package bucket

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/mayfly-cloud/mayfly"
)

func admin(ctx context.Context) context.Context {
	return mayfly.WithCaller(ctx, mayfly.Caller{Kind: mayfly.CallerAdmin})
}

// issue makes a key and a client of who has it.
func (n *node) issue(t *testing.T, name, expires string, allow ...string) *s3.Client {
	t.Helper()
	in := &createInput{App: "photos"}
	in.Body.Name, in.Body.Allow, in.Body.Expires = name, allow, expires
	out, err := n.createKey(admin(t.Context()), in)
	if err != nil {
		t.Fatal(err)
	}
	return s3.New(s3.Options{
		Region: Region, BaseEndpoint: &n.url, UsePathStyle: true, RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider(out.Body.Access, out.Body.Secret, ""),
	})
}

func TestIssuedKeys(t *testing.T) {
	dir := t.TempDir()
	n := start(t, dir)
	put(t, n.as("", ""), "photos.uploads", "a", "of the app")
	put(t, n.as("", ""), "other.uploads", "a", "of another app")
	ann := n.issue(t, "ann", "", "read bucket/uploads", "list bucket/uploads")
	tool := n.issue(t, "tool", "1h", "* bucket/thumb*")
	for _, c := range []struct {
		who         *s3.Client
		bucket, got string
	}{{ann, "uploads", "of the app"}, {ann, "photos.uploads", "of the app"}, {ann, "other.uploads", "NoSuchBucket"}, {tool, "uploads", "AccessDenied"}, {ann, "thumbs", "AccessDenied"}} {
		if got := get(t, c.who, c.bucket, "a"); got != c.got {
			t.Errorf("%s: %q, want %q", c.bucket, got, c.got)
		}
	}
	write := func(c *s3.Client, bucket string) string {
		_, err := c.PutObject(t.Context(), &s3.PutObjectInput{Bucket: &bucket, Key: aws.String("k"), Body: strings.NewReader("x")})
		return code(err)
	}
	if write(ann, "uploads") != "AccessDenied" || write(tool, "thumbs") != "<nil>" {
		t.Error("a key writes what it may not, or not what it may")
	}
	if _, err := tool.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String("new")}); code(err) != "AccessDenied" && code(err) != "NoSuchBucket" {
		t.Errorf("a key makes a bucket: %v", err)
	}
	if _, err := tool.PutBucketAcl(t.Context(), &s3.PutBucketAclInput{Bucket: aws.String("thumbs"), ACL: types.BucketCannedACLPublicRead}); code(err) != "AccessDenied" {
		t.Errorf("a key configures a bucket: %v", err)
	}
	buckets, err := ann.ListBuckets(t.Context(), &s3.ListBucketsInput{})
	if err != nil || len(buckets.Buckets) != 1 || *buckets.Buckets[0].Name != "uploads" {
		t.Errorf("buckets of a key: %+v %v", buckets, err)
	}
	link, err := s3.NewPresignClient(ann).PresignGetObject(t.Context(), &s3.GetObjectInput{Bucket: aws.String("uploads"), Key: aws.String("a")})
	if err != nil {
		t.Fatal(err)
	}
	path := strings.TrimPrefix(link.URL, n.url)
	if status, body := n.anonymous(t, path); status != 200 || body != "of the app" {
		t.Errorf("a URL of a key: %d %q", status, body)
	}
	if _, err := n.revokeKey(admin(t.Context()), &KeyPath{App: "photos", Name: "ann"}); err != nil {
		t.Fatal(err)
	}
	if got := get(t, ann, "uploads", "a"); got != "InvalidAccessKeyId" {
		t.Errorf("a revoked key: %q", got)
	}
	if status, _ := n.anonymous(t, path); status != 403 {
		t.Errorf("a URL of a revoked key: %d", status)
	}
	again := n.issue(t, "ann", "", "read bucket/uploads")
	if get(t, ann, "uploads", "a") != "InvalidAccessKeyId" || get(t, again, "uploads", "a") != "of the app" {
		t.Error("a name's new key is its old one")
	}
	for _, k := range *n.keys.issued.known.Load() {
		if k.Name == "tool" {
			k.Expires = time.Now()
		}
	}
	if got := write(tool, "thumbs"); got != "InvalidAccessKeyId" {
		t.Errorf("an expired key: %q", got)
	}
}

func TestIssuedKeysLast(t *testing.T) {
	dir := t.TempDir()
	n := start(t, dir)
	put(t, n.as("", ""), "photos.uploads", "a", "x")
	ann := n.issue(t, "ann", "", "read bucket/uploads")
	_ = n.Close()
	next := start(t, dir)
	listed, err := next.listKeys(admin(t.Context()), &struct {
		App string `path:"app"`
	}{"photos"})
	if err != nil || len(listed.Body.Keys) != 1 || listed.Body.Keys[0].Name != "ann" {
		t.Fatalf("keys after a restart: %+v %v", listed, err)
	}
	o := ann.Options()
	o.BaseEndpoint = &next.url
	if got := get(t, s3.New(o), "uploads", "a"); got != "x" {
		t.Errorf("a key after a restart: %q", got)
	}
}

func TestKeysAreTheAdministrators(t *testing.T) {
	n := start(t, t.TempDir())
	for _, who := range []mayfly.Caller{{}, {Kind: mayfly.CallerFunction, App: "photos", Function: "f"}, {Kind: mayfly.CallerUser, App: "photos", Name: "ann"}} {
		ctx := mayfly.WithCaller(t.Context(), who)
		if _, err := n.createKey(ctx, &createInput{App: "photos"}); err == nil || mayfly.CodeOf(err) == mayfly.Invalid {
			t.Errorf("%v issues: %v", who, err)
		}
		if _, err := n.revokeKey(ctx, &KeyPath{App: "photos", Name: "x"}); err == nil || mayfly.CodeOf(err) == mayfly.NotFound {
			t.Errorf("%v revokes: %v", who, err)
		}
	}
	for _, c := range []struct {
		name, allow, expires string
		want                 mayfly.Code
	}{
		{"Ann", "read bucket/uploads", "", mayfly.Invalid}, {"../x", "read bucket/uploads", "", mayfly.Invalid}, {"ann", "read kv/x", "", mayfly.Invalid},
		{"ann", "read bucket/none", "", mayfly.Invalid}, {"ann", "reads bucket/uploads", "", mayfly.Invalid}, {"ann", "read bucket/uploads", "soon", mayfly.Invalid},
		{"ann", "read bucket/uploads", "", ""}, {"ann", "read bucket/uploads", "", mayfly.Conflict},
	} {
		in := &createInput{App: "photos"}
		in.Body.Name, in.Body.Allow, in.Body.Expires = c.name, []string{c.allow}, c.expires
		if _, err := n.createKey(admin(t.Context()), in); mayfly.CodeOf(err) != c.want {
			t.Errorf("%+v: %v", c, err)
		}
	}
	if _, err := n.revokeKey(admin(t.Context()), &KeyPath{App: "photos", Name: "../../node"}); mayfly.CodeOf(err) != mayfly.NotFound {
		t.Errorf("a name that leaves the folder: %v", err)
	}
}
