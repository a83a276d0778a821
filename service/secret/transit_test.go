package secret

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/mayfly-cloud/mayfly"
)

// bao is a transit engine as its HTTP API is documented
// (openbao.org/api-docs/secret/transit): keys of type aes256-gcm96 with
// associated data. It stands for the server, which no machine here has.
type bao struct {
	*httptest.Server
	aead   cipher.AEAD
	sealed atomic.Bool // as after its restart
	asked  atomic.Int32
}

func newBao(t *testing.T) *bao {
	t.Helper()
	key := make([]byte, 32)
	rand.Read(key)
	block, err := aes.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	b := &bao{}
	if b.aead, err = cipher.NewGCM(block); err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/transit/encrypt/mayfly", b.encrypt)
	mux.HandleFunc("POST /v1/transit/decrypt/mayfly", b.decrypt)
	b.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b.asked.Add(1)
		switch {
		case b.sealed.Load():
			b.fail(w, http.StatusServiceUnavailable, "Vault is sealed")
		case r.Header.Get("X-Vault-Token") != "a token":
			b.fail(w, http.StatusForbidden, "permission denied")
		default:
			mux.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(b.Close)
	return b
}

func (b *bao) fail(w http.ResponseWriter, status int, message string) {
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"errors": []string{message}})
}

type baoRequest struct {
	Plaintext  []byte `json:"plaintext"`
	Ciphertext string `json:"ciphertext"`
	Associated []byte `json:"associated_data"`
}

func (b *bao) encrypt(w http.ResponseWriter, r *http.Request) {
	var in baoRequest
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil || in.Plaintext == nil {
		b.fail(w, http.StatusBadRequest, "missing plaintext to encrypt")
		return
	}
	nonce := make([]byte, b.aead.NonceSize())
	rand.Read(nonce)
	text := "vault:v1:" + base64.StdEncoding.EncodeToString(b.aead.Seal(nonce, nonce, in.Plaintext, in.Associated))
	_ = json.NewEncoder(w).Encode(map[string]any{"request_id": "x", "data": map[string]any{"ciphertext": text, "key_version": 1}})
}

func (b *bao) decrypt(w http.ResponseWriter, r *http.Request) {
	var in baoRequest
	err := json.NewDecoder(r.Body).Decode(&in)
	data, decoded := base64.StdEncoding.DecodeString(strings.TrimPrefix(in.Ciphertext, "vault:v1:"))
	if err != nil || decoded != nil || len(data) < b.aead.NonceSize() {
		b.fail(w, http.StatusBadRequest, "invalid ciphertext: no prefix")
		return
	}
	n := b.aead.NonceSize()
	plain, err := b.aead.Open(nil, data[:n], data[n:], in.Associated)
	if err != nil {
		b.fail(w, http.StatusBadRequest, "cipher: message authentication failed")
		return
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"data": map[string]any{"plaintext": base64.StdEncoding.EncodeToString(plain)}})
}

func (b *bao) key() *Transit {
	return &Transit{URL: b.URL + "/v1/transit/keys/mayfly", Token: func() (string, error) { return "a token", nil }}
}

// with opens the secrets again with a root key that is elsewhere.
func (f *fixture) with(t *testing.T, transit *Transit) (*Driver, error) {
	t.Helper()
	return Open(t.Context(), Config{Index: f.engine.Index(), RootKey: f.root, Transit: transit})
}

// TestTheRootKeyMovesToATransitEngine starts with the file, moves, and restarts
// without the file.
func TestTheRootKeyMovesToATransitEngine(t *testing.T) {
	f, b := open(t), newBao(t)
	f.set(t, "A", "value of a", false)
	read := func(d *Driver, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		if v, err := d.Secret(t.Context(), "a", "A"); err != nil || v != "value of a" {
			t.Errorf("%q %v", v, err)
		}
	}
	read(f.with(t, b.key()))
	if err := os.Remove(f.root); err != nil {
		t.Fatal(err)
	}
	read(f.with(t, b.key()))
	asked := b.asked.Load()
	d, err := f.with(t, b.key())
	read(d, err)
	if _, err := d.Set(t.Context(), "a", "B", "another", false); err != nil {
		t.Error(err)
	}
	if n := b.asked.Load() - asked; n != 1 {
		t.Errorf("the server was asked %d times, want once, at the start", n)
	}
	if _, err := f.with(t, nil); mayfly.CodeOf(err) != mayfly.Invalid || !strings.Contains(err.Error(), "--root-key") {
		t.Errorf("without it: %v", err)
	}
	if _, err := os.Stat(f.root); err == nil {
		t.Error("a new file was made")
	}
}

func TestAFirstStartWithATransitEngine(t *testing.T) {
	f, b := open(t), newBao(t)
	if err := f.engine.Index().Delete(t.Context(), keysetKey, 0); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(f.root); err != nil {
		t.Fatal(err)
	}
	if _, err := f.with(t, b.key()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(f.root); err == nil {
		t.Error("a file of a root key was made")
	}
	other := newBao(t)
	if _, err := f.with(t, other.key()); err == nil {
		t.Error("another server's key opened the secrets")
	}
}

// TestATransitEngineThatRefuses names what is wrong for whoever starts the node.
func TestATransitEngineThatRefuses(t *testing.T) {
	f, b := open(t), newBao(t)
	wrong := b.key()
	wrong.Token = func() (string, error) { return "another", nil }
	if _, err := f.with(t, wrong); mayfly.CodeOf(err) != mayfly.Denied || !strings.Contains(err.Error(), "permission denied") || !strings.Contains(err.Error(), "policy") {
		t.Errorf("with a wrong token: %v", err)
	}
	b.sealed.Store(true)
	if _, err := f.with(t, b.key()); mayfly.CodeOf(err) != mayfly.Unavailable || !strings.Contains(err.Error(), "sealed") {
		t.Errorf("sealed: %v", err)
	}
	b.Close()
	if _, err := f.with(t, b.key()); mayfly.CodeOf(err) != mayfly.Unavailable {
		t.Errorf("closed: %v", err)
	}
	for _, url := range []string{"", "bao", "https://bao/transit", "ftp://bao/v1/transit/keys/x"} {
		if err := (&Transit{URL: url}).Check(); mayfly.CodeOf(err) != mayfly.Invalid {
			t.Errorf("%q: %v", url, err)
		}
	}
	failing := b.key()
	failing.Token = func() (string, error) { return "", fmt.Errorf("no token") }
	if _, err := failing.Encrypt([]byte("x"), nil); err == nil {
		t.Error("without a token")
	}
	if _, err := f.reopen(t).Set(t.Context(), "a", "A", "as before", false); err != nil {
		t.Errorf("the file's key is not used any more: %v", err)
	}
}
