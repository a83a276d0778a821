package topic

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/event"
)

// Outgoing webhooks. A delivery is a POST of the CloudEvent, signed as Standard
// Webhooks; a status of 2xx takes it, 410 disables the webhook, any other is
// tried again.
const (
	hookTimeout      = 15 * time.Second
	hookCalls        = 8 // deliveries to one URL at once
	hookAttempts     = 8
	hookBackoff      = "5s..6h"
	hookDisableAfter = 5 * 24 * time.Hour
)

// hook is an outgoing webhook with its state.
type hook struct {
	app  mayfly.AppName
	name string
	spec *mayfly.Webhook
	key  string // of its state

	state hookState // guarded by its subscription's mu
	rev   uint64    // guarded by its subscription's mu
}

// hookState is what is remembered of a webhook through restarts.
type hookState struct {
	URL      string    `json:"url"` // a new one is a new beginning
	Failing  time.Time `json:"failing_since,omitzero"`
	Disabled string    `json:"disabled,omitempty"` // why
}

func hookClient() *http.Client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = hookCalls
	return &http.Client{
		Transport:     transport,
		Timeout:       hookTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// checkHook returns an Invalid error where an outgoing webhook is wrong.
func checkHook(m *mayfly.Manifest, name string, w *mayfly.Webhook) error {
	op := "webhooks." + name
	if w == nil {
		return mayfly.Errorf(mayfly.Invalid, op, "it needs url, topic and secret")
	}
	if u, err := url.Parse(w.URL); err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
		return mayfly.Errorf(mayfly.Invalid, op+".url", "%q is not an address; write it as https://example.com/hooks", w.URL)
	}
	if err := checkWants(m, w.Topic, w.Match); err != nil {
		return mayfly.Errorf(mayfly.Invalid, op, "%s", mayfly.MessageOf(err))
	}
	switch {
	case w.Secret == "":
		return mayfly.Errorf(mayfly.Invalid, op, "secret is missing; name the secret that deliveries are signed with")
	case w.Attempts < 0 || w.Attempts > 100:
		return mayfly.Errorf(mayfly.Invalid, op, "attempts is %d; choose 1 to 100", w.Attempts)
	}
	return nil
}

func (s *subscription) setHook(ctx context.Context, app mayfly.AppName, name string, w *mayfly.Webhook) error {
	match, err := compileMatch(w.Match)
	if err != nil {
		return err
	}
	h := &hook{app: app, name: name, spec: w, key: "webhooks." + string(app) + "." + name}
	value, rev, err := s.driver.cfg.Records.Get(ctx, h.key)
	if err == nil {
		h.rev = rev
		err = json.Unmarshal(value, &h.state)
	} else if mayfly.CodeOf(err) == mayfly.NotFound {
		err = nil
	}
	if h.state.URL != w.URL {
		h.state = hookState{URL: w.URL}
	}
	s.driver.cfg.Store.Lane(s.lane).SetPaused(h.state.Disabled != "")
	s.mu.Lock()
	defer s.mu.Unlock()
	s.app, s.topic, s.match, s.hook = app, w.Topic, match, h
	return err
}

// deliverHook delivers one event to a URL.
func (d *Driver) deliverHook(ctx context.Context, h *hook, le *event.Lease) (throttled bool) {
	attempts := h.spec.Attempts
	if attempts == 0 {
		attempts = hookAttempts
	}
	lane := hookLane(h.app, h.name)
	if le.Attempt > attempts {
		d.die(ctx, lane, le, event.DeadAttempts, le.History)
		return false
	}
	var st stored
	_ = json.Unmarshal(le.Body, &st)
	after, err := d.post(ctx, h, &st)
	switch {
	case err == nil:
		d.hookWent(ctx, lane, h, nil)
		le.Done()
	case ctx.Err() != nil:
		le.Release(time.Time{})
	case mayfly.CodeOf(err) == mayfly.Throttled:
		le.Release(time.Now().Add(after))
		return true
	default:
		d.hookWent(ctx, lane, h, err)
		d.fail(ctx, lane, le, attempts, mayfly.MessageOf(err), "", hookBackoff)
	}
	return false
}

var errGone = errors.New("the receiver answered 410: it wants no more")

// post makes one delivery. after is how long a throttling receiver asks to be
// left alone.
func (d *Driver) post(ctx context.Context, h *hook, st *stored) (after time.Duration, err error) {
	op := "deliver to webhook " + h.name
	req, err := d.hookRequest(ctx, h, st)
	if err != nil {
		return 0, err
	}
	res, err := d.client.Do(req)
	if err != nil {
		return 0, mayfly.Errorf(mayfly.Unavailable, op, "%v", err)
	}
	defer res.Body.Close()
	said, _ := io.ReadAll(io.LimitReader(res.Body, 300))
	switch {
	case res.StatusCode/100 == 2:
		return 0, nil
	case res.StatusCode == http.StatusGone:
		return 0, mayfly.Errorf(mayfly.FunctionFailed, op, "%w", errGone)
	case res.StatusCode == http.StatusTooManyRequests:
		seconds, _ := strconv.Atoi(res.Header.Get("Retry-After"))
		return time.Duration(min(max(seconds, 1), 3600)) * time.Second, mayfly.Errorf(mayfly.Throttled, op, "the receiver answered 429")
	}
	return 0, mayfly.Errorf(mayfly.FunctionFailed, op, "the receiver answered %d: %s", res.StatusCode, strings.TrimSpace(string(said)))
}

