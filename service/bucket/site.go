package bucket

import (
	"cmp"
	"context"
	"io"
	"mime"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/versity/versitygw/s3err"
	"github.com/versity/versitygw/s3response"

	"github.com/mayfly-cloud/mayfly"
)

// site is a bucket as a website at one address. A request is answered in S3's
// order:
//
//	redirect of all ─► rules by prefix ─► object ─► folder ─► rules by error ─► error document
//
// https://docs.aws.amazon.com/AmazonS3/latest/userguide/WebsiteHosting.html
type site struct {
	d      *Driver
	place  place
	config *s3response.WebsiteConfiguration // nil: none was put
	pages  *mayfly.Website                  // what a manifest says beyond S3; nil: it was put by S3

	base   string                                  // path of its root, with a / at both ends
	own    bool                                    // it has a host name for itself, which redirects name as S3's do
	shared bool                                    // it shares its host name with whatever else is public
	guest  func(r *http.Request, key string) error // why a stranger may not read a key; nil: all may be read
}

// siteCaching is for objects that say nothing of it: a browser keeps them and asks
// each time whether they are still so, because pages and what they refer to are
// replaced together.
const siteCaching = "public, max-age=0, must-revalidate"

// Website is the handler of a bucket's website at the path that its manifest
// gives it. It may be made before the bucket is there.
func (d *Driver) Website(app mayfly.AppName, bucket string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := d.spec(app, bucket)
		if s == nil || s.website == nil {
			refuse(w, notPublic())
			return
		}
		one := &site{d: d, place: s.place(), config: websiteOf(s.website), pages: s.website, base: s.website.Root()}
		one.serve(w, r)
	})
}

// publicSite is the website of a public bucket among the gateway's public
// objects, nil where it has none.
func (d *Driver) publicSite(ctx context.Context, s *spec) *site {
	c, err := d.website(ctx, s.place())
	if err != nil || c == nil {
		return nil
	}
	return &site{d: d, place: s.place(), config: c, pages: s.website, base: PublicPath + string(s.app) + "/" + s.name + "/", shared: true}
}

func (s *spec) place() place { return place{store: s.store, app: s.app, bucket: s.name, spec: s} }

// WebsiteAt is the handler of what S3 calls a bucket's website endpoint, by its
// host name: BUCKET.s3-website.ANY or BUCKET.s3-website-ANY. It is nil for other
// names.
func (d *Driver) WebsiteAt(host string) http.Handler {
	bucket, rest, ok := strings.Cut(host, ".s3-website")
	if !ok || bucket == "" || rest != "" && !strings.Contains(".-:", rest[:1]) {
		return nil
	}
	bucket = strings.ToLower(bucket)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s, err := d.endpoint(r.Context(), bucket)
		if err != nil {
			fail(w, hide(err, bucket))
			return
		}
		s.serve(w, r)
	})
}

// endpoint is a bucket's website by its name in S3: APP.BUCKET where an app
// declares it. Of others, policies and ACLs decide what a stranger may read.
func (d *Driver) endpoint(ctx context.Context, bucket string) (*site, error) {
	p, err := d.gate.find(mayfly.Caller{}, bucket)
	if err != nil {
		return nil, err
	}
	s := &site{d: d, place: p, base: "/", own: true}
	if s.config, err = d.website(ctx, p); err != nil {
		return nil, err
	}
	switch {
	case p.spec == nil:
		s.guest = func(r *http.Request, key string) error { return d.stranger(r, bucket, key) }
	case p.spec.website != nil:
		s.pages = p.spec.website
	case !p.spec.public && s.config == nil:
		return nil, s3err.GetBucketErr(s3err.ErrNoSuchBucket, bucket)
	case !p.spec.public:
		s.guest = func(*http.Request, string) error { return s3err.GetAPIError(s3err.ErrAccessDenied) }
	}
	return s, nil
}

