package webhook

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/mayfly-cloud/mayfly"
)

// Kinds of verification.
const (
	Standard = "standard"
	GitHub   = "github"
	Stripe   = "stripe"
	Slack    = "slack"
	HMAC     = "hmac"
)

// DefaultTolerance is how far a signed time may be from now.
const DefaultTolerance = 5 * time.Minute

// scheme is how one kind of webhook is signed. Each function is given the
// request's head and body.
type scheme struct {
	// signed is what was signed, and the signatures that came, decoded. at is
	// the signed time, zero where there is none. ok is false where the headers
	// are missing or malformed.
	signed func(h http.Header, body []byte) (message []byte, signatures [][]byte, at time.Time, ok bool)
	key    func(secret string) ([]byte, bool)
	id     func(h http.Header, body []byte) string // of the delivery; "" unknown
}

func raw(secret string) ([]byte, bool) { return []byte(secret), secret != "" }

func schemeOf(kind, header string) scheme {
	switch kind {
	case Standard:
		return scheme{signedStandard, standardKey, byHeader("webhook-id")}
	case GitHub:
		return scheme{signedPlain("X-Hub-Signature-256"), raw, byHeader("X-GitHub-Delivery")}
	case Stripe:
		return scheme{signedStripe, raw, byField("id")}
	case Slack:
		return scheme{signedSlack, raw, byField("event_id")}
	}
	return scheme{signedPlain(header), raw, byHeader("Idempotency-Key")}
}

// standardKey decodes "whsec_" and base64.
func standardKey(secret string) ([]byte, bool) {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	return key, err == nil && len(key) > 0
}

func byHeader(name string) func(http.Header, []byte) string {
	return func(h http.Header, _ []byte) string { return h.Get(name) }
}

func byField(name string) func(http.Header, []byte) string {
	return func(_ http.Header, body []byte) string {
		var object map[string]json.RawMessage
		var id string
		if json.Unmarshal(body, &object) == nil {
			_ = json.Unmarshal(object[name], &id)
		}
		return id
	}
}

func unix(s string) (time.Time, bool) {
	n, err := strconv.ParseInt(s, 10, 64)
	return time.Unix(n, 0), err == nil && n > 0
}

// signedStandard is Standard Webhooks: "ID.TIME.BODY", "v1,BASE64 v1,BASE64".
// https://github.com/standard-webhooks/standard-webhooks
func signedStandard(h http.Header, body []byte) (message []byte, signatures [][]byte, at time.Time, ok bool) {
	id, stamp := h.Get("webhook-id"), h.Get("webhook-timestamp")
	at, ok = unix(stamp)
	for part := range strings.FieldsSeq(h.Get("webhook-signature")) {
		version, text, _ := strings.Cut(part, ",")
		if sig, err := base64.StdEncoding.DecodeString(text); version == "v1" && err == nil {
			signatures = append(signatures, sig)
		}
	}
	return join(id, ".", stamp, ".", string(body)), signatures, at, ok && id != ""
}

// signedStripe is "t=TIME,v1=HEX,v1=HEX" over "TIME.BODY".
// https://docs.stripe.com/webhooks#verify-manually
func signedStripe(h http.Header, body []byte) (message []byte, signatures [][]byte, at time.Time, ok bool) {
	var stamp string
	for part := range strings.SplitSeq(h.Get("Stripe-Signature"), ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		switch name {
		case "t":
			stamp = value
		case "v1":
			if sig, err := hex.DecodeString(value); err == nil {
				signatures = append(signatures, sig)
			}
		}
	}
	at, ok = unix(stamp)
	return join(stamp, ".", string(body)), signatures, at, ok
}

// signedSlack is "v0=HEX" over "v0:TIME:BODY".
// https://docs.slack.dev/authentication/verifying-requests-from-slack
func signedSlack(h http.Header, body []byte) (message []byte, signatures [][]byte, at time.Time, ok bool) {
	stamp := h.Get("X-Slack-Request-Timestamp")
	at, ok = unix(stamp)
	if text, found := strings.CutPrefix(h.Get("X-Slack-Signature"), "v0="); found {
		if sig, err := hex.DecodeString(text); err == nil {
			signatures = append(signatures, sig)
		}
	}
	return join("v0:", stamp, ":", string(body)), signatures, at, ok
}

// signedPlain is a signature of the body alone, in hex or base64, perhaps after
// "sha256=". GitHub's is one.
// https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries
func signedPlain(header string) func(h http.Header, body []byte) ([]byte, [][]byte, time.Time, bool) {
	return func(h http.Header, body []byte) ([]byte, [][]byte, time.Time, bool) {
		text := strings.TrimPrefix(strings.TrimSpace(h.Get(header)), "sha256=")
		sig, err := hex.DecodeString(text)
		if err != nil || len(sig) != sha256.Size {
			sig, err = base64.StdEncoding.DecodeString(text)
		}
		if err != nil || len(sig) != sha256.Size {
			return body, nil, time.Time{}, text != ""
		}
		return body, [][]byte{sig}, time.Time{}, true
	}
}

func join(parts ...string) []byte { return []byte(strings.Join(parts, "")) }

// verify checks a request against secrets apart by spaces, one of which must
// have signed it. It returns the delivery's id, "" where there is none, or an
// Unauthorized error.
func (s scheme) verify(h http.Header, body []byte, secrets string, tolerance time.Duration, now time.Time) (id string, err error) {
	const op = "verify webhook"
	message, signatures, at, ok := s.signed(h, body)
	if !ok || len(signatures) == 0 {
		return "", mayfly.Errorf(mayfly.Unauthorized, op, "the headers of the signature are missing or malformed")
	}
	if !s.matches(message, signatures, secrets) {
		return "", mayfly.Errorf(mayfly.Unauthorized, op, "no signature matches")
	}
	if !at.IsZero() && now.Sub(at).Abs() > tolerance {
		return "", mayfly.Errorf(mayfly.Unauthorized, op, "it was signed at %s, which is more than %s from now", at.UTC().Format(time.RFC3339), tolerance)
	}
	return s.id(h, body), nil
}

func (s scheme) matches(message []byte, signatures [][]byte, secrets string) bool {
	for secret := range strings.FieldsSeq(secrets) {
		key, ok := s.key(secret)
		if !ok {
			continue
		}
		mac := hmac.New(sha256.New, key)
		mac.Write(message)
		want := mac.Sum(nil)
		for _, sig := range signatures {
			if hmac.Equal(want, sig) {
				return true
			}
		}
	}
	return false
}

// challenge is Slack's question whether a URL is ours, which the answer repeats.
func challenge(kind string, body []byte) (string, bool) {
	if kind != Slack || !bytes.Contains(body, []byte("url_verification")) {
		return "", false
	}
	var q struct{ Type, Challenge string }
	if json.Unmarshal(body, &q) != nil || q.Type != "url_verification" {
		return "", false
	}
	return q.Challenge, true
}