func (d *Driver) hookRequest(ctx context.Context, h *hook, st *stored) (*http.Request, error) {
	op := "deliver to webhook " + h.name
	if d.cfg.Secrets == nil {
		return nil, mayfly.Errorf(mayfly.Internal, op, "there are no secrets here to sign with")
	}
	secret, err := d.cfg.Secrets.Secret(ctx, h.app, h.spec.Secret)
	if err != nil {
		return nil, mayfly.Errorf(mayfly.Unavailable, op, "the secret %s cannot be read: %w", h.spec.Secret, err)
	}
	var id struct{ ID string }
	_ = json.Unmarshal(st.Event, &id)
	now := time.Now()
	signature, err := sign(secret, id.ID, now, st.Event)
	if err != nil {
		return nil, mayfly.Errorf(mayfly.Invalid, op, "the secret %s cannot sign: %v", h.spec.Secret, err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, h.spec.URL, bytes.NewReader(st.Event))
	if err != nil {
		return nil, mayfly.Errorf(mayfly.Invalid, op, "%v", err)
	}
	req.Header.Set("Content-Type", "application/cloudevents+json; charset=utf-8")
	req.Header.Set("User-Agent", "mayfly")
	req.Header.Set("webhook-id", id.ID)
	req.Header.Set("webhook-timestamp", strconv.FormatInt(now.Unix(), 10))
	req.Header.Set("webhook-signature", signature)
	if trace, ok := mayfly.ParseTrace(st.Trace, ""); ok {
		req.Header.Set("traceparent", trace.Child().Header())
	}
	return req, nil
}

// sign signs with a secret in the form whsec_BASE64, or with any text.
func sign(secret, id string, at time.Time, body []byte) (string, error) {
	var wh *standardwebhooks.Webhook
	var err error
	if strings.HasPrefix(secret, "whsec_") {
		wh, err = standardwebhooks.NewWebhook(secret)
	} else {
		wh, err = standardwebhooks.NewWebhookRaw([]byte(secret))
	}
	if err != nil {
		return "", err
	}
	return wh.Sign(id, at, body)
}

// hookWent notes how a delivery went. A webhook that does nothing but fail for
// long, or that is told to stop, is disabled: its events wait.
func (d *Driver) hookWent(ctx context.Context, lane string, h *hook, err error) {
	s := d.find(lane)
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	was := h.state
	disableAfter := h.spec.DisableAfter.D()
	if disableAfter == 0 {
		disableAfter = hookDisableAfter
	}
	switch {
	case err == nil:
		h.state.Failing = time.Time{}
	case errors.Is(err, errGone):
		h.state.Disabled = errGone.Error()
	case h.state.Failing.IsZero():
		h.state.Failing = time.Now()
	case time.Since(h.state.Failing) > disableAfter:
		h.state.Disabled = fmt.Sprintf("nothing but failures since %s; last: %s", h.state.Failing.Format(time.RFC3339), mayfly.MessageOf(err))
	}
	if h.state == was {
		return
	}
	if h.state.Disabled != "" {
		d.cfg.Store.Lane(lane).SetPaused(true)
		d.cfg.Logger.Warn("an outgoing webhook is disabled; its events wait", "app", h.app, "webhook", h.name, "why", h.state.Disabled)
	}
	d.noteHook(ctx, h)
}

// noteHook writes a webhook's state, with its subscription's lock.
func (d *Driver) noteHook(ctx context.Context, h *hook) {
	value, _ := json.Marshal(h.state)
	rev, err := d.cfg.Records.Put(ctx, h.key, value, h.rev)
	if err != nil {
		d.cfg.Logger.Warn("the state of an outgoing webhook cannot be noted", "app", h.app, "webhook", h.name, "error", err)
		return
	}
	h.rev = rev
}

// HookInfo describes an outgoing webhook.
type HookInfo struct {
	Name     string     `json:"name"`
	URL      string     `json:"url"`
	Topic    string     `json:"topic"`
	Waiting  int        `json:"waiting" doc:"Events not delivered yet"`
	Failing  *time.Time `json:"failing_since,omitempty"`
	Disabled string     `json:"disabled,omitempty" doc:"Why nothing is delivered"`
}

// Hooks describes an app's outgoing webhooks.
func (d *Driver) Hooks(app mayfly.AppName) []HookInfo {
	out := []HookInfo{}
	for _, s := range d.all(app) {
		s.mu.Lock()
		if h := s.hook; h != nil {
			info := HookInfo{Name: h.name, URL: h.spec.URL, Topic: h.spec.Topic, Disabled: h.state.Disabled, Waiting: d.cfg.Store.Lane(s.lane).Stats().Total}
			if at := h.state.Failing; !at.IsZero() {
				info.Failing = &at
			}
			out = append(out, info)
		}
		s.mu.Unlock()
	}
	return out
}

// EnableHook lets a webhook that was disabled deliver again.
func (d *Driver) EnableHook(ctx context.Context, app mayfly.AppName, name string) error {
	s := d.find(hookLane(app, name))
	if s == nil {
		return mayfly.Errorf(mayfly.NotFound, "enable webhook", "the app %s has no outgoing webhook %s", app, name)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hook.state = hookState{URL: s.hook.spec.URL}
	d.noteHook(ctx, s.hook)
	d.cfg.Store.Lane(s.lane).SetPaused(false)
	return nil
}
