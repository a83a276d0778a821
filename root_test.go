package mayfly_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mayfly-cloud/mayfly"
)

func TestErrorsKeepTheirCode(t *testing.T) {
	base := mayfly.Errorf(mayfly.NotFound, "find app", "no app %q: %w", "x", io.EOF)
	err := fmt.Errorf("deploy: %w", base)
	if mayfly.CodeOf(err) != mayfly.NotFound || !errors.Is(err, io.EOF) {
		t.Errorf("code %q, err %v", mayfly.CodeOf(err), err)
	}
	if got := mayfly.CodeOf(io.EOF); got != mayfly.Internal {
		t.Errorf("a foreign error has code %q", got)
	}
	if got := mayfly.MessageOf(io.EOF); strings.Contains(got, "EOF") {
		t.Errorf("an internal cause is shown: %q", got)
	}
	p := mayfly.ProblemOf(&mayfly.FunctionError{Type: "E", Message: "secret"}, false)
	if b, _ := json.Marshal(p); strings.Contains(string(b), "secret") {
		t.Errorf("a stranger reads the function's error: %s", b)
	}
}

// TestProblemsSayWhereCodeFailed keeps what the platform was doing beside what
// the user's code did.
func TestProblemsSayWhereCodeFailed(t *testing.T) {
	cause := &mayfly.FunctionError{Type: "ValueError", Message: "bad"}
	err := mayfly.Errorf(mayfly.FunctionFailed, "deploy a", "function f: does not start: %w", cause)
	p := mayfly.ProblemOf(err, true)
	if p.Detail != "deploy a: function f: does not start: ValueError: bad" || p.FunctionError != cause {
		t.Errorf("detailed: %+v", p)
	}
	if p := mayfly.ProblemOf(cause, true); p.Detail != "ValueError: bad" || p.Status != 502 {
		t.Errorf("alone: %+v", p)
	}
	if p := mayfly.ProblemOf(err, false); strings.Contains(p.Detail, "bad") || p.FunctionError != nil {
		t.Errorf("to a stranger: %+v", p)
	}
	if b := string(cause.Body()); b != `{"errorType":"ValueError","errorMessage":"bad","stackTrace":[]}` {
		t.Errorf("body %s", b)
	}
}

