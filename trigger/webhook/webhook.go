package webhook

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/trigger"
)

// seenFor is how long a delivery id counts.
const seenFor = 24 * time.Hour

// Config of the webhooks. Acceptor and Secrets are needed.
type Config struct {
	Acceptor trigger.Acceptor
	Secrets  trigger.Secrets
	Logger   *slog.Logger     // default: discards
	Now      func() time.Time // default time.Now
}

// Driver receives the webhooks of all apps. It is safe for concurrent use.
type Driver struct {
	cfg Config

	mu   sync.Mutex
	apps map[mayfly.AppName][]Route // guarded by mu; replaced, not changed
}

// Route is a path of an app that the gateway hands to Handler.
type Route struct {
	Pattern string // "POST /hooks/github"
	Handler http.Handler
}

var _ trigger.Driver = (*Driver)(nil)

// New makes a Driver without webhooks.
func New(cfg Config) *Driver {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Driver{cfg: cfg}
}

// Kind is the trigger's kind.
func (d *Driver) Kind() mayfly.TriggerKind { return mayfly.TriggerWebhook }

// Check wants a path, a known verification and its secret.
func (d *Driver) Check(_ *mayfly.Manifest, fn mayfly.FunctionName, t *mayfly.Trigger) error {
	op := fmt.Sprintf("functions.%s.on: webhook %s", fn, t.Webhook)
	switch {
	case !strings.HasPrefix(t.Webhook, "/") || strings.ContainsAny(t.Webhook, " {}?#"):
		return mayfly.Errorf(mayfly.Invalid, op, "%q is not a path; write it as /hooks/github, without parameters", t.Webhook)
	case t.Verify == "":
		return mayfly.Errorf(mayfly.Invalid, op, "verify is missing; choose standard, github, stripe, slack or hmac (an endpoint that verifies nothing is on: http)")
	case t.Verify != Standard && t.Verify != GitHub && t.Verify != Stripe && t.Verify != Slack && t.Verify != HMAC:
		return mayfly.Errorf(mayfly.Invalid, op, "verify is %q; choose standard, github, stripe, slack or hmac", t.Verify)
	case t.Secret == "":
		return mayfly.Errorf(mayfly.Invalid, op, "secret is missing; name the secret that the sender signs with")
	case t.Verify == HMAC && t.Header == "":
		return mayfly.Errorf(mayfly.Invalid, op, "header is missing; name the header that holds the signature")
	case t.Verify != HMAC && t.Header != "":
		return mayfly.Errorf(mayfly.Invalid, op, "header is for verify: hmac; %s has headers of its own", t.Verify)
	case t.Tolerance != 0 && (t.Verify == HMAC || t.Verify == GitHub):
		return mayfly.Errorf(mayfly.Invalid, op, "tolerance has no effect: %s signs no time", t.Verify)
	}
	return nil
}

// Apply makes the routes those of the bindings.
func (d *Driver) Apply(_ context.Context, all []trigger.Binding) error {
	apps := map[mayfly.AppName][]Route{}
	for _, b := range all {
		apps[b.App] = append(apps[b.App], Route{Pattern: "POST " + b.Trigger.Webhook, Handler: &endpoint{driver: d, binding: b}})
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.apps = apps
	return nil
}

// Routes are the paths of an app's webhooks.
func (d *Driver) Routes(app mayfly.AppName) []Route {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.apps[app]
}

// Run waits for the end: the gateway drives the routes.
func (d *Driver) Run(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

// endpoint serves one webhook.
type endpoint struct {
	driver  *Driver
	binding trigger.Binding
}

// reply answers a webhook that was accepted.
type reply struct {
	ID string `json:"id"` // of the asynchronous call
}

func (e *endpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, int64(mayfly.MaxAsync)))
	if err != nil {
		var large *http.MaxBytesError
		if errors.As(err, &large) {
			e.refuse(w, mayfly.Errorf(mayfly.TooLarge, "receive webhook", "the body is over the limit of %s", mayfly.MaxAsync))
		}
		return // else the sender went away
	}
	delivery, err := e.verify(r, body)
	if err != nil {
		e.refuse(w, err)
		return
	}
	if text, ok := challenge(e.binding.Trigger.Verify, body); ok {
		w.Header().Set("Content-Type", "text/plain")
		_, _ = io.WriteString(w, text)
		return
	}
	id, err := e.accept(r, body, delivery)
	if err != nil {
		e.refuse(w, err)
		return
	}
	answer(w, http.StatusAccepted, "application/json", reply{ID: id})
}

