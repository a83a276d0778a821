package bucket

import (
	"net"
	"net/http"
	"strconv"
	"strings"

	"github.com/valyala/fasthttp"
	"github.com/versity/versitygw/auth"
	"github.com/versity/versitygw/s3api/utils"
	"github.com/versity/versitygw/s3err"
)

// fail answers with the page that S3 has for an error.
func fail(w http.ResponseWriter, err error) {
	e, ok := err.(s3err.S3Error)
	if !ok {
		e = s3err.GetAPIError(s3err.ErrInternalError)
	}
	base, request, host := e.BaseError(), utils.NewS3RequestID(), utils.NewS3HostID()
	h := w.Header()
	h.Set("x-amz-error-code", base.Code)
	h.Set("x-amz-error-message", base.Description)
	h.Set(utils.HeaderAmzRequestID, request)
	h.Set(utils.HeaderAmzID2, host)
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(e.StatusCode())
	_, _ = w.Write(e.HTMLBody(request, host))
}

// stranger asks versitygw whether a bucket's policy and access control list let
// everyone read a key.
func (d *Driver) stranger(r *http.Request, bucket, key string) error {
	var req fasthttp.Request
	req.Header.SetMethod(r.Method)
	req.SetRequestURI(r.URL.RequestURI())
	for _, name := range []string{"User-Agent", "Referer"} { // what policies ask for
		req.Header.Set(name, r.Header.Get(name))
	}
	var ctx fasthttp.RequestCtx
	addr, _ := net.ResolveTCPAddr("tcp", r.RemoteAddr)
	ctx.Init(&req, addr, nil)
	c := d.strangers.AcquireCtx(&ctx)
	defer d.strangers.ReleaseCtx(c)
	return auth.VerifyPublicAccess(c, d.gate, auth.GetObjectAction, auth.PermissionRead, bucket, key)
}

// rules are a site's cross-origin rules, which are its bucket's; nil where it has
// none.
func (s *site) rules(r *http.Request) (*auth.CORSConfiguration, error) {
	name := s.place.bucket
	if s.place.spec != nil {
		name = s.place.spec.full()
	}
	data, err := s.d.gate.GetBucketCors(r.Context(), name)
	if err != nil {
		return nil, err
	}
	return auth.ParseCORSOutput(data)
}

const varies = "Origin, Access-Control-Request-Headers, Access-Control-Request-Method"

// crossOrigin tells a browser what a page of another origin may read of a reply.
func (s *site) crossOrigin(w http.ResponseWriter, r *http.Request) {
	origin := r.Header.Get("Origin")
	if origin == "" {
		return
	}
	rules, err := s.rules(r)
	if err != nil {
		return
	}
	allow, err := rules.IsAllowed(origin, auth.CORSHTTPMethod(r.Method), nil, "")
	if err != nil {
		return
	}
	allow.ExposedHeaders = strings.TrimPrefix(allow.ExposedHeaders+", ETag, x-amz-storage-class", ", ")
	permit(w.Header(), allow)
}

func permit(h http.Header, allow *auth.CORSAllowanceConfig) {
	for name, value := range map[string]string{
		"Access-Control-Allow-Origin":      allow.Origin,
		"Access-Control-Allow-Methods":     allow.Methods,
		"Access-Control-Allow-Headers":     allow.AllowHeaders,
		"Access-Control-Expose-Headers":    allow.ExposedHeaders,
		"Access-Control-Allow-Credentials": allow.AllowCredentials,
		"Vary":                             varies,
	} {
		if value != "" {
			h.Set(name, value)
		}
	}
	if allow.MaxAge != nil {
		h.Set("Access-Control-Max-Age", strconv.Itoa(int(*allow.MaxAge)))
	}
}

// preflight answers a browser that asks before it asks.
func (s *site) preflight(w http.ResponseWriter, r *http.Request) {
	origin := r.Header.Get("Origin")
	if origin == "" {
		fail(w, s3err.GetAPIError(s3err.ErrMissingCORSOrigin))
		return
	}
	method := auth.CORSHTTPMethod(r.Header.Get("Access-Control-Request-Method"))
	if !method.IsValid() {
		fail(w, s3err.GetInvalidCORSMethodErr(method.String()))
		return
	}
	headers, err := auth.ParseCORSHeaders(r.Header.Get("Access-Control-Request-Headers"))
	if err != nil {
		fail(w, err)
		return
	}
	rules, err := s.rules(r)
	if errorCode(err) == "NoSuchCORSConfiguration" {
		err = s3err.GetAccessForbiddenErr(s3err.ErrCORSIsNotEnabled, http.MethodOptions, s3err.ResourceTypeBucket)
	}
	if err != nil {
		fail(w, err)
		return
	}
	allow, err := rules.IsAllowed(origin, method, headers, s3err.ResourceTypeObject)
	if err != nil {
		fail(w, err)
		return
	}
	permit(w.Header(), allow)
	w.WriteHeader(http.StatusOK)
}
