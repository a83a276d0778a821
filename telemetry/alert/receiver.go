package alert

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"io"
	"net/http"
	"net/mail"
	"net/url"
	"strings"
	"time"

	"github.com/mayfly-cloud/mayfly"
)

// Receiver is whom to tell.
type Receiver struct {
	Name    string            `json:"name,omitempty"`
	Kind    string            `json:"kind" enum:"webhook,slack,email"`
	URL     string            `json:"url,omitempty" doc:"webhook and slack"`
	Headers map[string]string `json:"headers,omitempty" doc:"webhook: such as a credential"`

	SMTP     string   `json:"smtp,omitempty" doc:"email: HOST:PORT; STARTTLS is used where it is offered, TLS from the start on port 465"`
	From     string   `json:"from,omitempty" doc:"email"`
	To       []string `json:"to,omitempty" doc:"email"`
	User     string   `json:"user,omitempty" doc:"email: for authentication, which needs TLS or a local server"`
	Password string   `json:"password,omitempty" doc:"email"`

	OnlyNamed bool `json:"only_named,omitempty" doc:"Told only what names it in notify; else also all alerts that name nobody"`
}

// What stands for a secret in what is shown.
const (
	hidden     = "********"
	hiddenPath = "/secret-is-not-shown"
)

// shown is r without its secrets.
func (r Receiver) shown() Receiver {
	if r.Password != "" {
		r.Password = hidden
	}
	headers := map[string]string{}
	for k := range r.Headers {
		headers[k] = hidden
	}
	if len(headers) > 0 {
		r.Headers = headers
	}
	if u, err := url.Parse(r.URL); err == nil && r.Kind == "slack" && u.Path != "" {
		u.Path = hiddenPath // the path is the credential
		r.URL = u.String()
	}
	return r
}

// keepSecrets puts the old secrets where shown ones came back.
func (r *Receiver) keepSecrets(old *Receiver) {
	if r.Password == hidden {
		r.Password = old.Password
	}
	for k, v := range r.Headers {
		if v == hidden {
			r.Headers[k] = old.Headers[k]
		}
	}
	if strings.HasSuffix(r.URL, hiddenPath) {
		r.URL = old.URL
	}
}

func (r *Receiver) validate() error {
	bad := func(format string, args ...any) error {
		return mayfly.Errorf(mayfly.Invalid, "set receiver "+r.Name, format, args...)
	}
	if !mayfly.ValidName(r.Name) {
		return bad("the name must be lower case letters, digits and dashes")
	}
	switch r.Kind {
	case "webhook", "slack":
		u, err := url.Parse(r.URL)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			return bad("url %q is not a URL", r.URL)
		}
	case "email":
		if _, err := mail.ParseAddress(r.From); err != nil {
			return bad("from %q is not an address", r.From)
		}
		if len(r.To) == 0 {
			return bad("to is empty")
		}
		for _, to := range r.To {
			if _, err := mail.ParseAddress(to); err != nil {
				return bad("to %q is not an address", to)
			}
		}
		if host, port, ok := strings.Cut(r.SMTP, ":"); !ok || host == "" || port == "" {
			return bad("smtp %q is not HOST:PORT", r.SMTP)
		}
	default:
		return bad("kind %q is not webhook, slack or email", r.Kind)
	}
	return nil
}

func (a *Alerts) send(ctx context.Context, m message) error {
	switch m.receiver.Kind {
	case "slack":
		return a.post(ctx, m.receiver, a.slack(&m))
	case "email":
		return sendMail(ctx, m.receiver, m.title(), m.text(a.cfg.URL))
	}
	return a.post(ctx, m.receiver, a.webhook(&m))
}

func (a *Alerts) post(ctx context.Context, r *Receiver, body any) error {
	b, err := json.Marshal(body)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.URL, bytes.NewReader(b))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "mayfly")
	for k, v := range r.Headers {
		req.Header.Set(k, v)
	}
	res, err := a.cfg.Client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(res.Body, 500))
	if res.StatusCode/100 != 2 {
		return fmt.Errorf("%s answered %s: %s", r.Name, res.Status, bytes.TrimSpace(text))
	}
	return nil
}