func (e *endpoint) verify(r *http.Request, body []byte) (delivery string, err error) {
	t := &e.binding.Trigger
	secret, err := e.driver.cfg.Secrets.Secret(r.Context(), e.binding.App, t.Secret)
	if err != nil {
		return "", mayfly.Errorf(mayfly.Unavailable, "receive webhook", "the secret that verifies it cannot be read: %w", err)
	}
	tolerance := t.Tolerance.D()
	if tolerance == 0 {
		tolerance = DefaultTolerance
	}
	return schemeOf(t.Verify, t.Header).verify(r.Header, body, secret, tolerance, e.driver.cfg.Now())
}

func (e *endpoint) accept(r *http.Request, body []byte, delivery string) (string, error) {
	trace, ok := mayfly.ParseTrace(r.Header.Get("traceparent"), r.Header.Get("X-Amzn-Trace-Id"))
	if !ok {
		trace = mayfly.NewTrace()
	}
	event, err := json.Marshal(request(r, body, e.binding.App, e.driver.cfg.Now()))
	if err != nil {
		return "", err
	}
	a := &trigger.Accept{Binding: &e.binding, Event: event, Route: "POST " + e.binding.Trigger.Webhook, HTTP: true, Trace: trace}
	if delivery != "" {
		a.ID, a.Window = "webhook."+e.binding.Trigger.Webhook+"."+delivery, seenFor
	}
	return e.driver.cfg.Acceptor.Accept(r.Context(), a)
}

// refuse answers with a problem, as the gateway does for everything else.
func (e *endpoint) refuse(w http.ResponseWriter, err error) {
	p := mayfly.ProblemOf(err, false)
	if p.Code != mayfly.Unauthorized {
		e.driver.cfg.Logger.Warn("a webhook is not accepted", "binding", e.binding.String(), "error", err)
	}
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("X-Mayfly-Error", string(p.Code))
	if p.Code.Retryable() {
		h.Set("Retry-After", "5")
	}
	answer(w, p.Status, "application/problem+json", p)
}

func answer(w http.ResponseWriter, status int, kind string, body any) {
	w.Header().Set("Content-Type", kind)
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}

// request is the HTTP event that the function gets.
func request(r *http.Request, body []byte, app mayfly.AppName, now time.Time) *mayfly.HTTPRequest {
	headers := map[string]string{"host": r.Host}
	for name, values := range r.Header {
		if name != "Cookie" {
			headers[strings.ToLower(name)] = strings.Join(values, ",")
		}
	}
	query := map[string]string{}
	for name, values := range r.URL.Query() {
		query[name] = strings.Join(values, ",")
	}
	ip, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		ip = r.RemoteAddr
	}
	route := "POST " + r.URL.Path
	e := &mayfly.HTTPRequest{
		Version: "2.0", RouteKey: route, RawPath: r.URL.Path, RawQueryString: r.URL.RawQuery, Headers: headers, QueryStringParameters: query,
		RequestContext: mayfly.RequestContext{
			AccountID: "000000000000", APIID: string(app), DomainName: r.Host, DomainPrefix: string(app), RequestID: mayfly.NewID(), RouteKey: route, Stage: "$default",
			Time: now.UTC().Format("02/Jan/2006:15:04:05 -0700"), TimeEpoch: now.UnixMilli(),
			HTTP: mayfly.RequestHTTP{Method: r.Method, Path: r.URL.Path, Protocol: r.Proto, SourceIP: ip, UserAgent: r.UserAgent()},
		},
		Body: string(body),
	}
	if !utf8.Valid(body) {
		e.Body, e.IsBase64Encoded = base64.StdEncoding.EncodeToString(body), true
	}
	return e
}
