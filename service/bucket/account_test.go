package bucket

import (
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/versity/versitygw/auth"

	"github.com/mayfly-cloud/mayfly"
)

// account is a client of an account that the administrator made.
func (n *node) account(t *testing.T, role auth.Role, name string) *s3.Client {
	t.Helper()
	if err := n.keys.CreateAccount(auth.Account{Access: name, Secret: "secret of " + name, Role: role}); err != nil {
		t.Fatal(err)
	}
	return s3.New(s3.Options{
		Region: Region, BaseEndpoint: &n.url, UsePathStyle: true, RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider(name, "secret of "+name, ""),
	})
}

const allowAll = `{"Statement":[{"Effect":"Allow","Principal":"*","Action":"s3:*","Resource":["arn:aws:s3:::BUCKET","arn:aws:s3:::BUCKET/*"]}]}`

func anyoneMay(bucket string) *string {
	return aws.String(strings.ReplaceAll(allowAll, "BUCKET", bucket))
}

// anonymous asks without a credential.
func (n *node) anonymous(t *testing.T, path string) (status int, body string) {
	t.Helper()
	res, err := http.Get(n.url + path)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, _ := io.ReadAll(res.Body)
	return res.StatusCode, string(b)
}

// TestAccountsHaveTheirOwnBuckets gives an account a bucket with a policy, as S3
// has them, beside the buckets of apps.
func TestAccountsHaveTheirOwnBuckets(t *testing.T) {
	n := start(t, t.TempDir())
	ctx := t.Context()
	ann, bob := n.account(t, auth.RoleUserPlus, "ann-key"), n.account(t, auth.RoleUser, "bob-key")
	if _, err := ann.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: aws.String("hers")}); err != nil {
		t.Fatal(err)
	}
	put(t, ann, "hers", "a", "of ann")
	if got := get(t, bob, "hers", "a"); got != "AccessDenied" {
		t.Errorf("another account reads %q", got)
	}
	if _, err := bob.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: aws.String("his")}); code(err) != "AccessDenied" {
		t.Errorf("a plain account makes a bucket: %v", err)
	}
	if status, _ := n.anonymous(t, "/hers/a"); status != http.StatusForbidden {
		t.Errorf("nobody reads: %d", status)
	}
	if _, err := ann.PutBucketPolicy(ctx, &s3.PutBucketPolicyInput{Bucket: aws.String("hers"), Policy: anyoneMay("hers")}); err != nil {
		t.Fatal(err)
	}
	if got := get(t, bob, "hers", "a"); got != "of ann" {
		t.Errorf("by the policy another account reads %q", got)
	}
	if status, body := n.anonymous(t, "/hers/a"); status != http.StatusOK || body != "of ann" {
		t.Errorf("by the policy anyone reads: %d %q", status, body)
	}
	if got := get(t, n.as("photos", "f"), "hers", "a"); got == "of ann" {
		t.Error("a function reads an account's bucket by its name")
	}
	for who, want := range map[*s3.Client][]string{ann: {"hers"}, bob: nil} {
		out, err := who.ListBuckets(ctx, &s3.ListBucketsInput{})
		var names []string
		for _, b := range out.Buckets {
			names = append(names, *b.Name)
		}
		if err != nil || !slices.Equal(names, want) {
			t.Errorf("lists %v, want %v: %v", names, want, err)
		}
	}
}

