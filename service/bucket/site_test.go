package bucket

import (
	"context"
	"mime"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/mayfly-cloud/mayfly"
)

// withSites is manifests with the buckets of websites.
func withSites() []*mayfly.Manifest {
	all := manifests()
	all[0].Buckets["site"] = &mayfly.Bucket{Website: &mayfly.Website{Error: "404.html", Redirects: []mayfly.WebsiteRedirect{
		{From: "/old/", To: "/new/"}, {From: "away/", To: "https://b.example/a/", Status: 307},
	}}}
	all[0].Buckets["docs"] = &mayfly.Bucket{Public: true, Website: &mayfly.Website{Path: "/docs", Index: "start.html", Fallback: "start.html"}}
	return all
}

// visit asks a handler without credentials.
func visit(h http.Handler, method, target string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, nil)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// visited is what a site is asked and answers; of the empty answers nothing is
// wanted.
type visited struct {
	method, target       string
	headers              []string
	status               int
	body, kind, location string
}

func (v visited) check(t *testing.T, h http.Handler) {
	t.Helper()
	w := visit(h, v.method, v.target, v.headers...)
	if w.Code != v.status || v.body != "" && w.Body.String() != v.body || v.kind != "" && w.Header().Get("Content-Type") != v.kind || w.Header().Get("Location") != v.location {
		t.Errorf("%s %s %v: %d %q %v, want %+v", v.method, v.target, v.headers, w.Code, w.Body, w.Header(), v)
	}
}

func TestWebsiteOfAManifest(t *testing.T) {
	n := start(t, t.TempDir())
	if err := n.Apply(context.Background(), withSites()); err != nil {
		t.Fatal(err)
	}
	c := n.as("", "")
	for key, body := range map[string]string{
		"index.html": "home", "404.html": "none", "a/index.html": "folder", "about.html": "about", "app.js": "code", "plain": "bytes", "a b/ü.txt": "text",
	} {
		put(t, c, "photos.site", key, body)
	}
	_, err := c.PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("photos.site"), Key: aws.String("moved"), WebsiteRedirectLocation: aws.String("/a/"), Body: strings.NewReader("")})
	if err != nil {
		t.Fatal(err)
	}
	h := n.Website("photos", "site")
	home := visit(h, "GET", "/")
	if home.Header().Get("Cache-Control") != siteCaching || home.Header().Get("Content-Security-Policy") != "" {
		t.Errorf("headers of a page: %v", home.Header())
	}
	for _, v := range []visited{
		{"GET", "/", nil, 200, "home", "text/html; charset=utf-8", ""},
		{"GET", "/?a=1", nil, 200, "home", "", ""},
		{"HEAD", "/", nil, 200, "", "text/html; charset=utf-8", ""},
		{"GET", "/index.html", nil, 200, "home", "", ""},
		{"GET", "/", []string{"If-None-Match", home.Header().Get("ETag")}, 304, "", "", ""},
		{"GET", "/", []string{"Range", "bytes=1-2"}, 206, "om", "", ""},
		{"GET", "/app.js", nil, 200, "code", mime.TypeByExtension(".js"), ""},
		{"GET", "/plain", nil, 200, "bytes", "application/octet-stream", ""},
		{"GET", "/a%20b/%C3%BC.txt", nil, 200, "text", "", ""},
		{"GET", "/a", nil, 302, "", "", "/a/"},
		{"GET", "/a?b=c", nil, 302, "", "", "/a/?b=c"},
		{"GET", "/a/", nil, 200, "folder", "", ""},
		{"GET", "/about", nil, 200, "about", "text/html; charset=utf-8", ""},
		{"GET", "/about/", nil, 404, "none", "text/html; charset=utf-8", ""},
		{"GET", "/none", nil, 404, "none", "", ""},
		{"HEAD", "/none", nil, 404, "", "", ""},
		{"GET", "/none", []string{"Range", "bytes=1-2"}, 404, "none", "", ""},
		{"GET", "/plain/below", nil, 404, "none", "", ""},
		{"GET", "/" + strings.Repeat("x", 2000), nil, 404, "none", "", ""},
		{"GET", "/moved", nil, 301, "", "", "/a/"},
		{"GET", "/old/x%20y?q=1", nil, 301, "", "", "/new/x%20y?q=1"},
		{"GET", "/away/x", nil, 307, "", "", "https://b.example/a/x"},
		{"GET", "/%2e%2e/photos.uploads/x", nil, 404, "", "", ""},
		{"GET", "/.sgwtmp/x", nil, 404, "", "", ""},
		{"GET", "/%00", nil, 404, "", "", ""},
		{"GET", "/%ff", nil, 404, "", "", ""},
		{"POST", "/", nil, 405, "", "", ""},
	} {
		v.check(t, h)
	}
	if w := visit(h, "GET", "/none"); w.Header().Get("ETag") != "" || w.Header().Get("Cache-Control") != siteCaching {
		t.Errorf("headers of an error's page: %v", w.Header())
	}
	if got := n.WebsiteAt("photos.site.s3-website.localhost:8080"); got == nil {
		t.Error("a site has no host name")
	} else {
		visited{"GET", "/a", nil, 302, "", "", "http://example.com/a/"}.check(t, got)
	}
	if w := visit(n.PublicHandler(), "GET", "/_bucket/photos/site/index.html"); w.Code != 404 {
		t.Errorf("a site that is not public is among the public objects: %d", w.Code)
	}
}

