package bucket

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/mayfly-cloud/mayfly"
)

// PublicPath is where the gateway serves public buckets.
const PublicPath = "/_bucket/"

// PublicHandler serves GET and HEAD of /_bucket/APP/BUCKET/KEY for buckets that
// are public, with ranges and conditions. Everything else is not found.
func (d *Driver) PublicHandler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path, ok := strings.CutPrefix(r.URL.Path, PublicPath)
		part := strings.SplitN(path, "/", 3)
		if !ok || len(part) < 3 {
			refuse(w, notPublic())
			return
		}
		s := d.spec(mayfly.AppName(part[0]), part[1])
		if s == nil || !s.public {
			refuse(w, notPublic())
			return
		}
		if page := d.publicSite(r.Context(), s); page != nil {
			page.serve(w, r)
			return
		}
		if part[2] == "" || checkKey(&part[2]) != nil {
			refuse(w, notPublic())
			return
		}
		allowOrigin(w, r, s.cors)
		switch r.Method {
		case http.MethodGet, http.MethodHead:
			d.servePublic(w, r, s, part[2])
		case http.MethodOptions:
			w.WriteHeader(http.StatusNoContent)
		default:
			w.Header().Set("Allow", "GET, HEAD, OPTIONS")
			p := mayfly.ProblemOf(mayfly.Errorf(mayfly.Invalid, "", "a public bucket is read only; write through the S3 API"), false)
			p.Status, p.Title = http.StatusMethodNotAllowed, http.StatusText(http.StatusMethodNotAllowed)
			writeProblem(w, p)
		}
	})
}

// notPublic tells a stranger nothing about what there is.
func notPublic() error {
	return mayfly.Errorf(mayfly.NotFound, "", "there is no public object of this name")
}

func refuse(w http.ResponseWriter, err error) { writeProblem(w, mayfly.ProblemOf(err, false)) }

// writeProblem answers as RFC 9457 has it; a cache is not to keep it.
func writeProblem(w http.ResponseWriter, p mayfly.Problem) {
	h := w.Header()
	h.Set("Content-Type", "application/problem+json")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p)
}

func allowOrigin(w http.ResponseWriter, r *http.Request, c *mayfly.CORS) {
	origin := r.Header.Get("Origin")
	if c == nil || origin == "" {
		return
	}
	h := w.Header()
	h.Add("Vary", "Origin")
	if !slices.Contains(c.Origins, "*") && !slices.Contains(c.Origins, origin) {
		return
	}
	h.Set("Access-Control-Allow-Origin", origin)
	h.Set("Access-Control-Allow-Methods", "GET, HEAD")
	h.Set("Access-Control-Allow-Headers", "Range, If-None-Match, If-Modified-Since")
	h.Set("Access-Control-Expose-Headers", "ETag, Content-Range, Content-Length")
	if c.MaxAge > 0 {
		h.Set("Access-Control-Max-Age", fmt.Sprint(int(c.MaxAge.D()/time.Second)))
	}
}

func (d *Driver) servePublic(w http.ResponseWriter, r *http.Request, s *spec, key string) {
	head, err := s.files.HeadObject(r.Context(), &s3.HeadObjectInput{Bucket: &s.folder, Key: &key})
	switch code := errorCode(err); {
	case code == "InternalError":
		d.cfg.Log.Warn("a public object cannot be read", "app", s.app, "bucket", s.name, "error", err)
		refuse(w, mayfly.Errorf(mayfly.Unavailable, "", "the object cannot be read now"))
		return
	case code != "" || strings.HasSuffix(key, "/"):
		refuse(w, notPublic())
		return
	}
	describe(w.Header(), head, "public, max-age=60")
	alone(w.Header())
	body := &reader{ctx: r.Context(), store: s.store, key: key, size: *head.ContentLength}
	defer body.Close()
	http.ServeContent(w, r, "", *head.LastModified, body)
}

// describe says of a reply what is known of its object.
func describe(h http.Header, head *s3.HeadObjectOutput, caching string) {
	set := func(name string, value *string, standard string) {
		if text(value) != "" {
			standard = *value
		}
		if standard != "" {
			h.Set(name, standard)
		}
	}
	set("Content-Type", head.ContentType, "application/octet-stream")
	set("Content-Encoding", head.ContentEncoding, "")
	set("Content-Disposition", head.ContentDisposition, "")
	set("Content-Language", head.ContentLanguage, "")
	set("Cache-Control", head.CacheControl, caching)
	set("Expires", head.ExpiresString, "")
	set("ETag", head.ETag, "")
	h.Set("X-Content-Type-Options", "nosniff")
}

// alone gives a page an origin of its own: objects may come from anyone and share
// the gateway's with the apps.
func alone(h http.Header) {
	h.Set("Content-Security-Policy", "sandbox allow-scripts allow-forms allow-popups")
}

// reader reads an object from any place; it opens the object with the first
// read after a seek.
type reader struct {
	ctx context.Context
	store
	key  string
	size int64
	at   int64
	open io.ReadCloser
}

func (r *reader) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += r.at
	case io.SeekEnd:
		offset += r.size
	}
	if offset < 0 {
		return 0, errors.New("seek before the beginning")
	}
	if offset != r.at {
		_ = r.Close()
		r.at = offset
	}
	return offset, nil
}

func (r *reader) Read(b []byte) (int, error) {
	if r.at >= r.size {
		return 0, io.EOF
	}
	if r.open == nil {
		from := fmt.Sprintf("bytes=%d-", r.at)
		out, err := r.files.GetObject(r.ctx, &s3.GetObjectInput{Bucket: &r.folder, Key: &r.key, Range: &from})
		if err != nil {
			return 0, err
		}
		r.open = out.Body
	}
	n, err := r.open.Read(b)
	r.at += int64(n)
	return n, err
}

func (r *reader) Close() error {
	if r.open == nil {
		return nil
	}
	err := r.open.Close()
	r.open = nil
	return err
}
