package secret

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/mayfly-cloud/mayfly"
)

// Transit is a root key that never leaves an OpenBao server, or another with
// Vault's HTTP API: its transit engine seals the keyset. It must be a key that
// takes associated data (aes256-gcm96, the default of transit, and
// chacha20-poly1305 do). The server is asked when the node starts, and then no
// more.
type Transit struct {
	URL   string                 // of the key: https://HOST:8200/v1/transit/keys/NAME
	Token func() (string, error) // asked before each request: an agent may renew it

	client http.Client
	failed error // of the last request: Tink does not hand it on
}

// cause is what made Tink fail with err.
func (t *Transit) cause(err error) error {
	if t != nil && t.failed != nil {
		return t.failed
	}
	return err
}

var _ tink.AEAD = (*Transit)(nil)

// transitTime bounds one request.
const transitTime = 20 * time.Second

// Check says what is wrong with the URL.
func (t *Transit) Check() error {
	u, err := url.Parse(t.URL)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || !strings.HasPrefix(u.Path, "/v1/") || !strings.Contains(u.Path, "/keys/") {
		return mayfly.Errorf(mayfly.Invalid, "--root-key", "%q is not a key of a transit engine; write it as https://HOST:8200/v1/transit/keys/NAME", t.URL)
	}
	return nil
}

// Encrypt seals, Decrypt unseals what Encrypt returned.
func (t *Transit) Encrypt(plaintext, associated []byte) ([]byte, error) {
	var out struct{ Ciphertext string }
	if err := t.do("encrypt", map[string][]byte{"plaintext": plaintext, "associated_data": associated}, "", &out); err != nil {
		return nil, err
	}
	if !strings.HasPrefix(out.Ciphertext, transitPrefix) {
		return nil, mayfly.Errorf(mayfly.Unavailable, "seal by OpenBao", "%s answered something else than a ciphertext", t.URL)
	}
	return []byte(out.Ciphertext), nil
}

func (t *Transit) Decrypt(ciphertext, associated []byte) ([]byte, error) {
	var out struct{ Plaintext string }
	if err := t.do("decrypt", map[string][]byte{"associated_data": associated}, string(ciphertext), &out); err != nil {
		return nil, err
	}
	return base64.StdEncoding.DecodeString(out.Plaintext)
}

// transitPrefix begins every ciphertext of a transit engine: vault:vVERSION:DATA.
const transitPrefix = "vault:v"

// do asks the engine. Bytes travel in base64, as JSON has them.
func (t *Transit) do(verb string, in map[string][]byte, ciphertext string, out any) (err error) {
	defer func() { t.failed = err }()
	body := map[string]any{}
	for name, value := range in {
		body[name] = value
	}
	if ciphertext != "" {
		body["ciphertext"] = ciphertext
	}
	data, err := json.Marshal(body)
	if err != nil {
		return err
	}
	token, err := t.Token()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), transitTime)
	defer cancel()
	target := strings.Replace(t.URL, "/keys/", "/"+verb+"/", 1)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target, bytes.NewReader(data))
	if err != nil {
		return err
	}
	req.Header.Set("X-Vault-Token", token)
	req.Header.Set("X-Vault-Request", "true")
	req.Header.Set("Content-Type", "application/json")
	res, err := t.client.Do(req)
	if err != nil {
		return mayfly.Errorf(mayfly.Unavailable, verb+" by OpenBao", "%s does not answer: %w", target, errors.Unwrap(err))
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err != nil {
		return fmt.Errorf("%s by OpenBao: %w", verb, err)
	}
	if res.StatusCode != http.StatusOK {
		return refusal(verb, target, res.StatusCode, answer)
	}
	return json.Unmarshal(answer, &struct{ Data any }{out})
}

// refusal is an answer that is an error: {"errors": ["…"]}.
func refusal(verb, target string, status int, answer []byte) error {
	var said struct{ Errors []string }
	_ = json.Unmarshal(answer, &said)
	code, hint := mayfly.Unavailable, ""
	switch status {
	case http.StatusForbidden:
		code, hint = mayfly.Denied, "; its policy must allow update on transit/encrypt/NAME and transit/decrypt/NAME"
	case http.StatusBadRequest, http.StatusNotFound:
		code = mayfly.Invalid
	}
	return mayfly.Errorf(code, verb+" by OpenBao", "%s answered %d: %s%s", target, status, strings.TrimSpace(strings.Join(said.Errors, "; ")), hint)
}