func TestSizes(t *testing.T) {
	for want, b := range map[string]mayfly.Bytes{"1.4GiB": 1493177097, "1GiB": mayfly.GiB, "1400MiB": 1400 * mayfly.MiB, "1536KiB": 1536 * mayfly.KiB, "7B": 7, "0B": 0, "1025B": 1025, "1.1MiB": 1200001} {
		if got := b.About(); got != want {
			t.Errorf("%d is about %s, not %s", int64(b), got, want)
		}
	}
	for text, want := range map[string]mayfly.Bytes{"256MiB": 256 * mayfly.MiB, "1.5GiB": 1536 * mayfly.MiB, "10": 10, "2 kB": 2000, "0": 0} {
		if got, err := mayfly.ParseBytes(text); err != nil || got != want {
			t.Errorf("ParseBytes(%q) = %d, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "x", "-1MiB", "1e300GiB", "MiB"} {
		if _, err := mayfly.ParseBytes(text); mayfly.CodeOf(err) != mayfly.Invalid {
			t.Errorf("ParseBytes(%q): %v", text, err)
		}
	}
	var b mayfly.Bytes
	if err := json.Unmarshal([]byte(`"1GiB"`), &b); err != nil || b.String() != "1GiB" {
		t.Errorf("%v %v", b, err)
	}
}

func TestDurations(t *testing.T) {
	for text, want := range map[string]time.Duration{"7d": 168 * time.Hour, "1h30m": 90 * time.Minute, "500ms": time.Second / 2} {
		if got, err := mayfly.ParseDuration(text); err != nil || got.D() != want {
			t.Errorf("ParseDuration(%q) = %v, %v", text, got, err)
		}
	}
	for d, want := range map[time.Duration]string{time.Hour: "1h", 90 * time.Second: "1m30s", 5 * time.Minute: "5m"} {
		if got := mayfly.Duration(d).String(); got != want {
			t.Errorf("%v is written %q", d, got)
		}
	}
}

func TestTraces(t *testing.T) {
	tr := mayfly.NewTrace()
	got, ok := mayfly.ParseTrace(tr.Header(), "")
	if !ok || got.ID != tr.ID || got.Span != tr.Span || !got.Sampled {
		t.Errorf("traceparent: %+v", got)
	}
	got, ok = mayfly.ParseTrace("", tr.XRay())
	if !ok || got.ID != tr.ID || got.Span != tr.Span {
		t.Errorf("x-ray: %+v", got)
	}
	for _, bad := range []string{"", "00-", strings.Repeat("0", 55), "00-00000000000000000000000000000000-0000000000000001-01", "ff-" + tr.ID + "-" + tr.Span + "-01"} {
		if _, ok := mayfly.ParseTrace(bad, ""); ok {
			t.Errorf("%q is taken for a trace", bad)
		}
	}
	if c := tr.Child(); c.ID != tr.ID || c.Parent != tr.Span || c.Span == tr.Span {
		t.Errorf("child: %+v", c)
	}
}

func TestGrants(t *testing.T) {
	g, err := mayfly.ParseGrant("read bucket/uploads")
	if err != nil || g.Verb != "read" || g.Kind != "bucket" || g.Name != "uploads" {
		t.Errorf("%+v %v", g, err)
	}
	for _, bad := range []string{"", "read", "eat bucket/x", "read shelf/x", "read bucket/", "read bucket/a b"} {
		if _, err := mayfly.ParseGrant(bad); err == nil {
			t.Errorf("%q is taken for a grant", bad)
		}
	}
}

func TestTriggerKind(t *testing.T) {
	if kind, v := (&mayfly.Trigger{Queue: "jobs"}).Kind(); kind != mayfly.TriggerQueue || v != "jobs" {
		t.Errorf("%q %q", kind, v)
	}
	if kind, _ := (&mayfly.Trigger{Queue: "jobs", HTTP: "/"}).Kind(); kind != "" {
		t.Errorf("two kinds are taken for %q", kind)
	}
}

func TestAliasPicksByWeight(t *testing.T) {
	a := mayfly.Alias{Version: 1, Canary: 2, Weight: 10}
	n := 0
	for roll := range 100 {
		if a.Pick(roll) == 2 {
			n++
		}
	}
	if n != 10 {
		t.Errorf("%d of 100 calls reach the canary", n)
	}
}

// TestArchitectureNamesWhatIsThere asserts that every path in ARCHITECTURE.md
// exists.
func TestArchitectureNamesWhatIsThere(t *testing.T) {
	text, err := os.ReadFile("ARCHITECTURE.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile("`([a-z_]+(?:/[a-z_.]+)*(?:\\.go|/)?)`").FindAllStringSubmatch(string(text), -1) {
		if _, err := os.Stat(m[1]); err != nil && !slices.Contains([]string{"per_instance", "batch_item_failures"}, m[1]) {
			t.Errorf("ARCHITECTURE.md names %s, which is not there", m[1])
		}
	}
}

// TestDocumentsLinkToWhatIsThere follows every relative link of the documents.
func TestDocumentsLinkToWhatIsThere(t *testing.T) {
	files, err := filepath.Glob("docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	link := regexp.MustCompile(`\]\(([^)#:\s]+)(#[^)]*)?\)`)
	for _, file := range append(files, "README.md", "ARCHITECTURE.md", "CHANGELOG.md") {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range link.FindAllStringSubmatch(string(text), -1) {
			if _, err := os.Stat(filepath.Join(filepath.Dir(file), m[1])); err != nil {
				t.Errorf("%s links to %s, which is not there", file, m[1])
			}
		}
	}
}

func TestParseTime(t *testing.T) {
	now := time.Date(2026, 2, 3, 4, 5, 6, 0, time.UTC)
	for text, want := range map[string]time.Time{
		"": {}, "15m": now.Add(-15 * time.Minute), "7d": now.AddDate(0, 0, -7), "0s": now,
		"2026-01-02T15:04:05.5+01:00": time.Date(2026, 1, 2, 14, 4, 5, 500_000_000, time.UTC),
	} {
		if got, err := mayfly.ParseTime(text, now); err != nil || !got.Equal(want) {
			t.Errorf("%q is %s, %v; want %s", text, got, err, want)
		}
	}
	for _, text := range []string{"yesterday", "2026-01-02", "-5m"} {
		if _, err := mayfly.ParseTime(text, now); mayfly.CodeOf(err) != mayfly.Invalid {
			t.Errorf("%q was read: %v", text, err)
		}
	}
}

// refuser refuses all.
type refuser struct{}

func (refuser) Authorize(context.Context, mayfly.Caller, mayfly.AppName, string, string, string) error {
	return mayfly.Errorf(mayfly.Denied, "", "no")
}

func TestAuthorizeWithoutAuthorizer(t *testing.T) {
	for kind, may := range map[mayfly.CallerKind]bool{mayfly.CallerAdmin: true, mayfly.CallerPlatform: true, mayfly.CallerUser: false, mayfly.CallerFunction: false, mayfly.CallerAnonymous: false} {
		ctx := mayfly.WithCaller(t.Context(), mayfly.Caller{Kind: kind})
		if err := mayfly.Authorize(ctx, nil, "shop", "read", "telemetry", "logs"); (err == nil) != may {
			t.Errorf("%s: %v", kind, err)
		}
		if err := mayfly.Authorize(ctx, refuser{}, "shop", "read", "telemetry", "logs"); mayfly.CodeOf(err) != mayfly.Denied {
			t.Errorf("%s is not asked for: %v", kind, err)
		}
	}
}