func (s *site) serve(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodOptions {
		s.preflight(w, r)
		return
	}
	key, inside := strings.CutPrefix(r.URL.Path, s.base)
	switch {
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		allow := []string{http.MethodGet, http.MethodHead, http.MethodOptions}
		w.Header().Set("Allow", strings.Join(allow, ", "))
		fail(w, s3err.GetMethodNotAllowedErr(r.Method, s3err.ResourceTypeObject, allow))
	case s.config == nil:
		fail(w, s3err.GetBucketErr(s3err.ErrNoSuchWebsiteConfiguration, s.place.bucket))
	case !inside || checkKey(&key) != nil:
		fail(w, s3err.GetAPIError(s3err.ErrNoSuchKey))
	default:
		s.crossOrigin(w, r)
		s.find(w, r, key)
	}
}

// find answers with what a key stands for.
func (s *site) find(w http.ResponseWriter, r *http.Request, key string) {
	if all := s.config.RedirectAllRequestsTo; all != nil {
		s.redirect(w, r, http.StatusMovedPermanently, cmp.Or(all.Protocol, scheme(r)), all.HostName, escapeKey(key))
		return
	}
	if rule := before(s.config, key); rule != nil {
		s.apply(w, r, rule, key)
		return
	}
	found, err := s.lookup(r, key)
	switch {
	case err == nil && found.folder:
		s.redirect(w, r, http.StatusFound, "", "", escapeKey(key)+"/")
	case err == nil && text(found.head.WebsiteRedirectLocation) != "":
		s.moved(w, *found.head.WebsiteRedirectLocation)
	case err == nil:
		s.page(w, r, found)
	default:
		s.missing(w, r, key, err)
	}
}

// found is what a key stands for: an object, or a folder that has a page.
type found struct {
	key    string
	head   *s3.HeadObjectOutput
	folder bool
}

// lookup finds a key's object: its own, the page of the folder that it names, or
// the page of the folder that it would name with a / behind it. A manifest's site
// has pages without their .html, too.
func (s *site) lookup(r *http.Request, key string) (found, error) {
	index := suffix(s.config.IndexDocument)
	if key == "" || strings.HasSuffix(key, "/") {
		return s.object(r, key+index)
	}
	out, err := s.object(r, key)
	if errorCode(err) != "NoSuchKey" {
		return out, err
	}
	if s.pages != nil {
		if page, other := s.object(r, key+".html"); other == nil {
			return page, nil
		}
	}
	if page, other := s.object(r, key+"/"+index); other == nil {
		page.folder = true
		return page, nil
	}
	return out, err
}

func suffix(d *s3response.IndexDocument) string {
	if d == nil {
		return ""
	}
	return d.Suffix
}

// object is a key's object, where a stranger may read it.
func (s *site) object(r *http.Request, key string) (found, error) {
	if s.guest != nil {
		if err := s.guest(r, key); err != nil {
			return found{}, err
		}
	}
	head, err := s.place.files.HeadObject(r.Context(), &s3.HeadObjectInput{Bucket: &s.place.folder, Key: &key})
	if err != nil {
		return found{}, s.d.gate.explain(s.place, absent(err))
	}
	return found{key: key, head: head}, nil
}

// absent is err as a reader of pages means it: a page below what is an object is
// not there.
func absent(err error) error {
	switch errorCode(err) {
	case "NotFound", "NoSuchKey", "ObjectParentIsFile", "KeyTooLongError":
		return s3err.GetAPIError(s3err.ErrNoSuchKey)
	}
	return err
}

// missing answers for a key that could not be read.
func (s *site) missing(w http.ResponseWriter, r *http.Request, key string, err error) {
	status := statusOf(err)
	if rule := after(s.config, key, status); rule != nil {
		s.apply(w, r, rule, key)
		return
	}
	if s.pages != nil && s.pages.Fallback != "" && status == http.StatusNotFound && navigates(r, key) {
		if page, other := s.object(r, s.pages.Fallback); other == nil {
			s.page(w, r, page)
			return
		}
	}
	if doc := s.config.ErrorDocument; doc != nil && status < http.StatusInternalServerError {
		page, other := s.object(r, doc.Key)
		if other == nil {
			s.errorPage(w, r, page, status)
			return
		}
	}
	if status >= http.StatusInternalServerError {
		s.d.cfg.Log.Warn("a page of a website cannot be read", "app", s.place.app, "bucket", s.place.bucket, "error", err)
	}
	fail(w, err)
}