// TestNeitherAccountsNorPoliciesReachApps tries every way by which S3 gives
// access to a bucket on one that an app declares.
func TestNeitherAccountsNorPoliciesReachApps(t *testing.T) {
	dir := t.TempDir()
	n := start(t, dir)
	ctx := t.Context()
	admin, function := n.as("", ""), n.as("photos", "f")
	root, plus := n.account(t, auth.RoleAdmin, "root-like"), n.account(t, auth.RoleUserPlus, "plus")
	put(t, function, "uploads", "a", "classified")
	full := aws.String("photos.uploads")
	for who, c := range map[string]*s3.Client{"an account that administers": root, "an account": plus} {
		if got := get(t, c, *full, "a"); got != "AccessDenied" {
			t.Errorf("%s reads %q", who, got)
		}
		if _, err := c.PutObject(ctx, &s3.PutObjectInput{Bucket: full, Key: aws.String("b"), Body: strings.NewReader("x")}); code(err) != "AccessDenied" {
			t.Errorf("%s writes: %v", who, err)
		}
		if _, err := c.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: full}); code(err) != "AccessDenied" {
			t.Errorf("%s lists: %v", who, err)
		}
		if _, err := c.DeleteBucket(ctx, &s3.DeleteBucketInput{Bucket: full}); code(err) != "AccessDenied" {
			t.Errorf("%s deletes: %v", who, err)
		}
		if _, err := c.PutBucketPolicy(ctx, &s3.PutBucketPolicyInput{Bucket: full, Policy: anyoneMay(*full)}); code(err) != "AccessDenied" {
			t.Errorf("%s sets a policy: %v", who, err)
		}
		if _, err := c.GetObjectTagging(ctx, &s3.GetObjectTaggingInput{Bucket: full, Key: aws.String("a")}); code(err) != "AccessDenied" {
			t.Errorf("%s reads tags: %v", who, err)
		}
		if _, err := c.CopyObject(ctx, &s3.CopyObjectInput{Bucket: aws.String("mine-of-plus"), Key: aws.String("a"), CopySource: aws.String(*full + "/a")}); err == nil {
			t.Errorf("%s copies", who)
		}
	}
	if _, err := admin.PutBucketPolicy(ctx, &s3.PutBucketPolicyInput{Bucket: full, Policy: anyoneMay(*full)}); code(err) != "AccessDenied" || !strings.Contains(err.Error(), "manifest") {
		t.Errorf("the administrator sets a policy: %v", err)
	}
	if err := n.gate.ChangeBucketOwner(platform(ctx), *full, "plus"); err == nil {
		t.Error("the owner was changed")
	}
	if status, body := n.anonymous(t, "/photos.uploads/a"); status != http.StatusForbidden || strings.Contains(body, "classified") {
		t.Errorf("nobody reads: %d %s", status, body)
	}
	if _, err := function.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: aws.String("more")}); code(err) != "AccessDenied" {
		t.Errorf("a function makes a bucket: %v", err)
	}

	// What had a policy before an app declared it has none, then and afterwards.
	early := "late.files"
	if _, err := admin.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: &early}); err != nil {
		t.Fatal(err)
	}
	put(t, admin, early, "a", "of before")
	if _, err := admin.PutBucketPolicy(ctx, &s3.PutBucketPolicyInput{Bucket: &early, Policy: anyoneMay(early)}); err != nil {
		t.Fatal(err)
	}
	if status, _ := n.anonymous(t, "/late.files/a"); status != http.StatusOK {
		t.Fatalf("by its policy: %d", status)
	}
	for _, apps := range [][]*mayfly.Manifest{{{App: "late", Buckets: map[string]*mayfly.Bucket{"files": {}}}}, nil} {
		if err := n.Apply(ctx, apps); err != nil {
			t.Fatal(err)
		}
		if status, body := n.anonymous(t, "/late.files/a"); status != http.StatusForbidden {
			t.Errorf("with apps %v: %d %s", apps, status, body)
		}
	}
}

// TestFunctionsDoNotAdministerAccounts asks versitygw's own interface for
// accounts with a function's key.
func TestFunctionsDoNotAdministerAccounts(t *testing.T) {
	n := start(t, t.TempDir())
	for path, want := range map[string]int{"/list-users": http.StatusForbidden, "/list-buckets": http.StatusForbidden, "/create-user": http.StatusForbidden} {
		for _, c := range []struct {
			key  Key
			want int
		}{{n.keys.function("photos", "f"), want}, {Key{"x", "y"}, http.StatusForbidden}} {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPatch, n.url+path, http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			sign(t, req, c.key)
			res, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			_ = res.Body.Close()
			if res.StatusCode != c.want {
				t.Errorf("%s by %s: %d, want %d", path, c.key.Access, res.StatusCode, c.want)
			}
		}
	}
}

// sign makes a request one of an access key.
func sign(t *testing.T, req *http.Request, key Key) {
	t.Helper()
	const empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" // SHA-256 of nothing
	req.Header.Set("X-Amz-Content-Sha256", empty)
	if err := v4.NewSigner().SignHTTP(t.Context(), aws.Credentials{AccessKeyID: key.Access, SecretAccessKey: key.Secret}, req, empty, "s3", Region, time.Now()); err != nil {
		t.Fatal(err)
	}
}
