package bucket

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"
	"encoding/base64"
	"sync/atomic"

	"github.com/versity/versitygw/auth"
	"github.com/versity/versitygw/s3err"

	"github.com/mayfly-cloud/mayfly"
)

// Key is a pair of S3 credentials.
type Key struct {
	Access string `json:"access_key_id"`
	Secret string `json:"secret_access_key"`
}

// keyring derives every key from the node's key, and knows whose each is.
type keyring struct {
	node  []byte
	admin Key
	known atomic.Pointer[map[string]mayfly.Caller] // by access key
}

func newKeyring(node []byte) *keyring {
	r := &keyring{node: node}
	r.admin = r.derive("admin")
	r.apply(nil)
	return r
}

// derive makes the key of a subject: 20 and 40 characters, as AWS's.
func (r *keyring) derive(subject string) Key {
	sum := func(purpose string) []byte {
		mac := hmac.New(sha256.New, r.node)
		mac.Write([]byte("mayfly s3 " + purpose + " " + subject))
		return mac.Sum(nil)
	}
	return Key{
		Access: "MAYF" + base32.StdEncoding.EncodeToString(sum("access"))[:16],
		Secret: base64.RawURLEncoding.EncodeToString(sum("secret"))[:40],
	}
}

func (r *keyring) function(app mayfly.AppName, fn mayfly.FunctionName) Key {
	return r.derive("function " + string(app) + "/" + string(fn))
}

// apply replaces the known keys by those of the apps' functions.
func (r *keyring) apply(apps []*mayfly.Manifest) {
	known := map[string]mayfly.Caller{r.admin.Access: {Kind: mayfly.CallerAdmin}}
	for _, m := range apps {
		for fn := range m.Functions {
			known[r.function(m.App, fn).Access] = mayfly.Caller{Kind: mayfly.CallerFunction, App: m.App, Function: fn}
		}
	}
	r.known.Store(&known)
}

// caller is whose access key it is; anonymous where it is not known.
func (r *keyring) caller(access string) mayfly.Caller {
	if who, ok := (*r.known.Load())[access]; ok {
		return who
	}
	return mayfly.Caller{Kind: mayfly.CallerAnonymous}
}

// GetUserAccount is the account of an access key. Every account is an
// administrator to versitygw, whose own access control is thereby off: the gate
// decides.
func (r *keyring) GetUserAccount(access string) (auth.Account, error) {
	who := r.caller(access)
	switch who.Kind {
	case mayfly.CallerAdmin:
		return auth.Account{Access: access, Secret: r.admin.Secret, Role: auth.RoleAdmin}, nil
	case mayfly.CallerFunction:
		return auth.Account{Access: access, Secret: r.function(who.App, who.Function).Secret, Role: auth.RoleAdmin}, nil
	}
	return auth.Account{}, auth.ErrNoSuchUser
}

// ResolveAccounts is the access keys that are not known.
func (r *keyring) ResolveAccounts(access []string) (missing []string, err error) {
	for _, a := range access {
		if r.caller(a).Kind == mayfly.CallerAnonymous {
			missing = append(missing, a)
		}
	}
	return missing, nil
}

// The accounts follow the manifests; versitygw cannot change them.

func (r *keyring) CreateAccount(auth.Account) error { return unsupported() }

func (r *keyring) UpdateUserAccount(string, auth.MutableProps) error { return unsupported() }

func (r *keyring) DeleteUserAccount(string) error { return unsupported() }

func (r *keyring) ListUserAccounts() ([]auth.Account, error) { return nil, unsupported() }

func (r *keyring) Shutdown() error { return nil }

func unsupported() error { return s3err.GetAPIError(s3err.ErrNotImplemented) }