// navigates reports whether a request may be for a page that an application makes
// by itself, rather than for one of its files, which a page in its place would not
// be.
func navigates(r *http.Request, key string) bool {
	return path.Ext(key) == "" || strings.Contains(r.Header.Get("Accept"), "text/html")
}

func statusOf(err error) int {
	if e, ok := err.(s3err.S3Error); ok {
		return e.StatusCode()
	}
	return http.StatusInternalServerError
}

// page serves an object, with ranges and conditions.
func (s *site) page(w http.ResponseWriter, r *http.Request, f found) {
	s.headers(w.Header(), f, siteCaching)
	body := s.body(r, f)
	defer body.Close()
	http.ServeContent(w, r, "", *f.head.LastModified, body)
}

// errorPage serves an object as the whole reply of an error; a cache is not to
// keep it for longer than the error lasts.
func (s *site) errorPage(w http.ResponseWriter, r *http.Request, f found, status int) {
	f.head.CacheControl = nil
	s.headers(w.Header(), f, siteCaching)
	w.Header().Del("ETag")
	w.Header().Set("Content-Length", strconv.FormatInt(*f.head.ContentLength, 10))
	w.WriteHeader(status)
	if r.Method == http.MethodHead {
		return
	}
	body := s.body(r, f)
	defer body.Close()
	_, _ = io.Copy(w, body)
}

func (s *site) body(r *http.Request, f found) *reader {
	return &reader{ctx: r.Context(), store: s.place.store, key: f.key, size: *f.head.ContentLength}
}

// headers are an object's. One that was put without a type, which S3 and its clients
// then call a stream of bytes, has the one of its name.
func (s *site) headers(h http.Header, f found, caching string) {
	if slices.Contains([]string{"", "binary/octet-stream", "application/octet-stream"}, text(f.head.ContentType)) {
		if kind := mime.TypeByExtension(path.Ext(f.key)); kind != "" {
			f.head.ContentType = &kind
		}
	}
	describe(h, f.head, caching)
	if s.shared {
		alone(h)
	}
}

// apply redirects by a rule. Without a host it stays within the site.
func (s *site) apply(w http.ResponseWriter, r *http.Request, rule *s3response.RoutingRule, key string) {
	to := rule.Redirect
	if to == nil {
		to = &s3response.Redirect{}
	}
	status, err := strconv.Atoi(to.HttpRedirectCode)
	if err != nil {
		status = http.StatusMovedPermanently
	}
	s.redirect(w, r, status, to.Protocol, to.HostName, replaced(rule, key))
}

// redirect sends a client to a path of a host; a protocol or host of "" is the
// request's own, and then the path is one of the site. The query goes with it,
// before a fragment.
func (s *site) redirect(w http.ResponseWriter, r *http.Request, status int, protocol, host, to string) {
	if host == "" {
		to = s.base + to
	} else {
		to = "/" + to
	}
	if s.own || host != "" || protocol != "" {
		to = cmp.Or(protocol, scheme(r)) + "://" + cmp.Or(host, r.Host) + to
	} else if strings.HasPrefix(to, "//") {
		to = "/." + to // a path, not a host
	}
	if r.URL.RawQuery != "" {
		before, fragment, cut := strings.Cut(to, "#")
		to = before + "?" + r.URL.RawQuery
		if cut {
			to += "#" + fragment
		}
	}
	send(w, status, to)
}

func send(w http.ResponseWriter, status int, to string) {
	w.Header().Set("Location", to)
	w.WriteHeader(status)
}

// moved sends a client to where an object says that it is: another path of the
// site, or a URL.
func (s *site) moved(w http.ResponseWriter, to string) {
	if rest, ok := strings.CutPrefix(to, "/"); ok {
		to = s.base + rest
	}
	send(w, http.StatusMovedPermanently, to)
}

// scheme is how a request came; a proxy's headers are not trusted.
func scheme(r *http.Request) string {
	if r.TLS != nil {
		return "https"
	}
	return "http"
}