// TestWebsiteOfAnApplication serves its page for what is no file.
func TestWebsiteOfAnApplication(t *testing.T) {
	n := start(t, t.TempDir())
	if err := n.Apply(context.Background(), withSites()); err != nil {
		t.Fatal(err)
	}
	put(t, n.as("", ""), "photos.docs", "start.html", "app")
	h := n.Website("photos", "docs")
	for _, v := range []visited{
		{"GET", "/docs/", nil, 200, "app", "", ""},
		{"GET", "/docs/users/7", nil, 200, "app", "text/html; charset=utf-8", ""},
		{"GET", "/docs/users/a.b", []string{"Accept", "text/html,*/*"}, 200, "app", "", ""},
		{"GET", "/docs/gone.js", []string{"Accept", "*/*"}, 404, "", "text/html; charset=utf-8", ""},
	} {
		v.check(t, h)
	}
	shared := visit(n.PublicHandler(), "GET", "/_bucket/photos/docs/")
	if shared.Code != 200 || shared.Body.String() != "app" || !strings.HasPrefix(shared.Header().Get("Content-Security-Policy"), "sandbox") {
		t.Errorf("among the public objects: %d %v", shared.Code, shared.Header())
	}
}

// TestWebsiteByS3 puts a configuration with an SDK, as a bucket's owner does.
func TestWebsiteByS3(t *testing.T) {
	n := start(t, t.TempDir())
	if err := n.Apply(context.Background(), withSites()); err != nil {
		t.Fatal(err)
	}
	c := n.as("", "")
	config := &types.WebsiteConfiguration{
		IndexDocument: &types.IndexDocument{Suffix: aws.String("index.html")}, ErrorDocument: &types.ErrorDocument{Key: aws.String("e.html")},
		RoutingRules: []types.RoutingRule{
			{Condition: &types.Condition{KeyPrefixEquals: aws.String("docs/")}, Redirect: &types.Redirect{ReplaceKeyPrefixWith: aws.String("d/"), Protocol: types.ProtocolHttps}},
			{Condition: &types.Condition{KeyPrefixEquals: aws.String("one/")}, Redirect: &types.Redirect{ReplaceKeyWith: aws.String("two"), HttpRedirectCode: aws.String("308")}},
			{Condition: &types.Condition{KeyPrefixEquals: aws.String("app/"), HttpErrorCodeReturnedEquals: aws.String("404")}, Redirect: &types.Redirect{ReplaceKeyPrefixWith: aws.String("#!/")}},
		},
	}
	set := func(bucket string) error {
		_, err := c.PutBucketWebsite(t.Context(), &s3.PutBucketWebsiteInput{Bucket: &bucket, WebsiteConfiguration: config})
		return err
	}
	for bucket, want := range map[string]string{"photos.thumbs": "<nil>", "photos.uploads": "<nil>", "photos.site": "AccessDenied", "none": "NoSuchBucket"} {
		if got := code(set(bucket)); got != want {
			t.Errorf("put at %s: %s, want %s", bucket, got, want)
		}
	}
	if _, err := n.as("photos", "f").PutBucketWebsite(t.Context(), &s3.PutBucketWebsiteInput{Bucket: aws.String("uploads"), WebsiteConfiguration: config}); code(err) != "AccessDenied" {
		t.Errorf("a function configures a website: %v", err)
	}
	put(t, c, "photos.thumbs", "index.html", "home")
	put(t, c, "photos.thumbs", "e.html", "error")
	put(t, c, "photos.uploads", "index.html", "private")
	shared, own, closed := n.PublicHandler(), n.WebsiteAt("photos.thumbs.s3-website-us-east-1.localhost"), n.WebsiteAt("photos.uploads.s3-website.localhost")
	for _, v := range []visited{
		{"GET", "/_bucket/photos/thumbs/", nil, 200, "home", "", ""},
		{"GET", "/_bucket/photos/thumbs/none", nil, 404, "error", "", ""},
		{"GET", "/_bucket/photos/thumbs/docs/a", nil, 301, "", "", "https://example.com/_bucket/photos/thumbs/d/a"},
		{"GET", "/_bucket/photos/thumbs/one/a", nil, 308, "", "", "/_bucket/photos/thumbs/two"},
		{"GET", "/_bucket/photos/thumbs/app/x/y?q", nil, 301, "", "", "/_bucket/photos/thumbs/?q#!/x/y"},
	} {
		v.check(t, shared)
	}
	for _, v := range []visited{
		{"GET", "/", nil, 200, "home", "", ""},
		{"GET", "/one/a", nil, 308, "", "", "http://example.com/two"},
		{"GET", "/", []string{"Origin", "https://a.example"}, 200, "home", "", ""},
		{"OPTIONS", "/", []string{"Origin", "https://a.example", "Access-Control-Request-Method", "GET"}, 200, "", "", ""},
		{"OPTIONS", "/", []string{"Origin", "https://b.example", "Access-Control-Request-Method", "GET"}, 403, "", "", ""},
	} {
		v.check(t, own)
	}
	visited{"GET", "/", nil, 403, "", "text/html; charset=utf-8", ""}.check(t, closed)
	for _, host := range []string{"photos.localhost", "s3-website.localhost", "a.s3-websites.localhost"} {
		if n.WebsiteAt(host) != nil {
			t.Errorf("%s is a site's", host)
		}
	}
	for host, status := range map[string]int{"photos.heard.s3-website.x": 404, "none.s3-website.x": 404, "photos.gone.s3-website.x": 404} {
		visited{"GET", "/", nil, status, "", "", ""}.check(t, n.WebsiteAt(host))
	}
	if _, err := c.DeleteBucketWebsite(t.Context(), &s3.DeleteBucketWebsiteInput{Bucket: aws.String("photos.thumbs")}); err != nil {
		t.Fatal(err)
	}
	visited{"GET", "/_bucket/photos/thumbs/", nil, 404, "", "application/problem+json", ""}.check(t, shared)
	out, err := c.GetBucketWebsite(t.Context(), &s3.GetBucketWebsiteInput{Bucket: aws.String("photos.site")})
	if err != nil || *out.ErrorDocument.Key != "404.html" || len(out.RoutingRules) != 2 || *out.RoutingRules[1].Redirect.HostName != "b.example" {
		t.Errorf("the manifest's configuration by S3: %+v, %v", out, err)
	}
}