// hook is Alertmanager's webhook body, version 4, which many tools read.
type hook struct {
	Version      string            `json:"version"`
	GroupKey     string            `json:"groupKey"`
	Status       string            `json:"status"`
	Receiver     string            `json:"receiver"`
	GroupLabels  map[string]string `json:"groupLabels"`
	CommonLabels map[string]string `json:"commonLabels"`
	Annotations  map[string]string `json:"commonAnnotations"`
	ExternalURL  string            `json:"externalURL"`
	Alerts       []hookAlert       `json:"alerts"`
}

type hookAlert struct {
	Status       string            `json:"status"`
	Labels       map[string]string `json:"labels"`
	Annotations  map[string]string `json:"annotations"`
	StartsAt     time.Time         `json:"startsAt"`
	EndsAt       time.Time         `json:"endsAt"`
	GeneratorURL string            `json:"generatorURL"`
	Fingerprint  string            `json:"fingerprint"`
	Value        float64           `json:"value"`
}

func (a *Alerts) webhook(m *message) hook {
	h := hook{
		Version: "4", GroupKey: string(m.app), Status: m.status(), Receiver: m.receiver.Name, ExternalURL: a.cfg.URL,
		GroupLabels: map[string]string{"app": string(m.app)}, CommonLabels: map[string]string{"app": string(m.app)}, Annotations: map[string]string{},
	}
	for i := range m.alerts {
		al := &m.alerts[i]
		sum := fnv.New64a()
		_, _ = sum.Write([]byte(al.Key)) // a hash does not fail
		h.Alerts = append(h.Alerts, hookAlert{
			Status: string(al.State), Labels: al.Labels, Annotations: map[string]string{"summary": al.Summary},
			StartsAt: al.Fired, EndsAt: al.Resolved, GeneratorURL: a.cfg.URL, Fingerprint: fmt.Sprintf("%016x", sum.Sum64()), Value: al.Value,
		})
	}
	return h
}

func (m *message) status() string {
	if m.firing() {
		return string(Firing)
	}
	return string(Resolved)
}

// slack is an incoming webhook's body; Mattermost and others read it too.
func (a *Alerts) slack(m *message) any {
	type attachment struct {
		Color    string `json:"color"`
		Fallback string `json:"fallback"`
		Title    string `json:"title"`
		Text     string `json:"text"`
	}
	var list []attachment
	for i := range m.alerts {
		al := &m.alerts[i]
		color := map[string]string{"critical": "danger", "warning": "warning", "info": "#439fe0"}[al.Severity]
		if al.State == Resolved {
			color = "good"
		}
		list = append(list, attachment{Color: color, Fallback: al.Summary, Title: string(al.State) + ": " + al.Rule, Text: al.Summary})
	}
	return map[string]any{"text": m.title(), "attachments": list}
}

// title says how many alerts of what app fire or resolved.
func (m *message) title() string {
	firing := 0
	for i := range m.alerts {
		if m.alerts[i].State == Firing {
			firing++
		}
	}
	who := "mayfly"
	if m.app != "" {
		who = string(m.app)
	}
	if firing == 0 {
		return fmt.Sprintf("[resolved] %s: %s", who, m.alerts[0].Rule)
	}
	return fmt.Sprintf("[firing:%d] %s: %s", firing, who, m.alerts[0].Rule)
}

func (m *message) text(link string) string {
	var b strings.Builder
	for i := range m.alerts {
		al := &m.alerts[i]
		fmt.Fprintf(&b, "%s  %s (%s)\n  %s\n  since %s", strings.ToUpper(string(al.State)), al.Rule, al.Severity, al.Summary, al.Fired.UTC().Format(time.RFC3339))
		if al.State == Resolved {
			fmt.Fprintf(&b, " until %s", al.Resolved.UTC().Format(time.RFC3339))
		}
		b.WriteString("\n\n")
	}
	if link != "" {
		b.WriteString(link + "\n")
	}
	return b.String()
}

// TestReceiver sends an alert that says it is a test.
func (a *Alerts) TestReceiver(ctx context.Context, name string) error {
	a.loadSettings(ctx)
	r := a.receivers()[name]
	if r == nil {
		return unknownReceiver(name)
	}
	now := time.Now()
	err := a.send(ctx, message{receiver: r, alerts: []ActiveAlert{{
		Rule: "test", Severity: "info", State: Firing, Summary: "This is a test: if you read it, the receiver works.", Since: now, Fired: now,
		Labels: map[string]string{"alertname": "test", "severity": "info"}, Key: "test",
	}}})
	if err != nil {
		return mayfly.Errorf(mayfly.Unavailable, "test receiver "+name, "%v", err)
	}
	return nil
}
