package bucket

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// TestURLsOfBoto3 uses URLs as boto3 signs them where no signature version is
// configured.
func TestURLsOfBoto3(t *testing.T) {
	n := start(t, t.TempDir())
	put(t, n.as("photos", "f"), "uploads", "a/ü b+c%.txt", "hello")
	key := n.keys.function("photos", "f")
	reader := n.keys.function("photos", "reader")
	sign := func(key Key, method, kind, path, signed string, expires time.Time) string {
		mac := hmac.New(sha1.New, []byte(key.Secret))
		fmt.Fprintf(mac, "%s\n\n%s\n%d\n%s%s", method, kind, expires.Unix(), path, signed)
		q := url.Values{v2Access: {key.Access}, v2Signature: {base64.StdEncoding.EncodeToString(mac.Sum(nil))}, v2Expires: {fmt.Sprint(expires.Unix())}}
		return n.url + path + "?" + q.Encode()
	}
	ask := func(method, link, body string, headers ...string) (int, string, http.Header) {
		r, err := http.NewRequest(method, link, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		if body == "" {
			r.Body = http.NoBody
		}
		for i := 0; i < len(headers); i += 2 {
			r.Header.Set(headers[i], headers[i+1])
		}
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		b, _ := io.ReadAll(res.Body)
		return res.StatusCode, string(b), res.Header
	}
	const path = "/uploads/a/%C3%BC%20b%2Bc%25.txt"
	later := time.Now().Add(time.Hour)
	good := sign(key, "GET", "", path, "", later)
	if status, body, _ := ask("GET", good, ""); status != 200 || body != "hello" {
		t.Errorf("get: %d %s", status, body)
	}
	if status, _, _ := ask("GET", good, "", "Range", "bytes=1-2"); status != 206 {
		t.Errorf("a range: %d", status)
	}
	named := sign(key, "GET", "", path, `?response-content-type=text/x`, later) + "&response-content-type=text%2Fx"
	if status, _, h := ask("GET", named, ""); status != 200 || h.Get("Content-Type") != "text/x" {
		t.Errorf("a reply's type: %d %v", status, h)
	}
	if status, body, _ := ask("PUT", sign(key, "PUT", "text/plain", "/uploads/new", "", later), "made", "Content-Type", "text/plain"); status != 200 {
		t.Errorf("put: %d %s", status, body)
	}
	if got := get(t, n.as("photos", "f"), "uploads", "new"); got != "made" {
		t.Errorf("what was put: %q", got)
	}
	all := sign(key, "GET", "", "/uploads", "", later)
	if status, body, _ := ask("GET", all, ""); status != 200 {
		t.Errorf("a list: %d %s", status, body)
	}
	for _, other := range []string{"object-lock", "encryption", "policyStatus"} {
		if status, body, _ := ask("GET", all+"&"+other, ""); !strings.Contains(body, "<Code>InvalidRequest<") {
			t.Errorf("a list that is made %s: %d %s", other, status, body)
		}
	}
	for what, c := range map[string]struct{ method, link string }{
		"another method":      {"DELETE", good},
		"another object":      {"GET", strings.Replace(good, "%25.txt", "%25.txu", 1)},
		"another time":        {"GET", strings.Replace(good, v2Expires+"=", v2Expires+"=1", 1)},
		"another signature":   {"GET", strings.Replace(good, v2Signature+"=", v2Signature+"=AA", 1)},
		"a key that is none":  {"GET", sign(Key{"nobody", "x"}, "GET", "", path, "", later)},
		"what was not signed": {"GET", good + "&response-content-type=text%2Fx"},
		"after its time":      {"GET", sign(key, "GET", "", path, "", time.Now().Add(-time.Minute))},
		"what it may not do":  {"DELETE", sign(reader, "DELETE", "", path, "", later)},
		"a bucket of others":  {"GET", sign(key, "GET", "", "/other.uploads/x", "", later)},
		"an empty secret's":   {"GET", sign(Key{"", ""}, "GET", "", path, "", later)},
	} {
		if status, body, _ := ask(c.method, c.link, ""); status < 400 || strings.Contains(body, "hello") {
			t.Errorf("%s: %d %s", what, status, body)
		}
	}
}