// TestWebsiteOfNobodysBucket asks the bucket's policy who may read.
func TestWebsiteOfNobodysBucket(t *testing.T) {
	n := start(t, t.TempDir())
	c := n.as("", "")
	bucket := aws.String("plain")
	if _, err := c.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: bucket}); err != nil {
		t.Fatal(err)
	}
	_, err := c.PutBucketWebsite(t.Context(), &s3.PutBucketWebsiteInput{Bucket: bucket, WebsiteConfiguration: &types.WebsiteConfiguration{IndexDocument: &types.IndexDocument{Suffix: aws.String("index.html")}}})
	if err != nil {
		t.Fatal(err)
	}
	put(t, c, "plain", "index.html", "home")
	put(t, c, "plain", "secret/a", "secret")
	h := n.WebsiteAt("plain.s3-website.localhost")
	visited{"GET", "/", nil, 403, "", "", ""}.check(t, h)
	policy := `{"Statement":[{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::plain/*"},
		{"Effect":"Deny","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::plain/secret/*"}]}`
	if _, err := c.PutBucketPolicy(t.Context(), &s3.PutBucketPolicyInput{Bucket: bucket, Policy: &policy}); err != nil {
		t.Fatal(err)
	}
	visited{"GET", "/", nil, 200, "home", "", ""}.check(t, h)
	visited{"GET", "/secret/a", nil, 403, "", "", ""}.check(t, h)
}
