package identity

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"path/filepath"
	"strings"

	"github.com/mayfly-cloud/mayfly"
)

// tokenPrefix makes a leaked token recognisable to scanners.
const tokenPrefix = "mayfly_"

// Tokens knows the credentials of callers from outside. It does not change once
// opened and is safe for concurrent use.
type Tokens struct {
	admin string
	hash  [sha256.Size]byte
}

// OpenTokens reads the administrator's token from the file admin-token in dir,
// and makes it at the first start.
func OpenTokens(dir string) (*Tokens, error) {
	random := make([]byte, 32)
	rand.Read(random)
	fresh := tokenPrefix + base64.RawURLEncoding.EncodeToString(random)
	path := filepath.Join(dir, "admin-token")
	data, err := loadOrCreate(path, []byte(fresh+"\n"))
	if err != nil {
		return nil, err
	}
	token := strings.TrimSpace(string(data))
	if len(token) < 16 {
		return nil, mayfly.Errorf(mayfly.Invalid, "read admin token", "%s holds no token; delete it and a new one is made", path)
	}
	return &Tokens{admin: token, hash: sha256.Sum256([]byte(token))}, nil
}

// Admin is the administrator's token.
func (t *Tokens) Admin() string { return t.admin }

// Verify is the caller that holds token. The time it takes tells nothing about
// the token. It returns an Unauthorized error for an unknown one.
func (t *Tokens) Verify(token string) (mayfly.Caller, error) {
	hash := sha256.Sum256([]byte(token))
	if subtle.ConstantTimeCompare(hash[:], t.hash[:]) != 1 {
		return mayfly.Caller{Kind: mayfly.CallerAnonymous}, mayfly.Errorf(mayfly.Unauthorized, "verify token", "the token is not known here")
	}
	return mayfly.Caller{Kind: mayfly.CallerAdmin}, nil
}
