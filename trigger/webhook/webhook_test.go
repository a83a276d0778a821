package webhook

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/trigger"
	"github.com/mayfly-cloud/mayfly/trigger/triggertest"
)

func header(pairs ...string) http.Header {
	h := http.Header{}
	for i := 0; i < len(pairs); i += 2 {
		h.Set(pairs[i], pairs[i+1])
	}
	return h
}

// slackBody is the example of Slack's documentation.
const slackBody = "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"

// The vectors that the providers publish.
func TestPublishedVectors(t *testing.T) {
	for _, c := range []struct {
		name, kind, secret, body string
		at                       int64
		header                   http.Header
		id                       string
	}{
		{"Standard Webhooks' specification", Standard, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", `{"test": 2432232314}`, 1614265330,
			header("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek", "webhook-timestamp", "1614265330", "webhook-signature", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="),
			"msg_p5jXN8AQM9LWM0D4loKWxJek"},
		{"Slack's documentation", Slack, "8f742231b10e8888abcd99yyyzzz85a5", slackBody, 1531420618,
			header("X-Slack-Request-Timestamp", "1531420618", "X-Slack-Signature", "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"), ""},
	} {
		id, err := schemeOf(c.kind, "").verify(c.header, []byte(c.body), c.secret, time.Minute, time.Unix(c.at, 0))
		if err != nil || id != c.id {
			t.Errorf("%s: %q, %v", c.name, id, err)
		}
	}
	// The secret in GitHub's example has spaces, which part secrets here.
	s := schemeOf(GitHub, "")
	message, signatures, _, ok := s.signed(header("X-Hub-Signature-256", "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"), []byte("Hello, World!"))
	mac := hmac.New(sha256.New, []byte("It's a Secret to Everybody"))
	mac.Write(message)
	if !ok || !hmac.Equal(mac.Sum(nil), signatures[0]) {
		t.Error("GitHub's documentation: no match")
	}
}

// What the official library signs is verified, and its verification agrees on
// what is not.
func TestAgreesWithTheLibrary(t *testing.T) {
	const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	lib, err := standardwebhooks.NewWebhook(secret)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	body := []byte(`{"a":1}`)
	sig, err := lib.Sign("msg_1", now, body)
	if err != nil {
		t.Fatal(err)
	}
	stamp := fmt.Sprint(now.Unix())
	old := now.Add(-6 * time.Minute)
	oldSig, _ := lib.Sign("msg_1", old, body)
	for name, h := range map[string]http.Header{
		"good":          header("webhook-id", "msg_1", "webhook-timestamp", stamp, "webhook-signature", sig),
		"several":       header("webhook-id", "msg_1", "webhook-timestamp", stamp, "webhook-signature", "v1,AAAA v2,x "+sig),
		"other id":      header("webhook-id", "msg_2", "webhook-timestamp", stamp, "webhook-signature", sig),
		"no id":         header("webhook-timestamp", stamp, "webhook-signature", sig),
		"no time":       header("webhook-id", "msg_1", "webhook-signature", sig),
		"no signature":  header("webhook-id", "msg_1", "webhook-timestamp", stamp),
		"other version": header("webhook-id", "msg_1", "webhook-timestamp", stamp, "webhook-signature", "v2"+sig[2:]),
		"bad time":      header("webhook-id", "msg_1", "webhook-timestamp", "soon", "webhook-signature", sig),
		"old":           header("webhook-id", "msg_1", "webhook-timestamp", fmt.Sprint(old.Unix()), "webhook-signature", oldSig),
		"empty":         {},
	} {
		_, err := schemeOf(Standard, "").verify(h, body, secret, DefaultTolerance, now)
		want := lib.Verify(body, h)
		if (err == nil) != (want == nil) {
			t.Errorf("%s: %v; the library says %v", name, err, want)
		}
		if err != nil && mayfly.CodeOf(err) != mayfly.Unauthorized {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func sign(secret, message string) []byte {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(message))
	return mac.Sum(nil)
}

func TestVerify(t *testing.T) {
	now := time.Unix(1700000000, 0)
	body := `{"id":"evt_1","event_id":"Ev1"}`
	hexOf := func(secret, message string) string { return hex.EncodeToString(sign(secret, message)) }
	for _, c := range []struct {
		name, kind, header string
		h                  http.Header
		secret             string
		id                 string
		ok                 bool
	}{
		{"stripe", Stripe, "", header("Stripe-Signature", "t=1700000000,v1="+hexOf("k", "1700000000."+body)+",v0=x"), "k", "evt_1", true},
		{"stripe, two signatures", Stripe, "", header("Stripe-Signature", "t=1700000000,v1=00,v1="+hexOf("k", "1700000000."+body)), "k", "evt_1", true},
		{"stripe, rotated", Stripe, "", header("Stripe-Signature", "t=1700000000,v1="+hexOf("old", "1700000000."+body)), "new old", "evt_1", true},
		{"stripe, old", Stripe, "", header("Stripe-Signature", "t=1699999000,v1="+hexOf("k", "1699999000."+body)), "k", "", false},
		{"stripe, from the future", Stripe, "", header("Stripe-Signature", "t=1700001000,v1="+hexOf("k", "1700001000."+body)), "k", "", false},
		{"stripe, other secret", Stripe, "", header("Stripe-Signature", "t=1700000000,v1="+hexOf("x", "1700000000."+body)), "k", "", false},
		{"stripe, time changed", Stripe, "", header("Stripe-Signature", "t=1700000001,v1="+hexOf("k", "1700000000."+body)), "k", "", false},
		{"stripe, nothing", Stripe, "", header("Stripe-Signature", ","), "k", "", false},
		{"slack", Slack, "", header("X-Slack-Request-Timestamp", "1700000000", "X-Slack-Signature", "v0="+hexOf("k", "v0:1700000000:"+body)), "k", "Ev1", true},
		{"slack, no version", Slack, "", header("X-Slack-Request-Timestamp", "1700000000", "X-Slack-Signature", hexOf("k", "v0:1700000000:"+body)), "k", "", false},
		{"github", GitHub, "", header("X-Hub-Signature-256", "sha256="+hexOf("k", body), "X-GitHub-Delivery", "d1"), "k", "d1", true},
		{"github, SHA-1 only", GitHub, "", header("X-Hub-Signature", "sha1=00"), "k", "", false},
		{"github, short", GitHub, "", header("X-Hub-Signature-256", "sha256=00"), "k", "", false},
		{"hmac, hex", HMAC, "X-Sig", header("X-Sig", hexOf("k", body), "Idempotency-Key", "i"), "k", "i", true},
		{"hmac, base64", HMAC, "X-Sig", header("X-Sig", base64.StdEncoding.EncodeToString(sign("k", body))), "k", "", true},
		{"hmac, empty secret", HMAC, "X-Sig", header("X-Sig", hexOf("", body)), "", "", false},
		{"standard, empty secret", Standard, "", header("webhook-id", "a", "webhook-timestamp", "1700000000", "webhook-signature",
			"v1,"+base64.StdEncoding.EncodeToString(sign("", "a.1700000000."+body))), "whsec_", "", false},
	} {
		id, err := schemeOf(c.kind, c.header).verify(c.h, []byte(body), c.secret, DefaultTolerance, now)
		if (err == nil) != c.ok || id != c.id {
			t.Errorf("%s: %q, %v", c.name, id, err)
		}
	}
}

func FuzzVerify(f *testing.F) {
	f.Add("stripe", "t=1,v1=00", "1", "{}")
	f.Add("standard", "v1,AAAA", "1700000000", "")
	f.Add("slack", "v0=00", "1", `{"type":"url_verification"}`)
	f.Add("github", "sha256=00", "", "x")
	f.Fuzz(func(t *testing.T, kind, sig, stamp, body string) {
		h := header("webhook-id", "a", "webhook-timestamp", stamp, "webhook-signature", sig, "Stripe-Signature", sig, "X-Slack-Signature", sig,
			"X-Slack-Request-Timestamp", stamp, "X-Hub-Signature-256", sig, "X-Sig", sig)
		if _, err := schemeOf(kind, "X-Sig").verify(h, []byte(body), "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", time.Hour, time.Unix(1700000000, 0)); err == nil {
			t.Error("a forged signature passes")
		}
		challenge(kind, []byte(body))
	})
}

type secrets map[string]string

func (s secrets) Secret(_ context.Context, _ mayfly.AppName, name string) (string, error) {
	if v, ok := s[name]; ok {
		return v, nil
	}
	return "", errors.New("no such secret")
}

type acceptor struct {
	got []*trigger.Accept
	err error
}

func (a *acceptor) Accept(_ context.Context, c *trigger.Accept) (string, error) {
	a.got = append(a.got, c)
	return "call-1", a.err
}

func endpointFor(t *testing.T, a trigger.Acceptor, trig mayfly.Trigger) triggertest.Do {
	t.Helper()
	d := New(Config{Acceptor: a, Secrets: secrets{"S": "k"}, Now: func() time.Time { return time.Unix(1700000000, 0) }})
	if err := d.Check(nil, "fn", &trig); err != nil {
		t.Fatal(err)
	}
	if err := d.Apply(context.Background(), []trigger.Binding{{App: "app", Function: "fn", Trigger: trig}}); err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	for _, r := range d.Routes("app") {
		mux.Handle(r.Pattern, r.Handler)
	}
	return triggertest.ServeHandler(t, mux)
}

func TestEndpoint(t *testing.T) {
	a := &acceptor{}
	do := endpointFor(t, a, mayfly.Trigger{Webhook: "/hooks/github", Verify: GitHub, Secret: "S"})
	body := `{"action":"opened"}`
	sig := "X-Hub-Signature-256: sha256=" + hex.EncodeToString(sign("k", body))
	status, reply := do("POST", "/hooks/github?a=b", body, sig, "X-GitHub-Delivery: d-1", "X-GitHub-Event: issues", "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	if status != 202 || !strings.Contains(reply, "call-1") || len(a.got) != 1 {
		t.Fatal(status, reply)
	}
	got := a.got[0]
	var e mayfly.HTTPRequest
	if err := json.Unmarshal(got.Event, &e); err != nil {
		t.Fatal(err)
	}
	if !got.HTTP || got.Window != seenFor || got.ID != "webhook./hooks/github.d-1" || got.Trace.ID != "0af7651916cd43dd8448eb211c80319c" {
		t.Errorf("%+v", got)
	}
	if e.Body != body || e.Headers["x-github-event"] != "issues" || e.RawPath != "/hooks/github" || e.RawQueryString != "a=b" || e.RequestContext.HTTP.Method != "POST" {
		t.Errorf("%+v", e)
	}
	for name, want := range map[string]int{sig + "00": 401, "X-Other: a": 401} {
		if status, reply := do("POST", "/hooks/github", body, name); status != want {
			t.Error(name, status, reply)
		}
	}
	if status, _ := do("POST", "/hooks/github", strings.Repeat("x", 1<<20+1), sig); status != 413 {
		t.Error(status)
	}
	binary := "\xff\xfe"
	if status, _ := do("POST", "/hooks/github", binary, "X-Hub-Signature-256: sha256="+hex.EncodeToString(sign("k", binary))); status != 202 || !strings.Contains(string(a.got[1].Event), `"isBase64Encoded":true`) || a.got[1].ID != "" {
		t.Error(status, string(a.got[1].Event))
	}
	a.err = mayfly.Errorf(mayfly.Unavailable, "", "the disk is full")
	if status, reply := do("POST", "/hooks/github", body, sig); status != 503 || !strings.Contains(reply, "full") {
		t.Error(status, reply)
	}
}

func TestSlackChallenge(t *testing.T) {
	a := &acceptor{}
	do := endpointFor(t, a, mayfly.Trigger{Webhook: "/slack", Verify: Slack, Secret: "S"})
	body := `{"type":"url_verification","challenge":"3eZbrw1a"}`
	status, reply := do("POST", "/slack", body, "X-Slack-Request-Timestamp: 1700000000", "X-Slack-Signature: v0="+hex.EncodeToString(sign("k", "v0:1700000000:"+body)))
	if status != 200 || reply != "3eZbrw1a" || len(a.got) != 0 {
		t.Error(status, reply)
	}
	if status, _ := do("POST", "/slack", body); status != 401 {
		t.Error("answered without a signature")
	}
}

func TestCheck(t *testing.T) {
	d := New(Config{})
	for _, c := range []struct {
		trig mayfly.Trigger
		want string
	}{
		{mayfly.Trigger{Webhook: "hooks", Verify: GitHub, Secret: "S"}, "path"},
		{mayfly.Trigger{Webhook: "/h/{x}", Verify: GitHub, Secret: "S"}, "path"},
		{mayfly.Trigger{Webhook: "/h", Secret: "S"}, "verify is missing"},
		{mayfly.Trigger{Webhook: "/h", Verify: "gitlab", Secret: "S"}, "gitlab"},
		{mayfly.Trigger{Webhook: "/h", Verify: GitHub}, "secret"},
		{mayfly.Trigger{Webhook: "/h", Verify: HMAC, Secret: "S"}, "header"},
		{mayfly.Trigger{Webhook: "/h", Verify: GitHub, Secret: "S", Header: "X"}, "header"},
		{mayfly.Trigger{Webhook: "/h", Verify: GitHub, Secret: "S", Tolerance: 1}, "tolerance"},
	} {
		if err := d.Check(nil, "fn", &c.trig); mayfly.CodeOf(err) != mayfly.Invalid || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v; want %q", c.trig, err, c.want)
		}
	}
}

// TestRefusals are problems, like every other error of the platform.
func TestRefusals(t *testing.T) {
	a := &acceptor{err: mayfly.Errorf(mayfly.Unavailable, "accept", "the disk is full: %w", errors.New("write /data/log: no space"))}
	d := New(Config{Acceptor: a, Secrets: secrets{"S": "k"}})
	all := []trigger.Binding{
		{App: "app", Function: "fn", Trigger: mayfly.Trigger{Webhook: "/a", Verify: GitHub, Secret: "S"}},
		{App: "app", Function: "fn", Trigger: mayfly.Trigger{Webhook: "/b", Verify: GitHub, Secret: "GONE"}},
	}
	if err := d.Apply(t.Context(), all); err != nil {
		t.Fatal(err)
	}
	large := strings.Repeat("x", int(mayfly.MaxAsync)+1)
	for _, c := range []struct {
		route     int
		body, key string
		status    int
		code      mayfly.Code
		detail    string
		retry     string
	}{
		{0, "{}", "wrong", 401, mayfly.Unauthorized, "verify webhook: no signature matches", ""},
		{0, large, "k", 413, mayfly.TooLarge, "over the limit of 1MiB", ""},
		{0, "{}", "k", 503, mayfly.Unavailable, "the disk is full", "5"},
		{1, "{}", "k", 503, mayfly.Unavailable, "the secret that verifies it cannot be read", "5"},
	} {
		r := httptest.NewRequest("POST", all[c.route].Trigger.Webhook, strings.NewReader(c.body))
		r.Header.Set("X-Hub-Signature-256", "sha256="+hex.EncodeToString(sign(c.key, c.body)))
		w := httptest.NewRecorder()
		d.Routes("app")[c.route].Handler.ServeHTTP(w, r)
		var p mayfly.Problem
		if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil {
			t.Fatalf("%s: %v", w.Body, err)
		}
		h := w.Header()
		if w.Code != c.status || p.Status != c.status || p.Code != c.code || !strings.Contains(p.Detail, c.detail) || p.Title != http.StatusText(c.status) || p.Type != "about:blank" {
			t.Errorf("%d %+v", w.Code, p)
		}
		if h.Get("Content-Type") != "application/problem+json" || h.Get("X-Mayfly-Error") != string(c.code) || h.Get("Retry-After") != c.retry {
			t.Errorf("%v", h)
		}
	}
}
