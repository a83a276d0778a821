package bucket

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"sync/atomic"

	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/versity/versitygw/auth"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/identity"
)

// Key is a pair of S3 credentials.
type Key struct {
	Access string `json:"access_key_id"`
	Secret string `json:"secret_access_key"`
}

// keyring derives every key from the node's key, and knows whose each is.
type keyring struct {
	node   []byte
	admin  Key
	users  auth.IAMService                          // accounts that the administrator made
	issued *issuer                                  // keys for an app's buckets that the administrator made
	known  atomic.Pointer[map[string]mayfly.Caller] // by access key
}

// openKeyring keeps the accounts, and the issued keys, in folders of dir. tell
// learns who has those, and what they may do.
func openKeyring(node []byte, dir string, tell func([]identity.User) error) (_ *keyring, err error) {
	r := &keyring{node: node}
	r.admin = r.derive("admin")
	r.apply(nil)
	if r.issued, err = openIssuer(filepath.Join(dir, "keys"), r.derive, tell); err != nil {
		return nil, err
	}
	dir = filepath.Join(dir, "accounts")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	r.users, err = auth.NewInternal(auth.Account{Access: r.admin.Access, Secret: r.admin.Secret, Role: auth.RoleAdmin}, dir)
	return r, err
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
	if k, ok := r.issued.find(access); ok {
		return k.caller()
	}
	if _, err := r.users.GetUserAccount(access); err == nil {
		return mayfly.Caller{Kind: mayfly.CallerUser, Name: access}
	}
	return mayfly.Caller{Kind: mayfly.CallerAnonymous}
}

// GetUserAccount is the account of an access key. Who belongs to an app is a user
// to versitygw who may make buckets, and the owner of each bucket that it knows: the
// gate decides.
func (r *keyring) GetUserAccount(access string) (auth.Account, error) {
	if who, ok := (*r.known.Load())[access]; ok && who.Kind == mayfly.CallerFunction {
		return auth.Account{Access: access, Secret: r.function(who.App, who.Function).Secret, Role: auth.RoleUserPlus}, nil
	}
	if k, ok := r.issued.find(access); ok {
		return auth.Account{Access: access, Secret: r.derive(subjectOf(k)).Secret, Role: auth.RoleUserPlus}, nil
	}
	return r.users.GetUserAccount(access)
}

// account is the credentials of an access key, the administrator's too.
func (r *keyring) account(access string) (Key, error) {
	if access == r.admin.Access {
		return r.admin, nil
	}
	acct, err := r.GetUserAccount(access)
	return Key{Access: acct.Access, Secret: acct.Secret}, err
}

// ownerOf is the access control list of a bucket as its one owner sees it.
func ownerOf(access string) ([]byte, error) {
	return json.Marshal(auth.ACL{Owner: access, Grantees: []auth.Grantee{
		{Permission: auth.PermissionFullControl, Access: access, Type: types.TypeCanonicalUser},
	}})
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

// Functions' accounts follow the manifests, and issued keys are made elsewhere; the
// others are the administrator's to make by versitygw's interface.

func (r *keyring) CreateAccount(a auth.Account) error {
	if r.caller(a.Access).Kind != mayfly.CallerAnonymous {
		return auth.ErrUserExists
	}
	return r.users.CreateAccount(a)
}

func (r *keyring) UpdateUserAccount(access string, props auth.MutableProps) error {
	return r.users.UpdateUserAccount(access, props)
}

func (r *keyring) DeleteUserAccount(access string) error { return r.users.DeleteUserAccount(access) }

func (r *keyring) ListUserAccounts() ([]auth.Account, error) { return r.users.ListUserAccounts() }

func (r *keyring) Shutdown() error { return r.users.Shutdown() }
